//! What the towers learn from: at each first consumption of an item, the user's history before it.
//!
//! An item consumed again is no example, since what a user had is never recommended. History is what lies strictly
//! before, because a server does not know the rest of the basket.

use fairway_model::features::{HISTORY_POOL_MAX, history_pool};
use fairway_model::{Interactions, NONE, Seen};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::table::Bags;
use crate::split::{ByUser, by_user};

/// Most examples; of more, the newest.
const EXAMPLES_MAX: usize = 20_000_000;

/// One example: the user's row in which the item was first met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Example {
    user: u32,
    /// Position within the user's rows.
    at: u32,
}

/// All examples over the data they are made of.
pub(super) struct Examples<'a> {
    data: &'a Interactions,
    by_user: ByUser,
    /// Index of the model by item of the data, or [`NONE`].
    to_model: Vec<u32>,
    examples: Vec<Example>,
    /// How many examples have each item of the model.
    counts: Vec<u32>,
    half_life_ms: i64,
}

/// Some examples, ready to be scored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    /// What each example's history gives.
    pub(super) history: Bags,
    /// Each example's segment: row 0 is none.
    pub(super) segments: Bags,
    /// The different items of the batch, ascending.
    pub(super) items: Vec<u32>,
    /// Each example's item, as a position in `items`.
    pub(super) positives: Vec<u32>,
    /// ln of the probability that each of `items` is in a batch of this size.
    pub(super) log_q: Vec<f32>,
}

impl<'a> Examples<'a> {
    /// `kept` are the data's items that the model knows, ascending.
    pub(super) fn new(data: &'a Interactions, kept: &[u32], half_life_ms: i64) -> Self {
        let mut to_model = vec![NONE; data.items.len()];
        kept.iter().enumerate().for_each(|(index, &item)| to_model[item as usize] = index as u32);
        let by_user = by_user(data);
        let mut first: Vec<(i64, Example)> = Vec::new();
        let mut last_user = vec![NONE; data.items.len()];
        for user in 0..data.users.len() as u32 {
            for (at, &row) in by_user.rows(user).iter().enumerate() {
                let item = data.item[row as usize] as usize;
                if to_model[item] != NONE && last_user[item] != user {
                    last_user[item] = user;
                    first.push((data.time_ms[row as usize], Example { user, at: at as u32 }));
                }
            }
        }
        if first.len() > EXAMPLES_MAX {
            first.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
            first.truncate(EXAMPLES_MAX);
        }
        let examples: Vec<Example> = first.into_iter().map(|(_, example)| example).collect();
        let mut counts = vec![0; kept.len()];
        for example in &examples {
            let row = by_user.rows(example.user)[example.at as usize];
            counts[to_model[data.item[row as usize] as usize] as usize] += 1;
        }
        Self { data, by_user, to_model, examples, counts, half_life_ms }
    }

    pub(super) fn len(&self) -> usize {
        self.examples.len()
    }

    pub(super) fn half_life_ms(&self) -> i64 {
        self.half_life_ms
    }

    /// The numbers of all examples in a random order (Fisher and Yates).
    pub(super) fn shuffled(&self, random: &mut ChaCha8Rng) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.examples.len() as u32).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.random_range(0..=at as u64) as usize);
        }
        order
    }

    /// The chosen examples. `batch_size` is the usual size of a batch, which the sampling correction is for.
    pub(super) fn batch(&self, chosen: &[u32], batch_size: usize) -> Batch {
        let of = |number: &u32| self.examples[*number as usize];
        let rows: Vec<u32> = chosen.iter().map(of).map(|one| self.by_user.rows(one.user)[one.at as usize]).collect();
        let targets: Vec<u32> = rows.iter().map(|&row| self.to_model[self.data.item[row as usize] as usize]).collect();
        let mut items = targets.clone();
        items.sort_unstable();
        items.dedup();
        let position = |target: &u32| items.partition_point(|item| item < target) as u32;
        let pools: Vec<Vec<(u32, f32)>> = chosen
            .par_iter()
            .with_min_len(32)
            .map_init(|| vec![NONE; self.counts.len()], |met, number| self.pool(of(number), *number, met))
            .collect();
        let segment = |row: &u32| match self.data.segment[*row as usize] {
            NONE => 0,
            segment => segment + 1,
        };
        let total = self.examples.len() as f64;
        let log_q = |item: &u32| {
            // 1 - (1 - p)^n, also for tiny p.
            let p = (f64::from(self.counts[*item as usize]) / total).min(1.0 - 1e-12);
            (-f64::exp_m1(batch_size as f64 * f64::ln_1p(-p))).ln() as f32
        };
        Batch {
            history: Bags::of(pools),
            segments: Bags::of_singles(&rows.iter().map(segment).collect::<Vec<u32>>()),
            positives: targets.iter().map(position).collect(),
            log_q: items.iter().map(log_q).collect(),
            items,
        }
    }

    /// What the history strictly before an example gives, by the function that the server uses. `met` marks items by
    /// example.
    fn pool(&self, example: Example, number: u32, met: &mut [u32]) -> Vec<(u32, f32)> {
        let rows = self.by_user.rows(example.user);
        let now = self.data.time_ms[rows[example.at as usize] as usize];
        let mut history: Vec<Seen> = Vec::new();
        for &row in rows[..example.at as usize].iter().rev() {
            let row = row as usize;
            let item = self.to_model[self.data.item[row] as usize];
            if item == NONE || self.data.time_ms[row] >= now || met[item as usize] == number {
                continue;
            }
            met[item as usize] = number;
            history.push(Seen { item, time_ms: self.data.time_ms[row] });
            if history.len() == HISTORY_POOL_MAX {
                break;
            }
        }
        history.reverse();
        history_pool(&history, self.counts.len(), self.half_life_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_strictly_before_and_repeats_are_no_examples() {
        let mut rows = Interactions::builder();
        for (user, item, time, segment) in [
            ("ann", "a", 0, None),
            ("ann", "b", 0, None),
            ("ann", "a", 5, None),
            ("ann", "c", 5, Some("uk")),
            ("bob", "rare", 1, None),
            ("bob", "c", 2, Some("fr")),
        ] {
            rows.push(user, item, time, 1.0, segment);
        }
        let data = rows.finish();
        // a, b, c are known.
        let examples = Examples::new(&data, &[0, 1, 2], 1_000);
        assert_eq!(examples.len(), 4);
        let batch = examples.batch(&[2, 0, 3], 2);
        assert_eq!(batch.items, [0, 2]);
        assert_eq!(batch.positives, [1, 0, 1]);
        // c after a and b of equal age; a after nothing; c after an item that is not known.
        assert_eq!(batch.history, Bags::of([vec![(0, 0.5), (1, 0.5)], vec![], vec![]]));
        assert_eq!(batch.segments, Bags::of_singles(&[2, 0, 1]));
        // c is in two of four examples: 1 - (1/2)^2.
        assert!((batch.log_q[1] - 0.75_f32.ln()).abs() < 1e-6);
    }
}
