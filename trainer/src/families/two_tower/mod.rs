//! Two towers trained by sampled softmax with logQ correction (Yi et al., RecSys 2019; Covington et al., RecSys 2016).
//!
//! User: the mean of the history's embeddings by recency, and the segment's, through a small network. Item: an embedding
//! of its own plus a linear map of its features. Tables are ours and are updated by row; only the small dense layers are
//! Burn's, so that a step costs what the batch costs, whatever the size of the catalogue.

mod content;
mod examples;
mod settings;
mod softmax;
mod table;
mod towers;

use std::any::Any;

use fairway_model::{
    FeatureDefinitions, Interactions, Recommender, TwoTower, TwoTowerParts, UserFeatureKind, Vocabulary,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use settings::TwoTowerSettings;

use super::{Inputs, users_of_items};
use crate::error::TrainError;
use crate::progress::{CancelFlag, Progress};
use content::Content;
use examples::{Batch, Examples};
use table::{Bags, Table};
use towers::Towers;

/// Width of a segment's embedding.
const SEGMENT_DIM: usize = 8;
/// Half-life of the history when no recency feature says otherwise: 30 days.
const HALF_LIFE_MS: i64 = 30 * 86_400_000;
/// Bounds of fresh embeddings.
const SPREAD: f32 = 0.05;
/// The dense layers learn this much slower than the tables, whose rows are seldom touched.
const DENSE_RATE: f64 = 0.04;

/// Everything that is learned.
struct Learner {
    history: Table,
    segments: Table,
    items: Table,
    content: Content,
    towers: Towers,
    settings: TwoTowerSettings,
}

/// Trains. With the same arguments and threads the result has the same bits.
pub(super) fn fit(
    settings: &TwoTowerSettings,
    inputs: Inputs<'_>,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<TwoTower, TrainError> {
    let Inputs { data, features, .. } = inputs;
    let counts = users_of_items(data);
    let kept: Vec<u32> = (0..counts.len() as u32).filter(|&item| counts[item as usize] >= settings.min_users).collect();
    let items = Vocabulary::from_names(kept.iter().map(|&item| data.items.name(item)));
    let half_life_ms = features.user.iter().find_map(|feature| match feature.kind {
        UserFeatureKind::Recency { half_life } => Some(half_life.0),
        UserFeatureKind::Category {} => None,
    });
    let examples = Examples::new(data, &kept, half_life_ms.unwrap_or(HALF_LIFE_MS));
    if examples.len() == 0 {
        return Err(TrainError::TooLittle {
            what: format!("no interaction is with an item of {} users (minUsers)", settings.min_users),
            cure: "lower minUsers, or lengthen data.history",
        });
    }
    let mut learner = Learner::new(settings, &inputs, &items, &kept);
    let champion = inputs.from.and_then(|champion| warm(settings, features, champion).ok());
    if let Some(champion) = champion {
        learner.take_over(champion, &items, &data.segments);
    }
    let epochs = settings.epochs(champion.is_some());
    for epoch in 0..epochs {
        let mut random = ChaCha8Rng::seed_from_u64(inputs.seed);
        random.set_stream(1 + u64::from(epoch));
        let mut loss = 0.0;
        for chosen in examples.shuffled(&mut random).chunks(settings.batch_size) {
            TrainError::unless_cancelled(cancel, &format!("training epoch {}", epoch + 1))?;
            let batch = examples.batch(chosen, settings.batch_size);
            loss += learner.step(&batch)? * chosen.len() as f64;
        }
        let loss = loss / examples.len() as f64;
        progress.note(&format!("two-tower: epoch {} of {epochs}, loss {loss:.4}", epoch + 1));
        progress.advance(1);
    }
    learner.export(data, items, examples.half_life_ms())
}

/// The model to begin from, if its tables and layers are as wide as those of this fit.
pub(super) fn warm<'a>(
    settings: &TwoTowerSettings,
    features: &FeatureDefinitions,
    from: &'a dyn Recommender,
) -> Result<&'a TwoTower, String> {
    let Some(model) = (from as &dyn Any).downcast_ref::<TwoTower>() else {
        return Err(format!("the champion is of the family {}", from.family()));
    };
    let parts = model.parts();
    let layers: Vec<(usize, usize)> = parts.layers.iter().map(|layer| (layer.inputs, layer.outputs)).collect();
    let (dim, hidden, segment_dim) = (settings.dim, settings.hidden, segment_dim(features));
    let same = (parts.dim, parts.history_dim, parts.segment_dim) == (dim, dim, segment_dim)
        && layers == [(dim + segment_dim, hidden), (hidden, dim)];
    if !same {
        return Err("the champion has another dim, hidden or another feature of users' segments".to_owned());
    }
    Ok(model)
}

fn segment_dim(features: &FeatureDefinitions) -> usize {
    let by_segment = features.user.iter().any(|feature| feature.kind == UserFeatureKind::Category {});
    if by_segment { SEGMENT_DIM } else { 0 }
}

impl Learner {
    fn new(settings: &TwoTowerSettings, inputs: &Inputs<'_>, items: &Vocabulary, kept: &[u32]) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(inputs.seed);
        let segment_dim = segment_dim(inputs.features);
        let dim = settings.dim;
        let history = Table::new(items.len(), dim, SPREAD, &mut random);
        let segments = Table::new(inputs.data.segments.len() + 1, segment_dim, SPREAD, &mut random);
        let own = Table::new(items.len(), dim, SPREAD, &mut random);
        let content = Content::new(inputs, items, kept, dim, &mut random);
        let towers = Towers::new(dim, segment_dim, settings.hidden, content.width(), &mut random);
        Self { history, segments, items: own, content, towers, settings: *settings }
    }

    /// Begins from a model that [`warm`] accepts: what it knows of an item or a segment that is still there, by name. What
    /// is new begins as it does in a fit from nothing. Scores are the model's own until the first step: an item's
    /// embedding is what its vector has beyond the map of its features, which is not in a bundle and begins anew.
    fn take_over(&mut self, model: &TwoTower, items: &Vocabulary, segments: &Vocabulary) {
        let parts = model.parts();
        let content = self.towers.content(self.content.inputs(&all(items.len())), items.len());
        for (row, name) in items.iter().enumerate() {
            let Some(known) = model.items().get(name) else { continue };
            let of = |values: &[f32], width: usize, at: usize| values[at * width..][..width].to_vec();
            let mut own = of(&parts.item_vectors, parts.dim, known as usize);
            own.iter_mut().zip(&content[row * parts.dim..]).for_each(|(own, content)| *own -= content);
            self.items.take_over(row, own);
            self.history.take_over(row, of(&parts.history_embedding, parts.history_dim, known as usize));
        }
        let of_segment = |at: usize| parts.segment_embedding[at * parts.segment_dim..][..parts.segment_dim].to_vec();
        self.segments.take_over(0, of_segment(0));
        for (row, name) in segments.iter().enumerate() {
            if let Some(known) = model.segments().get(name) {
                self.segments.take_over(1 + row, of_segment(1 + known as usize));
            }
        }
        self.towers.take_over(&parts.layers);
    }

    /// One batch; its mean loss.
    fn step(&mut self, batch: &Batch) -> Result<f64, TrainError> {
        let settings = self.settings;
        let rate = settings.learning_rate as f32;
        let users = self.user_inputs(&batch.history, &batch.segments);
        let own = Bags::of_singles(&batch.items);
        let forward = self.towers.forward(users, self.content.inputs(&batch.items), batch.items.len());
        let mut vectors = self.items.pool(&own);
        vectors.iter_mut().zip(&forward.content).for_each(|(vector, content)| *vector += content);
        let scored = softmax::loss_and_gradients(&forward.users, &vectors, settings.dim, settings.temperature, batch);
        if !scored.loss.is_finite() {
            return Err(TrainError::Diverged {
                what: "the loss is not a number".to_owned(),
                cure: "lower learningRate",
            });
        }
        let leaves = self.towers.backward(forward, &scored, settings.learning_rate * DENSE_RATE);
        let (history, segments) = split_columns(&leaves.users, settings.dim, self.segments.width());
        self.history.step(&batch.history, &history, rate);
        self.segments.step(&batch.segments, &segments, rate);
        self.items.step(&own, &scored.items, rate);
        self.content.step(&batch.items, &leaves.content, rate);
        Ok(scored.loss)
    }

    /// Rows of pooled history followed by the segment's embedding.
    fn user_inputs(&self, history: &Bags, segments: &Bags) -> Vec<f32> {
        let (pooled, of_segment) = (self.history.pool(history), self.segments.pool(segments));
        let width = self.segments.width();
        let mut rows = Vec::with_capacity(pooled.len() + of_segment.len());
        for (at, row) in pooled.chunks_exact(self.history.width()).enumerate() {
            rows.extend_from_slice(row);
            rows.extend_from_slice(&of_segment[at * width..][..width]);
        }
        rows
    }

    /// Vectors of all items, in their order.
    fn item_vectors(&self, count: usize) -> Vec<f32> {
        let all = all(count);
        let content = self.towers.content(self.content.inputs(&all), count);
        let mut vectors = self.items.pool(&Bags::of_singles(&all));
        vectors.iter_mut().zip(content).for_each(|(vector, content)| *vector += content);
        vectors
    }

    fn export(self, data: &Interactions, items: Vocabulary, half_life_ms: i64) -> Result<TwoTower, TrainError> {
        let parts = TwoTowerParts {
            dim: self.settings.dim,
            item_vectors: self.item_vectors(items.len()),
            history_dim: self.history.width(),
            history_embedding: self.history.into_values(),
            segment_dim: self.segments.width(),
            segment_embedding: self.segments.into_values(),
            layers: self.towers.layers(),
            temperature: self.settings.temperature,
            half_life_ms,
        };
        Ok(TwoTower::new(items, data.segments.clone(), parts)?)
    }
}

/// All items of a model.
fn all(count: usize) -> Vec<u32> {
    (0..count as u32).collect()
}

/// The first `left` and the last `right` columns of rows.
fn split_columns(rows: &[f32], left: usize, right: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for row in rows.chunks_exact(left + right) {
        first.extend_from_slice(&row[..left]);
        last.extend_from_slice(&row[left..]);
    }
    (first, last)
}

#[cfg(test)]
mod tests;
