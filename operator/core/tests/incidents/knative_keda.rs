//! Threads of KEDA and Knative Serving: canaries and autoscalers.

use std::time::Duration;

use fairway_core::scaling::{Bounds, needed, worth};

use crate::world::{MINUTE, Servers};

/// One autoscaler over both pools sent stable to its maximum or starved the canary.
/// <https://github.com/kedacore/keda/issues/6058> <https://github.com/argoproj/argo-rollouts/issues/4607> Ours scales each
/// track by its own load.
#[test]
fn keda_6058_a_busy_canary_does_not_scale_stable_and_is_not_starved() {
    let load = 160.0;
    let (mut stable, mut canary) = (Servers::new(20), Servers::new(2));
    stable.bounds.floor = needed(&stable.policy, worth(&stable.policy, load, 0.0), 1.0);
    for share in [0.05, 0.25, 0.5] {
        canary.bounds.expected = Some(worth(&canary.policy, load * share, 0.0));
        canary.blind();
        canary.bounds.expected = None;
        stable.run(900, load * (1.0 - share));
        // The new version needs half as much again for the same requests.
        let replicas = canary.run(900, load * share * 1.5).replicas;
        assert_eq!(stable.scaler.replicas(), 20, "at {share}");
        let right = needed(&canary.policy, worth(&canary.policy, load * share * 1.5, 0.0), 1.0);
        assert!(replicas.abs_diff(right) <= 1, "{replicas} for {right} at {share}, within a tenth");
    }
}

/// A metric source that answers nothing scales to whatever the fallback says. (`fallback` in
/// <https://keda.sh/docs/latest/reference/scaledobject-spec/>) Ours keeps what there is, within the bounds.
#[test]
fn keda_without_metrics_the_replicas_stay() {
    let mut servers = Servers::new(10);
    servers.run(600, 76.0);
    for _ in 0..900 {
        let decision = servers.blind();
        assert_eq!((decision.replicas, decision.reason.code.as_str()), (10, "NoData"));
    }
    for odd in [f64::NAN, f64::INFINITY, -1.0] {
        assert_eq!(servers.look(odd).reason.code, "NoData");
    }
    assert_eq!(servers.run(120, 228.0).replicas, 29, "and then it follows again");
}

/// An autoscaler's event in the middle of a canary scaled stable to zero.
/// <https://github.com/argoproj/argo-rollouts/issues/1415> Ours never goes below what everybody needs, idle or not.
#[test]
fn argo_rollouts_1415_stable_never_goes_to_zero_in_a_canary() {
    let mut stable = Servers::new(20);
    stable.policy.idle_after = Some(Duration::ZERO);
    stable.bounds = Bounds { floor: 20, ceiling: 0, expected: None, idle_since: Some(stable.time()) };
    for _ in 0..900 {
        assert_eq!(stable.look(0.0).replicas, 20);
    }
}

/// A gradual cut-over moved requests before there were pods for them, and they queued. (`rollout-duration` in
/// <https://knative.dev/docs/serving/rolling-out-latest-revision/>) Ours orders a step's servers with the expected load.
#[test]
fn knative_a_steps_servers_are_there_before_its_requests() {
    let mut canary = Servers::new(0);
    canary.start = 40;
    canary.bounds.expected = Some(10.0);
    assert_eq!((canary.blind().replicas, canary.ready), (10, 0));
    canary.run(60, 0.0);
    assert_eq!(canary.ready, 10);
    // The step is taken, and nothing is ordered twice when its load comes.
    canary.bounds.expected = None;
    let highest = (0..300).map(|_| canary.look(80.0).replicas).max();
    assert_eq!(highest, Some(10));
}

/// Scale to zero took the revision that traffic was to go back to. (Section on scale to zero in
/// <https://knative.dev/docs/serving/autoscaling/scale-to-zero/>) Ours keeps the way back warm until the bake is over.
#[test]
fn knative_scale_to_zero_leaves_the_way_back_warm() {
    let mut former = Servers::new(20);
    former.policy.idle_after = Some(10 * MINUTE);
    former.bounds = Bounds { floor: 20, idle_since: Some(former.time()), ..Bounds::free() };
    assert_eq!(former.run(7_200, 0.0).replicas, 20);
    former.bounds.floor = 0;
    let gone = former.look(0.0);
    assert_eq!((gone.replicas, gone.reason.code.as_str()), (0, "Idle"), "{}", gone.reason.message);
}

/// Servers that never got ready were taken for a reason to order more. (`max-scale-up-rate` in
/// <https://knative.dev/docs/serving/autoscaling/kpa-specific/>) Ours orders by what is ready.
#[test]
fn knative_servers_that_never_get_ready_do_not_call_for_more() {
    let mut servers = Servers::new(2);
    servers.start = 100_000;
    let replicas: Vec<u32> = (0..900).map(|_| servers.look(480.0).replicas).collect();
    assert_eq!(replicas.iter().max(), Some(&20), "ten times the two that answer");
}

/// A load that flaps makes replicas flap where nothing damps it. (`--horizontal-pod-autoscaler-tolerance`,
/// <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>) Ours has a tolerance up and a delay down.
#[test]
fn hpa_tolerance_a_load_that_flaps_does_not_move_the_servers() {
    let mut servers = Servers::new(10);
    servers.run(600, 76.0);
    let mut changes = 0;
    for minute in 0..60_u64 {
        let before = servers.scaler.replicas();
        servers.run(60, if minute % 2 == 0 { 70.0 } else { 86.0 });
        changes += u32::from(servers.scaler.replicas() != before);
    }
    assert_eq!(changes, 0);
}
