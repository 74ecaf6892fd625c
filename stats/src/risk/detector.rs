//! Endless watching: how long until the evidence for a higher risk is so great that it is not worth waiting longer?

use serde::{Deserialize, Serialize};

use super::within_unit;

const BETS: usize = 16;
/// Bets as a share of the greatest that is possible, 1 / limit, evenly spaced on the logarithmic scale.
const SMALLEST: f64 = 0.01;
const GREATEST: f64 = 0.9;
/// Keeps the evidence finite for those who watch on after an alarm.
const MOST: f64 = 1e300;

/// A Shiryaev-Roberts e-detector (Shin, Ramdas & Rinaldo, arXiv 2203.03532) for a mean loss above `limit`.
///
/// Evidence `M ← (M + 1) (1 + λ (loss − limit))`, averaged over 16 bets λ. While the risk is at most the limit, the
/// expected number of labels until the alarm is at least `run_length`, whatever the distribution of the losses. It does
/// not say that a single alarm is false with a small probability: that is [`super::TrackedRisk`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ShiryaevRoberts {
    limit: f64,
    run_length: f64,
    n: u64,
    evidence: [f64; BETS],
}

impl ShiryaevRoberts {
    /// Labels between false alarms, on average, unless asked otherwise.
    pub const RUN_LENGTH: f64 = 1e6;

    /// Starts without evidence. `limit` is brought into [10⁻⁶, 1] (NaN is 1, which no mean exceeds); a `run_length` below
    /// 1 or not finite counts as [`Self::RUN_LENGTH`].
    pub fn new(limit: f64, run_length: f64) -> Self {
        let run_length = if run_length >= 1.0 && run_length.is_finite() { run_length } else { Self::RUN_LENGTH };
        let limit = if limit.is_nan() { 1.0 } else { limit.clamp(1e-6, 1.0) };
        Self { limit, run_length, n: 0, evidence: [0.0; BETS] }
    }

    /// Adds the loss of one matured label and answers whether that alarms.
    pub fn update(&mut self, loss: f64) -> bool {
        let Some(loss) = within_unit(loss) else { return self.alarm() };
        self.n += 1;
        let step = (GREATEST / SMALLEST).ln() / (BETS - 1) as f64;
        for (i, evidence) in self.evidence.iter_mut().enumerate() {
            let bet = SMALLEST * (step * i as f64).exp() / self.limit;
            *evidence = ((*evidence + 1.0) * (1.0 + bet * (loss - self.limit))).min(MOST);
        }
        self.alarm()
    }

    /// The evidence now, against the run length.
    pub fn evidence(&self) -> f64 {
        self.evidence.iter().map(|e| e / BETS as f64).sum()
    }

    /// Whether the evidence has reached the run length.
    pub fn alarm(&self) -> bool {
        self.evidence() >= self.run_length
    }

    /// What a person should read.
    pub fn sentence(&self) -> String {
        let found = if self.alarm() { "risk rose" } else { "no rise of the risk" };
        format!(
            "{found} above {:.4}: evidence {:.3e} against {:.0e}, the mean number of labels between false alarms ({} labels)",
            self.limit,
            self.evidence(),
            self.run_length,
            self.n
        )
    }
}
