//! Monitors and triggers of SageMaker, as its documents describe them.

use std::time::Duration;

use fairway_core::model::{NewRows, RunEnd};

use crate::training::{DAY, Training};

/// One violation of a baseline alarms, or M of N do. (`DatapointsToAlert`,
/// <https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateMonitoringAlert.html>) Ours: two windows of three.
#[test]
fn sagemaker_datapoints_to_alert_one_odd_day_starts_nothing() {
    let mut training = Training::serving();
    let usual = training.consumed;
    for _ in 0..5 {
        training.days(3);
        training.drift();
        training.days(1);
        training.consumed = usual;
    }
    assert!(training.started.is_empty(), "{:?}", training.started);
    training.drift();
    training.days(3);
    assert_eq!(training.started, ["0001-drift"]);
}

/// A broken column looks like drift, and the next model learns the fault. (Data quality and drift are separate monitors in
/// <https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor.html>) Ours looks at the data first: an alert, and no run.
#[test]
fn sagemaker_model_monitor_a_fault_in_the_data_is_an_alert_and_no_training() {
    let mut training = Training::serving();
    training.days(3);
    training.segments = [100, 100, 0, 800];
    training.drift();
    training.days(10);
    assert!(training.started.is_empty());
    assert_eq!(training.condition("DataReady"), Some((false, "DataInvalid")));
    assert_eq!(training.condition("Drifted").map(|it| it.0), Some(false));
    let fault = training.said.iter().find(|it| it.code == "DataInvalid").unwrap();
    assert!(fault.message.contains("segment is missing"), "{}", fault.message);
}

/// A monitor that is broken reports no drift. (`CompletedWithViolations` needs a job that ran:
/// <https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-results.html>) Ours says that nobody reports, and
/// age still asks.
#[test]
fn sagemaker_model_monitor_silence_is_not_health() {
    let mut training = Training::serving();
    training.policy.max_age = Some(20 * DAY);
    training.days(2);
    assert_eq!(training.condition("SignalFresh"), Some((true, "Reporting")));
    training.reporting = false;
    training.days(3);
    assert_eq!(training.condition("SignalFresh"), Some((false, "SignalLost")));
    training.days(16);
    assert_eq!(training.started, ["0001-maxage"]);
}

/// The four events that should start a training: fixed times, new data, a model that gets worse, and inputs that change (8.2 to
/// 8.5 of <https://docs.aws.amazon.com/prescriptive-guidance/latest/mlops-checklist/training.html>). Ours has all four, each
/// with a name in the run.
#[test]
fn sagemaker_checklist_8_each_of_the_four_events_starts_a_run() {
    let started = |prepare: fn(&mut Training)| {
        let mut training = Training::serving();
        prepare(&mut training);
        training.days(22);
        training.started
    };
    assert_eq!(started(|it| it.policy.schedule = Some("0 3 20 * *".parse().unwrap())), ["0001-schedule"]);
    let new_rows = |it: &mut Training| {
        (it.policy.new_data, it.new_rows) = (Some(0.3), Some(NewRows { trained_on: 1_000, since: 300 }));
    };
    assert_eq!(started(new_rows), ["0001-newdata"]);
    assert_eq!(started(|it| it.gain = -0.2), ["0001-degradation"]);
    assert_eq!(started(Training::drift), ["0001-drift"]);
    assert!(started(|_| {}).is_empty());
}

/// Alarms that come faster than trainings end. (EventBridge delivers at least once:
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-what-is.html>) Ours starts one, and the pause counts from its
/// end.
#[test]
fn sagemaker_eventbridge_alarms_in_a_row_start_one_run_and_then_there_is_a_pause() {
    let mut training = Training::serving();
    training.drift();
    training.days(3);
    (0..1_000).for_each(|_| training.look_after(Duration::from_secs(2)));
    assert_eq!(training.started.len(), 1);
    training.end = Some(RunEnd::Registered { version: 2 });
    training.look_after(Duration::from_secs(2));
    training.days(6);
    assert_eq!(training.started.len(), 1, "the cooldown of a week counts from the end");
    assert!(training.has_said("Cooldown"));
}
