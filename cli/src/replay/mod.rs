//! Recorded purchases, replayed as live traffic under simulated time, and four ways to retrain side by side.
//!
//! What was bought does not depend on what the replay shows, so all policies are scored on the same visits.

mod managed;
mod policies;
mod score;
mod visits;

use serde::Serialize;

pub use managed::run_managed;
pub use policies::{Family, calendar, frozen, monthly, run_fixed};
pub use score::Months;
pub use visits::{Visit, visits};

/// Most items of a list that count.
pub const K: usize = 20;

/// What the command prints.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// In the order frozen, monthly, calendar, managed.
    pub policies: Vec<Policy>,
}

/// One way to retrain, and how it did.
#[derive(Clone, Debug, Serialize)]
pub struct Policy {
    /// `frozen`, `monthly`, `calendar` or `managed`.
    pub name: &'static str,
    /// Trainings, the first one included.
    pub trainings: usize,
    /// Versions that became stable, the first one included.
    pub promotions: usize,
    /// Versions that were taken back.
    pub rollbacks: usize,
    /// Why it trained, promoted and took back.
    pub reasons: Vec<String>,
    /// By month.
    pub months: Vec<Month>,
}

/// One month of one policy.
#[derive(Clone, Debug, Serialize)]
pub struct Month {
    /// `2011-09`.
    pub month: String,
    /// Returning users who bought something new.
    pub users: usize,
    /// Hits over min(20, targets), mean over users.
    pub recall_at_20: f64,
    /// Normalized discounted cumulative gain at 20, mean over users.
    pub ndcg_at_20: f64,
}
