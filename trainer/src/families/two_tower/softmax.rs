//! Sampled softmax over the items of a batch with logQ correction, fused: logits, loss and both gradients in one pass.
//!
//! Every example is scored against every different item of its batch: `s = u·v / τ − ln q`, where q is the probability
//! that the item is in a batch at all. An item stands once, so no example has its own positive among its negatives.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;

use super::examples::Batch;

/// Examples of one task. Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 256;

/// What a batch says.
pub(super) struct Scored {
    /// Mean cross-entropy.
    pub(super) loss: f64,
    /// Its derivative by user vectors, row-major.
    pub(super) users: Vec<f32>,
    /// Its derivative by item vectors, row-major.
    pub(super) items: Vec<f32>,
}

/// Loss and gradients. `users` is `[batch, dim]`, `items` is `[different items, dim]`, both row-major.
pub(super) fn loss_and_gradients(users: &[f32], items: &[f32], dim: usize, temperature: f32, batch: &Batch) -> Scored {
    let count = batch.positives.len();
    let work = |(at, chunk): (usize, &[f32])| {
        let positives = &batch.positives[at * CHUNK..][..chunk.len() / dim];
        chunk_of(chunk, items, dim, temperature, positives, &batch.log_q, count)
    };
    let parts: Vec<Scored> = users.par_chunks(CHUNK * dim).enumerate().map(work).collect();
    let mut result = Scored { loss: 0.0, users: Vec::with_capacity(users.len()), items: vec![0.0; items.len()] };
    for part in parts {
        result.loss += part.loss;
        result.users.extend(part.users);
        result.items.iter_mut().zip(part.items).for_each(|(sum, value)| *sum += value);
    }
    result
}

/// A part of the batch; `count` is the size of the whole, over which losses are averaged.
fn chunk_of(
    users: &[f32],
    items: &[f32],
    dim: usize,
    temperature: f32,
    positives: &[u32],
    log_q: &[f32],
    count: usize,
) -> Scored {
    let (rows, columns) = (positives.len(), log_q.len());
    let user_rows = MatRef::from_row_major_slice(users, rows, dim);
    let item_rows = MatRef::from_row_major_slice(items, columns, dim);
    let mut logits = vec![0.0_f32; rows * columns];
    let whole = MatMut::from_row_major_slice_mut(&mut logits, rows, columns);
    matmul(whole, Accum::Replace, user_rows, item_rows.transpose(), 1.0 / temperature, Par::Seq);
    let mut loss = 0.0;
    for (row, &positive) in logits.chunks_exact_mut(columns).zip(positives) {
        loss += f64::from(softmax_gradient(row, positive as usize, log_q)) / count as f64;
    }
    let scale = 1.0 / (temperature * count as f32);
    let gradient = MatRef::from_row_major_slice(&logits, rows, columns);
    let mut by_user = vec![0.0_f32; users.len()];
    let mut by_item = vec![0.0_f32; items.len()];
    let out = MatMut::from_row_major_slice_mut(&mut by_user, rows, dim);
    matmul(out, Accum::Replace, gradient, item_rows, scale, Par::Seq);
    let out = MatMut::from_row_major_slice_mut(&mut by_item, columns, dim);
    matmul(out, Accum::Replace, gradient.transpose(), user_rows, scale, Par::Seq);
    Scored { loss, users: by_user, items: by_item }
}

/// Turns scores into softmax probabilities minus the one-hot positive; the cross-entropy.
fn softmax_gradient(row: &mut [f32], positive: usize, log_q: &[f32]) -> f32 {
    row.iter_mut().zip(log_q).for_each(|(score, log_q)| *score -= log_q);
    let most = row.iter().fold(f32::NEG_INFINITY, |most, &score| if score > most { score } else { most });
    let of_positive = row[positive] - most;
    row.iter_mut().for_each(|score| *score = exp(*score - most));
    let sum = lanes_sum(row);
    row.iter_mut().for_each(|p| *p /= sum);
    row[positive] -= 1.0;
    sum.ln() - of_positive
}

/// Σ in sixteen interleaved partial sums, which the compiler can make wide.
fn lanes_sum(values: &[f32]) -> f32 {
    let (whole, rest) = values.as_chunks::<16>();
    let mut sums = [0.0_f32; 16];
    for chunk in whole {
        for lane in 0..16 {
            sums[lane] += chunk[lane];
        }
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// e^x for x ≤ 0 within 2e-7 relative; 0 below −87. Branch-free, so that the compiler can make it wide: x = n ln 2 + r,
/// 2^n by the exponent bits, e^r by its Taylor polynomial of degree 6 (|r| ≤ ln 2 / 2).
fn exp(x: f32) -> f32 {
    /// Adding and taking away 1.5 · 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let n = clamped * std::f32::consts::LOG2_E + ROUND - ROUND;
    // ln 2 in two parts, the first exact in products with n.
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.0 / 120.0 + r * (1.0 / 720.0);
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * p))));
    let power = f32::from_bits((((n as i32) + 127) << 23) as u32);
    if x < -87.0 { 0.0 } else { p * power }
}

#[cfg(test)]
mod tests {
    use super::super::table::Bags;
    use super::*;

    #[test]
    fn the_exponential_is_close() {
        for i in 0..87_000 {
            let x = -(i as f32) / 1_000.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= 3e-7 * exact, "{x}: {} {exact}", exp(x));
        }
        assert_eq!((exp(0.0), exp(-100.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let (dim, count, columns) = (3, 300, 5);
        let wave = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
        let (users, items) = (wave(count * dim, 0.37), wave(columns * dim, 0.91));
        let batch = Batch {
            history: Bags::of([]),
            segments: Bags::of([]),
            items: (0..columns as u32).collect(),
            positives: (0..count as u32).map(|i| i % 5).collect(),
            log_q: vec![-0.1, -0.5, -1.0, -0.2, -0.3],
        };
        let loss = |users: &[f32], items: &[f32]| loss_and_gradients(users, items, dim, 0.5, &batch).loss;
        let found = loss_and_gradients(&users, &items, dim, 0.5, &batch);
        assert_eq!((found.users.len(), found.items.len()), (users.len(), items.len()));
        for at in 0..items.len() {
            let mut moved = items.clone();
            moved[at] += 1e-2;
            let mut back = items.clone();
            back[at] -= 1e-2;
            let slope = (loss(&users, &moved) - loss(&users, &back)) / 2e-2;
            assert!((slope - f64::from(found.items[at])).abs() < 1e-3, "{at}: {slope} {}", found.items[at]);
        }
        for at in [0, 5, 299 * 3] {
            let mut moved = users.clone();
            moved[at] += 0.1;
            let mut back = users.clone();
            back[at] -= 0.1;
            let slope = (loss(&moved, &items) - loss(&back, &items)) / 0.2;
            assert!((slope - f64::from(found.users[at])).abs() < 1e-4, "{at}: {slope} {}", found.users[at]);
        }
    }
}
