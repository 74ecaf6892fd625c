//! Whatever happens, the promises hold.

use fairway_core::endpoint::RolloutRequest;
use proptest::prelude::*;

use super::world::{World, target};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever people, traffic and candidates do, the invariants hold (they are asserted inside `decide` as well) and
    /// a canary never has users without stable beside it.
    #[test]
    fn any_history_keeps_the_promises(steps in prop::collection::vec((0_u8..12, 1_u64..4), 1..120)) {
        let mut world = World::new();
        world.requests_a_minute = 2_000;
        for (what, version) in steps {
            let request = match what {
                0 => Some(RolloutRequest::Pause),
                1 => Some(RolloutRequest::Resume),
                2 => Some(RolloutRequest::Promote { full: false }),
                3 => Some(RolloutRequest::Promote { full: true }),
                4 => Some(RolloutRequest::Abort),
                5 => Some(RolloutRequest::Retry),
                6 => Some(RolloutRequest::Undo { to: None }),
                7 => { world.wanted = Some(target(version)); None }
                8 => { world.canary_errors = f64::from(version as u32 - 1) * 0.2; None }
                9 => { world.silent = !world.silent; None }
                _ => { world.minutes(30); None }
            };
            let requests: Vec<_> = request.into_iter().map(|request| ("ann".to_owned(), request)).collect();
            world.minute(&requests);
            if let Some(route) = &world.route {
                prop_assert!(route.canary.is_none() || route.stable.is_some());
                prop_assert!(route.canary.as_ref().is_none_or(|canary| world.ready.contains(&canary.target.digest)));
            }
            // I3: one step from anywhere.
            let saved = world.status.clone();
            let (route, ready, champions) = (world.route.clone(), world.ready.clone(), world.champions.clone());
            let on_trial = saved.rollout.as_ref().or(saved.bake.as_ref().map(|bake| &bake.rollout));
            if let Some(candidate) = on_trial.map(|rollout| rollout.candidate.clone()) {
                world.minute(&[("ann".to_owned(), RolloutRequest::Abort)]);
                let route = world.route.clone().unwrap();
                prop_assert!(route.canary.is_none_or(|canary| canary.target != candidate));
                prop_assert!(route.stable.is_some_and(|stable| stable != candidate));
            }
            world.status = saved;
            (world.route, world.ready, world.champions) = (route, ready, champions);
        }
    }
}
