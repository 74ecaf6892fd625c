//! What every model family answers: a score for each of its items.
//!
//! What it does not do: it excludes nothing and sorts nothing; that is [`crate::top_k`].

use std::any::Any;
use std::path::Path;

use crate::error::Error;
use crate::vocabulary::Vocabulary;

/// One item of a user's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The item's index in the model's vocabulary.
    pub item: u32,
    /// When, in milliseconds since 1970 UTC.
    pub time_ms: i64,
}

/// What is known of the user who asks.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Oldest first. Items that the model does not know are left out; an index beyond its items is ignored.
    pub history: &'a [Seen],
    /// The user's segment by name; a name that the model does not know counts as none.
    pub segment: Option<&'a str>,
    /// Now, in milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// A fitted model. Who trains a successor from its weights finds the family's own type by [`Any`].
pub trait Recommender: Any + Send + Sync {
    /// `popularity`, `ease` or `two-tower`.
    fn family(&self) -> &'static str;

    /// The items that are scored, in the order of scores.
    fn items(&self) -> &Vocabulary;

    /// Overwrites `scores`, one for each of [`items`](Self::items); higher is better, and NaN means "never".
    ///
    /// Never panics: a slice that is too short gets what fits.
    fn score(&self, query: &Query<'_>, scores: &mut [f32]);

    /// Whether the model has anything to say of this user. Where it has not, all items tie, and the caller had better show
    /// what is popular.
    fn knows(&self, _query: &Query<'_>) -> bool {
        true
    }

    /// Writes the weights into `dir`: `weights.safetensors` in PyTorch layout and, for families that know segments,
    /// `segments.json`. The same model always gives the same bytes.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn save(&self, dir: &Path) -> Result<(), Error>;
}
