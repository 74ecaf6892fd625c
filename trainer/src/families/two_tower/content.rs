//! Features of items: hashed texts and categories as pooled embeddings, rolling counts as numbers.
//!
//! What it does not do: hashing and decay are `fairway_model::features`; items keep what they had at the end of training.

use std::collections::BTreeMap;

use fairway_model::features::{CATEGORY_BUCKETS, category_bucket, hashed_tokens};
use fairway_model::{Interactions, ItemFeatureKind, Vocabulary};
use rand_chacha::ChaCha8Rng;

use super::SPREAD;
use super::table::{Bags, Table};
use crate::families::Inputs;

/// One text or category: its buckets' embeddings, and the buckets of each item with their shares.
struct Hashed {
    table: Table,
    buckets: Vec<Vec<(u32, f32)>>,
}

/// All features of all items of a model.
pub(super) struct Content {
    /// Their pooled embeddings are added up.
    hashed: Vec<Hashed>,
    /// Numbers of each item, one column a feature.
    numbers: Vec<Vec<f32>>,
    dim: usize,
}

impl Content {
    /// `kept` are the data's items that the model knows, in the order of `items`.
    pub(super) fn new(
        inputs: &Inputs<'_>,
        items: &Vocabulary,
        kept: &[u32],
        dim: usize,
        random: &mut ChaCha8Rng,
    ) -> Self {
        let mut content = Self { hashed: Vec::new(), numbers: Vec::new(), dim };
        for feature in &inputs.features.item {
            let text = |item: &str| {
                inputs.items.0.get(item).and_then(|texts: &BTreeMap<String, String>| texts.get(&feature.name))
            };
            match &feature.kind {
                ItemFeatureKind::Text { buckets } => {
                    let of = |item: &str| mean_of(text(item).map(|text| hashed_tokens(text, *buckets)));
                    content.hash(*buckets, items.iter().map(of).collect(), random);
                }
                ItemFeatureKind::Category {} => {
                    let of = |item: &str| mean_of(text(item).map(|text| vec![category_bucket(text, CATEGORY_BUCKETS)]));
                    content.hash(CATEGORY_BUCKETS, items.iter().map(of).collect(), random);
                }
                kind @ ItemFeatureKind::Rolling { .. } => content.numbers.push(rolling(kind, inputs.data, kept)),
            }
        }
        content
    }

    fn hash(&mut self, buckets: u32, of_items: Vec<Vec<(u32, f32)>>, random: &mut ChaCha8Rng) {
        self.hashed.push(Hashed { table: Table::new(buckets as usize, self.dim, SPREAD, random), buckets: of_items });
    }

    /// Length of an item's row; 0 without features.
    pub(super) fn width(&self) -> usize {
        self.pooled_width() + self.numbers.len()
    }

    fn pooled_width(&self) -> usize {
        if self.hashed.is_empty() { 0 } else { self.dim }
    }

    /// The rows of some items, row-major: pooled embeddings, then numbers.
    pub(super) fn inputs(&self, items: &[u32]) -> Vec<f32> {
        let pools: Vec<Vec<f32>> = self.hashed.iter().map(|hashed| hashed.table.pool(&hashed.bags(items))).collect();
        let mut rows = Vec::with_capacity(items.len() * self.width());
        for (at, &item) in items.iter().enumerate() {
            let column = |column: usize| pools.iter().map(|pool| pool[at * self.dim + column]).sum::<f32>();
            rows.extend((0..self.pooled_width()).map(column));
            rows.extend(self.numbers.iter().map(|numbers| numbers[item as usize]));
        }
        rows
    }

    /// One step, of the gradients at the rows of [`inputs`](Self::inputs).
    pub(super) fn step(&mut self, items: &[u32], gradients: &[f32], rate: f32) {
        if self.hashed.is_empty() {
            return;
        }
        let (pooled, _) = super::split_columns(gradients, self.dim, self.numbers.len());
        for hashed in &mut self.hashed {
            let bags = hashed.bags(items);
            hashed.table.step(&bags, &pooled, rate);
        }
    }
}

impl Hashed {
    fn bags(&self, items: &[u32]) -> Bags {
        Bags::of(items.iter().map(|&item| self.buckets[item as usize].clone()))
    }
}

/// Equal shares of all buckets.
fn mean_of(buckets: Option<Vec<u32>>) -> Vec<(u32, f32)> {
    let buckets = buckets.unwrap_or_default();
    let share = 1.0 / buckets.len().max(1) as f32;
    buckets.into_iter().map(|bucket| (bucket, share)).collect()
}

/// ln(1 + decayed count) of each kept item at the end of the data, over the greatest of them.
fn rolling(kind: &ItemFeatureKind, data: &Interactions, kept: &[u32]) -> Vec<f32> {
    let now = data.time_ms.last().copied().unwrap_or(0);
    let mut counts = vec![0.0_f64; data.items.len()];
    for row in 0..data.len() {
        counts[data.item[row] as usize] += kind.rolling_weight(now - data.time_ms[row]);
    }
    let logs: Vec<f64> = kept.iter().map(|&item| counts[item as usize].ln_1p()).collect();
    let most = logs.iter().fold(0.0_f64, |most, &x| most.max(x)).max(f64::MIN_POSITIVE);
    logs.into_iter().map(|x| (x / most) as f32).collect()
}
