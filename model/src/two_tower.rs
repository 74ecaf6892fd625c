//! Two towers: items as vectors that were computed when the model was trained, users by a small network at each request.
//!
//! What it does not do: it trains nothing, and it has no item tower; a new item needs a new model.

use std::path::Path;

use crate::bundle::read_segments;
use crate::error::Error;
use crate::features::history_pool;
use crate::linear::{Linear, add_scaled, dot};
use crate::recommender::{Query, Recommender};
use crate::tensors::{self, Tensor, TensorFile};
use crate::vocabulary::Vocabulary;

const ITEM_VECTORS: &str = "item.vectors";
const HISTORY: &str = "user.history_embedding";
const SEGMENT: &str = "user.segment_embedding";
const TEMPERATURE: &str = "score.temperature";
const HALF_LIFE: &str = "user.recency_half_life_ms";
/// Most layers that are read.
const LAYERS_MAX: usize = 16;

/// Everything that was learned. The order of rows is that of the vocabularies; names are those of the tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoTowerParts {
    /// Length of item vectors and of the user vector.
    pub dim: usize,
    /// `item.vectors`, `[items, dim]`: the item tower's output.
    pub item_vectors: Vec<f32>,
    /// Length of a row of `history_embedding`.
    pub history_dim: usize,
    /// `user.history_embedding`, `[items, history_dim]`: what an item in a history gives to the user tower.
    pub history_embedding: Vec<f32>,
    /// Length of a row of `segment_embedding`; 0 when segments are not used.
    pub segment_dim: usize,
    /// `user.segment_embedding`, `[1 + segments, segment_dim]`: row 0 is for unknown segments, row 1 + i for segment i.
    pub segment_embedding: Vec<f32>,
    /// `user.layers.<i>.weight` (`[out, in]`) and `.bias`, ReLU between them. The first takes the pooled history followed
    /// by the segment's row, the last gives the user vector.
    pub layers: Vec<Linear>,
    /// `score.temperature`: scores are dot products divided by it.
    pub temperature: f32,
    /// `user.recency_half_life_ms`: after how long an item of the history counts half.
    pub half_life_ms: i64,
}

impl TwoTowerParts {
    fn check(&self, items: &Vocabulary, segments: &Vocabulary) -> Result<(), Error> {
        let size = |rows: usize, columns: usize| rows.saturating_mul(columns);
        Error::expect_len(ITEM_VECTORS, self.item_vectors.len(), size(items.len(), self.dim))?;
        Error::expect_len(HISTORY, self.history_embedding.len(), size(items.len(), self.history_dim))?;
        let rows = segments.len() + 1;
        Error::expect_len(SEGMENT, self.segment_embedding.len(), size(rows, self.segment_dim))?;
        let domain = |name: &str, value: String, domain| Err(Error::Domain { name: name.to_owned(), value, domain });
        if self.layers.is_empty() || self.layers.len() > LAYERS_MAX {
            return domain("user.layers", self.layers.len().to_string(), "1 to 16 layers");
        }
        if self.temperature <= 0.0 {
            return domain(TEMPERATURE, self.temperature.to_string(), "positive");
        }
        if self.half_life_ms <= 0 {
            return domain(HALF_LIFE, self.half_life_ms.to_string(), "positive");
        }
        let mut inputs = self.history_dim + self.segment_dim;
        for (index, layer) in self.layers.iter().enumerate() {
            let name = format!("user.layers.{index}");
            layer.check(&name)?;
            Error::expect_len(&format!("{name}.weight (inputs)"), layer.inputs, inputs)?;
            inputs = layer.outputs;
        }
        Error::expect_len("the user vector", inputs, self.dim)
    }
}

/// A trained two-tower model.
#[derive(Clone, Debug)]
pub struct TwoTower {
    items: Vocabulary,
    segments: Vocabulary,
    parts: TwoTowerParts,
}

impl TwoTower {
    /// The family's name.
    pub const FAMILY: &str = "two-tower";

    /// A model from its parts.
    ///
    /// # Errors
    /// [`Error::Shape`] when an array does not fit the vocabularies or the layers do not fit each other,
    /// [`Error::Domain`] when temperature or half-life are not positive.
    pub fn new(items: Vocabulary, segments: Vocabulary, parts: TwoTowerParts) -> Result<Self, Error> {
        parts.check(&items, &segments)?;
        Ok(Self { items, segments, parts })
    }

    /// What was learned.
    pub fn parts(&self) -> &TwoTowerParts {
        &self.parts
    }

    /// The segments with a row of their own.
    pub fn segments(&self) -> &Vocabulary {
        &self.segments
    }

    /// The user tower: the vector whose dot products with item vectors, over the temperature, are the scores.
    pub fn user_vector(&self, query: &Query<'_>) -> Vec<f32> {
        let parts = &self.parts;
        let mut x = vec![0.0; parts.history_dim + parts.segment_dim];
        let (pooled, segment) = x.split_at_mut(parts.history_dim);
        for (item, share) in history_pool(query.history, self.items.len(), parts.half_life_ms) {
            let row = &parts.history_embedding[item as usize * parts.history_dim..][..parts.history_dim];
            add_scaled(pooled, row, share);
        }
        let known = query.segment.and_then(|name| self.segments.get(name));
        let row = known.map_or(0, |index| index as usize + 1);
        segment.copy_from_slice(&parts.segment_embedding[row * parts.segment_dim..][..parts.segment_dim]);
        let mut y = Vec::new();
        for (index, layer) in parts.layers.iter().enumerate() {
            if index > 0 {
                // Not `max`, which would turn NaN into 0 and hide a broken model.
                x.iter_mut().filter(|value| **value < 0.0).for_each(|value| *value = 0.0);
            }
            layer.forward(&x, &mut y);
            std::mem::swap(&mut x, &mut y);
        }
        x
    }

    /// Reads what [`Recommender::save`] wrote.
    pub(crate) fn read(dir: &Path, items: Vocabulary) -> Result<Self, Error> {
        let segments = read_segments(dir)?;
        let mut file = TensorFile::open(dir)?;
        let mut layers = Vec::new();
        while layers.len() <= LAYERS_MAX && file.shape(&layer_name(layers.len(), "weight")).is_some() {
            let weight = file.f32(&layer_name(layers.len(), "weight"), &[None, None])?;
            let (outputs, inputs) = (weight.shape[0], weight.shape[1]);
            let bias = file.f32(&layer_name(layers.len(), "bias"), &[Some(outputs)])?;
            layers.push(Linear { inputs, outputs, weight: weight.values, bias: bias.values });
        }
        let vectors = file.f32(ITEM_VECTORS, &[Some(items.len()), None])?;
        let history = file.f32(HISTORY, &[Some(items.len()), None])?;
        let segment = file.f32(SEGMENT, &[Some(segments.len() + 1), None])?;
        let parts = TwoTowerParts {
            dim: vectors.shape[1],
            item_vectors: vectors.values,
            history_dim: history.shape[1],
            history_embedding: history.values,
            segment_dim: segment.shape[1],
            segment_embedding: segment.values,
            layers,
            temperature: file.f32(TEMPERATURE, &[Some(1)])?.values[0],
            half_life_ms: file.i64(HALF_LIFE)?,
        };
        Self::new(items, segments, parts)
    }
}

fn layer_name(index: usize, part: &str) -> String {
    format!("user.layers.{index}.{part}")
}

impl Recommender for TwoTower {
    fn family(&self) -> &'static str {
        Self::FAMILY
    }

    fn items(&self) -> &Vocabulary {
        &self.items
    }

    fn score(&self, query: &Query<'_>, scores: &mut [f32]) {
        let user = self.user_vector(query);
        scores.fill(0.0);
        let vectors = self.parts.item_vectors.chunks_exact(self.parts.dim);
        for (score, vector) in scores.iter_mut().zip(vectors) {
            *score = dot(&user, vector) / self.parts.temperature;
        }
    }

    fn save(&self, dir: &Path) -> Result<(), Error> {
        let parts = &self.parts;
        let n = self.items.len();
        let rows = self.segments.len() + 1;
        let temperature = [parts.temperature];
        let mut tensors = vec![
            Tensor::f32(ITEM_VECTORS, vec![n, parts.dim], &parts.item_vectors),
            Tensor::f32(HISTORY, vec![n, parts.history_dim], &parts.history_embedding),
            Tensor::f32(SEGMENT, vec![rows, parts.segment_dim], &parts.segment_embedding),
            Tensor::f32(TEMPERATURE, vec![1], &temperature),
            Tensor::i64(HALF_LIFE, parts.half_life_ms),
        ];
        for (index, layer) in parts.layers.iter().enumerate() {
            let shape = vec![layer.outputs, layer.inputs];
            tensors.push(Tensor::f32(layer_name(index, "weight"), shape, &layer.weight));
            tensors.push(Tensor::f32(layer_name(index, "bias"), vec![layer.outputs], &layer.bias));
        }
        tensors::write_segments(dir, &self.segments)?;
        tensors::write(dir, &tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommender::Seen;

    const DAY: i64 = 86_400_000;

    fn noise(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 78.233 + seed).sin()).collect()
    }

    fn parts() -> TwoTowerParts {
        TwoTowerParts {
            dim: 9,
            item_vectors: noise(7 * 9, 1.0),
            history_dim: 10,
            history_embedding: noise(7 * 10, 2.0),
            segment_dim: 3,
            segment_embedding: noise(3 * 3, 3.0),
            layers: vec![
                Linear { inputs: 13, outputs: 17, weight: noise(13 * 17, 4.0), bias: noise(17, 5.0) },
                Linear { inputs: 17, outputs: 9, weight: noise(17 * 9, 6.0), bias: noise(9, 7.0) },
            ],
            temperature: 0.07,
            half_life_ms: 10 * DAY,
        }
    }

    fn new(parts: TwoTowerParts) -> Result<TwoTower, Error> {
        let items = Vocabulary::from_names(["a", "b", "c", "d", "e", "f", "g"]);
        TwoTower::new(items, Vocabulary::from_names(["fr", "uk"]), parts)
    }

    /// The definition, in f64 and without any of the crate's arithmetic.
    fn naive(parts: &TwoTowerParts, history: &[(usize, i64)], segment_row: usize, now: i64) -> Vec<f64> {
        let weights: Vec<f64> =
            history.iter().map(|&(_, time)| 2_f64.powf(-((now - time) as f64) / parts.half_life_ms as f64)).collect();
        let total: f64 = weights.iter().sum();
        let mut x: Vec<f64> = (0..10)
            .map(|d| {
                let sum =
                    history.iter().zip(&weights).map(|(&(i, _), w)| w * f64::from(parts.history_embedding[i * 10 + d]));
                if history.is_empty() { 0.0 } else { sum.sum::<f64>() / total }
            })
            .collect();
        x.extend((0..3).map(|d| f64::from(parts.segment_embedding[segment_row * 3 + d])));
        for (index, layer) in parts.layers.iter().enumerate() {
            let input = if index > 0 { x.iter().map(|v| v.max(0.0)).collect() } else { x };
            x = (0..layer.outputs)
                .map(|o| {
                    let row = &layer.weight[o * layer.inputs..];
                    let sum: f64 = input.iter().zip(row).map(|(v, w)| v * f64::from(*w)).sum();
                    sum + f64::from(layer.bias[o])
                })
                .collect();
        }
        let vector = |j: usize| (0..9).map(|d| x[d] * f64::from(parts.item_vectors[j * 9 + d])).sum::<f64>();
        (0..7).map(|j| vector(j) / f64::from(parts.temperature)).collect()
    }

    #[test]
    fn the_forward_pass_is_the_definition() {
        let model = new(parts()).unwrap();
        let histories: [&[(usize, i64)]; 3] =
            [&[], &[(3, 50 * DAY)], &[(6, 0), (1, 20 * DAY), (1, 45 * DAY), (4, 60 * DAY)]];
        for history in histories {
            for (segment, row) in [(None, 0), (Some("mars"), 0), (Some("fr"), 1), (Some("uk"), 2)] {
                let seen: Vec<Seen> =
                    history.iter().map(|&(item, time_ms)| Seen { item: item as u32, time_ms }).collect();
                let mut scores = [0.0; 7];
                model.score(&Query { history: &seen, segment, now_ms: 61 * DAY }, &mut scores);
                for (found, expected) in scores.iter().zip(naive(&parts(), history, row, 61 * DAY)) {
                    assert!((f64::from(*found) - expected).abs() < 1e-3, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn a_broken_network_says_so_in_its_scores() {
        let mut broken = parts();
        broken.layers[0].bias[2] = f32::NAN;
        let mut scores = [0.0; 7];
        let query = Query { history: &[], segment: None, now_ms: 0 };
        new(broken).unwrap().score(&query, &mut scores);
        assert!(scores.iter().all(|score| score.is_nan()));
    }

    #[test]
    fn parts_that_do_not_fit_are_named() {
        type Change<'a> = &'a dyn Fn(&mut TwoTowerParts);
        let cases: [(Change<'_>, &str); 9] = [
            (&|p| p.item_vectors.truncate(62), "item.vectors"),
            (&|p| p.history_embedding.push(0.0), "user.history_embedding"),
            (&|p| p.segment_embedding.truncate(6), "user.segment_embedding has 6 values where 9"),
            (&|p| p.layers.swap(0, 1), "user.layers.0.weight (inputs)"),
            (&|p| drop(p.layers.pop()), "the user vector"),
            (&|p| p.layers.clear(), "user.layers"),
            (&|p| p.layers[1].bias.clear(), "user.layers.1.bias"),
            (&|p| p.temperature = 0.0, "score.temperature"),
            (&|p| p.half_life_ms = 0, "user.recency_half_life_ms"),
        ];
        for (change, name) in cases {
            let mut changed = parts();
            change(&mut changed);
            let error = new(changed).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
