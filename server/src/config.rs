//! How a router is set up. Everything that may change while it runs is in the route, not here.

use std::sync::Arc;
use std::time::Duration;

use fairway_wire::{EventKind, FALLBACK, Rung};
use jiff::Timestamp;

/// What time it is: the system's, or a simulated one.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Settings of one router.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Name of this incarnation; a restarted router needs another one, because windows are counted from 0 again.
    pub replica: String,
    /// Length of a window; windows are aligned to multiples of it since 1970.
    pub window: Duration,
    /// The same while a canary has users: what harms them is to be seen soon.
    pub trial_window: Duration,
    /// How long after its end a window of a route that is past still takes late counts before it is handed out. One of the route
    /// in force is complete when it ends.
    pub lateness: Duration,
    /// How many items of each list are compared in pairs.
    pub k_pairs: usize,
    /// How long after an exposure feedback counts for it.
    pub reward_within: Duration,
    /// Most reward that one exposure can earn.
    pub reward_cap: f64,
    /// Which events count as consumption: they are the reward, the history and the popularity.
    pub reward_event: EventKind,
    /// Most exposures that wait for feedback; beyond it those of half of the users who are waited for are dropped, and counted.
    pub pending_max: usize,
    /// Most users whose history is kept; beyond it users who were not seen lately are forgotten.
    pub users_max: usize,
    /// Most items kept of a user's history; beyond it the oldest are forgotten.
    pub history_max: usize,
    /// Share of the decisions that is logged, 0 to 1.
    pub decision_sample: f64,
    /// How far back popularity reaches, in whole days.
    pub popularity_window: Duration,
    /// Who is asked, in this order, when the assigned version has no answer. What is popular everywhere answers after all others,
    /// named or not.
    pub fallback: Vec<Rung>,
}

impl Default for RouterConfig {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            replica: "router".to_owned(),
            window: Duration::from_secs(10),
            trial_window: Duration::from_secs(2),
            lateness: Duration::from_secs(5),
            k_pairs: 20,
            reward_within: Duration::from_secs(7 * DAY),
            reward_cap: 10.0,
            reward_event: EventKind::Purchase,
            pending_max: 1_000_000,
            users_max: 1_000_000,
            history_max: 500,
            decision_sample: 1.0,
            popularity_window: Duration::from_secs(30 * DAY),
            fallback: FALLBACK.to_vec(),
        }
    }
}

/// Most items that callers may make known by events; a version's own items always are.
pub(crate) const ITEMS_MAX: usize = 5_000_000;
/// Most segments that are told apart; users of further ones count as users without a segment.
pub(crate) const SEGMENTS_MAX: usize = 256;
/// How long a user's last good answer may be served again.
pub(crate) const CACHE_AGE_MS: i64 = 24 * 3_600_000;
/// Decisions that wait to be taken; further ones are dropped and counted.
pub(crate) const DECISIONS_MAX: usize = 100_000;
/// Closed windows that wait to be taken; beyond it the oldest are dropped, and their numbers are missing.
pub(crate) const WINDOWS_MAX: usize = 8_640;
/// Most bytes of JSON that they may take together.
pub(crate) const WINDOWS_BYTES: usize = 128 * 1024 * 1024;
/// Bytes of the windows in one answer to a poll, unless the first one has more: whoever asks waits for seconds only.
pub(crate) const ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Windows are short while a canary has users and no more than this many wait: a day of an outage is to fit into those.
pub(crate) const TRIAL_WINDOWS_MAX: usize = 60;
/// Identifiers of events that are remembered, so that repeats count once.
pub(crate) const EVENT_IDS_MAX: usize = 262_144;
/// How far in the future an event may lie, for clocks that differ.
pub(crate) const EVENT_AHEAD_MS: i64 = 60_000;
/// Time for all model calls of one request; keeps an answer within the server's limit for a request.
pub(crate) const MODELS_BUDGET: Duration = Duration::from_millis(1_500);
/// Unseen answers that may be computed at once.
pub(crate) const SHADOWS_MAX: usize = 64;

/// Milliseconds of a duration; beyond 292 million years it is held there.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The moment `ms` milliseconds after 1970; held within what a timestamp can say.
pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
