//! How a folder becomes the next version of a model: what `push` and `import` share. A folder that was a version before
//! (it has our manifest) comes in as what it was: without the files that the registry writes itself, and with its own
//! provenance, so that it has the same digest again unless somebody has changed it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use fairway_registry::oci::Imported;
use fairway_registry::provenance::Provenance;
use fairway_registry::sign::{PublicKey, Verified};
use fairway_registry::{Digest, Error, Manifest, Registration, Registry, Version, verify_folder};
use serde_json::{Value, json};

use super::find::{Acting, Model, model_to_fill};
use super::scratch::{Scratch, link};
use super::transfer::Bar;
use super::verify::not_verified;
use super::words;
use crate::args::{AuthorArgument, ModelName};
use crate::exit::Invalid;

/// The files that a registry writes into a tree itself.
const MANIFEST: &str = "manifest.json";
const PROVENANCE: &str = "provenance.json";
const SIGNATURE: &str = "model.sig";
const JSON_BYTES_MAX: u64 = 16 << 20;

/// What is said of a new version.
#[derive(Debug, Args)]
pub struct Entering {
    /// The model; it is made when it is new
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub model: ModelName,
    /// The run that made it. One run gives one version: the same name again gives the same version [default: a new name]
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// An alias to point to it in the same commit
    #[arg(long, value_name = "ALIAS")]
    pub alias: Option<String>,
    /// Extension of a further kind of file (bin, pt2, …) for which you vouch; pickles never enter; may be given again
    #[arg(long = "kind", value_name = "EXT")]
    pub kinds: Vec<String>,
    /// Something that was measured; may be given again [default: what the provenance says]
    #[arg(long = "metric", value_name = "NAME=NUMBER", value_parser = parse_metric)]
    pub metrics: Vec<(String, f64)>,
    /// A word for people and selectors; may be given again
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// Where it comes from, in JSON [default: provenance.json in the folder]
    #[arg(long, value_name = "FILE.json")]
    pub provenance: Option<PathBuf>,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
}

fn parse_metric(text: &str) -> Result<(String, f64), String> {
    let pair = text.split_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse::<f64>().ok()?)));
    pair.filter(|(_, value)| value.is_finite()).ok_or_else(|| "write NAME=NUMBER, such as recall@20=0.31".to_owned())
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write NAME=VALUE, such as family=ease".to_owned())
}

/// A folder that is to become a version.
pub struct Tree {
    folder: PathBuf,
    provenance: Option<Value>,
    /// The digest that it had when it was a version.
    origin: Option<Digest>,
    signature: Option<(Vec<u8>, Option<Verified>)>,
    /// What holds the links, if there are any.
    _scratch: Option<Scratch>,
}

impl Tree {
    /// Looks at a folder. With keys, what was signed must still be what was signed.
    ///
    /// # Errors
    /// It is none, its manifest is not ours, or its signature does not hold.
    pub async fn open(folder: &Path, keys: Vec<PublicKey>) -> Result<Self> {
        if !folder.is_dir() {
            bail!(Invalid(format!("{} is no folder", folder.display())));
        }
        let verified = match keys.is_empty() {
            true => None,
            false => {
                let place = folder.to_owned();
                let verify = move || verify_folder(&place, &place.join(SIGNATURE), &keys);
                let verified = tokio::task::spawn_blocking(verify).await?;
                Some(verified.map_err(|error| not_verified(&folder.display().to_string(), error))?)
            }
        };
        let manifest = read(&folder.join(MANIFEST))?;
        let provenance = read(&folder.join(PROVENANCE))?;
        let signature = read(&folder.join(SIGNATURE))?;
        let origin = manifest.as_deref().map(|bytes| origin(folder, bytes)).transpose()?;
        let signed = signature.is_some();
        let as_it_is = manifest.is_none() && provenance.is_none() && !signed;
        let mut tree = Self {
            folder: folder.to_owned(),
            provenance: provenance.map(|bytes| json_of(&folder.join(PROVENANCE), &bytes)).transpose()?,
            origin,
            signature: signature.map(|bytes| (bytes, verified)),
            _scratch: None,
        };
        if !as_it_is {
            let scratch = Scratch::near(folder)?;
            let place = scratch.path().join("tree");
            link(folder, &place, &[MANIFEST, PROVENANCE, SIGNATURE])?;
            (tree.folder, tree._scratch) = (place, Some(scratch));
        }
        Ok(tree)
    }
}

fn origin(folder: &Path, manifest: &[u8]) -> Result<Digest> {
    if serde_json::from_slice::<Manifest>(manifest).is_err() {
        let place = folder.join(MANIFEST);
        bail!(Invalid(format!("{}: a registry writes this name itself; rename the file", place.display())));
    }
    Ok(Digest::of(manifest))
}

/// A small file, or `None` where there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("reading {}", path.display()))?,
    };
    let mut bytes = Vec::new();
    file.take(JSON_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
    if bytes.len() as u64 > JSON_BYTES_MAX {
        bail!(Invalid(format!("{} has more than {JSON_BYTES_MAX} bytes", path.display())));
    }
    Ok(Some(bytes))
}

fn json_of(path: &Path, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| Invalid(format!("{} is no JSON: {error}", path.display())).into())
}

/// What became of a folder.
pub struct Entered {
    model: Model,
    version: Version,
    is_new: bool,
    origin: Option<Digest>,
    signature: Signature,
}

/// What became of the signature in the folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signature {
    Absent,
    Kept,
    LeftBehind,
}

/// Registers a folder as the next version; `run` is its run where none is named.
///
/// # Errors
/// The registry refuses it.
pub async fn enter(registry: &Registry, tree: &Tree, said: &Entering, run: String, bar: &Bar) -> Result<Entered> {
    let model = model_to_fill(registry, &said.model).await?;
    let acting = Acting::from(&said.author);
    let registration = registration(tree, said, run, &acting)?;
    let before = model.log.state().await?.last_number;
    let signature =
        tree.signature.as_ref().filter(|(_, verified)| verified.is_some()).map(|(bytes, _)| bytes.as_slice());
    let signature = tree.origin.as_ref().zip(signature);
    let registered = model.log.register_telling(&tree.folder, registration, signature, &bar.progress()).await;
    let version = registered.map_err(with_cure)?;
    let is_new = version.number > before;
    let signature = note_signature(&model, &version, tree, is_new, &acting).await?;
    Ok(Entered { is_new, model, version, origin: tree.origin.clone(), signature })
}

fn registration(tree: &Tree, said: &Entering, run: String, acting: &Acting) -> Result<Registration> {
    let author = acting.author();
    let given = match &said.provenance {
        Some(path) => {
            let bytes = read(path)?.ok_or_else(|| Invalid(format!("{} does not exist", path.display())))?;
            Some(json_of(path, &bytes)?)
        }
        None => None,
    };
    let provenance = given.or_else(|| tree.provenance.clone()).unwrap_or_else(|| Provenance::new().to_value());
    let known = Provenance::of(provenance.clone());
    let mut metrics: BTreeMap<String, f64> = said.metrics.iter().cloned().collect();
    if metrics.is_empty() {
        metrics.extend(known.evaluation.and_then(|it| it.candidate).map(|it| it.overall).unwrap_or_default());
    }
    let mut labels: BTreeMap<String, String> = said.labels.iter().cloned().collect();
    if let Some(family) = known.training.and_then(|training| training.family) {
        labels.entry("family".to_owned()).or_insert(family);
    }
    Ok(Registration {
        run: said.run.clone().unwrap_or(run),
        actor: author.actor.to_owned(),
        time: author.time,
        metrics,
        labels,
        provenance,
        kinds: said.kinds.iter().map(|kind| kind.trim_start_matches('.').to_ascii_lowercase()).collect(),
        alias: said.alias.as_ref().map(|alias| alias.trim_start_matches('@').to_owned()),
        reason: author.reason.to_owned(),
    })
}

/// Says how kinds are declared here.
fn with_cure(error: Error) -> anyhow::Error {
    match &error {
        Error::Refused { reason, .. } if reason.contains("undeclared kind") => {
            Invalid(format!("{error} with --kind EXT")).into()
        }
        _ => error.into(),
    }
}

/// A signature that was verified goes along, if the version still is what was signed: it is there before the version can be
/// seen, and the log says so afterwards. One of a version that came in before is brought in, if it is another one.
async fn note_signature(
    model: &Model,
    version: &Version,
    tree: &Tree,
    is_new: bool,
    acting: &Acting,
) -> Result<Signature> {
    match &tree.signature {
        None => Ok(Signature::Absent),
        Some((bundle, Some(verified))) if tree.origin.as_ref() == Some(&version.digest) => {
            if is_new || model.log.signature(&version.digest).await?.is_none_or(|there| there != *bundle) {
                let key = &verified.key_hint;
                model.log.put_signature(version.number, key, bundle.clone(), acting.author()).await?;
            }
            Ok(Signature::Kept)
        }
        Some(_) => Ok(Signature::LeftBehind),
    }
}

impl Entered {
    /// For programs.
    pub fn value(&self) -> Value {
        json!({
            "model": self.model.full_name(),
            "version": self.version,
            "new": self.is_new,
            "origin": self.origin,
            "sameDigest": self.origin.as_ref().map(|origin| *origin == self.version.digest),
            "signature": match self.signature {
                Signature::Absent => Value::Null,
                Signature::Kept => json!("kept"),
                Signature::LeftBehind => json!("leftBehind"),
            },
        })
    }

    /// For people.
    pub fn told(&self, alias: Option<&str>, image: Option<&Imported>) -> String {
        let (name, version) = (self.model.full_name(), &self.version);
        let mut text = match self.is_new {
            true => format!("registered {name} version {}\n", version.number),
            false => format!(
                "run {} has registered {name} version {} before; nothing was written\n",
                version.run, version.number
            ),
        };
        text.push_str(&format!("  digest     {}\n", version.digest));
        text.push_str(&format!(
            "  size       {}, {}\n",
            words::count(version.files as usize, "file"),
            words::bytes(version.bytes)
        ));
        text.push_str(&format!("  run        {}\n", version.run));
        text.push_str(&format!("  reference  models:/{name}/{}\n", version.number));
        if let Some(alias) = alias.filter(|_| self.is_new) {
            text.push_str(&format!("  alias      @{}\n", alias.trim_start_matches('@')));
        }
        if let Some(image) = image {
            text.push_str(&format!("  image      {} ({})\n", image.digest, image.format));
        }
        match &self.origin {
            Some(origin) if *origin == version.digest => text.push_str("It has the digest that it had before: nothing was changed.\n"),
            Some(origin) => text.push_str(&format!(
                "Its digest is another one than before ({origin}): files or provenance were changed, so that it is another version.\n"
            )),
            None => {}
        }
        text.push_str(match self.signature {
            Signature::Absent => "",
            Signature::Kept => "Its signature holds and was taken along.\n",
            Signature::LeftBehind if self.is_new => {
                "Its signature was left behind: `fairway registry import --key PUBLIC.pem` verifies it and takes it along.\n"
            }
            Signature::LeftBehind => "",
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        assert_eq!(parse_metric("recall@20=0.5"), Ok(("recall@20".to_owned(), 0.5)));
        assert_eq!(parse_label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(["x", "x=", "x=y", "x=NaN", "x=inf"].iter().all(|bad| parse_metric(bad).is_err()));
        assert!(parse_label("x").is_err());
    }

    #[tokio::test]
    async fn a_foreign_manifest_is_not_taken_for_ours() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.json"), "{}").unwrap();
        assert_eq!(Tree::open(folder.path(), Vec::new()).await.unwrap().folder, folder.path(), "as it is");
        std::fs::write(folder.path().join(MANIFEST), "{\"short_name\": \"app\"}").unwrap();
        assert!(Tree::open(folder.path(), Vec::new()).await.is_err());
    }
}
