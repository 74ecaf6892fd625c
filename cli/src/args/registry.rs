//! The command line of `fairway registry`: its commands, what all of them take, and how things in a registry are named.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use fairway_registry::{Reference, StoreOptions, Target};

use super::StateArgument;
use crate::commands::registry::{
    alias, copy, diff, export, gc, import, init, judge, keygen, list, log, probe, pull, push, retention, show, sign,
    verify, watch,
};
use crate::exit::Invalid;
use crate::output::Output;

/// Registry commands. Those without a text here have it where they are.
#[derive(Debug, Subcommand)]
pub enum Registry {
    Init(init::Init),
    Probe(probe::Probe),
    List(list::List),
    Show(show::Show),
    Diff(diff::Diff),
    Log(log::Log),
    Watch(watch::Watch),
    /// Move, protect and trace aliases such as @champion
    #[command(subcommand)]
    Alias(alias::Alias),
    Push(push::Push),
    Pull(pull::Pull),
    Copy(copy::Copy),
    /// Say yes to a version
    ///
    /// The digest is part of what is said, so that nobody can slip another tree under it. The last word of each person
    /// counts, and one person's no outweighs everybody's yes.
    ///
    /// Example:  fairway registry approve @challenger --reason "read the card, checked the segments"
    Approve(judge::Judge),
    /// Say no to a version
    ///
    /// As long as anybody's last word on a version is no, it counts as rejected. To take it back, approve it.
    ///
    /// Example:  fairway registry reject models:/recs/5 --reason "coverage fell by a third"
    Reject(judge::Judge),
    /// Put a version under a legal hold: nothing deletes it
    ///
    /// Whatever the retention, no collection deletes it before `fairway registry release`.
    ///
    /// Example:  fairway registry hold models:/recs/3 --reason "case 7"
    Hold(judge::Judge),
    Release(judge::Release),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Keygen(keygen::Keygen),
    /// Which versions of a model are kept
    #[command(subcommand)]
    Retention(retention::Retention),
    Gc(gc::Gc),
    Export(export::Export),
    Import(import::Import),
}

/// Which registry, and how to print.
#[derive(Clone, Debug, Args)]
pub struct RegistryArgument {
    /// The registry: s3://bucket/prefix, gs://…, az://…, or a folder [default: that of the state folder]
    #[arg(long, value_name = "URL")]
    pub registry: Option<String>,
    /// Where a `fairway up` keeps its state
    #[command(flatten)]
    pub state: StateArgument,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// How to reach a store.
#[derive(Clone, Debug, Default, Args)]
pub struct StoreArgument {
    /// Option of the registry's store, such as aws_region=eu-west-1 or aws_endpoint=http://127.0.0.1:9000. What is not
    /// given is read from the environment (AWS_REGION, …): the place for secrets, which others can read off a command line
    #[arg(long = "store-option", value_name = "NAME=VALUE")]
    pub store_options: Vec<StoreOption>,
}

/// `NAME=VALUE`, whose value may be a secret and is never shown.
#[derive(Clone)]
pub struct StoreOption(String);

impl FromStr for StoreOption {
    type Err = Infallible;

    /// Takes anything: an error of clap would show it.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for StoreOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.split_once('=').map_or("(hidden)", |(name, _)| name))
    }
}

/// The options by name.
///
/// # Errors
/// One has no `=`.
pub fn options_of(pairs: &[StoreOption]) -> Result<StoreOptions> {
    let mut options = StoreOptions::new();
    for StoreOption(pair) in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            bail!(Invalid(
                "a store option has no `=` in it: write NAME=VALUE, such as aws_region=eu-west-1".to_owned()
            ));
        };
        options.insert(name.to_owned(), value.to_owned());
    }
    Ok(options)
}

impl StoreArgument {
    /// The options by name.
    ///
    /// # Errors
    /// One has no `=`.
    pub fn options(&self) -> Result<StoreOptions> {
        options_of(&self.store_options)
    }
}

/// Who does something.
#[derive(Clone, Debug, Args)]
pub struct ActorArgument {
    /// Who does this, for the log [default: user@host]
    #[arg(long, value_name = "NAME", env = "FAIRWAY_ACTOR")]
    pub actor: Option<String>,
}

impl ActorArgument {
    /// The name that was given, or the one that the machine knows.
    pub fn name(&self) -> String {
        if let Some(actor) = self.actor.as_ref().filter(|actor| !actor.is_empty()) {
            return actor.clone();
        }
        let variable =
            |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        let user = variable(&["USER", "LOGNAME"]).or_else(user_of_process).unwrap_or_else(|| "unknown".to_owned());
        let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
        let host = variable(&["HOSTNAME"]).or_else(kernel).unwrap_or_else(|| "localhost".to_owned());
        format!("{user}@{host}")
    }
}

/// The user that the system says this process runs as: containers and CI jobs often have no USER.
fn user_of_process() -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields
        .find(|fields| fields.get(2) == Some(&uid.as_str()))
        .and_then(|fields| fields.first().map(|&name| name.to_owned()))
}

/// Who does something, and why.
#[derive(Clone, Debug, Args)]
pub struct AuthorArgument {
    /// Who
    #[command(flatten)]
    pub actor: ActorArgument,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", default_value = "asked on the command line")]
    pub reason: String,
}

/// `namespace/name`, or `name` where only one model has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelName {
    /// The namespace, if it was given.
    pub namespace: Option<String>,
    /// The model.
    pub name: String,
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("models:/").unwrap_or(text);
        let (namespace, name) = match rest.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, rest),
        };
        let wrong = name.is_empty() || name.contains(['/', '@']) || namespace.as_ref().is_some_and(String::is_empty);
        if wrong {
            Err("write NAMESPACE/NAME, such as shop/recs".to_owned())
        } else {
            Ok(Self { namespace, name: name.to_owned() })
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A version as people name it: a [`Reference`], whose model may have its namespace in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionName {
    /// The model, if it was given.
    pub model: Option<ModelName>,
    /// Which of its versions.
    pub reference: Reference,
}

impl FromStr for VersionName {
    type Err = fairway_registry::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(rest) = text.strip_prefix("models:/") else {
            return Ok(Self { model: None, reference: text.parse()? });
        };
        let end = rest.find('@').or_else(|| rest.rfind('/')).unwrap_or(rest.len());
        let (namespace, plain) = match rest[..end].split_once('/') {
            Some((namespace, _)) => (Some(namespace.to_owned()), &rest[namespace.len() + 1..]),
            None => (None, rest),
        };
        let reference: Reference = format!("models:/{plain}").parse()?;
        let model = reference.model.clone().map(|name| ModelName { namespace, name });
        Ok(Self { model, reference })
    }
}

/// An alias as people name it: `champion`, `@champion` or `models:/name@champion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasName {
    /// The model, if it was given.
    pub model: Option<ModelName>,
    /// The alias, without `@`.
    pub alias: String,
}

impl FromStr for AliasName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| "write an alias, such as champion or models:/recs@champion".to_owned();
        let plain = !text.contains(['@', '/', ':']);
        let named: VersionName = if plain { format!("@{text}").parse() } else { text.parse() }.map_err(wrong)?;
        match named.reference.target {
            Target::Alias(alias) => Ok(Self { model: named.model, alias }),
            _ => Err("names a version, not an alias: write champion or models:/recs@champion".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Option<(Option<String>, String)> {
        let version: VersionName = text.parse().ok()?;
        Some((version.model.map(|model| model.to_string()), version.reference.to_string()))
    }

    #[test]
    fn versions_may_have_a_namespace() {
        let digest = fairway_registry::Digest::of(b"x").to_string();
        let long = format!("models:/shop/recs@{digest}");
        for (text, model, reference) in [
            ("@champion", None, "@champion"),
            ("3", None, "3"),
            (&*digest, None, &*digest),
            ("models:/recs/3", Some("recs"), "models:/recs/3"),
            ("models:/recs@champion", Some("recs"), "models:/recs@champion"),
            ("models:/shop/recs/3", Some("shop/recs"), "models:/recs/3"),
            ("models:/shop/recs@champion", Some("shop/recs"), "models:/recs@champion"),
            (&*long, Some("shop/recs"), &format!("models:/recs@{digest}")),
        ] {
            assert_eq!(version(text), Some((model.map(str::to_owned), reference.to_owned())), "{text}");
        }
        for bad in
            ["", "champion", "models:/", "models:/recs", "models:/a/b/c/3", "models:/a/b/c@x", "models:/recs/", "x/3"]
        {
            assert_eq!(version(bad), None, "{bad}");
        }
    }

    #[test]
    fn aliases_and_models_have_names() {
        let alias = |text: &str| text.parse::<AliasName>().ok().map(|it| (it.model.map(|m| m.to_string()), it.alias));
        assert_eq!(alias("champion"), Some((None, "champion".to_owned())));
        assert_eq!(alias("@champion"), alias("champion"));
        assert_eq!(alias("models:/shop/recs@mine"), Some((Some("shop/recs".to_owned()), "mine".to_owned())));
        assert!(["", "@", "models:/recs/3", "A", "a/b"].iter().all(|bad| alias(bad).is_none()));
        let model = |text: &str| text.parse::<ModelName>().ok().map(|it| it.to_string());
        assert_eq!(
            (model("recs"), model("models:/shop/recs")),
            (Some("recs".to_owned()), Some("shop/recs".to_owned()))
        );
        assert!(["", "/", "a/", "/a", "a/b/c", "a@b"].iter().all(|bad| model(bad).is_none()));
    }

    #[test]
    fn values_of_store_options_are_not_shown() {
        let pairs: Vec<StoreOption> =
            ["aws_secret_access_key=hidden", "hidden"].map(|text| text.parse().unwrap()).into();
        assert_eq!(format!("{pairs:?}"), "[aws_secret_access_key, (hidden)]");
        assert_eq!(options_of(&pairs[..1]).unwrap()["aws_secret_access_key"], "hidden");
        assert!(!options_of(&pairs).unwrap_err().to_string().contains("hidden"));
    }
}
