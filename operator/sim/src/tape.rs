//! A tape of choices: whatever is left to chance in a schedule is read from it. A seed fills it as it is read; what was read
//! can be played again, and shortened. A choice of 0, and every choice after the end of a tape, is the harmless one, so a
//! shorter tape is a simpler schedule.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The choices of one schedule.
#[derive(Clone, Debug)]
pub struct Tape {
    choices: Vec<u32>,
    read: usize,
    source: Option<ChaCha8Rng>,
}

impl Tape {
    /// A tape that a seed fills.
    pub fn seeded(seed: u64) -> Self {
        Self { choices: Vec::new(), read: 0, source: Some(ChaCha8Rng::seed_from_u64(seed)) }
    }

    /// A tape that was read before.
    pub fn played(choices: Vec<u32>) -> Self {
        Self { choices, read: 0, source: None }
    }

    fn next(&mut self) -> u32 {
        if self.read == self.choices.len()
            && let Some(source) = &mut self.source
        {
            self.choices.push(source.next_u32());
        }
        self.read += 1;
        self.choices.get(self.read - 1).copied().unwrap_or(0)
    }

    /// One of `n` possibilities, of which 0 is harmless; 0 if there is none.
    pub fn pick(&mut self, n: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(n)) >> 32) as u32
    }

    /// Something that happens in so many of a thousand cases, and is not harmless.
    pub fn fault(&mut self, per_mille: u32) -> bool {
        self.pick(1_000) >= 1_000 - per_mille.min(1_000)
    }

    /// What was read so far.
    pub fn choices(&self) -> &[u32] {
        &self.choices[..self.read.min(self.choices.len())]
    }
}

/// The shortest tape found for which `fails` still holds: pieces are cut out, and choices made harmless, as long as that
/// helps, at most `tries` times.
pub fn shrink(choices: Vec<u32>, tries: usize, mut fails: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut best = choices;
    let mut left = tries;
    let mut size = best.len().div_ceil(2).max(1);
    while size >= 1 && left > 0 {
        let mut at = 0;
        let mut helped = false;
        while at < best.len() && left > 0 {
            let end = (at + size).min(best.len());
            let without: Vec<u32> = best[..at].iter().chain(&best[end..]).copied().collect();
            let mut harmless = best.clone();
            harmless[at..end].fill(0);
            left -= 1;
            if fails(&without) {
                (best, helped) = (without, true);
            } else if best[at..end].iter().any(|choice| *choice != 0) && fails(&harmless) {
                (best, helped) = (harmless, true);
                at = end;
            } else {
                at = end;
            }
        }
        if size == 1 && !helped {
            break;
        }
        size = if size == 1 { 1 } else { size / 2 };
    }
    while best.last() == Some(&0) {
        best.pop();
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_repeats_and_ends_harmlessly() {
        let mut tape = Tape::seeded(7);
        let first: Vec<u32> = (0..50).map(|i| tape.pick(i + 1)).collect();
        let mut again = Tape::played(tape.choices().to_vec());
        assert_eq!((0..50).map(|i| again.pick(i + 1)).collect::<Vec<_>>(), first);
        assert_eq!((again.pick(1_000), again.fault(999)), (0, false));
        assert!(Tape::seeded(1).fault(1_000) && !Tape::seeded(1).fault(0));
    }

    #[test]
    fn shrinking_keeps_what_matters() {
        let noisy: Vec<u32> = (0..500).map(|i| if i == 250 || i == 400 { 77 } else { i }).collect();
        let short = shrink(noisy, 10_000, |tape| tape.iter().filter(|choice| **choice == 77).count() >= 2);
        assert_eq!(short, [77, 77]);
    }
}
