//! Goes along the logs of models and hands each entry on, one model independent of the other. What handing on is
//! (printing, or sending and printing) ends here; how often it is tried, and what is kept of it, does not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_registry::events::{CloudEvent, event};
use fairway_registry::{Entry, Error, ModelLog, Registry};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::cursor::Cursor;
use super::delivery::{Sent, Webhook, pause};
use crate::args::ModelName;
use crate::commands::registry::{find, words};
use crate::exit::Invalid;
use crate::output::{self, Output};

/// The most models that one watch follows.
const MODELS_MAX: usize = 1_000;
/// Entries read before the first of them is handled; each carries its model's whole state.
const BATCH: usize = 16;
/// How many polls pass before new models are looked for, which takes more requests.
const POLLS_PER_LOOK: u32 = 12;

/// A watch.
pub(super) struct Follower {
    pub(super) registry: Registry,
    pub(super) cursor: Arc<Cursor>,
    pub(super) webhook: Option<Webhook>,
    pub(super) output: Output,
    pub(super) since: Option<u64>,
    pub(super) once: bool,
    pub(super) poll: Duration,
    /// Whether it shall end.
    pub(super) stop: CancellationToken,
}

/// The models that are followed, and what follows them.
#[derive(Default)]
struct Followed {
    known: BTreeSet<(String, String)>,
    tasks: JoinSet<Result<()>>,
}

impl Follower {
    /// Follows the named model, or all of them, until it is stopped or one of them cannot go on.
    pub(super) async fn follow(self: Arc<Self>, name: Option<&ModelName>) -> Result<()> {
        let mut followed = Followed::default();
        let mut result = self.start(name, &mut followed).await;
        while result.is_ok() {
            let waiting = name.is_none() && !self.once && !self.stop.is_cancelled();
            tokio::select! {
                Some(ended) = followed.tasks.join_next() => {
                    result = ended.context("following a model broke off").flatten();
                }
                () = self.wait(self.poll * POLLS_PER_LOOK), if waiting => {
                    if !self.stop.is_cancelled() {
                        result = or_later(self.start(None, &mut followed).await);
                    }
                }
                else => break,
            }
        }
        // The others finish what is out, so that their cursors are right.
        self.stop.cancel();
        while followed.tasks.join_next().await.is_some() {}
        result
    }

    /// Begins to follow the models that are not followed yet.
    async fn start(self: &Arc<Self>, name: Option<&ModelName>, followed: &mut Followed) -> Result<()> {
        let mut models = match name {
            Some(name) => {
                let model = find::model(&self.registry, Some(name)).await?;
                vec![(model.namespace, model.name)]
            }
            None => self.registry.models().await?,
        };
        models.retain(|model| !followed.known.contains(model));
        if followed.known.len() + models.len() > MODELS_MAX {
            bail!(Invalid(format!("there are more than {MODELS_MAX} models: name the one to watch")));
        }
        let mut logs = Vec::new();
        let mut begin = BTreeMap::new();
        for (namespace, model) in &models {
            let log = self.registry.model(namespace, model)?;
            let path = format!("{namespace}/{model}");
            begin.insert(path.clone(), self.begin(&path, &log).await?);
            logs.push((namespace.clone(), log));
        }
        // All at once: a cursor that knew some of the models only would begin with the others in the wrong place.
        self.cursor.begin(begin, name.is_none()).await?;
        followed.known.extend(models);
        for (namespace, log) in logs {
            followed.tasks.spawn(self.clone().model(namespace, log));
        }
        Ok(())
    }

    /// After which entry to begin with a model.
    async fn begin(&self, path: &str, log: &ModelLog) -> Result<u64> {
        let newest = log.head().await?.map_or(0, |entry| entry.seq);
        let begin = match (self.cursor.get(path), self.since) {
            (Some(handled), _) => handled,
            // It came to be while all models were watched: all of it is new.
            (None, _) if self.cursor.all() => 0,
            (None, Some(since)) => since,
            (None, None) => newest,
        };
        if begin > newest {
            bail!(Invalid(format!(
                "{path}: the cursor or --since says {begin}, and the log ends at {newest}: is this the same registry, or \
                 an older copy of it? Begin anew with another --cursor and the right --since"
            )));
        }
        Ok(begin)
    }

    /// Follows one model.
    async fn model(self: Arc<Self>, namespace: String, log: ModelLog) -> Result<()> {
        let path = format!("{namespace}/{}", log.name());
        let mut handled = self.cursor.get(&path).unwrap_or(0);
        let mut before: Option<Entry> = None;
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let entries = match log.entries_after(handled, BATCH).await {
                Ok(entries) => entries,
                Err(error) if self.once || error.is_final() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!("{path}: {error}; it will be tried again");
                    self.wait(pause(failures, None)).await;
                    failures += 1;
                    continue;
                }
            };
            failures = 0;
            let is_all = entries.len() < BATCH;
            for entry in entries {
                let event = event(self.registry.url(), &namespace, log.name(), &entry);
                if self.stop.is_cancelled() || !self.handle(&path, before.as_ref(), &entry, &event).await? {
                    return Ok(());
                }
                handled = entry.seq;
                self.cursor.advance(&path, handled).await?;
                before = Some(entry);
            }
            if is_all && self.once {
                return Ok(());
            }
            if is_all {
                self.wait(self.poll).await;
            }
        }
        Ok(())
    }

    /// Sends and prints an entry; `false` when it was stopped before that was done.
    async fn handle(&self, path: &str, before: Option<&Entry>, entry: &Entry, event: &CloudEvent) -> Result<bool> {
        if let Some(webhook) = &self.webhook
            && webhook.deliver(event, &self.stop).await? == Sent::Stopped
        {
            return Ok(false);
        }
        let text = match self.output {
            Output::Table => line(path, before, entry),
            Output::Json => serde_json::to_string(event)?,
        };
        match writeln!(std::io::stdout(), "{text}") {
            // Whoever read has gone. That is no matter to a webhook; without one, nobody got this entry.
            Err(error) if error.kind() == ErrorKind::BrokenPipe && self.webhook.is_none() => {
                self.stop.cancel();
                Ok(false)
            }
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("writing to stdout"),
            _ => Ok(true),
        }
    }

    async fn wait(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// A look for new models that fails for now is made again later.
fn or_later(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.downcast_ref::<Error>().is_some_and(|error| !error.is_final()) => {
            tracing::warn!("looking for new models: {error}; it will be tried again");
            Ok(())
        }
        result => result,
    }
}

/// An entry in one line. What people wrote may not write on the terminal.
fn line(path: &str, before: Option<&Entry>, entry: &Entry) -> String {
    let (time, words) = (output::time(entry.time), words::operation(entry, before));
    let text = format!("{time}  {path} {}  {}  {words}: {}", entry.seq, entry.actor, entry.reason);
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
