//! Groups of users before any traffic: is any of them worse off, and how far apart are they?
//!
//! As on live traffic ([`fairway_stats::fairness`]) small segments are judged together. What is unjust, people decide.

use fairway_stats::fairness::{OTHER, Spread};
use fairway_stats::{PairedSpread, confidence};

use super::{Gate, SegmentScores};
use crate::Reason;
use crate::evaluation::{CONFIDENCE, Metrics, Rival, Scores, Spreads, shortfall};
use crate::policy::{Demand, EvaluationGate, FairnessGate, Metric, Segments};

/// One gate on each segment, if it asks for that.
pub(super) fn judge(gate: &EvaluationGate, segments: &[SegmentScores<'_>], found: &mut Gate) {
    let Segments::Each { min_count } = gate.segments else { return };
    let groups = Groups::of(segments, min_count, gate.metric);
    let judged = groups.judged();
    if judged.is_empty() {
        return groups.too_few(&format!("{} of each segment", gate.metric), found);
    }
    // Harm in any of many segments is shown by chance as well, so each gets its part of the error (Bonferroni). A gain
    // that must be shown in all of them needs no correction.
    let confidence = match gate.demand {
        Demand::AtMostWorse(_) => 1.0 - (1.0 - CONFIDENCE) / judged.len() as f64,
        Demand::AtLeastBetter(_) => CONFIDENCE,
    };
    let wanting = judged.iter().filter_map(|(name, scores)| shortfall(gate, *scores, name, confidence));
    found.refusals.extend(wanting);
    groups.note_unjudged(found);
}

/// How far apart the segments are. Refused is only what is shown: the surely best is farther than the limit from the
/// surely worst, all segments' intervals together being wrong in one case of twenty.
pub(super) fn judge_gap(gate: &FairnessGate, segments: &[SegmentScores<'_>], found: &mut Gate) {
    let groups = Groups::of(segments, gate.min_count, gate.metric);
    let judged = groups.judged();
    if judged.len() < 2 {
        return groups.too_few(&format!("the gap of {} between segments", gate.metric), found);
    }
    let metric = gate.metric.to_string();
    let z = confidence::z_quantile(1.0 - (1.0 - CONFIDENCE) / (2.0 * judged.len() as f64));
    let mut values = Vec::new();
    let (mut best, mut worst) = (("", f64::NEG_INFINITY), ("", f64::INFINITY));
    for (name, scores) in &judged {
        let Some(value) = scores.candidate.get(&metric).copied().filter(|value| value.is_finite()) else {
            let message = format!("{metric} of {name} was not measured");
            return found.refusals.push(Reason::new("MetricMissing", message));
        };
        let doubt = z * scores.popularity.spreads.get(&metric).map_or(0.0, |spread| spread.standard_error(0.0));
        values.push(value);
        if value - doubt > best.1 {
            best = (name, value - doubt);
        }
        if value + doubt < worst.1 {
            worst = (name, value + doubt);
        }
    }
    groups.note_unjudged(found);
    let shown = best.1 - worst.1;
    if shown > gate.gap + 1e-12 {
        let seen = Spread::between(&values).map_or(shown, |spread| spread.difference);
        let message = format!(
            "{metric} differs by {seen:.4} between segments, surely by {shown:.4} ({} against {}); the limit is {:.4}: \
             look at what the worse segment lacks in the data, or raise fairness.gap",
            best.0, worst.0, gate.gap
        );
        found.refusals.push(Reason::new("FairnessGap", message));
    }
}

/// Segments with users enough, and the small ones together.
struct Groups<'a> {
    large: Vec<SegmentScores<'a>>,
    other: Option<Other>,
    small: usize,
    min_count: u64,
}

/// The small segments as one.
struct Other {
    users: u64,
    candidate: Metrics,
    champion: Option<(Metrics, Spreads)>,
    popularity: (Metrics, Spreads),
}

impl<'a> Groups<'a> {
    fn of(segments: &[SegmentScores<'a>], min_count: u64, metric: Metric) -> Self {
        let (large, small): (Vec<_>, Vec<_>) = segments.iter().partition(|segment| segment.users >= min_count);
        let metric = metric.to_string();
        let other = (!small.is_empty()).then(|| Other::of(&small, &metric));
        Self { large, other, small: small.len(), min_count }
    }

    fn judged(&self) -> Vec<(&str, Scores<'_>)> {
        let large = self.large.iter().map(|segment| (segment.name, segment.scores));
        let other = self.other.as_ref().filter(|other| other.users >= self.min_count);
        large.chain(other.map(|other| (OTHER, other.scores()))).collect()
    }

    /// Nothing to judge by: without any segment the data lack one, and that is missing; small ones only say little.
    fn too_few(&self, what: &str, found: &mut Gate) {
        let all = self.large.len() + self.small;
        if all == 0 {
            let cure = "let the SQL yield a column `segment`, or do not ask for segments";
            let message = format!("{what} was asked for, but the holdout has no segments: {cure}");
            return found.refusals.push(Reason::new("SegmentsMissing", message));
        }
        let message = format!(
            "{what} was not judged: {} of {all} segments have {} users or more; lengthen the holdout, or lower minCount",
            self.large.len(),
            self.min_count
        );
        found.notes.push(Reason::new("SegmentsTooSmall", message));
    }

    fn note_unjudged(&self, found: &mut Gate) {
        let Some(other) = self.other.as_ref().filter(|other| other.users < self.min_count) else { return };
        let Self { small, min_count, .. } = self;
        let message =
            format!("{small} segments with {} users together were not judged: minCount is {min_count}", other.users);
        let note = Reason::new("SegmentsTooSmall", message);
        if !found.notes.contains(&note) {
            found.notes.push(note);
        }
    }
}

impl Other {
    fn of(small: &[SegmentScores<'_>], metric: &str) -> Self {
        let champions: Option<Vec<Rival<'_>>> = small.iter().map(|segment| segment.scores.champion).collect();
        let rivals: Vec<Rival<'_>> = small.iter().map(|segment| segment.scores.popularity).collect();
        let candidate = small.iter().map(|segment| segment.scores.candidate);
        let users: Vec<u64> = small.iter().map(|segment| segment.users).collect();
        Self {
            users: users.iter().fold(0, |sum, n| sum.saturating_add(*n)),
            candidate: mean(&users, candidate, metric),
            champion: champions.map(|rivals| pooled(&users, &rivals, metric)),
            popularity: pooled(&users, &rivals, metric),
        }
    }

    fn scores(&self) -> Scores<'_> {
        Scores {
            candidate: &self.candidate,
            champion: self.champion.as_ref().map(|(metrics, spreads)| Rival { metrics, spreads }),
            popularity: Rival { metrics: &self.popularity.0, spreads: &self.popularity.1 },
        }
    }
}

fn pooled(users: &[u64], rivals: &[Rival<'_>], metric: &str) -> (Metrics, Spreads) {
    let metrics = mean(users, rivals.iter().map(|rival| rival.metrics), metric);
    (metrics, spread(users, rivals, metric))
}

/// The mean over all users of the segments, if each has it.
fn mean<'a>(users: &[u64], of: impl Iterator<Item = &'a Metrics>, metric: &str) -> Metrics {
    let all = total(users);
    let parts: Option<Vec<f64>> =
        of.zip(users).map(|(metrics, n)| Some(metrics.get(metric)? * (*n as f64 / all))).collect();
    parts.map(|parts| (metric.to_owned(), parts.iter().sum())).into_iter().collect()
}

/// The spread of such means: segments are independent of each other.
fn spread(users: &[u64], rivals: &[Rival<'_>], metric: &str) -> Spreads {
    let all = total(users);
    let mut sum = PairedSpread::default();
    for (rival, n) in rivals.iter().zip(users) {
        let Some(part) = rival.spreads.get(metric) else { return Spreads::new() };
        let weight = (*n as f64 / all).powi(2);
        sum.n += part.n;
        sum.first += weight * part.first;
        sum.second += weight * part.second;
        sum.covariance += weight * part.covariance;
    }
    Spreads::from([(metric.to_owned(), sum)])
}

fn total(users: &[u64]) -> f64 {
    users.iter().map(|n| *n as f64).sum::<f64>().max(1.0)
}
