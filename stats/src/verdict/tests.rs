//! Tests of the gates: what they say of planted harm, health and gain, and that they keep what they proved.

use proptest::prelude::*;

use super::*;
use crate::portable_stream::Stream;

/// A ramp with a base rate that moves; the canary's rate is `ratio` times that of stable.
fn run(gate: &mut RateGate, ratio: f64, looks: usize, seed: u64) {
    let mut stream = Stream::new(seed);
    for look in 0..looks {
        let share = [0.05, 0.25, 0.5][3 * look / looks];
        let base = if look < looks / 2 { 0.01 } else { 0.03 };
        let requests = [2000.0 * share, 2000.0 * (1.0 - share)];
        let bad = [stream.poisson(requests[0] * base * ratio), stream.poisson(requests[1] * base)];
        gate.look(requests.map(|n| n as u64), bad);
    }
}

#[test]
fn the_four_outcomes_of_a_rate() {
    let table = [
        (2.0, 100, Outcome::Harmful, "errors: worse on the canary by more than 10.0 %"),
        (1.0, 300, Outcome::NonInferior, "errors: not worse on the canary by more than 10.0 %"),
        (0.6, 200, Outcome::Better, "errors: better on the canary"),
        (1.0, 10, Outcome::Inconclusive, "errors: nothing proved yet"),
    ];
    for (ratio, looks, outcome, start) in table {
        let mut gate = RateGate::new(0.1, 0.05);
        run(&mut gate, ratio, looks, 17);
        let verdict = gate.verdict("errors");
        assert_eq!(verdict.outcome, outcome, "{verdict:?}");
        assert!(verdict.sentence.starts_with(start), "{}", verdict.sentence);
        assert!((gate.ratio().unwrap() / ratio - 1.0).abs() < 0.5, "{:?}", gate.ratio());
        assert!(verdict.p_harm <= 1.0 && verdict.n > 0);
        let back: Verdict = serde_json::from_str(&serde_json::to_string(&verdict).unwrap()).unwrap();
        assert_eq!(back, verdict);
    }
}

#[test]
fn what_was_proved_stays_proved_and_clumps_weigh_less() {
    let (mut gate, mut clumped) = (RateGate::new(0.0, 0.05), RateGate::new(0.0, 0.05));
    clumped.set_design_effects(DesignEffects { harm: 10.0, health: 10.0 });
    gate.look([500, 500], [60, 20]);
    clumped.look([500, 500], [60, 20]);
    assert_eq!(gate.verdict("slow").outcome, Outcome::Harmful);
    assert_eq!(clumped.verdict("slow").outcome, Outcome::Inconclusive);
    assert!(clumped.verdict("slow").sentence.contains("clumps of 10.0"));
    for _ in 0..50 {
        gate.look([500, 500], [20, 60]);
    }
    assert!(gate.now().harm < 0.0);
    assert_eq!(gate.verdict("slow").outcome, Outcome::Harmful);
    let text = serde_json::to_string(&gate).unwrap();
    assert_eq!(serde_json::from_str::<RateGate>(&text).unwrap(), gate);
}

#[test]
fn a_gate_is_its_three_grids() {
    let mut gate = RateGate::new(0.1, 0.05);
    let (mut harm, mut fine) = (OddsGrid::harm(0.1), OddsGrid::non_inferiority(0.1));
    for (requests, bad) in [([100, 900], [3, 11]), ([250, 750], [9, 14]), ([0, 500], [0, 7]), ([500, 500], [4, 15])] {
        gate.look(requests, bad);
        let share = requests[0] as f64 / (requests[0] + requests[1]) as f64;
        harm.update(share, bad[0], bad[1]);
        fine.update(share, bad[0], bad[1]);
    }
    assert_eq!(gate.now().harm.to_bits(), harm.ln_e().to_bits());
    assert!(gate.most().harm >= harm.ln_e_max(), "boosted");
    assert_eq!(gate.most().non_inferior.to_bits(), fine.ln_e_max().to_bits());
}

/// Evidence of harm over 1/α as the outcome sees it.
fn boosted(gate: &RateGate) -> f64 {
    (gate.harm.ln_e_at(gate.design_effect) + gate.ln_boost / gate.design_effect - ln_needed(gate.alpha)).exp()
}

#[test]
fn a_boosted_look_is_still_fair_and_loses_nothing_at_the_end() {
    let mut boosts = 0;
    for seed in 0..40 {
        let (mut stream, margin) = (Stream::new(seed), [0.0, 0.1][seed as usize % 2]);
        let mut gate = RateGate::new(margin, 0.05);
        while boosted(&gate) < 1.0 {
            let share = [0.05, 0.1, 0.5][seed as usize % 3];
            let requests = [share, 1.0 - share].map(|part| (200.0 * part) as u64);
            let bad = 1 + stream.poisson(3.0);
            // Every outcome of this look, at the boundary: the mean of what is stopped at 1/α is what it was, and no more.
            let at = (1.0 + margin) * share / (1.0 + margin * share);
            let (mut chance, mut mean, mut unboosted) = ((1.0 - at).powi(bad as i32), 0.0, 0.0);
            for on_canary in 0..=bad {
                let mut after = gate.clone();
                after.look(requests, [on_canary, bad - on_canary]);
                mean += chance * boosted(&after).min(1.0);
                let plain = RateGate { ln_boost: gate.ln_boost, ..after };
                unboosted += chance * boosted(&plain).min(1.0);
                chance *= (bad - on_canary) as f64 / (on_canary + 1) as f64 * at / (1.0 - at);
            }
            let before = boosted(&gate);
            // Outcomes beyond six standard deviations are left out where none below them is beyond 1/α.
            let kept = mean / before;
            assert!(kept > 0.99 && kept < 1.0 + 1e-9, "{seed}: {mean} after {before}");
            assert!(unboosted <= mean + 1e-12);
            boosts += usize::from(unboosted < 0.999 * mean);
            let on_canary = (0..bad).filter(|_| stream.uniform() < 3.0 * at).count() as u64;
            gate.look(requests, [on_canary, bad - on_canary]);
        }
        assert_eq!(gate.verdict("errors").outcome, Outcome::Harmful);
        assert!(gate.most().harm >= ln_needed(0.05) && gate.now().harm <= gate.most().harm);
    }
    assert!(boosts > 40, "{boosts} looks could have carried it beyond");
}

#[test]
fn clumps_stay_paid_and_what_was_stored_without_a_boost_is_read() {
    let mut gate = RateGate::new(0.0, 0.05);
    gate.set_design_effects(DesignEffects { harm: 3.0, health: 3.0 });
    let mut clumped = OddsGrid::harm(0.0);
    for _ in 0..4 {
        gate.look([100, 900], [4, 20]);
        clumped.update(0.1, 4, 20);
    }
    let plain = clumped.ln_e_at(3.0);
    assert!(plain < gate.most().harm && gate.most().harm < clumped.ln_e(), "{plain} {:?}", gate.most());
    let mut stored = serde_json::to_value(RateGate::new(0.0, 0.05)).unwrap();
    for added in ["ln_boost", "health_effect"] {
        stored.as_object_mut().unwrap().remove(added).unwrap();
    }
    assert_eq!(serde_json::from_value::<RateGate>(stored).unwrap(), RateGate::new(0.0, 0.05));
}

#[test]
fn the_outcomes_of_a_mean() {
    let table = [
        (-0.05, 0.01, Outcome::Harmful, "reward: worse"),
        (0.0, 0.002, Outcome::NonInferior, "reward: not worse"),
        (0.05, 0.005, Outcome::Better, "reward: better"),
        (0.01, 0.05, Outcome::Inconclusive, "reward: nothing proved yet"),
    ];
    for (value, error, outcome, start) in table {
        let mut gate = MeanGate::new(0.0, 0.01, 0.05, 5000.0);
        gate.look(&Effect { value, error, n: 5000 });
        let verdict = gate.verdict("reward");
        assert_eq!(verdict.outcome, outcome, "{verdict:?}");
        assert!(verdict.sentence.starts_with(start), "{}", verdict.sentence);
        let interval = verdict.effect.unwrap();
        assert!(interval.lower < value && value < interval.upper);
        gate.look(&Effect { value, error: error * 10.0, n: 6000 });
        assert_eq!(gate.verdict("reward").outcome, outcome, "what was proved stays proved");
    }
    let empty = MeanGate::new(f64::NAN, -1.0, 0.05, 5000.0).verdict("reward");
    assert_eq!((empty.outcome, empty.n), (Outcome::Inconclusive, 0));
    assert!(empty.sentence.contains("too few units"));
}

#[test]
fn without_a_level_nothing_is_proved() {
    for alpha in [0.0, 1.0, -1.0, f64::NAN] {
        let (mut rate, mut mean) = (RateGate::new(0.0, alpha), MeanGate::new(0.0, 0.0, alpha, 100.0));
        rate.look([500, 500], [400, 10]);
        mean.look(&Effect { value: -1.0, error: 0.01, n: 1000 });
        assert_eq!(rate.verdict("x").outcome, Outcome::Inconclusive);
        assert_eq!(mean.verdict("x").outcome, Outcome::Inconclusive);
        assert!(ln_needed(alpha).is_infinite());
    }
    let mut mean = MeanGate::new(0.0, 0.0, 0.05, f64::NAN);
    mean.look(&Effect { value: -1.0, error: 0.01, n: 1000 });
    assert_eq!(mean.verdict("x").outcome, Outcome::Inconclusive);
}

proptest! {
    #[test]
    fn no_look_makes_a_nan(
        requests in prop::array::uniform2(any::<u64>()), bad in prop::array::uniform2(any::<u64>()),
        value in prop::num::f64::ANY, error in prop::num::f64::ANY, n in any::<u64>(),
    ) {
        let (mut rate, mut mean) = (RateGate::new(0.1, 0.05), MeanGate::new(0.0, 0.01, 0.05, 1e4));
        rate.look(requests, bad);
        rate.look(requests, bad);
        mean.look(&Effect { value, error, n });
        for verdict in [rate.verdict("a"), mean.verdict("b")] {
            for ln_e in [verdict.now, verdict.most] {
                prop_assert!(!ln_e.harm.is_nan() && !ln_e.non_inferior.is_nan() && !ln_e.better.is_nan());
            }
            prop_assert!(!verdict.p_harm.is_nan());
        }
    }
}
