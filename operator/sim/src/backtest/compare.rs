//! Many rollouts of several policies on the same record, and what they come to. Rollouts start all over the record, and the
//! n-th rollout of every policy and harm starts at the same moment with the same users.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairway_core::plan::elapsed;
use fairway_core::policy::EndpointPolicy;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::harm::Harm;
use super::play::{Outcome, Played, needed, play};
use super::traffic::{Summary, Traffic};

/// The normal quantile of 95 %, both sides.
const Z: f64 = 1.96;

/// A policy with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// For people.
    pub name: String,
    /// The policy.
    pub policy: EndpointPolicy,
}

/// What policies would have done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What they were played on.
    pub record: Summary,
    /// Rollouts of each policy and harm.
    pub rollouts: usize,
    /// The seed of all chance.
    pub seed: u64,
    /// Policy by policy, in the order given.
    pub policies: Vec<PolicyReport>,
    /// What a reader should know before believing the numbers.
    pub notes: Vec<String>,
}

/// What one policy would have done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// Its name.
    pub name: String,
    /// The share of good candidates that it says it takes back at most.
    pub false_alarm_rate: f64,
    /// Seconds that a rollout and its bake take at least.
    pub needed_seconds: f64,
    /// Harm by harm, in the order given.
    pub cases: Vec<Case>,
}

/// Half of the rollouts are below the one, and 95 % below the other. By rank, without interpolation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The 95th percentile.
    pub p95: f64,
}

/// What one policy would have done with one kind of candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// What was wrong with the candidate.
    pub harm: Harm,
    /// Rollouts.
    pub rollouts: usize,
    /// Of these: promoted, and not taken back in the bake.
    pub promoted: usize,
    /// Taken back on proof of harm that was there.
    pub detected: usize,
    /// Taken back on proof of harm that was not there, or not yet.
    pub false_alarms: usize,
    /// Taken back for another reason: time, silence, too little traffic.
    pub given_up: usize,
    /// Not ended when the record did. A promotion whose bake had not ended counts as promoted.
    pub unfinished: usize,
    /// Of all: those that were frozen for a person, whatever came then. Nobody came.
    pub paused: usize,
    /// How they ended, by the reason's code.
    pub codes: BTreeMap<String, usize>,
    /// False alarms per 1,000 rollouts, and its 95 % interval (Wilson).
    pub false_alarms_per_1000: (f64, f64, f64),
    /// The share that was detected, and its 95 % interval (Wilson).
    pub detected_share: (f64, f64, f64),
    /// Seconds from the beginning of the harm to the rollback, of those detected.
    pub seconds_to_rollback: Option<Spread>,
    /// Seconds from the start to the promotion, of those promoted.
    pub seconds_to_promotion: Option<Spread>,
    /// Users who met the candidate; none where the record does not tell users apart.
    pub users: Option<Spread>,
    /// Requests to the canary.
    pub canary_requests: Option<Spread>,
    /// Errors and slow answers beyond stable's.
    pub bad_answers: Option<Spread>,
    /// Reward lost.
    pub reward_lost: Option<Spread>,
    /// Seconds to each rollback, ascending.
    pub rollback_seconds: Vec<f64>,
    /// A rollout that ended as most did, in the median time.
    pub typical: Option<Outcome>,
}

/// Plays `rollouts` of each policy with each harm. The same input gives the same report, whatever the number of cores.
pub fn compare(policies: &[Named], traffic: &Traffic, harms: &[Harm], rollouts: usize, seed: u64) -> Report {
    compare_telling(policies, traffic, harms, rollouts, seed, &|_| ())
}

/// The same, and tells how many rollouts were played so far, out of `policies × harms × rollouts`; on any thread.
pub fn compare_telling(
    policies: &[Named],
    traffic: &Traffic,
    harms: &[Harm],
    rollouts: usize,
    seed: u64,
    tell: &(dyn Fn(usize) + Sync),
) -> Report {
    let starts = starts(policies, traffic, rollouts);
    let jobs = policies.len() * harms.len() * rollouts;
    let job = |at: usize| {
        let (policy, harm, nth) = (at / rollouts / harms.len(), at / rollouts % harms.len(), at % rollouts);
        play(&policies[policy].policy, traffic, &harms[harm], starts[nth], mixed(seed, nth as u64))
    };
    let mut outcomes = in_parallel(jobs, &job, tell).into_iter();
    let mut report_of = |named: &Named| PolicyReport {
        name: named.name.clone(),
        false_alarm_rate: named.policy.false_alarm_rate.get(),
        needed_seconds: needed(&named.policy).as_secs_f64(),
        cases: harms.iter().map(|harm| Case::of(harm, outcomes.by_ref().take(rollouts).collect())).collect(),
    };
    let reports: Vec<PolicyReport> = policies.iter().map(&mut report_of).collect();
    let record = traffic.summary();
    let notes = notes(policies, &record, harms, &reports);
    Report { record, rollouts, seed, policies: reports, notes }
}

/// Evenly from the record's first moment to the last from which every policy's rollout and bake can end in it.
fn starts(policies: &[Named], traffic: &Traffic, rollouts: usize) -> Vec<Timestamp> {
    let longest = policies.iter().map(|named| needed(&named.policy)).max().unwrap_or_default();
    let room = traffic.len().saturating_sub(traffic.periods_in(longest));
    (0..rollouts).map(|nth| traffic.time(room * nth / rollouts.max(1))).collect()
}

/// Runs the jobs on all cores; results are in the jobs' order.
fn in_parallel<T: Send>(jobs: usize, job: &(dyn Fn(usize) -> T + Sync), tell: &(dyn Fn(usize) + Sync)) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<BTreeMap<usize, T>> = Mutex::default();
    let work = || {
        while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < jobs) {
            let result = job(at);
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(at, result);
            tell(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(jobs);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect()
}

/// A seed of its own for each rollout (`SplitMix64`; Steele, Lea & Flood, OOPSLA 2014).
fn mixed(seed: u64, nth: u64) -> u64 {
    let x = seed.wrapping_add(nth.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Case {
    fn of(harm: &Harm, outcomes: Vec<Outcome>) -> Self {
        let count = |is: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
        let spread = |value: &dyn Fn(&Outcome) -> Option<f64>| Spread::of(outcomes.iter().filter_map(value).collect());
        let of_all = |value: &dyn Fn(&Outcome) -> f64| spread(&|outcome| Some(value(outcome)));
        let detected = count(&Outcome::is_detection);
        let alarms = count(&|outcome| outcome.is_alarm() && !outcome.is_detection());
        let mut codes = BTreeMap::new();
        outcomes.iter().for_each(|outcome| *codes.entry(outcome.code.clone()).or_insert(0) += 1);
        let mut times: Vec<f64> =
            outcomes.iter().filter(|it| it.is_detection()).filter_map(|it| it.seconds_of_harm).collect();
        times.sort_unstable_by(f64::total_cmp);
        let (share, low, high) = wilson(alarms, outcomes.len());
        Self {
            harm: harm.clone(),
            rollouts: outcomes.len(),
            promoted: count(&|outcome| outcome.result == Played::Promoted),
            detected,
            false_alarms: alarms,
            given_up: count(&|outcome| outcome.result == Played::RolledBack && !outcome.is_alarm()),
            unfinished: count(&|outcome| outcome.result == Played::Unfinished),
            paused: count(&|outcome| outcome.paused.is_some()),
            codes,
            false_alarms_per_1000: (share * 1e3, low * 1e3, high * 1e3),
            detected_share: wilson(detected, outcomes.len()),
            seconds_to_rollback: Spread::of(times.clone()),
            seconds_to_promotion: spread(&|it| it.seconds.filter(|_| it.result == Played::Promoted)),
            users: spread(&|outcome| outcome.users),
            canary_requests: of_all(&|outcome| outcome.canary_requests as f64),
            bad_answers: of_all(&|outcome| outcome.bad_answers),
            reward_lost: of_all(&|outcome| outcome.reward_lost),
            rollback_seconds: times,
            typical: typical(outcomes),
        }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let rank = |q: f64| values.get(((values.len() as f64 * q).ceil() as usize).saturating_sub(1)).copied();
        Some(Self { median: rank(0.5)?, p95: rank(0.95)? })
    }
}

/// Wilson's score interval (1927) of a share: the share, its lower and its upper end.
fn wilson(hits: usize, of: usize) -> (f64, f64, f64) {
    if of == 0 {
        return (0.0, 0.0, 1.0);
    }
    let (p, n, z2) = (hits as f64 / of as f64, of as f64, Z * Z);
    let (centre, half) = (p + z2 / (2.0 * n), Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt());
    let scale = 1.0 + z2 / n;
    // Rounding must not put the share outside.
    (p, ((centre - half) / scale).clamp(0.0, p), ((centre + half) / scale).clamp(p, 1.0))
}

fn typical(outcomes: Vec<Outcome>) -> Option<Outcome> {
    let mut by_code: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    outcomes.into_iter().for_each(|outcome| by_code.entry(outcome.code.clone()).or_default().push(outcome));
    let mut most = by_code.into_values().max_by_key(Vec::len)?;
    let time = |outcome: &Outcome| outcome.seconds.unwrap_or(f64::INFINITY);
    most.sort_by(|a, b| time(a).total_cmp(&time(b)));
    let middle = (most.len() - 1) / 2;
    Some(most.swap_remove(middle))
}

fn notes(policies: &[Named], record: &Summary, harms: &[Harm], reports: &[PolicyReport]) -> Vec<String> {
    let mut notes = Vec::new();
    let length = elapsed(record.from, record.until);
    let spelled = |time: Duration| fairway_core::plan::spell(time);
    for named in policies.iter().filter(|named| needed(&named.policy) > length) {
        let (least, all) = (spelled(needed(&named.policy)), spelled(length));
        notes.push(format!(
            "{}: a rollout and its bake take at least {least}, and the record is {all} long",
            named.name
        ));
    }
    let slow = record.slow_rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    for harm in harms.iter().filter(|it| !it.is_none() && it.is_idle(record.error_rate, slow, record.mean_reward)) {
        let cure = "a multiple of nothing is nothing: inject an absolute rate, such as errors=+2%";
        notes.push(format!("{harm}: stable has none of it in this record, so it changes nothing; {cure}"));
    }
    let judges_reward = |named: &Named| {
        named.policy.gates.iter().any(|gate| matches!(gate, fairway_core::policy::RolloutGate::Reward { .. }))
    };
    if record.exposures == 0 && policies.iter().any(judges_reward) {
        notes.push("no reward matured in this record: gates on reward had nothing to go by".to_owned());
    }
    let mut within: Vec<Duration> = policies.iter().map(|named| named.policy.reward_within).collect();
    within.sort_unstable();
    within.dedup();
    if within.len() > 1 {
        notes.push("reward.within differs between the policies; rewards are those that were recorded".to_owned());
    }
    for (named, report) in policies.iter().zip(reports) {
        let unfinished: usize = report.cases.iter().map(|case| case.unfinished).sum();
        if unfinished > 0 && needed(&named.policy) <= length {
            notes.push(format!("{}: {unfinished} rollouts had not ended when the record did", named.name));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_go_by_rank() {
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(Spread::of(vec![3.0]), Some(Spread { median: 3.0, p95: 3.0 }));
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Spread::of(hundred), Some(Spread { median: 50.0, p95: 95.0 }));
    }

    #[test]
    fn intervals_hold_their_share() {
        for (hits, of) in [(0, 100), (5, 100), (100, 100), (1, 1)] {
            let (share, low, high) = wilson(hits, of);
            assert!(low <= share && share <= high && (0.0..=1.0).contains(&low) && high <= 1.0, "{hits} of {of}");
        }
        assert_eq!(wilson(0, 0), (0.0, 0.0, 1.0));
    }
}
