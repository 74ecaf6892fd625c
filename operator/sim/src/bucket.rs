//! The modelled object store: create-only plan logs, windows, the registry's small state, runs. A create may be answered
//! with an error although it was applied, or fail without; a list may miss the newest. It decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::endpoint::{EndpointEffect, EndpointStatus};
use fairway_core::model::{ModelEffect, ModelStatus, RunEnd};
use fairway_wire::{Target, Window};
use jiff::Timestamp;

use crate::tape::Tape;

/// One entry of a plan log.
#[derive(Clone, Debug)]
pub struct Entry<Status, Effect> {
    /// Who wrote it: tells a controller its own.
    pub txn: u64,
    /// What is remembered.
    pub status: Arc<Status>,
    /// What is to be done.
    pub effects: Vec<Effect>,
    /// A person asked for something in this look.
    pub by_hand: bool,
}

/// How a create was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is there.
    Created,
    /// An error; it may be there or not.
    Doubtful,
    /// Somebody else's is there.
    Taken,
}

/// A numbered, create-only log.
pub type Log<Status, Effect> = Vec<Entry<Status, Effect>>;

/// A registered version, and what nobody but the world knows of it.
#[derive(Clone, Debug)]
pub struct Version {
    /// Number and digest.
    pub target: Target,
    /// The run that made it.
    pub run: String,
    /// Errors per thousand of its requests.
    pub errors: u32,
    /// What an exposure earns, in thousandths.
    pub earns: u32,
    /// It can be loaded.
    pub loads: bool,
    /// Its servers never say whether they are ready.
    pub hangs: bool,
    /// When its training ended: what it knows.
    pub knows_until: Timestamp,
}

/// A training run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Steps that are left; none if it does not execute.
    pub left: Option<u32>,
    /// How often it was begun to execute.
    pub begun: u32,
    /// How it ended: created once.
    pub outcome: Option<RunEnd>,
}

/// One model's part of the bucket.
#[derive(Clone, Debug, Default)]
pub struct ModelPart {
    /// Registered versions by number.
    pub versions: BTreeMap<u64, Version>,
    /// Aliases.
    pub aliases: BTreeMap<String, u64>,
    /// Runs by name.
    pub runs: BTreeMap<String, Run>,
    /// Plans.
    pub plans: Log<ModelStatus, ModelEffect>,
}

/// One endpoint's part of the bucket.
#[derive(Clone, Debug, Default)]
pub struct EndpointPart {
    /// Windows, in the order in which they arrived.
    pub windows: Vec<Window>,
    /// Plans.
    pub plans: Log<EndpointStatus, EndpointEffect>,
}

/// Entries of which more than their existence is kept.
const KEPT: usize = 3;

/// Creates entry `seq` (from 1) of a log.
pub fn append<S: Default, E>(
    log: &mut Log<S, E>,
    seq: usize,
    entry: Entry<S, E>,
    tape: &mut Tape,
    faults: u32,
) -> Answer {
    if tape.fault(faults) {
        return Answer::Doubtful;
    }
    if log.len() + 1 != seq {
        return if log.len() >= seq { Answer::Taken } else { Answer::Doubtful };
    }
    log.push(entry);
    if let Some(old) = log.len().checked_sub(KEPT + 1) {
        (log[old].status, log[old].effects) = (Arc::default(), Vec::new());
    }
    if tape.fault(faults) { Answer::Doubtful } else { Answer::Created }
}
