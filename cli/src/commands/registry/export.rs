//! `fairway registry export`: writes a version as an OCI image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use fairway_registry::oci::{self, About, Architecture, Exported, Format};
use fairway_registry::{Access, Version};
use serde_json::json;

use super::find::{Model, open, version};
use super::scratch::Staged;
use super::transfer::{Bar, blocking, interruptible};
use super::words;
use crate::args::{RegistryArgument, VersionName};
use crate::exit::{Code, Invalid};

/// Write a version as an OCI image, to be pushed where images are kept
///
/// Writes a version as an OCI image into an image layout: a folder, or one file if its name ends in .tar. A modelcar is an
/// ordinary image with the files below /models, which Kubernetes mounts as a volume. A modelpack is a CNCF ModelPack
/// artifact with one layer a file. The same version always gives the same image. Its signature goes along.
///
/// Example:  fairway registry export @champion --format modelcar --to recs.tar
///
/// Example:  skopeo copy --preserve-digests oci-archive:recs.tar:3 docker://registry.example.com/recs:3
#[derive(Debug, Args)]
pub struct Export {
    /// `models:/name@champion`, `models:/name/3`, `models:/name@sha256:…`
    #[arg(value_name = "VERSION")]
    pub version: VersionName,
    /// modelcar or modelpack
    #[arg(long, value_name = "FORMAT")]
    pub format: Format,
    /// The new folder, or the new file if the name ends in .tar
    #[arg(long, value_name = "PATH")]
    pub to: PathBuf,
    /// The image's tag [default: the version's number]
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// An image layout to put below the files of a modelcar; KServe's oci:// sidecar needs one with a shell
    #[arg(long, value_name = "LAYOUT")]
    pub base: Option<PathBuf>,
    /// The processor that a modelcar is said to be for: amd64 or arm64
    #[arg(long, value_name = "ARCHITECTURE", default_value_t)]
    pub architecture: Architecture,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Exports.
///
/// # Errors
/// There is no such version, or the image cannot be written.
pub async fn run(export: Export) -> Result<Code> {
    let registry = open(&export.registry, Access::Read).await?;
    let (model, version) = version(&registry, &export.version).await?;
    let about = about(&export, &model, &version);
    let bar = Bar::new(export.registry.output);
    let exported = interruptible(&bar, write(&export, &model, &about, &bar)).await?;
    let value = json!({
        "model": model.full_name(),
        "version": version.number,
        "digest": version.digest,
        "format": export.format.to_string(),
        "path": export.to,
        "tag": about.reference,
        "image": exported.digest,
        "bytes": exported.bytes,
        "mediaTypes": exported.media_types,
    });
    export.registry.output.print(&value, |_| told(&export, &model, &about, &exported))?;
    Ok(Code::Done)
}

fn about(export: &Export, model: &Model, version: &Version) -> About {
    About {
        namespace: model.namespace.clone(),
        model: model.name.clone(),
        version: version.number,
        digest: version.digest.clone(),
        created: version.registered,
        architecture: export.architecture,
        family: version.labels.get("family").cloned(),
        reference: export.tag.clone().unwrap_or_else(|| version.number.to_string()),
        annotations: BTreeMap::new(),
        base: export.base.clone(),
    }
}

async fn write(export: &Export, model: &Model, about: &About, bar: &Bar) -> Result<Exported> {
    // Even an empty folder: a layout has its name from the start.
    if export.to.exists() {
        bail!(Invalid(format!("{} exists already: remove it, or name another place", export.to.display())));
    }
    let staged = Staged::beside(&export.to)?;
    let manifest = model.log.manifest(&about.digest).await?;
    let tree = model.log.fetch_telling(&about.digest, &staged.path().join("tree"), &bar.progress()).await?;
    // Whether it becomes one file is told by the name's end.
    let made =
        staged.path().join(if export.to.extension().is_some_and(|end| end == "tar") { "image.tar" } else { "image" });
    bar.stage("write", manifest.bytes());
    let (about, format, out, meter) = (about.clone(), export.format, made.clone(), bar.clone());
    let work = move || oci::export(&tree, &manifest, &about, format, &out, &mut |bytes| meter.add(bytes));
    let exported = blocking(work).await?;
    staged.keep(&made)?;
    Ok(exported)
}

fn told(export: &Export, model: &Model, about: &About, exported: &Exported) -> String {
    let path = export.to.display();
    let kind = if export.to.is_dir() { "oci" } else { "oci-archive" };
    let (name, tag) = (&model.name, &about.reference);
    format!(
        "exported {} version {} as a {} to {path}\n  version  {}\n  image    {} ({})\nPush it with its digest as it is:\n  \
         skopeo copy --preserve-digests {kind}:{path}:{tag} docker://registry.example.com/{name}:{tag}",
        model.full_name(),
        about.version,
        export.format,
        about.digest,
        exported.digest,
        words::bytes(exported.bytes),
    )
}
