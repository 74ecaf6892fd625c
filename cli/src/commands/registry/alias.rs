//! `fairway registry alias`: moves, protects and traces aliases. Nobody's move is lost: each says from where.

use std::str::FromStr;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use fairway_registry::{Access, Entry, ModelLog, Reference};
use serde_json::json;

use super::find::{Acting, Model, model, open, resolve};
use super::words::{protection, target};
use super::{history, words};
use crate::args::{AliasName, AuthorArgument, ModelName, RegistryArgument, VersionName};
use crate::exit::{Code, Invalid};
use crate::output::table;

/// Verbs of aliases.
#[derive(Debug, Subcommand)]
pub enum Alias {
    Set(Set),
    Remove(Remove),
    List(List),
    History(history::History),
    Protect(Protect),
}

/// Point an alias to a version
///
/// Points an alias to a version, if it still points where you think. Without --from that is where it points now, so that
/// only a move in the same instant is refused; name it to be sure that nobody moved it since you looked. Moving
/// @champion makes the former champion @previous.
///
/// Example:  fairway registry alias set champion 3 --from 2 --reason "won the A/B test"
///
/// Example:  fairway registry alias set models:/shop/recs@blue 1 --from none
#[derive(Debug, Args)]
pub struct Set {
    /// The alias: champion, @champion or models:/name@champion
    pub alias: AliasName,
    /// The version that it is to point to
    #[arg(value_name = "VERSION")]
    pub version: VersionName,
    /// Where it must point now: a version, or none [default: wherever it does]
    #[arg(long, value_name = "VERSION|none")]
    pub from: Option<Expected>,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Remove an alias; versions stay
///
/// Removes an alias. The version that it pointed to stays, but nothing keeps it from being collected any more unless a
/// retention or another alias does.
///
/// Example:  fairway registry alias remove blue
#[derive(Debug, Args)]
pub struct Remove {
    /// The alias
    pub alias: AliasName,
    /// Where it must point now: a version [default: wherever it does]
    #[arg(long, value_name = "VERSION")]
    pub from: Option<Expected>,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Where aliases point, and who may move them
///
/// Lists the aliases of a model.
///
/// Example:  fairway registry alias list shop/recs
#[derive(Debug, Args)]
pub struct List {
    /// The model [default: the only one]
    pub model: Option<ModelName>,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Say who may move an alias
///
/// Says who may move an alias from now on. It keeps honest people from mistakes, as everybody tells his own name; against
/// others, let the bucket's access rules say who may write the model's log.
///
/// Example:  fairway registry alias protect champion --only fairway --only alice@ops
///
/// Example:  fairway registry alias protect champion --anybody
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("who").required(true)))]
pub struct Protect {
    /// The alias
    pub alias: AliasName,
    /// Somebody who may move it; may be given again
    #[arg(long, value_name = "NAME", group = "who")]
    pub only: Vec<String>,
    /// Everybody may move it again
    #[arg(long, group = "who", conflicts_with = "only")]
    pub anybody: bool,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Where an alias is expected to point.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Nowhere.
    Nothing,
    /// To this version.
    Version(VersionName),
}

impl FromStr for Expected {
    type Err = fairway_registry::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self::Nothing) } else { Ok(Self::Version(text.parse()?)) }
    }
}

/// Runs a verb.
///
/// # Errors
/// There is no such alias or version, somebody else moved it, or it is protected.
pub async fn run(alias: Alias) -> Result<Code> {
    match alias {
        Alias::Set(set) => self::set(set).await,
        Alias::Remove(remove) => self::remove(remove).await,
        Alias::List(list) => self::list(list).await,
        Alias::History(history) => history::run(history).await,
        Alias::Protect(protect) => self::protect(protect).await,
    }
}

async fn set(set: Set) -> Result<Code> {
    let registry = open(&set.registry, Access::Write).await?;
    let named = match (&set.alias.model, &set.version.model) {
        (Some(of_alias), Some(of_version)) if of_alias != of_version => {
            bail!(Invalid(format!("an alias of {of_alias} cannot point to a version of {of_version}")))
        }
        (of_alias, of_version) => of_alias.as_ref().or(of_version.as_ref()),
    };
    let model = model(&registry, named).await?;
    let to = resolve(&model.log, &set.version.reference).await?;
    let from = expected(&model.log, &set.alias.alias, set.from).await?;
    let moved = Move { model, alias: set.alias.alias, from, to: Some(to.number) };
    moved.make(&set.author, &set.registry).await
}

async fn remove(remove: Remove) -> Result<Code> {
    let registry = open(&remove.registry, Access::Write).await?;
    let model = model(&registry, remove.alias.model.as_ref()).await?;
    let alias = remove.alias.alias;
    let from = expected(&model.log, &alias, remove.from).await?;
    if from.is_none() {
        bail!(Invalid(format!("{} has no alias @{alias}", model.full_name())));
    }
    Move { model, alias, from, to: None }.make(&remove.author, &remove.registry).await
}

/// The number of the version that an alias is expected to point to.
async fn expected(log: &ModelLog, alias: &str, from: Option<Expected>) -> Result<Option<u64>> {
    match from {
        None => Ok(log.state().await?.aliases.get(alias).copied()),
        Some(Expected::Nothing) => Ok(None),
        Some(Expected::Version(name)) => match name.reference {
            // It may be deleted by now, which is the conflict to be told of.
            Reference { target: fairway_registry::Target::Number(number), .. } => Ok(Some(number)),
            reference => Ok(Some(resolve(log, &reference).await?.number)),
        },
    }
}

/// A move that is to be made.
struct Move {
    model: Model,
    alias: String,
    from: Option<u64>,
    to: Option<u64>,
}

impl Move {
    async fn make(&self, author: &AuthorArgument, argument: &RegistryArgument) -> Result<Code> {
        let acting = Acting::from(author);
        let who = acting.author();
        let log = &self.model.log;
        let entry = log.move_alias(&self.alias, self.from, self.to, who.actor, who.reason, who.time).await?;
        let moved = self.from != self.to;
        let value = json!({
            "model": self.model.full_name(),
            "alias": self.alias,
            "from": self.from,
            "to": self.to,
            "moved": moved,
            "seq": moved.then_some(entry.seq),
        });
        argument.output.print(&value, |_| self.told(&entry))?;
        Ok(Code::Done)
    }

    fn told(&self, entry: &Entry) -> String {
        let name = format!("@{} of {}", self.alias, self.model.full_name());
        if self.from == self.to {
            return format!("{name} points to {} already; nothing was written", target(self.to));
        }
        if self.to.is_none() {
            return format!("removed {name}, which was {} (entry {} of the log)", target(self.from), entry.seq);
        }
        let mut text = format!("{name}: {} -> {} (entry {} of the log)", target(self.from), target(self.to), entry.seq);
        if self.alias == "champion"
            && let Some(from) = self.from
        {
            text.push_str(&format!("\n@previous is version {from} now, to go back to"));
        }
        text
    }
}

async fn list(list: List) -> Result<Code> {
    let registry = open(&list.registry, Access::Read).await?;
    let model = model(&registry, list.model.as_ref()).await?;
    let state = model.log.state().await?;
    let anybody = Default::default();
    // An alias may be protected before it points anywhere.
    let mut names: Vec<&String> = state.aliases.keys().chain(state.protected.keys()).collect();
    names.sort();
    names.dedup();
    let actors = |alias: &str| state.protected.get(alias).unwrap_or(&anybody);
    let values: Vec<_> = names
        .iter()
        .map(|alias| {
            let version = state.by_alias(alias);
            json!({
                "alias": alias,
                "version": version.map(|version| version.number),
                "digest": version.map(|version| &version.digest),
                "actors": state.protected.get(*alias),
            })
        })
        .collect();
    list.registry.output.print(&values, |_| {
        if names.is_empty() {
            return format!("{} has no aliases", model.full_name());
        }
        let rows = names.iter().map(|alias| {
            let version = state.by_alias(alias);
            let digest = version.map_or_else(String::new, |version| format!("sha256:{}", version.digest.short()));
            let number = version.map(|version| version.number);
            vec![format!("@{alias}"), target(number), digest, protection(actors(alias))]
        });
        table(&["alias", "points to", "digest", "protection"], rows)
    })?;
    Ok(Code::Done)
}

async fn protect(protect: Protect) -> Result<Code> {
    let registry = open(&protect.registry, Access::Write).await?;
    let model = model(&registry, protect.alias.model.as_ref()).await?;
    let actors = protect.only.into_iter().collect();
    let acting = Acting::from(&protect.author);
    let alias = protect.alias.alias;
    let entry = model.log.protect(&alias, &actors, acting.author()).await?;
    let value = json!({"model": model.full_name(), "alias": alias, "actors": actors, "seq": entry.seq});
    protect
        .registry
        .output
        .print(&value, |_| format!("@{alias} of {}: {}", model.full_name(), words::protection(&actors)))?;
    Ok(Code::Done)
}
