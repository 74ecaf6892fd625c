//! Scores of served lists, by month.

use std::collections::{BTreeMap, BTreeSet};

use fairway_trainer::evaluate::recall_and_ndcg;

use super::{K, Month};

/// Sums by month.
#[derive(Clone, Debug, Default)]
pub struct Months(BTreeMap<String, Sums>);

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    users: usize,
    recall: f64,
    ndcg: f64,
}

impl Months {
    /// Adds one user's list, best first, with what the user then newly bought.
    pub fn add(&mut self, month: &str, list: &[u32], targets: &BTreeSet<u32>) {
        let hits: Vec<bool> = list.iter().map(|item| targets.contains(item)).collect();
        let (recall, ndcg) = recall_and_ndcg(&hits, targets.len(), K);
        let sums = self.0.entry(month.to_owned()).or_default();
        sums.users += 1;
        sums.recall += recall;
        sums.ndcg += ndcg;
    }

    /// Means by month.
    pub fn finish(&self) -> Vec<Month> {
        let mean = |sum: f64, n: usize| sum / n.max(1) as f64;
        self.0
            .iter()
            .map(|(month, sums)| Month {
                month: month.clone(),
                users: sums.users,
                recall_at_20: mean(sums.recall, sums.users),
                ndcg_at_20: mean(sums.ndcg, sums.users),
            })
            .collect()
    }
}

/// The mean of several runs over the same visits.
pub fn mean(runs: &[Vec<Month>]) -> Vec<Month> {
    let Some(first) = runs.first() else { return Vec::new() };
    let n = runs.len() as f64;
    (0..first.len())
        .map(|i| Month {
            recall_at_20: runs.iter().map(|run| run[i].recall_at_20).sum::<f64>() / n,
            ndcg_at_20: runs.iter().map(|run| run[i].ndcg_at_20).sum::<f64>() / n,
            ..first[i].clone()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_and_gain_are_over_what_can_be_found() {
        let mut months = Months::default();
        months.add("2011-01", &[7, 8, 9], &BTreeSet::from([8, 100]));
        let month = &months.finish()[0];
        assert!((month.recall_at_20 - 0.5).abs() < 1e-12);
        let expected = (1.0 / 3.0_f64.log2()) / (1.0 + 1.0 / 3.0_f64.log2());
        assert!((month.ndcg_at_20 - expected).abs() < 1e-12);
    }
}
