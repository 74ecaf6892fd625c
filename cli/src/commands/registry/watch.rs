//! `fairway registry watch`: follows the logs of models, prints each new entry, and sends it to a webhook in order and
//! at least once. What an entry becomes is in `fairway_registry::events`; here are the arguments, `follower` goes along
//! the logs, `delivery` sends, and `cursor` keeps how far it came. It writes nothing to the registry.

mod cursor;
mod delivery;
mod follower;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use fairway_registry::events::{SECRETS_MAX, Secret};
use fairway_registry::{Access, Error};
use tokio_util::sync::CancellationToken;

use self::cursor::Cursor;
use self::delivery::Webhook;
use self::follower::Follower;
use super::find::open;
use crate::args::{ModelName, RegistryArgument};
use crate::commands::up::Signals;
use crate::exit::{Code, Invalid};

const POLL: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);
const SECRET_FILE_BYTES_MAX: u64 = 4_096;

/// Follow what happens, and tell a webhook
///
/// Prints each new entry of the models' logs until Ctrl-C; as JSON, one CloudEvent a line. With
/// --webhook each is also sent there as a signed CloudEvent: in the order of its log, again and again
/// until the receiver takes it, and after a restart from where --cursor says. Only what was taken
/// moves the cursor, so that an event may come twice and none is left out.
///
/// Example:  fairway registry watch shop/recs
///
/// Example:  fairway registry watch --webhook https://ci.example/hook --secret-file secret --cursor cursor
#[derive(Debug, Args)]
pub struct Watch {
    /// The model [default: all, also those to come]
    pub model: Option<ModelName>,
    /// Begin after this entry; 0: with the first. What --cursor says goes before it [default: the newest entry]
    #[arg(long, value_name = "SEQ")]
    pub since: Option<u64>,
    /// Stop when everything there is was handled, instead of waiting for more
    #[arg(long)]
    pub once: bool,
    /// Send each entry to this http or https URL
    #[arg(long, value_name = "URL", requires_all = ["secret_file", "cursor"])]
    pub webhook: Option<String>,
    /// Secrets to sign with, one a line: `whsec_` and the base64 of 24 to 64 random bytes
    #[arg(long, value_name = "FILE", requires = "webhook")]
    pub secret_file: Option<PathBuf>,
    /// Where to keep how far each model was handled; each watch needs a file of its own
    #[arg(long, value_name = "FILE")]
    pub cursor: Option<PathBuf>,
    /// How often to look, from 100ms to 1h: one request for each model
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub poll: fairway_api::values::Duration,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

/// Watches until it is stopped, or with `--once` until there is nothing more.
///
/// # Errors
/// An argument is wrong, the registry cannot be read at the start or is damaged, the cursor cannot be kept, or the
/// receiver refuses an event for good. Nothing is skipped: the cursor stays before what was refused.
pub async fn run(watch: Watch) -> Result<Code> {
    let poll = watch.poll.std();
    if !POLL.contains(&poll) {
        bail!(Invalid("--poll: from 100ms to 1h".to_owned()));
    }
    if watch.model.is_none() && watch.since.is_some_and(|since| since > 0) {
        bail!(Invalid(
            "--since counts the entries of one model: name it, or begin all of them with --since 0".to_owned()
        ));
    }
    let webhook = match (&watch.webhook, &watch.secret_file) {
        (Some(url), Some(file)) => Some(Webhook::new(url, secrets(file)?)?),
        _ => None,
    };
    let registry = open(&watch.registry, Access::Read).await?;
    let stop = CancellationToken::new();
    let follower = Follower {
        cursor: Cursor::open(watch.cursor.as_deref(), registry.url())?,
        registry,
        webhook,
        output: watch.registry.output,
        since: watch.since,
        once: watch.once,
        poll,
        stop: stop.clone(),
    };
    let mut signals = Signals::new()?;
    let follow = Arc::new(follower).follow(watch.model.as_ref());
    tokio::pin!(follow);
    tokio::select! {
        followed = &mut follow => followed?,
        () = signals.stop() => {
            // What is out is waited for, so that the cursor is right.
            stop.cancel();
            follow.await?;
        }
    }
    Ok(Code::Done)
}

fn secrets(file: &Path) -> Result<Vec<Secret>> {
    let missing = || Invalid(format!("--secret-file: {} does not exist", file.display()));
    let bytes = cursor::read(file, SECRET_FILE_BYTES_MAX)?.ok_or_else(missing)?;
    let text = String::from_utf8(bytes).ok().with_context(|| format!("{} is not text", file.display()))?;
    let wrong = |error: Error| Invalid(format!("{}: {error}", file.display()));
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let secrets = lines.map(|line| line.parse().map_err(wrong)).collect::<Result<Vec<Secret>, Invalid>>()?;
    if secrets.is_empty() || secrets.len() > SECRETS_MAX {
        bail!(Invalid(format!("{}: must hold 1 to {SECRETS_MAX} secrets, one a line", file.display())));
    }
    Ok(secrets)
}
