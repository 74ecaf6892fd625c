//! Embedding tables outside of Burn: pooled reads and row updates by Adagrad (Duchi et al., JMLR 2011). Only rows that a
//! batch touches cost anything.
//!
//! What it does not do: no gradients of its own; they come from the towers.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Keeps the first steps of a row finite.
const EPSILON: f32 = 1e-8;
/// A row that was learned before: its first gradient counts as so many, so that it is not thrown away by a first step as
/// long as that of a fresh row. Adagrad's sums are not in a bundle.
const LEARNED: f32 = 20.0;

/// Weighted sets of rows, one after the other: what each example of a batch reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bags {
    /// Where each bag begins, and the end.
    starts: Vec<u32>,
    rows: Vec<u32>,
    shares: Vec<f32>,
}

impl Bags {
    /// Bags of rows and their shares.
    pub(super) fn of(bags: impl IntoIterator<Item = Vec<(u32, f32)>>) -> Self {
        let mut result = Self { starts: vec![0], ..Self::default() };
        for bag in bags {
            result.rows.extend(bag.iter().map(|(row, _)| row));
            result.shares.extend(bag.iter().map(|(_, share)| share));
            result.starts.push(result.rows.len() as u32);
        }
        result
    }

    /// Each bag is one row.
    pub(super) fn of_singles(rows: &[u32]) -> Self {
        let starts = (0..=rows.len() as u32).collect();
        Self { starts, rows: rows.to_vec(), shares: vec![1.0; rows.len()] }
    }

    /// How many bags.
    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    fn bag(&self, at: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let range = self.starts[at] as usize..self.starts[at + 1] as usize;
        self.rows[range.clone()].iter().copied().zip(self.shares[range].iter().copied())
    }

    /// The bags of each row, and the row's share in them: the other way round.
    fn turned(&self, rows: usize) -> Self {
        let mut starts = vec![0_u32; rows + 1];
        self.rows.iter().for_each(|&row| starts[row as usize + 1] += 1);
        for row in 1..starts.len() {
            starts[row] += starts[row - 1];
        }
        let mut next = starts.clone();
        let mut result = Self { starts, rows: vec![0; self.rows.len()], shares: vec![0.0; self.rows.len()] };
        for bag in 0..self.len() {
            for (row, share) in self.bag(bag) {
                let at = next[row as usize] as usize;
                next[row as usize] += 1;
                result.rows[at] = bag as u32;
                result.shares[at] = share;
            }
        }
        result
    }
}

/// Rows of equal width with the sums of their squared gradients.
#[derive(Clone, Debug)]
pub(super) struct Table {
    width: usize,
    rows: Vec<Row>,
}

/// One row: a single writer at a time, so that updates need no locks and have one order.
#[derive(Clone, Debug)]
struct Row {
    values: Box<[f32]>,
    squares: Box<[f32]>,
    /// As how many the next gradient counts.
    counts: f32,
}

impl Table {
    /// Fresh rows, uniform within ± `spread`.
    pub(super) fn new(rows: usize, width: usize, spread: f32, random: &mut ChaCha8Rng) -> Self {
        let fresh = |_| Row {
            values: (0..width).map(|_| random.random_range(-spread..=spread)).collect(),
            squares: vec![0.0; width].into(),
            counts: 1.0,
        };
        Self { width, rows: (0..rows).map(fresh).collect() }
    }

    /// A row that was learned before, `width` long.
    pub(super) fn take_over(&mut self, row: usize, values: Vec<f32>) {
        self.rows[row] = Row { squares: vec![0.0; values.len()].into(), values: values.into(), counts: LEARNED };
    }

    /// Length of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The weighted sum of each bag, row-major.
    pub(super) fn pool(&self, bags: &Bags) -> Vec<f32> {
        let mut pooled = vec![0.0; bags.len() * self.width];
        if self.width > 0 {
            pooled.par_chunks_mut(self.width).enumerate().for_each(|(bag, sum)| {
                bags.bag(bag).for_each(|(row, share)| add_scaled(sum, &self.rows[row as usize].values, share));
            });
        }
        pooled
    }

    /// One Adagrad step, of the gradients of [`pool`](Self::pool)'s result.
    pub(super) fn step(&mut self, bags: &Bags, gradients: &[f32], rate: f32) {
        if self.width == 0 {
            return;
        }
        let width = self.width;
        let by_row = bags.turned(self.rows.len());
        self.rows.par_iter_mut().enumerate().with_min_len(64).for_each_init(
            || vec![0.0_f32; width],
            |sum, (at, row)| {
                let mut touched = false;
                sum.fill(0.0);
                for (bag, share) in by_row.bag(at) {
                    touched = true;
                    add_scaled(sum, &gradients[bag as usize * width..][..width], share);
                }
                if touched {
                    row.step(sum, rate);
                }
            },
        );
    }

    /// All rows, one after the other.
    pub(super) fn into_values(self) -> Vec<f32> {
        self.rows.into_iter().flat_map(|row| row.values.into_vec()).collect()
    }
}

impl Row {
    fn step(&mut self, gradient: &[f32], rate: f32) {
        for ((value, square), &g) in self.values.iter_mut().zip(&mut self.squares).zip(gradient) {
            *square += self.counts * g * g;
            *value -= rate * g / (square.sqrt() + EPSILON);
        }
        self.counts = 1.0;
    }
}

fn add_scaled(out: &mut [f32], row: &[f32], factor: f32) {
    for (sum, value) in out.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn pooling_and_one_step_by_hand() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut table = Table::new(3, 2, 0.1, &mut random);
        for (at, row) in table.rows.iter_mut().enumerate() {
            row.values = vec![at as f32, 10.0].into();
        }
        let bags = Bags::of([vec![(0, 0.25), (2, 0.75)], vec![], vec![(2, 1.0)]]);
        assert_eq!(table.pool(&bags), [1.5, 10.0, 0.0, 0.0, 2.0, 10.0]);
        // Row 2 gets 0.75 * 4 + 1 * -3 = 0 and 0.75 * 0 + 1 * 2 = 2; row 1 is not touched.
        table.step(&bags, &[4.0, 0.0, 9.0, 9.0, -3.0, 2.0], 0.5);
        assert_eq!(table.clone().into_values(), [-0.5, 10.0, 1.0, 10.0, 2.0, 9.5]);
        table.step(&bags, &[0.0, 0.0, 0.0, 0.0, 0.0, 2.0], 0.5);
        assert!((table.rows[2].values[1] - (9.5 - 0.5 / 2.0_f32.sqrt())).abs() < 1e-6);
    }

    #[test]
    fn a_row_that_was_learned_begins_with_short_steps() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut table = Table::new(2, 1, 0.0, &mut random);
        table.take_over(1, vec![3.0]);
        let bags = Bags::of_singles(&[0, 1]);
        table.step(&bags, &[2.0, 2.0], 0.5);
        let short = 0.5 / LEARNED.sqrt();
        assert!((table.rows[0].values[0] + 0.5).abs() < 1e-6);
        assert!((table.rows[1].values[0] - (3.0 - short)).abs() < 1e-6);
        // The second gradient counts once: 20 * 4 + 4.
        table.step(&bags, &[2.0, 2.0], 0.5);
        assert!((table.rows[1].values[0] - (3.0 - short - 0.5 * 2.0 / 84.0_f32.sqrt())).abs() < 1e-6);
    }

    #[test]
    fn a_table_without_columns_is_no_trouble() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut table = Table::new(3, 0, 0.1, &mut random);
        let bags = Bags::of_singles(&[0, 2]);
        assert!(table.pool(&bags).is_empty());
        table.step(&bags, &[], 0.1);
        assert!(table.into_values().is_empty());
    }
}
