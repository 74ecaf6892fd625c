//! Told once, again when it came back, over when it is over; the same id after a crash; bounded.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plan::{Condition, Reason};

const MINUTE: Duration = Duration::from_secs(60);
const ENDPOINT: &str = "modelendpoint/shop/shop";

fn at(minutes: u64) -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap() + Duration::from_secs(60 * minutes)
}

fn finding(code: &str) -> Finding {
    let (severity, kind) = severity(code).unwrap_or((Severity::Info, Kind::Event));
    Finding {
        code: code.to_owned(),
        severity,
        kind,
        object: ENDPOINT.to_owned(),
        message: format!("{code} happened"),
        evidence: "endpoints/shop/plans/12.json".to_owned(),
    }
}

fn condition(kind: &str, status: bool, code: &str) -> Condition {
    Condition { kind: kind.to_owned(), status, reason: Reason::new(code, format!("{code} message")) }
}

/// Notices of looks, one a minute, with the codes that each finds.
fn looks(policy: &EscalationPolicy, looks: &[&[&str]]) -> Vec<String> {
    let mut told = Told::default();
    let each = looks.iter().zip(0..).flat_map(|(codes, minute)| {
        let all: Vec<Finding> = codes.iter().map(|code| finding(code)).collect();
        let notices = tell(&mut told, policy, &all, at(minute));
        notices.into_iter().map(move |notice| format!("{minute} {}", notice.id.replace(ENDPOINT, "")))
    });
    each.collect()
}

fn at_once() -> EscalationPolicy {
    EscalationPolicy { settle: Duration::ZERO, ..EscalationPolicy::default() }
}

#[test]
fn once_while_it_lasts_and_once_when_it_is_over() {
    let told = looks(&at_once(), &[&["BreakerOpen"], &["BreakerOpen"], &["BreakerOpen"], &[], &[]]);
    assert_eq!(told, ["0 /BreakerOpen/1", "3 /BreakerOpen/1/resolved"]);
}

#[test]
fn again_when_it_came_back() {
    let told = looks(&at_once(), &[&["BreakerOpen"], &[], &["BreakerOpen"], &["BreakerOpen"]]);
    assert_eq!(told, ["0 /BreakerOpen/1", "1 /BreakerOpen/1/resolved", "2 /BreakerOpen/3"]);
}

#[test]
fn what_happened_is_not_resolved_and_may_happen_again() {
    let told = looks(&at_once(), &[&["StepUp"], &[], &["StepUp"], &["StepUp"]]);
    assert_eq!(told, ["0 /StepUp/1", "2 /StepUp/2"]);
}

#[test]
fn a_state_that_flickers_is_told_once() {
    let policy = EscalationPolicy { settle: 3 * MINUTE, ..EscalationPolicy::default() };
    let on: &[&str] = &["TelemetryMissing"];
    let told = looks(&policy, &[on, &[], on, &[], &[], on, &[], &[], &[], &[]]);
    assert_eq!(told, ["0 /TelemetryMissing/1", "8 /TelemetryMissing/1/resolved"]);
}

#[test]
fn again_after_the_repeat() {
    let repeated = Rule {
        matches: Matches::Code("Breaker*".to_owned()),
        channels: BTreeSet::from([Channel::Webhook]),
        repeat: Some(2 * MINUTE),
    };
    let policy = EscalationPolicy { rules: vec![repeated], settle: Duration::ZERO };
    let open: &[&str] = &["BreakerOpen", "BudgetSpent"];
    let told = looks(&policy, &[open, open, open, open, open]);
    let again = ["2 /BreakerOpen/1/again-1", "4 /BreakerOpen/1/again-2"];
    assert_eq!(told, [&["0 /BreakerOpen/1", "0 /BudgetSpent/1"][..], &again].concat());
}

#[test]
fn a_notice_says_what_how_bad_for_how_long_and_where_the_numbers_are() {
    let (policy, mut told) = (at_once(), Told::default());
    let began = &tell(&mut told, &policy, &[finding("BreakerOpen")], at(0))[0];
    assert_eq!(
        began.text,
        "critical: modelendpoint/shop/shop: BreakerOpen: BreakerOpen happened (evidence: endpoints/shop/plans/12.json)"
    );
    let lasts = &tell(&mut told, &policy, &[finding("BreakerOpen")], at(240))[0];
    assert!(lasts.text.starts_with("critical, for 4h now: "), "{}", lasts.text);
    let over = &tell(&mut told, &policy, &[], at(300))[0];
    assert!(over.text.starts_with("over after 5h: "), "{}", over.text);
    assert_eq!(over.channels, began.channels, "the end is told where the beginning was");
    assert_eq!(over.since, at(0));
}

/// The process dies after notices were delivered and before anything else was stored: the same look is made again, later.
#[test]
fn a_crash_repeats_the_same_ids() {
    let policy = EscalationPolicy::default();
    let mut told = Told::default();
    tell(&mut told, &policy, &[finding("BreakerOpen")], at(0));
    let ids = |notices: Vec<Notice>| notices.into_iter().map(|notice| notice.id).collect::<Vec<_>>();
    let stored = serde_json::to_string(&told).unwrap();
    let later = [finding("TelemetryMissing"), finding("BreakerOpen")];
    let first = ids(tell(&mut told, &policy, &later, at(300)));
    assert_eq!(first.len(), 2, "{first:?}");
    let mut again: Told = serde_json::from_str(&stored).unwrap();
    // Something else is found meanwhile too.
    let more = [finding("BudgetSpent"), later[0].clone(), later[1].clone()];
    let second = ids(tell(&mut again, &policy, &more, at(307)));
    assert!(first.iter().all(|id| second.contains(id)), "{first:?} {second:?}");
    assert_eq!(second.len(), 3);
}

#[test]
fn rules_add_up() {
    let rule = |matches, channel| Rule { matches, channels: BTreeSet::from([channel]), repeat: None };
    let policy = EscalationPolicy {
        rules: vec![
            rule(Matches::AtLeast(Severity::Warning), Channel::Webhook),
            rule(Matches::Code("Harmful*".to_owned()), Channel::Page),
            rule(Matches::Code("*".to_owned()), Channel::Webhook),
        ],
        settle: Duration::ZERO,
    };
    use Channel::{KubernetesEvent, Page, Webhook};
    let table: [(&str, &[Channel]); 4] = [
        ("HarmfulInBake", &[KubernetesEvent, Webhook, Page]),
        ("BudgetSpent", &[KubernetesEvent, Webhook]),
        ("Promoted", &[KubernetesEvent, Webhook]),
        ("SomethingNew", &[KubernetesEvent]),
    ];
    for (code, expected) in table {
        let notices = tell(&mut Told::default(), &policy, &[finding(code)], at(0));
        assert_eq!(notices[0].channels.iter().copied().collect::<Vec<_>>(), expected, "{code}");
    }
}

#[test]
fn by_default_only_critical_findings_wake_somebody() {
    let pages = |code: &str| {
        let notices = tell(&mut Told::default(), &EscalationPolicy::default(), &[finding(code)], at(0));
        notices[0].channels.contains(&Channel::Page)
    };
    for code in ["HarmfulInBake", "BreakerOpen", "TelemetryMissing", "Degraded"] {
        assert!(pages(code), "{code}");
    }
    for code in
        ["Harmful", "SampleRatioMismatch", "BudgetSpent", "DataStale", "Inconclusive", "Promoted", "SomethingNew"]
    {
        assert!(!pages(code), "{code}");
    }
}

#[test]
fn rules_that_cannot_be_used_say_why() {
    assert!(EscalationPolicy::default().checked().is_ok());
    let with = |change: fn(&mut Rule)| {
        let mut policy = EscalationPolicy::default();
        change(&mut policy.rules[1]);
        policy.checked().unwrap_err().to_string()
    };
    assert!(with(|rule| rule.repeat = Some(Duration::from_secs(5))).contains("rules[1].repeat 5s is shorter than 1m"));
    assert!(with(|rule| rule.channels.clear()).contains("rules[1].channels is empty"));
    assert!(with(|rule| rule.matches = Matches::Code(String::new())).contains("rules[1].code is empty"));
}

#[test]
fn findings_are_picked_from_a_plan() {
    let reasons = [Reason::new("StepUp", "first"), Reason::new("StepUp", "newest"), Reason::new("Harmful", "twice")];
    let conditions = [
        condition("Ready", true, "Serving"),
        condition("DataReady", false, "DateColumnOdd"),
        condition("EvidenceFeasible", true, "Feasible"),
        condition("EvidenceFeasible", false, "TooLittleTraffic"),
        condition("Progressing", false, "Rollout"),
        condition("RolledBack", true, "Harmful"),
        condition("Drifted", false, "NoDrift"),
        condition("RetrainSuppressed", true, "BreakerOpen"),
        condition("Degraded", true, "SomethingNew"),
    ];
    let found = findings(ENDPOINT, "plans/7", &reasons, &conditions);
    let told: Vec<_> = found.iter().map(|f| (f.code.as_str(), f.severity, f.kind)).collect();
    let expected = [
        ("DataInvalid", Severity::Warning, Kind::State),
        ("TooLittleTraffic", Severity::Warning, Kind::State),
        ("Harmful", Severity::Warning, Kind::State),
        ("BreakerOpen", Severity::Critical, Kind::State),
        ("Degraded", Severity::Critical, Kind::State),
        ("StepUp", Severity::Info, Kind::Event),
    ];
    assert_eq!(told, expected);
    assert_eq!(found.last().unwrap().message, "newest");
    assert!(found.iter().all(|f| f.evidence == "plans/7" && f.object == ENDPOINT));
}

#[test]
fn the_less_severe_make_room_and_the_rest_is_one_notice() {
    let (policy, mut told) = (at_once(), Told::default());
    let many: Vec<Finding> = (0..400).map(|i| Finding { object: format!("o{i}"), ..finding("BudgetSpent") }).collect();
    let notices = tell(&mut told, &policy, &many, at(0));
    assert_eq!(notices.len(), OPEN_MAX + 1);
    assert_eq!(notices.last().unwrap().finding.message, "144 findings are not told: 256 are open already");
    assert!(tell(&mut told, &policy, &many, at(1)).is_empty(), "and then there is quiet");
    let worse = Finding { object: "late".to_owned(), ..finding("BreakerOpen") };
    let notices = tell(&mut told, &policy, &[many, vec![worse]].concat(), at(2));
    assert_eq!(notices.iter().map(|n| n.finding.object.as_str()).collect::<Vec<_>>(), ["late"]);
    assert_eq!(told.open(), OPEN_MAX + 1);
    assert_eq!(tell(&mut told, &policy, &[], at(3)).len(), OPEN_MAX + 1);
    assert_eq!(told.open(), 0);
}

const CODES: [&str; 6] = ["BreakerOpen", "Harmful", "StepUp", "TelemetryMissing", "SomethingNew", "Paused"];

fn any_looks() -> impl Strategy<Value = Vec<(u64, Vec<(usize, u8)>)>> {
    prop::collection::vec((0_u64..90, prop::collection::vec((0..CODES.len(), 0_u8..4), 0..12)), 1..60)
}

proptest! {
    #[test]
    fn ids_are_unique_and_every_end_had_a_beginning(looks in any_looks(), settle in 0_u64..20, repeat in 1_u64..100) {
        let rule = |severity| Rule {
            matches: Matches::AtLeast(severity),
            channels: BTreeSet::from([Channel::Webhook]),
            repeat: Some(u32::try_from(repeat).unwrap() * MINUTE),
        };
        let policy = EscalationPolicy {
            rules: vec![rule(Severity::Info), rule(Severity::Critical)],
            settle: u32::try_from(settle).unwrap() * MINUTE,
        };
        let (mut told, mut minute, mut ids) = (Told::default(), 0, BTreeSet::new());
        for (wait, found) in looks {
            minute += wait;
            let all: Vec<Finding> = found.iter()
                .map(|(code, object)| Finding { object: format!("o{object}"), ..finding(CODES[*code]) })
                .collect();
            let mut crashed = told.clone();
            let notices = tell(&mut told, &policy, &all, at(minute));
            let repeated = tell(&mut crashed, &policy, &all, at(minute));
            prop_assert_eq!(&notices, &repeated);
            for notice in notices {
                prop_assert!(ids.insert(notice.id.clone()), "told twice: {}", notice.id);
                if let Some(began) = notice.id.strip_suffix("/resolved") {
                    prop_assert!(ids.contains(began));
                    prop_assert_eq!(notice.finding.kind, Kind::State);
                }
            }
            prop_assert!(told.open() <= OPEN_MAX + 1);
            let stored = serde_json::to_string(&told).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Told>(&stored).unwrap(), &told);
        }
    }

    #[test]
    fn texts_of_any_length_are_clipped(text in "\\PC{0,2000}") {
        let mut told = Told::default();
        let long = Finding { message: text.repeat(5), object: text.clone(), evidence: text, ..finding("Paused") };
        tell(&mut told, &EscalationPolicy::default(), &[long], at(0));
        prop_assert!(serde_json::to_string(&told).unwrap().len() < 40_000);
    }
}
