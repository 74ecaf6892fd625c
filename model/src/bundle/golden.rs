//! Golden requests: invented users with the answers that the trainer got. Who cannot reproduce them must not serve.
//!
//! What it does not do: no real user is in here.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::GOLDEN_FILE;
use crate::error::Error;
use crate::ranking::top_k;
use crate::recommender::{Query, Recommender, Seen};
use crate::vocabulary::Vocabulary;

/// Most requests of a bundle.
pub const GOLDEN_MAX: usize = 1000;
/// Longest history and longest answer.
const LENGTH_MAX: usize = 1000;
/// Items of an invented history are a day apart, the newest a day before the newest interaction of the training.
const APART_MS: i64 = 86_400_000;
/// How far a score may be off: relative to itself, and to the best of the answer for what cancels out.
const RELATIVE: f32 = 1e-4;
const OF_BEST: f32 = 1e-6;

/// A line of `golden.jsonl`: a request of an invented user and its answer.
///
/// The history is oldest first. It is excluded from the answer, and what the version does not know of it is ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldenRequest {
    // In alphabetical order, as the lines have them.
    #[serde(default)]
    answer: Vec<(String, Score)>,
    /// Item ids.
    #[serde(default)]
    pub history: Vec<String>,
    /// How many items are asked for.
    pub k: usize,
    /// The user's segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
}

/// A score; JSON has no infinities, so they are null.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Score(Option<f32>);

impl GoldenRequest {
    /// A request without an answer yet.
    pub fn new(history: Vec<String>, segment: Option<String>, k: usize) -> Self {
        Self { answer: Vec::new(), history, k, segment }
    }

    /// Requests of `count` invented users: histories of 0 to 20 items and, of every third, a segment; every seventh has
    /// an item that nobody knows. The same arguments give the same requests.
    pub fn invent(items: &Vocabulary, segments: &Vocabulary, count: usize, seed: u64) -> Vec<Self> {
        let draw = |user: usize, what: usize, below: usize| {
            let hash = xxh3_64_with_seed(format!("{user}/{what}").as_bytes(), seed);
            ((u128::from(hash) * below as u128) >> 64) as u32
        };
        let invent = |user: usize| {
            let length = if items.is_empty() { 0 } else { [0, 1, 2, 3, 5, 8, 20][user % 7] };
            let drawn = (0..length).map(|at| items.name(draw(user, at, items.len())).to_owned());
            let mut history: Vec<String> = drawn.collect();
            if user % 7 == 6 {
                history.push("an item that nobody knows".to_owned());
            }
            let segment = (user % 3 == 2 && !segments.is_empty())
                .then(|| segments.name(draw(user, LENGTH_MAX, segments.len())).to_owned());
            Self::new(history, segment, 20)
        };
        (0..count.min(GOLDEN_MAX)).map(invent).collect()
    }

    /// Items and scores, best first; infinite scores read as NaN. Empty before the bundle was written.
    pub fn answer(&self) -> impl ExactSizeIterator<Item = (&str, f32)> {
        self.answer.iter().map(|(item, score)| (item.as_str(), score.0.unwrap_or(f32::NAN)))
    }

    /// The history as a model with these items knows it, when it is asked at `now_ms`.
    pub fn seen(&self, items: &Vocabulary, now_ms: i64) -> Vec<Seen> {
        let length = self.history.len();
        let seen = |(at, name): (usize, &String)| {
            let age_ms = (length - at) as i64 * APART_MS;
            let item = items.get(name)?;
            Some(Seen { item, time_ms: now_ms.saturating_sub(age_ms) })
        };
        self.history.iter().enumerate().filter_map(seen).collect()
    }

    /// How another's answer, best first, differs from this request's, if it does.
    pub fn differs_from(&self, answer: &[(String, f32)]) -> Option<String> {
        let score = |score: f32| Score(Some(score).filter(|x| x.is_finite()));
        let answer = answer.iter().map(|(item, found)| (item.clone(), score(*found))).collect();
        self.differs(&Self { answer, ..self.clone() })
    }

    /// The same request with the answer of a model.
    pub(super) fn answered_by(&self, model: &dyn Recommender, now_ms: i64) -> Self {
        let items = model.items();
        let history = self.seen(items, now_ms);
        let mut scores = vec![0.0; items.len()];
        let segment = self.segment.as_deref();
        model.score(&Query { history: &history, segment, now_ms }, &mut scores);
        let mut best = Vec::new();
        let excluded = |item| history.iter().any(|seen| seen.item == item);
        top_k(&scores, excluded, self.k, &mut best);
        let named = best
            .iter()
            .map(|&(item, score)| (items.name(item).to_owned(), Score(Some(score).filter(|x| x.is_finite()))));
        Self { answer: named.collect(), ..self.clone() }
    }

    /// How the answer that was found differs from this one, if it does.
    pub(super) fn differs(&self, found: &Self) -> Option<String> {
        let (expected, found) = (&self.answer, &found.answer);
        if expected.len() != found.len() {
            return Some(format!("{} items where {} are expected", found.len(), expected.len()));
        }
        let best = expected.iter().filter_map(|(_, score)| score.0).fold(0.0, |best, x| x.abs().max(best));
        let pairs = expected.iter().zip(found).enumerate();
        let mut wrong = pairs.filter_map(|(place, ((item, score), (other, other_score)))| {
            let place = place + 1;
            if item != other {
                return Some(format!("`{other}` in place {place} where `{item}` is expected"));
            }
            let close = match (score.0, other_score.0) {
                (Some(a), Some(b)) => (a - b).abs() <= RELATIVE * a.abs().max(b.abs()) + OF_BEST * best,
                (a, b) => a.is_none() && b.is_none(),
            };
            let text = |score: &Score| score.0.map_or("infinite".to_owned(), |x| x.to_string());
            (!close).then(|| format!("`{item}` scores {} where {} is expected", text(other_score), text(score)))
        });
        wrong.next()
    }

    fn check(&self) -> Result<(), Error> {
        let longest = self.history.len().max(self.k).max(self.answer.len());
        if self.k > 0 && longest <= LENGTH_MAX {
            return Ok(());
        }
        Err(Error::Domain {
            name: "a golden request's k, history or answer".to_owned(),
            value: if self.k == 0 { "0".to_owned() } else { longest.to_string() },
            domain: "1 to 1000 items long",
        })
    }
}

/// The lines of `golden.jsonl`, with the answers of `model`.
pub(super) fn answered(requests: &[GoldenRequest], model: &dyn Recommender, now_ms: i64) -> Result<String, Error> {
    check_count(requests.len())?;
    let mut text = String::new();
    for request in requests {
        request.check()?;
        let line = serde_json::to_string(&request.answered_by(model, now_ms));
        text.push_str(&line.map_err(Error::json(GOLDEN_FILE))?);
        text.push('\n');
    }
    Ok(text)
}

/// The requests of `golden.jsonl`.
pub(super) fn parse(text: &[u8]) -> Result<Vec<GoldenRequest>, Error> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let mut requests = Vec::new();
    for line in lines.take(GOLDEN_MAX + 1) {
        let request: GoldenRequest = serde_json::from_slice(line).map_err(Error::json(GOLDEN_FILE))?;
        request.check()?;
        requests.push(request);
    }
    check_count(requests.len())?;
    Ok(requests)
}

fn check_count(count: usize) -> Result<(), Error> {
    if (1..=GOLDEN_MAX).contains(&count) {
        return Ok(());
    }
    Err(Error::Domain {
        name: "the number of golden requests".to_owned(),
        value: count.to_string(),
        domain: "1 to 1000, or nobody can tell whether the model answers as it should",
    })
}
