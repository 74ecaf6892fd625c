//! What the operator and people ask of a router in another process: its windows against a lease, and to abort.

use std::sync::Arc;
use std::time::Duration;

use fairway_wire::{Poll, Polled};

use crate::router::{Plan, Router, end_trials};
use crate::windows::Packed;

/// Most windows in one answer, whatever is asked for.
const WINDOWS: u32 = 256;

impl Router {
    /// Answers a poll: forgets the windows that it says are safe, renews the lease if it is for the generation in
    /// force, and hands out closed windows. These stay, and do not change any more, until a later poll says that they
    /// are safe; the same poll again gets the same windows. To be used instead of [`take_windows`](Self::take_windows).
    pub(crate) fn poll(&self, poll: Poll) -> Polled<Packed> {
        let now_ms = self.now().as_millisecond();
        self.mature(now_ms);
        self.renew(&poll);
        let limit = poll.limit.min(WINDOWS) as usize;
        // A router that was just started counts anew: what is safe of the one before says nothing of it.
        let after = poll.after.filter(|_| poll.replica == self.config.replica);
        let windows = self.windows.hand_out(now_ms, after, limit, &self.window_names());
        let plan = self.plan.load();
        Polled {
            replica: self.config.replica.clone(),
            generation: plan.route.generation,
            installed: self.installed(),
            aborted: plan.aborted,
            windows,
            lost: self.windows.lost(),
        }
    }

    /// Sets the canary's weight to 0, asks it nothing unseen any more, and holds no experiment: until a route of another rollout
    /// or without a canary comes. Needs nobody else.
    pub fn abort(&self) {
        self.replan(|plan| {
            let mut route = plan.route.clone();
            end_trials(&mut route);
            tracing::warn!(generation = route.generation, "the canary was aborted by a person");
            Some(Plan { aborted: true, trials: Vec::new(), ..plan.with(route) })
        });
    }

    fn renew(&self, poll: &Poll) {
        let Some(left) = poll.lease_ms.map(Duration::from_millis) else {
            return;
        };
        self.replan(|plan| {
            let renews = plan.told && plan.route.generation == poll.generation;
            renews.then(|| Plan { lease: plan.lease.renewed(left), ..plan.with(plan.route.clone()) })
        });
    }

    /// Changes the plan while no route and no version comes in between.
    fn replan(&self, change: impl FnOnce(&Plan) -> Option<Plan>) {
        let _models = self.models();
        if let Some(plan) = change(&self.plan.load_full()) {
            self.plan.store(Arc::new(plan));
        }
    }
}
