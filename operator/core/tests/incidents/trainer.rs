//! Threads of Kubeflow Trainer, Pipelines and Katib, and of the triggers of Argo Events and Argo Workflows.

use std::time::Duration;

use fairway_core::admission::{Artifact, Dossier, Trial, admit};
use fairway_core::endpoint::RolloutResult;
use fairway_core::evaluation::{Metrics, Rival, Scores, Spreads};
use fairway_core::model::{ModelRequest, NewRows, RunEnd};
use fairway_core::policy::{AdmissionPolicy, Demand, EvaluationGate, Margin, Metric, MetricKind, Segments, Versus};

use crate::training::{DAY, Training};

fn failed() -> RunEnd {
    RunEnd::Failed { why: "out of memory".into() }
}

fn registered() -> RunEnd {
    RunEnd::Registered { version: 2 }
}

/// One event of a calendar started four or seven identical workflows.
/// <https://github.com/argoproj/argo-events/issues/2265> <https://github.com/argoproj/argo-events/issues/1576> The name of ours
/// is the key: one run, and everybody who asked is told of it.
#[test]
fn argo_events_2265_one_event_that_comes_seven_times_is_one_run() {
    let mut training = Training::serving();
    (0..4).for_each(|_| training.ask("push-3f9c2a1", false));
    training.look();
    for _ in 0..3 {
        training.ask("push-3f9c2a1", false);
        training.look_after(Duration::from_secs(1));
    }
    assert_eq!(training.started, ["push-3f9c2a1"]);
    assert_eq!(training.said.iter().filter(|reason| reason.code == "AlreadyRunning").count(), 6);
    training.end = Some(registered());
    training.look();
    // The last copy comes when the run is over.
    training.ask("push-3f9c2a1", true);
    training.look();
    assert_eq!(training.started, ["push-3f9c2a1"]);
    assert!(training.has_said("AlreadyEnded"));
}

/// Triggers that overlap each start a run; to leave some out is left to the user (wontfix).
/// <https://github.com/argoproj/argo-events/issues/310> Ours starts one run, and writes down what else asked.
#[test]
fn argo_events_310_all_triggers_together_are_one_run() {
    let mut training = Training::serving();
    training.policy.schedule = Some("0 3 * * *".parse().unwrap());
    (training.policy.max_age, training.policy.new_data) = (Some(3 * DAY), Some(0.5));
    training.new_rows = Some(NewRows { trained_on: 1_000, since: 900 });
    training.gain = -0.2;
    training.drift();
    training.status.cooldown_until = Some(training.now + 20 * DAY);
    training.days(19);
    assert!(training.started.is_empty());
    assert_eq!(training.status.held_back.len(), 5, "{:?}", training.status.held_back);
    training.days(5);
    assert_eq!(training.started.len(), 1, "{:?}", training.started);
    assert!(training.status.held_back.iter().all(|held| held.by.code == "RunActive"));
}

/// A cron workflow started twice on every tick. <https://github.com/argoproj/argo-workflows/issues/2694>
/// <https://github.com/argoproj/argo-workflows/issues/2773> Ours answers a tick once, however often it looks, and two that look
/// give the run the same name.
#[test]
fn argo_workflows_2694_a_tick_is_answered_once() {
    let mut training = Training::serving();
    training.policy.schedule = Some("0 * * * *".parse().unwrap());
    (training.policy.cooldown, training.policy.budget_runs) = (Duration::ZERO, 1_000);
    training.look_after(Duration::from_secs(60));
    for _ in 0..600 {
        training.look_after(Duration::from_secs(30));
        training.end = training.status.run.as_ref().map(|_| registered());
    }
    assert_eq!(training.started.len(), 5, "five hours, five runs: {:?}", training.started);
}

/// Nothing keeps a second run of the same workflow from starting by hand beside the scheduled one.
/// <https://github.com/argoproj/argo-workflows/issues/12757> <https://github.com/argoproj/argo-workflows/issues/9087> Ours has one
/// run per model, whoever asks, and whatever they force.
#[test]
fn argo_workflows_12757_no_second_run_beside_the_first() {
    let mut training = Training::serving();
    training.policy.schedule = Some("0 3 * * *".parse().unwrap());
    training.policy.run_deadline = 10 * DAY;
    training.days(2);
    assert_eq!(training.started, ["0001-schedule"]);
    training.ask("by-hand", false);
    training.look();
    training.ask("by-hand-2", true);
    training.days(4);
    assert_eq!(training.started, ["0001-schedule"]);
    let refused: Vec<&str> =
        training.said.iter().filter(|it| it.code == "RunActive").map(|it| it.message.as_str()).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused[0].contains("0001-schedule is active") && refused[0].contains("by-hand was not started"));
}

/// Editing a workflow while it ran started more of them. <https://github.com/argoproj/argo-events/issues/3099> Ours changes the
/// rules for what comes, and starts nothing by it.
#[test]
fn argo_events_3099_an_edit_while_a_run_is_active_starts_nothing() {
    let mut training = Training::serving();
    training.policy.run_deadline = 10 * DAY;
    training.ask("ci-1", false);
    training.look();
    for hours in 1..20_u32 {
        training.policy.schedule = Some(format!("0 {hours} * * *").parse().unwrap());
        (training.policy.cooldown, training.policy.max_age) = (Duration::ZERO, Some(DAY / hours));
        training.look_after(Duration::from_secs(600));
    }
    assert_eq!(training.started, ["ci-1"]);
}

/// The child of a finished job was deleted when its time to live was over, and the job ran again, for ever.
/// <https://github.com/kubeflow/trainer/issues/3737> <https://github.com/kubeflow/trainer/issues/2981> A run of ours that has
/// ended never runs again; another attempt has another name.
#[test]
fn kubeflow_trainer_3737_a_finished_run_never_runs_again() {
    for end in [registered(), failed(), RunEnd::Cancelled { why: "by ann".into() }] {
        let mut training = Training::serving();
        training.ask("ci-1", false);
        training.look();
        training.end = Some(end.clone());
        training.look();
        // Reported again, as by a controller that lost its memory of having reported it.
        training.end = Some(end.clone());
        training.look();
        for force in [false, true] {
            training.ask("ci-1", force);
            training.days(10);
        }
        assert_eq!(training.started, ["ci-1"], "{end:?}");
        assert!(training.status.rejections <= 1, "counted once");
    }
}

/// A run with the name of an earlier one took up the earlier one's state.
/// <https://github.com/kubeflow/pipelines/issues/5783> Ours refuses the name, and gives its own runs names that nobody had.
#[test]
fn kubeflow_pipelines_5783_no_run_takes_the_name_of_another() {
    let mut training = Training::serving();
    training.policy.cooldown = Duration::ZERO;
    for name in ["0002-drift", "0003-drift", "0005-drift"] {
        training.ask(name, true);
        training.look();
        training.end = Some(registered());
        training.look();
    }
    training.drift();
    training.days_ending(6, &registered());
    assert!(training.started.len() > 5);
    let names: std::collections::BTreeSet<&String> = training.started.iter().collect();
    assert_eq!(names.len(), training.started.len(), "{:?}", training.started);
}

/// One worker died and the job hung without end. <https://github.com/kubeflow/trainer/issues/2000>
/// <https://github.com/kubeflow/trainer/issues/3994>: at the deadline a deletion failed, was never tried again, and the workers
/// went on. Ours stops it at its deadline, and says so until it is gone.
#[test]
fn kubeflow_trainer_2000_a_run_that_hangs_is_stopped_until_it_is_gone() {
    let mut training = Training::serving();
    training.ask("ci-1", false);
    training.look_after(Duration::from_secs(60));
    (0..6).for_each(|_| training.look_after(Duration::from_secs(600)));
    assert!(training.cancelled.is_empty(), "an hour is allowed");
    (0..5).for_each(|_| training.look_after(Duration::from_secs(600)));
    assert_eq!(training.cancelled, ["ci-1"; 5]);
    training.ask("ci-2", true);
    training.look_after(Duration::from_secs(600));
    assert_eq!(training.started, ["ci-1"], "not beside one that may still write");
    training.end = Some(RunEnd::Failed { why: "it took longer than 1h".into() });
    training.look_after(Duration::from_secs(600));
    training.ask("ci-3", true);
    training.look_after(Duration::from_secs(600));
    assert_eq!(training.started, ["ci-1", "ci-3"]);
    assert_eq!(training.cancelled.len(), 6);
}

/// A failed run was repeated without end and without a word. <https://github.com/kubeflow/trainer/issues/3779> Ours waits
/// between attempts, counts them against a budget, and stops when they fail in a row.
#[test]
fn kubeflow_trainer_3779_failures_in_a_row_stop_the_loop() {
    let mut training = Training::serving();
    training.drift();
    training.days_ending(90, &failed());
    assert_eq!(training.started.len(), 3, "{:?}", training.started);
    assert_eq!(training.condition("AutomationSuspended"), Some((true, "BreakerOpen")));
    training.ask("mended", true);
    training.days_ending(1, &registered());
    assert_eq!(training.started.last().unwrap(), "mended");
    assert_eq!(training.condition("AutomationSuspended"), None);
}

/// A drift monitor that goes on firing while its retraining runs, fails, or is taken back. (T1, T5 and T6 of the failure modes;
/// <https://github.com/argoproj/argo-events/issues/202> for the mechanism) Ours: one run for one drift, and rollbacks count.
#[test]
fn retrain_storm_a_loop_of_training_and_rollback_ends() {
    let mut training = Training::serving();
    training.drift();
    for _ in 0..1_200 {
        training.look();
        if training.status.run.is_none() {
            continue;
        }
        training.end = Some(registered());
        training.look();
        training.rollout_active = true;
        training.days(2);
        training.rollout_active = false;
        training.ended.push((format!("{}-v2", training.ended.len()), RolloutResult::RolledBack));
    }
    assert_eq!(training.started.len(), 3);
    assert_eq!(training.condition("AutomationSuspended"), Some((true, "BreakerOpen")));
}

/// Drift that is seen while a candidate is on trial, and a trial that ends by a promotion. (T6 and T7; the monitor goes on firing
/// because its reference is still the old one) Ours waits for the verdict, and then watches the new version from nothing.
#[test]
fn retrain_storm_a_rollout_comes_first_and_its_promotion_begins_the_watch_anew() {
    let mut training = Training::serving();
    training.drift();
    (training.policy.cooldown, training.rollout_active) = (Duration::ZERO, true);
    training.days(6);
    assert!(training.started.is_empty() && training.has_said("RolloutActive"));
    assert_eq!(training.condition("Drifted").map(|it| it.0), Some(true));
    training.rollout_active = false;
    training.ended.push(("1-v2".into(), RolloutResult::Promoted));
    // Version 2 has learned what users want now.
    training.promote(2);
    training.days(20);
    assert!(training.started.is_empty(), "{:?}", training.started);
    assert_eq!(training.condition("Drifted").map(|it| it.0), Some(false));
}

/// The reference stays the old one by mistake, and each run registers a version that changes nothing. (T7) Ours ends the storm by
/// its budget, and says so.
#[test]
fn retrain_storm_the_budget_ends_what_nothing_else_does() {
    let mut training = Training::serving();
    training.policy.cooldown = Duration::ZERO;
    training.drift();
    training.days_ending(29, &registered());
    assert_eq!(training.started.len(), 6);
    assert!(training.has_said("BudgetSpent"));
}

/// A breaker that opens for good has to be watched by somebody. (T5) Ours tries once after a while if that is asked, and a
/// promotion closes it.
#[test]
fn retrain_storm_an_open_breaker_is_tried_once_and_a_promotion_closes_it() {
    let mut training = Training::serving();
    (training.policy.cooldown, training.policy.half_open_after) = (Duration::ZERO, Some(20 * DAY));
    training.drift();
    training.days_ending(12, &failed());
    assert_eq!(training.started.len(), 3);
    training.days_ending(15, &registered());
    assert_eq!(training.started.len(), 4, "one trial, and its verdict is out");
    assert!(training.has_said("BreakerHalfOpen"));
    training.ended.push(("1-v2".into(), RolloutResult::Promoted));
    training.look();
    assert_eq!((training.status.rejections, training.condition("AutomationSuspended")), (0, None));
}

/// A trial succeeded and its metrics were "unavailable"; nothing said so. <https://github.com/kubeflow/katib/issues/1801>
/// <https://github.com/kubeflow/katib/issues/1795> Ours registers nothing for serving whose metrics are missing or no numbers.
#[test]
fn katib_1801_a_run_without_metrics_is_not_admitted() {
    let metric = Metric { kind: MetricKind::Recall, k: 20 };
    let demand = Demand::AtLeastBetter(Margin::Absolute(0.0));
    let gates = vec![EvaluationGate { metric, versus: Versus::Popularity, demand, segments: Segments::Overall }];
    let policy = AdmissionPolicy { gates, ..AdmissionPolicy::default() };
    let popularity = Metrics::from([("recall@20".to_owned(), 0.1)]);
    let spreads = Spreads::new();
    let now = Training::serving().now;
    let codes = |candidate: Option<&Metrics>| -> Vec<String> {
        let rival = Rival { metrics: &popularity, spreads: &spreads };
        let scores = candidate.map(|candidate| Scores { candidate, champion: None, popularity: rival });
        let artifact = Artifact { golden: Some((3, 3)), ..Artifact::default() };
        let trial = scores.map(|overall| Trial { overall, segments: &[] });
        let dossier = Dossier { digest: "sha256:2", producer: "fairway", artifact, trial, words: &[] };
        admit(&policy, &dossier, now).missing().map(|reason| reason.code.clone()).collect()
    };
    assert_eq!(codes(None), ["NotEvaluated"]);
    assert_eq!(codes(Some(&Metrics::new())), ["MetricMissing"]);
    assert_eq!(codes(Some(&Metrics::from([("recall@20".to_owned(), f64::NAN)]))), ["MetricMissing"]);
    assert_eq!(codes(Some(&Metrics::from([("recall@20".to_owned(), 0.05)]))), ["GateRejected"]);
    assert!(codes(Some(&Metrics::from([("recall@20".to_owned(), 0.2)]))).is_empty());
}

/// A job that was stopped to make room is queued again, and nobody can say that it should not be.
/// <https://github.com/kubernetes-sigs/kueue/issues/9807> Ours leaves a run that was stopped stopped, does not count it as a bad
/// candidate, and waits for the cooldown.
#[test]
fn kueue_9807_a_run_that_was_stopped_is_not_queued_again() {
    let mut training = Training::serving();
    training.policy.run_deadline = 10 * DAY;
    training.drift();
    training.days(3);
    let name = training.started[0].clone();
    training.asked.push(ModelRequest::Cancel { name: name.clone() });
    training.look();
    assert_eq!(training.cancelled, [name.as_str()]);
    training.end = Some(RunEnd::Cancelled { why: "by ann".into() });
    training.days(6);
    assert_eq!((training.started.len(), training.status.rejections), (1, 0));
    assert!(training.has_said("Cooldown"));
    training.days(2);
    assert_eq!(training.started.len(), 2, "the drift is still there, and this is another run");
    assert_ne!(training.started[1], name);
}
