//! Which model's turn it is. Remembered by this process only: one that is started anew begins within its first hour.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use fairway_registry::ModelLog;

/// After a failure.
pub(super) const AGAIN: Duration = Duration::from_secs(3_600);
/// The first turns are spread over this.
const SPREAD: Duration = Duration::from_secs(3_600);

/// When each model's next turn is, by its identity.
#[derive(Default)]
pub(super) struct Due(HashMap<String, Instant>);

impl Due {
    /// The one whose turn came first, of those that have come. It is over when [`Due::succeeded`] says so; otherwise it comes
    /// again.
    pub(super) fn next<M>(&mut self, models: impl Iterator<Item = (String, M)>, now: Instant) -> Option<M> {
        let mut there = HashSet::new();
        let mut first: Option<(Instant, String, M)> = None;
        for (uid, model) in models {
            let turn = *self.0.entry(uid.clone()).or_insert_with(|| now + begins());
            there.insert(uid.clone());
            if turn <= now && first.as_ref().is_none_or(|(earliest, ..)| turn < *earliest) {
                first = Some((turn, uid, model));
            }
        }
        self.0.retain(|uid, _| there.contains(uid));
        let (_, uid, model) = first?;
        self.0.insert(uid, now + AGAIN);
        Some(model)
    }

    /// A model's turn is over until tomorrow.
    pub(super) fn succeeded(&mut self, uid: &str, now: Instant) {
        if let Some(turn) = self.0.get_mut(uid) {
            *turn = now + ModelLog::TIDY_EVERY;
        }
    }
}

fn begins() -> Duration {
    ModelLog::TIDY_FIRST + SPREAD.mul_f64(rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_has_one_turn_a_day_and_a_failure_another() {
        let names: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let (mut due, began) = (Due::default(), Instant::now());
        let mut turns: HashMap<&String, Vec<u64>> = HashMap::new();
        for second in (0..2 * 86_400_u32).step_by(10) {
            let now = began + SECOND * second;
            let models = names.iter().map(|name| (name.clone(), name));
            if let Some(name) = due.next(models, now) {
                let turns = turns.entry(name).or_default();
                turns.push(u64::from(second));
                // The first one fails once.
                if *name != names[0] || turns.len() != 1 {
                    due.succeeded(name, now);
                }
            }
        }
        assert_eq!(turns.len(), names.len(), "nobody is forgotten");
        for (name, turns) in &turns {
            assert!(turns[0] >= 600 && turns[0] < 600 + 3_600 + 500, "{name}: {turns:?}");
            let pause = if *name == &names[0] { 3_600 } else { 86_400 };
            assert!((pause..pause + 500).contains(&(turns[1] - turns[0])), "{name}: {turns:?}");
        }
    }

    #[test]
    fn one_that_is_gone_is_forgotten() {
        let (mut due, began) = (Due::default(), Instant::now());
        let one = || std::iter::once(("one".to_owned(), ()));
        assert!(due.next(one(), began).is_none());
        assert!(due.next(std::iter::empty::<(String, ())>(), began + SECOND).is_none());
        assert!(due.0.is_empty());
        assert!(due.next(one(), began + SPREAD * 3).is_none(), "one that is made anew begins anew");
    }
}
