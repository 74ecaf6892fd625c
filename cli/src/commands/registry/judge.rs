//! `fairway registry approve`, `reject`, `hold` and `release`: what people say of a version.

use anyhow::Result;
use clap::Args;
use fairway_registry::{Access, Version};
use serde_json::json;

use super::find::{Acting, open, version};
use super::words;
use crate::args::{ActorArgument, AuthorArgument, RegistryArgument, VersionName};
use crate::exit::Code;

/// What is said of a version, and by whom.
#[derive(Debug, Args)]
pub struct Judge {
    /// `models:/name@challenger`, `models:/name/3`, `models:/name@sha256:…`
    #[arg(value_name = "VERSION")]
    pub version: VersionName,
    /// Why; whoever audits this later has nothing else
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who
    #[command(flatten)]
    pub actor: ActorArgument,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Lift a legal hold
///
/// Lifts a legal hold. The version may then be deleted by the next collection that nothing else keeps it from.
///
/// Example:  fairway registry release models:/recs/3 --reason "case 7 is closed"
#[derive(Debug, Args)]
pub struct Release {
    /// `models:/name/3`, …
    #[arg(value_name = "VERSION")]
    pub version: VersionName,
    /// Who and why
    #[command(flatten)]
    pub author: AuthorArgument,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Yes.
    Approve,
    /// No.
    Reject,
    /// It must not be deleted.
    Hold,
}

/// Says it.
///
/// # Errors
/// There is no such version.
pub async fn run(judge: Judge, word: Word) -> Result<Code> {
    let acting = Acting::new(judge.actor.name(), &judge.reason);
    say(&judge.version, Some(word), &acting, &judge.registry).await
}

/// Lifts a legal hold.
///
/// # Errors
/// There is no such version.
pub async fn release(release: Release) -> Result<Code> {
    say(&release.version, None, &Acting::from(&release.author), &release.registry).await
}

/// `None`: the hold is lifted.
async fn say(name: &VersionName, word: Option<Word>, acting: &Acting, argument: &RegistryArgument) -> Result<Code> {
    let registry = open(argument, Access::Write).await?;
    let (model, version) = version(&registry, name).await?;
    let (log, number, author) = (&model.log, version.number, acting.author());
    let entry = match word {
        Some(Word::Approve) => log.judge(number, &version.digest, true, author).await?,
        Some(Word::Reject) => log.judge(number, &version.digest, false, author).await?,
        Some(Word::Hold) => log.hold(number, true, author).await?,
        None => log.hold(number, false, author).await?,
    };
    let now = entry.state.versions.get(&number);
    let value = json!({"model": model.full_name(), "seq": entry.seq, "version": now});
    argument.output.print(&value, |_| {
        let name = format!("{} version {number} ({})", model.full_name(), version.digest);
        match word {
            Some(Word::Approve) => format!("{name} is approved by {}{}", author.actor, in_all(now)),
            Some(Word::Reject) => format!("{name} is rejected by {}{}", author.actor, in_all(now)),
            Some(Word::Hold) => format!("{name} is under a legal hold: nothing deletes it"),
            None => format!("{name} has no legal hold any more"),
        }
    })?;
    Ok(Code::Done)
}

/// What the verdicts of all people come to.
fn in_all(version: Option<&Version>) -> String {
    match version.map(|version| (version.rejected(), version.approvals().len())) {
        None => String::new(),
        Some((true, _)) => "\nAs long as anybody's last word on it is no, it counts as rejected.".to_owned(),
        Some((false, n)) => format!("\nIt has {}.", words::count(n, "approval")),
    }
}
