use fairway_stats::PairedSpread;

use super::*;
use crate::evaluation::{Metrics, Rival, Spreads};
use crate::policy::{Demand, EvaluationGate, FairnessGate, Margin, Metric, MetricKind, Segments, Versus};

const RECALL: Metric = Metric { kind: MetricKind::Recall, k: 20 };
const COVERAGE: Metric = Metric { kind: MetricKind::Coverage, k: 20 };
const DIGEST: &str = "sha256:aa";

/// A group of users as it was scored: name, users, and recall of candidate, champion and popularity.
type Group = (&'static str, u64, f64, f64, f64);

/// Owns what [`Trial`] borrows.
struct Holdout {
    sides: Vec<[Metrics; 3]>,
    spreads: Vec<Spreads>,
    groups: Vec<Group>,
}

impl Holdout {
    /// The first group is everybody. Each user's recall varies with a standard deviation of 0.3, alike for all models.
    fn of(groups: &[Group]) -> Self {
        let metrics =
            |recall: f64| Metrics::from([("recall@20".into(), recall), ("coverage@20".into(), 10.0 * recall)]);
        let sides = groups.iter().map(|g| [g.2, g.3, g.4].map(metrics)).collect();
        let spread = |users: u64| {
            let variance = 0.09 / users as f64;
            PairedSpread { n: users, first: variance, second: variance, covariance: variance / 2.0 }
        };
        let spreads = groups.iter().map(|g| Spreads::from([("recall@20".into(), spread(g.1))])).collect();
        Self { sides, spreads, groups: groups.to_vec() }
    }

    fn scores(&self, at: usize) -> Scores<'_> {
        let [candidate, champion, popularity] = &self.sides[at];
        let rival = |metrics| Rival { metrics, spreads: &self.spreads[at] };
        Scores { candidate, champion: Some(rival(champion)), popularity: rival(popularity) }
    }

    fn judge(&self, policy: &AdmissionPolicy) -> Gate {
        let segments: Vec<SegmentScores<'_>> = (1..self.groups.len())
            .map(|at| SegmentScores { name: self.groups[at].0, users: self.groups[at].1, scores: self.scores(at) })
            .collect();
        worth(policy, &Trial { overall: self.scores(0), segments: &segments })
    }
}

fn gate(metric: Metric, versus: Versus, demand: Demand, segments: Segments) -> AdmissionPolicy {
    AdmissionPolicy { gates: vec![EvaluationGate { metric, versus, demand, segments }], ..AdmissionPolicy::default() }
}

fn codes(reasons: &[Reason]) -> Vec<&str> {
    reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn a_segment_may_not_pay_for_the_gain_of_all() {
    let each = Segments::Each { min_count: 500 };
    let tolerance = Demand::AtMostWorse(Margin::Relative(0.05));
    let policy = |segments| gate(RECALL, Versus::Champion, tolerance, segments);
    let all = ("", 10_000, 0.12, 0.10, 0.05);
    let loses = [all, ("uk", 8_000, 0.14, 0.10, 0.05), ("fr", 2_000, 0.04, 0.10, 0.05)];
    assert!(Holdout::of(&loses).judge(&policy(Segments::Overall)).passed());
    let found = Holdout::of(&loses).judge(&policy(each));
    assert_eq!(codes(&found.refusals), ["GateRejected"]);
    let expected =
        "recall@20 of fr 0.0400 is shown to be below 0.0950, which the gate asks against the champion (0.1000)";
    assert!(found.sentence().starts_with(expected), "{}", found.sentence());
    // What the segment's few users cannot tell apart is left to the canary.
    let unclear = [all, ("uk", 8_000, 0.14, 0.10, 0.05), ("fr", 600, 0.085, 0.10, 0.05)];
    assert!(Holdout::of(&unclear).judge(&policy(each)).passed());
}

#[test]
fn many_segments_do_not_reject_by_chance() {
    // Each loses by two standard errors: one of them alone would be shown, one of forty is what chance gives.
    let names: Vec<&'static str> = (0..40).map(|_| "s").collect();
    let error = 0.3 / 1_000_f64.sqrt();
    let segment = |name: &&'static str, lost: f64| (*name, 1_000, 0.10 - lost * error, 0.10, 0.05);
    let policy =
        gate(RECALL, Versus::Champion, Demand::AtMostWorse(Margin::Relative(0.0)), Segments::Each { min_count: 500 });
    let judge = |groups: Vec<Group>| {
        Holdout::of(&[vec![("", 40_000, 0.10, 0.10, 0.05)], groups].concat()).judge(&policy).refusals.len()
    };
    assert_eq!(judge(vec![segment(&"s", 2.0)]), 1);
    assert_eq!(judge(names.iter().map(|name| segment(name, 2.0)).collect()), 0);
    assert_eq!(judge(names.iter().map(|name| segment(name, 4.0)).collect()), 40);
}

#[test]
fn small_segments_are_judged_together_or_told() {
    let policy =
        gate(RECALL, Versus::Champion, Demand::AtMostWorse(Margin::Relative(0.0)), Segments::Each { min_count: 500 });
    let all = ("", 10_000, 0.12, 0.10, 0.05);
    let small = |name, recall| (name, 300, recall, 0.10, 0.05);
    let uk = ("uk", 9_000, 0.12, 0.10, 0.05);
    let together = Holdout::of(&[all, uk, small("fr", 0.02), small("de", 0.04)]).judge(&policy);
    assert!(together.sentence().starts_with("recall@20 of other 0.0300 is shown to be below 0.1000"), "{together:?}");
    let alone = Holdout::of(&[all, uk, small("fr", 0.02)]).judge(&policy);
    assert!(alone.passed());
    assert_eq!(codes(&alone.notes), ["SegmentsTooSmall"]);
    // Without any segment what was asked for is missing; with only small ones there is nothing to say.
    assert_eq!(codes(&Holdout::of(&[all]).judge(&policy).refusals), ["SegmentsMissing"]);
    let nobody = Holdout::of(&[all, small("fr", 0.02)]).judge(&policy);
    assert!(nobody.passed() && codes(&nobody.notes) == ["SegmentsTooSmall"]);
}

#[test]
fn all_failures_are_told_at_once() {
    let gates = [
        gate(RECALL, Versus::Champion, Demand::AtMostWorse(Margin::Relative(0.0)), Segments::Overall).gates,
        gate(RECALL, Versus::Popularity, Demand::AtLeastBetter(Margin::Absolute(0.0)), Segments::Overall).gates,
        gate(COVERAGE, Versus::Champion, Demand::AtMostWorse(Margin::Relative(0.1)), Segments::Overall).gates,
    ];
    let policy = AdmissionPolicy { gates: gates.concat(), ..AdmissionPolicy::default() };
    let found = Holdout::of(&[("", 10_000, 0.05, 0.10, 0.05)]).judge(&policy);
    assert_eq!(codes(&found.refusals), ["GateRejected"; 3]);
    assert!(found.sentence().contains("; coverage@20 0.5000 is shown to be below 0.9000"), "{}", found.sentence());
}

#[test]
fn the_gap_between_segments_must_be_shown_to_refuse() {
    let fairness = FairnessGate { metric: RECALL, gap: 0.05, min_count: 500 };
    let policy = AdmissionPolicy { fairness: Some(fairness), ..AdmissionPolicy::default() };
    let all = ("", 10_000, 0.12, 0.10, 0.05);
    let with = |users, recall| Holdout::of(&[all, ("uk", 8_000, 0.14, 0.1, 0.05), ("fr", users, recall, 0.1, 0.05)]);
    for (users, recall, expected) in [
        (2_000, 0.10, vec![]),
        (2_000, 0.04, vec!["FairnessGap"]),
        (600, 0.07, vec![]),
        (600, 0.0, vec!["FairnessGap"]),
    ] {
        assert_eq!(codes(&with(users, recall).judge(&policy).refusals), expected, "{users} {recall}");
    }
    let said = with(2_000, 0.04).judge(&policy).sentence();
    assert!(said.starts_with("recall@20 differs by 0.1000 between segments, surely by 0.07"), "{said}");
    assert!(said.contains("(uk against fr); the limit is 0.0500"), "{said}");
    let missing = FairnessGate { metric: Metric { kind: MetricKind::Ndcg, k: 10 }, ..fairness };
    let policy = AdmissionPolicy { fairness: Some(missing), ..AdmissionPolicy::default() };
    assert_eq!(codes(&with(2_000, 0.1).judge(&policy).refusals), ["MetricMissing"]);
}

#[test]
fn an_artifact_is_refused_for_all_that_is_wrong_or_unknown() {
    let strict =
        AdmissionPolicy { signature: true, latency_p95: Some(Duration::from_millis(20)), ..AdmissionPolicy::default() };
    let good = Artifact {
        signature: Signature::Verified,
        golden: Some((32, 32)),
        latency_p95: Some(Duration::from_millis(20)),
    };
    for (policy, artifact, expected) in [
        (&strict, good, vec![]),
        (&strict, Artifact::default(), vec!["SignatureNotChecked", "GoldenNotChecked", "LatencyNotMeasured"]),
        (&AdmissionPolicy::default(), Artifact::default(), vec!["GoldenNotChecked"]),
        (&strict, Artifact { signature: Signature::Refused("no signature"), ..good }, vec!["SignatureRefused"]),
        (&strict, Artifact { golden: Some((31, 32)), ..good }, vec!["GoldenDiffers"]),
        (&strict, Artifact { golden: Some((0, 0)), ..good }, vec!["GoldenMissing"]),
        (&strict, Artifact { latency_p95: Some(Duration::from_micros(20_100)), ..good }, vec!["TooSlow"]),
    ] {
        let found = deployable(policy, &artifact);
        assert_eq!(codes(&found.refusals), expected);
        assert!(found.refusals.iter().all(|reason| reason.message.len() > 40), "{found:?}");
    }
    let slow = deployable(&strict, &Artifact { latency_p95: Some(Duration::from_micros(20_100)), ..good });
    assert!(slow.sentence().contains("took up to 20.1ms, the limit is 20ms"), "{}", slow.sentence());
}

fn dossier<'a>(digest: &'a str, trial: Option<Trial<'a>>, words: &'a [Word<'a>]) -> Dossier<'a> {
    let artifact = Artifact { golden: Some((8, 8)), ..Artifact::default() };
    Dossier { digest, producer: "fairway", artifact, trial, words }
}

#[test]
fn deployable_worth_and_people_are_three_answers() {
    let policy = AdmissionPolicy { approvals: 1, ..AdmissionPolicy::default() };
    let holdout = Holdout::of(&[("", 10_000, 0.12, 0.10, 0.05)]);
    let trial = Some(Trial { overall: holdout.scores(0), segments: &[] });
    let now = Timestamp::UNIX_EPOCH;
    let yes = [Word { actor: "ann", approves: true, digest: DIGEST, time: now, expires: None }];
    let waiting = admit(&policy, &dossier(DIGEST, trial, &[]), now);
    assert!(!waiting.admitted() && waiting.waits_for_people());
    assert_eq!(waiting.missing().map(|reason| reason.code.as_str()).collect::<Vec<_>>(), ["ApprovalsMissing"]);
    assert!(admit(&policy, &dossier(DIGEST, trial, &yes), now).admitted());
    let unknown = admit(&policy, &Dossier { artifact: Artifact::default(), ..dossier(DIGEST, None, &yes) }, now);
    assert!(!unknown.admitted() && !unknown.waits_for_people());
    let codes: Vec<&str> = unknown.missing().map(|reason| reason.code.as_str()).collect();
    assert_eq!(codes, ["GoldenNotChecked", "NotEvaluated"]);
    let stored = serde_json::to_string(&unknown).unwrap();
    assert_eq!(serde_json::from_str::<Admission>(&stored).unwrap(), unknown);
}

#[test]
fn a_set_is_admitted_whole_or_not_at_all() {
    let (free, strict) = (AdmissionPolicy::default(), AdmissionPolicy { approvals: 1, ..AdmissionPolicy::default() });
    let holdout = Holdout::of(&[("", 10_000, 0.12, 0.10, 0.05)]);
    let trial = Some(Trial { overall: holdout.scores(0), segments: &[] });
    let needs = |digest| [Needed { part: "ranker", digest }];
    let (fits, other) = (needs("sha256:aa"), needs("sha256:cc"));
    let member = |part, digest, needs| Member { part, policy: &free, dossier: dossier(digest, trial, &[]), needs };
    let ranker = member("ranker", "sha256:aa", &[]);
    let cases: [(&str, Vec<Member<'_>>, &[&str]); 8] = [
        ("a pair", vec![ranker, member("diversity", "sha256:bb", &fits)], &[]),
        ("alone", vec![ranker], &[]),
        ("nothing", vec![], &["EmptySet"]),
        ("another ranker", vec![ranker, member("diversity", "sha256:bb", &other)], &["Incompatible"]),
        ("half", vec![member("diversity", "sha256:bb", &fits)], &["PartMissing"]),
        ("strangers", vec![ranker, member("diversity", "sha256:bb", &[])], &["NotLinked", "NotLinked"]),
        ("twice", vec![ranker, ranker, member("diversity", "sha256:bb", &fits)], &["PartTwice"]),
        (
            "one is not approved",
            vec![ranker, Member { policy: &strict, ..member("diversity", "sha256:bb", &fits) }],
            &["ApprovalsMissing"],
        ),
    ];
    for (why, members, expected) in cases {
        let found = admit_set(&members, Timestamp::UNIX_EPOCH);
        let missing = found.missing();
        assert_eq!(codes(&missing), expected, "{why}: {missing:?}");
        assert_eq!(found.admitted(), expected.is_empty(), "{why}");
    }
}
