//! What cannot be asked of experiments: the field, the number against its limit, and the cure.

use fairway_wire::Weight;
use thiserror::Error;

use crate::policy::PolicyError;

/// What cannot be asked, and what can.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ExperimentError {
    /// A name that cannot be part of a salt.
    #[error(
        "experiment {experiment}: {field} {name:?} must be 1 to 63 of a-z, 0-9 and `-`, and begin with a letter: \
         it is part of the hash that assigns users"
    )]
    Name {
        /// The experiment.
        experiment: String,
        /// The field.
        field: &'static str,
        /// As given.
        name: String,
    },
    /// Too few or too many of something.
    #[error("experiment {experiment}: {field} has {given}; {allowed}")]
    Count {
        /// The experiment.
        experiment: String,
        /// The field.
        field: &'static str,
        /// So many.
        given: usize,
        /// What is allowed.
        allowed: String,
    },
    /// An arm's weight of 0.
    #[error("experiment {experiment}: arms.{arm}.weight is 0: nobody would be in it; 1 or more, or leave the arm out")]
    ArmWeight {
        /// The experiment.
        experiment: String,
        /// The arm.
        arm: String,
    },
    /// Two arms of one name.
    #[error("experiment {experiment}: two arms are called {arm}: rename one")]
    DuplicateArm {
        /// The experiment.
        experiment: String,
        /// Their name.
        arm: String,
    },
    /// A control that is no arm.
    #[error("experiment {experiment}: control {control} is none of its arms ({arms}): name one of them")]
    Control {
        /// The experiment.
        experiment: String,
        /// As given.
        control: String,
        /// The arms.
        arms: String,
    },
    /// A value that says nothing.
    #[error("experiment {experiment}: {field} is empty: {cure}")]
    Empty {
        /// The experiment.
        experiment: String,
        /// The field.
        field: &'static str,
        /// What to do.
        cure: &'static str,
    },
    /// A tolerance that cannot be used.
    #[error("experiment {experiment}: gates.{gate}.tolerance: {source}")]
    Tolerance {
        /// The experiment.
        experiment: String,
        /// The guardrail.
        gate: String,
        /// Why.
        source: PolicyError,
    },
    /// Two experiments of one name.
    #[error("two experiments are called {0}: rename one")]
    Duplicate(String),
    /// More than all users.
    #[error(
        "layer {layer}: share of {experiment} is {asked}, but {free} is free beside {others}: lower a share, wait until \
         one has ended, or use another layer (its users are then in both)"
    )]
    LayerFull {
        /// The layer.
        layer: String,
        /// The experiment that does not fit.
        experiment: String,
        /// Its share.
        asked: Weight,
        /// What is left.
        free: Weight,
        /// The others with their shares.
        others: String,
    },
    /// Arms of an experiment that has users.
    #[error(
        "experiment {0}: arms changed while it has users, who would move from arm to arm: undo the change, or end it and \
         start one under a new name"
    )]
    ArmsChanged(String),
    /// Another layer for an experiment that has users.
    #[error(
        "experiment {experiment}: layer changed from {from} to {to} while it has users, who would all change: undo the \
         change, or end it and start one under a new name"
    )]
    LayerChanged {
        /// The experiment.
        experiment: String,
        /// Its layer.
        from: String,
        /// As asked.
        to: String,
    },
    /// Nobody is left.
    #[error("holdback is 100 %: nobody is left for experiments; lower it")]
    Holdback,
    /// A layer in too many pieces.
    #[error(
        "layer {layer}: what is free is in more than {ranges} pieces, too many for {experiment}: end an experiment of the \
         layer, or use another layer"
    )]
    Fragmented {
        /// The layer.
        layer: String,
        /// The experiment.
        experiment: String,
        /// Most ranges of one experiment.
        ranges: usize,
    },
}
