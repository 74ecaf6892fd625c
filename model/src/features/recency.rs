//! How much something counts that was some time ago, and how a history becomes one mean.
//!
//! What it does not do: it knows no clock.

use fairway_stats::decay::half_life_weight;

use crate::recommender::Seen;

/// The newest items of a history that enter a mean.
pub const HISTORY_POOL_MAX: usize = 100;

/// 2^(-age/halfLife): 1 now (and in the future), one half after the half-life.
///
/// A half-life that is not positive gives 0 to all but what is now.
pub fn recency_weight(age_ms: i64, half_life_ms: i64) -> f64 {
    half_life_weight(age_ms as f64 / 1e3, half_life_ms as f64 / 1e3)
}

/// Which items of a history enter its mean, and with which share: the newest [`HISTORY_POOL_MAX`] with an index below
/// `items`, weighted by [`recency_weight`]. Shares add up to 1; an empty history has none.
///
/// Ages are taken from the newest of them: shares do not change when all ages grow, and this way they never all vanish.
pub fn history_pool(history: &[Seen], items: usize, half_life_ms: i64) -> Vec<(u32, f32)> {
    let known = history.iter().rev().filter(|seen| (seen.item as usize) < items);
    let mut newest: Vec<&Seen> = known.take(HISTORY_POOL_MAX).collect();
    newest.reverse();
    let now = newest.iter().map(|seen| seen.time_ms).max().unwrap_or(0);
    let weight = |seen: &Seen| recency_weight(now.saturating_sub(seen.time_ms), half_life_ms);
    let total: f64 = newest.iter().map(|seen| weight(seen)).sum();
    let share = |seen: &Seen| (seen.item, (weight(seen) / total) as f32);
    newest.into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    #[test]
    fn a_half_life_halves() {
        assert_eq!(recency_weight(0, 30 * DAY), 1.0);
        assert_eq!(recency_weight(-5, 30 * DAY), 1.0);
        assert_eq!(recency_weight(30 * DAY, 30 * DAY), 0.5);
        assert_eq!(recency_weight(90 * DAY, 30 * DAY), 0.125);
    }

    #[test]
    fn shares_follow_age_and_add_up() {
        let seen = |item, day: i64| Seen { item, time_ms: day * DAY };
        let pool = history_pool(&[seen(1, 0), seen(9, 1), seen(0, 1), seen(2, 2)], 3, DAY);
        let expected = [(1, 1.0 / 7.0), (0, 2.0 / 7.0), (2, 4.0 / 7.0)];
        for (found, expected) in pool.iter().zip(expected) {
            assert_eq!(found.0, expected.0);
            assert!((found.1 - expected.1).abs() < 1e-7);
        }
        assert_eq!(pool.len(), 3);
        assert!(history_pool(&[], 3, DAY).is_empty());
    }

    #[test]
    fn only_the_newest_enter_and_old_histories_do_not_vanish() {
        let long: Vec<Seen> = (0..250).map(|i| Seen { item: i, time_ms: i64::from(i) }).collect();
        let pool = history_pool(&long, 1000, DAY);
        assert_eq!((pool.len(), pool[0].0), (HISTORY_POOL_MAX, 150));
        let ancient = [Seen { item: 0, time_ms: i64::MIN }, Seen { item: 1, time_ms: 0 }];
        assert_eq!(history_pool(&ancient, 2, 1), [(0, 0.0), (1, 1.0)]);
    }
}
