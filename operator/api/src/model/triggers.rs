//! Checks of what starts runs, and what a schedule that does not fit its guards comes to.

use fairway_core::schedule::{Cron, CronError};

use super::Retrain;
use crate::error::{FieldError, positive};
use crate::values::{Duration, Share};

impl Retrain {
    pub(super) fn check(&self, errors: &mut Vec<FieldError>) {
        if self.drift.psi.get() <= 0.0 {
            let help = "above 0; 0.1 is a small shift, 0.25 a large one";
            errors.push(FieldError::new("spec.retrain.drift.psi", "a threshold of 0 alarms always", help));
        }
        if self.new_data.is_some_and(|new| new.share == Share::ZERO) {
            let help = "a share of the rows that the champion was trained on, such as 20%";
            errors.push(FieldError::new("spec.retrain.newData.share", "a share of 0% asks always", help));
        }
        positive("spec.retrain.maxAge", self.max_age, errors);
        positive("spec.retrain.budget.per", self.budget.per, errors);
        positive("spec.retrain.breaker.halfOpenAfter", self.breaker.half_open_after, errors);
    }

    /// The schedule, parsed.
    pub(super) fn cron(&self, errors: &mut Vec<FieldError>) -> Option<Cron> {
        match self.schedule.as_ref()?.cron.parse() {
            Ok(cron) => Some(cron),
            Err(error) => {
                let CronError { problem, help } = error;
                errors.push(FieldError::new("spec.retrain.schedule.cron", problem, help));
                None
            }
        }
    }

    /// A schedule that comes more often than the guards let through.
    pub(super) fn crowded(&self) -> Option<FieldError> {
        let cron = self.cron(&mut Vec::new())?;
        let (gap, within) = cron.rhythm(self.budget.per.std())?;
        let gap = Duration::from_std(gap);
        let (problem, help) = if gap <= self.cooldown {
            let problem = format!(
                "runs are wanted every {gap} and the cooldown after each is {}: each begins later than the one before",
                self.cooldown
            );
            (problem, "a cooldown shorter than the gap, so that a run fits in between")
        } else if within > self.budget.runs as usize {
            let problem =
                format!("{within} runs are wanted in {} and the budget is {}", self.budget.per, self.budget.runs);
            (problem, "raise retrain.budget.runs, or come less often")
        } else {
            return None;
        };
        Some(FieldError::new("spec.retrain.schedule.cron", problem, help))
    }
}
