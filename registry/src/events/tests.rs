//! The events of one small log, against `golden.jsonl`, and the signature against the published vector.

use super::*;
use crate::state::{Condemned, Verdict};
use crate::{Error, Result, Retention};
use std::collections::BTreeSet;

const REGISTRY: &str = "s3://models/team-a";
const GOLDEN: &str = include_str!("golden.jsonl");

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn version_one() -> Version {
    Version {
        number: 1,
        digest: Digest::of(b"tree"),
        run: "nightly-7".to_owned(),
        registered: time(0),
        bytes: 4_096,
        files: 3,
        metrics: BTreeMap::from([("recall@20".to_owned(), 0.25)]),
        labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        verdicts: Vec::<Verdict>::new(),
        hold: None,
        reigned: None,
    }
}

fn entry(seq: u64, operation: Operation, state: State) -> Entry {
    Entry {
        format: 1,
        seq,
        previous: (seq > 1).then(|| sha256(&seq.to_be_bytes())),
        txn: format!("{seq:032x}"),
        actor: "ann".to_owned(),
        reason: "as agreed".to_owned(),
        time: time(seq as i64),
        operation,
        state,
    }
}

/// One entry for each thing that can happen.
fn log() -> Vec<Entry> {
    let digest = Digest::of(b"tree");
    let mut with = State::default();
    with.versions.insert(1, version_one());
    with.last_number = 1;
    let mut pointed = with.clone();
    pointed.aliases.insert("champion".to_owned(), 1);
    let mut gone = State { last_number: 1, fence: 10, ..State::default() };
    gone.condemned.insert(digest.clone(), Condemned { time: time(10), swept: false });
    let alias = || "champion".to_owned();
    let actors = BTreeSet::from(["ann".to_owned()]);
    let steps = [
        (Operation::Registered { version: 1 }, &pointed),
        (Operation::Aliased { alias: alias(), from: Some(1), to: None, reason: "as agreed".to_owned() }, &with),
        (Operation::Aliased { alias: alias(), from: None, to: Some(1), reason: "as agreed".to_owned() }, &pointed),
        (Operation::Judged { version: 1, digest: digest.clone(), approved: true }, &pointed),
        (Operation::Judged { version: 1, digest: digest.clone(), approved: false }, &pointed),
        (Operation::Held { version: 1, held: true }, &pointed),
        (Operation::Held { version: 1, held: false }, &pointed),
        (Operation::Protected { alias: alias(), actors }, &pointed),
        (Operation::Retained { retention: Some(Retention::default()) }, &pointed),
        (Operation::Signed { version: 1, key: "0123abcd".to_owned() }, &pointed),
        (Operation::Condemned { versions: vec![1], digests: vec![digest.clone()] }, &gone),
        (Operation::Condemned { versions: Vec::new(), digests: vec![digest.clone()] }, &gone),
        (Operation::Swept { digests: vec![digest.clone()] }, &gone),
        (Operation::Withdrawn { version: 1, digest }, &pointed),
    ];
    (1..).zip(steps).map(|(seq, (operation, state))| entry(seq, operation, state.clone())).collect()
}

#[test]
fn each_operation_has_its_event() {
    let found: Vec<String> = log()
        .iter()
        .map(|entry| serde_json::to_string(&event(REGISTRY, "default", "home-feed.v2", entry)).unwrap())
        .collect();
    let golden: Vec<&str> = GOLDEN.lines().collect();
    for (found, golden) in found.iter().zip(&golden) {
        assert_eq!(found, golden);
    }
    assert_eq!(found.len(), golden.len(), "all of them:\n{}", found.join("\n"));
}

#[test]
fn events_can_be_read_again() {
    for entry in log() {
        let event = event(REGISTRY, "default", "recs", &entry);
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<CloudEvent>(&text).unwrap(), event);
        assert!(event.time == entry.time && event.sequence.parse::<u64>().unwrap() == event.data.seq);
    }
}

#[test]
fn ids_are_stable_and_fit_a_header() {
    let [first, second, ..] = &log()[..] else { panic!("a log has two entries") };
    let id = |registry, model, entry: &Entry| event(registry, "default", model, entry).id;
    // The same entry, wherever the registry lies.
    assert_eq!(id(REGISTRY, "recs", first), id("gs://elsewhere", "recs", first));
    // Another model, entry, or log of the same name: another id.
    let mut again = first.clone();
    again.txn = "another".to_owned();
    let ids = [
        id(REGISTRY, "recs", first),
        id(REGISTRY, "recs", second),
        id(REGISTRY, "recs", &again),
        id(REGISTRY, "recs.v2", first),
        id(REGISTRY, "recs-v2", first),
    ];
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    let mut forged = first.clone();
    forged.txn = "x\r\nwebhook-id: y. ".to_owned();
    for id in ids.into_iter().chain([id(REGISTRY, "recs", &forged)]) {
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_".contains(&b)), "{id}");
    }
}

#[test]
fn sources_hold_no_secrets() {
    let source = |registry| event(registry, "default", "recs", &log()[0]).source;
    for (registry, expected) in [
        ("s3://models/team-a/", "s3://models/team-a/default/models/recs"),
        ("s3://KEY:SECRET@models", "s3://models/default/models/recs"),
        ("gs://models/a?token=SECRET#SECRET", "gs://models/a/default/models/recs"),
        ("abfss://box:SECRET@account/a", "abfss://box@account/a/default/models/recs"),
        ("file:///srv/registry", "file:///srv/registry/default/models/recs"),
        ("memory://", "memory:/default/models/recs"),
        ("not a url SECRET", "/default/models/recs"),
    ] {
        assert_eq!(source(registry), expected);
    }
}

#[test]
fn long_lists_are_cut_and_counted() {
    let digests: Vec<Digest> = (0..LIST_MAX + 5).map(|i| Digest::of(&i.to_be_bytes())).collect();
    let versions: Vec<u64> = (1..=LIST_MAX as u64 + 2).collect();
    let condemned = entry(1, Operation::Condemned { versions, digests: digests.clone() }, State::default());
    let swept = entry(2, Operation::Swept { digests }, State::default());
    for (entry, omitted) in [(condemned, 7), (swept, 5)] {
        let event = event(REGISTRY, "default", "recs", &entry);
        assert_eq!(event.data.omitted, omitted);
        assert!(serde_json::to_vec(&event).unwrap().len() < 20_000);
    }
}

/// The vector in the tests of the Standard Webhooks libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const VECTOR: Headers<'static> = Headers {
    id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
    timestamp: "1614265330",
    signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
};
const BODY: &[u8] = br#"{"test": 2432232314}"#;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_614_265_330 + seconds).unwrap()
}

fn secret(text: &str) -> Secret {
    text.parse().unwrap()
}

fn other() -> Secret {
    secret("whsec_YW5vdGhlciBzZWNyZXQgb2YgZW5vdWdoIGJ5dGVz")
}

#[test]
fn the_published_signature() {
    assert_eq!(secret(SECRET).sign(VECTOR.id, at(0), BODY), VECTOR.signature);
    verify(&[secret(SECRET)], &VECTOR, BODY, at(0)).unwrap();
}

#[test]
fn what_was_not_signed_is_refused() {
    let check = |secrets: &[Secret], headers: Headers<'_>, body: &[u8], seconds: i64| -> Result<()> {
        verify(secrets, &headers, body, at(seconds))
    };
    let ours = [secret(SECRET)];
    for seconds in [-300, 0, 300] {
        check(&ours, VECTOR, BODY, seconds).unwrap();
    }
    let spread = format!("v1a,AAAA v1,!!! {} v1,", VECTOR.signature);
    check(&ours, Headers { signature: &spread, ..VECTOR }, BODY, 0).unwrap();
    let late = format!("{}{}", "v1,AAAA ".repeat(16), VECTOR.signature);
    let short = &VECTOR.signature[..20];
    let refused = [
        ("another secret", check(&[other()], VECTOR, BODY, 0)),
        ("no secret", check(&[], VECTOR, BODY, 0)),
        ("too old", check(&ours, VECTOR, BODY, 301)),
        ("too early", check(&ours, VECTOR, BODY, -301)),
        ("another time", check(&ours, Headers { timestamp: "1614265331", ..VECTOR }, BODY, 0)),
        ("a signed time", check(&ours, Headers { timestamp: "+1614265330", ..VECTOR }, BODY, 0)),
        ("no time", check(&ours, Headers { timestamp: "", ..VECTOR }, BODY, 0)),
        ("a huge time", check(&ours, Headers { timestamp: "99999999999999999999", ..VECTOR }, BODY, 0)),
        ("another id", check(&ours, Headers { id: "msg_other", ..VECTOR }, BODY, 0)),
        ("no id", check(&ours, Headers { id: "", ..VECTOR }, BODY, 0)),
        ("another body", check(&ours, VECTOR, br#"{"test":2432232314}"#, 0)),
        ("no signature", check(&ours, Headers { signature: "", ..VECTOR }, BODY, 0)),
        ("a part of it", check(&ours, Headers { signature: short, ..VECTOR }, BODY, 0)),
        (
            "another scheme",
            check(&ours, Headers { signature: &VECTOR.signature.replace("v1,", "v2,"), ..VECTOR }, BODY, 0),
        ),
        ("behind a flood", check(&ours, Headers { signature: &late, ..VECTOR }, BODY, 0)),
    ];
    for (what, result) in refused {
        assert!(matches!(result, Err(Error::Invalid { .. })), "{what}: {result:?}");
    }
}

/// The fields are parted by `.`: an id with one could lend its signature to another time and body.
#[test]
fn a_signature_covers_one_reading_only() {
    let ours = secret(SECRET);
    let signature = ours.sign("a.1614265330", at(1), b"x");
    let moved = Headers { id: "a", timestamp: "1614265330", signature: &signature };
    // HMAC alone would accept this reading; no event has such an id, and none is taken from others.
    verify(std::slice::from_ref(&ours), &moved, b"1614265331.x", at(0)).unwrap();
    let own = Headers { id: "a.1614265330", timestamp: "1614265331", signature: &signature };
    assert!(verify(&[ours], &own, b"x", at(0)).is_err());
}

#[test]
fn secrets_change_without_a_gap() {
    let signature = header(&[other(), secret(SECRET)], "a", at(0), BODY);
    let headers = Headers { id: "a", timestamp: "1614265330", signature: &signature };
    for receiver in [other(), secret(SECRET)] {
        verify(&[receiver], &headers, BODY, at(0)).unwrap();
    }
}

#[test]
fn secrets_are_checked_and_never_shown() {
    let long = format!("whsec_{}", "QUFB".repeat(22));
    for bad in [
        "",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        &long,
    ] {
        let error = bad.parse::<Secret>().unwrap_err().to_string();
        assert!(error.contains("whsec_") || error.contains("24 to 64"), "{error}");
        assert!(!error.contains("MfKQ") && !error.contains("c2hvcnQ") && !error.contains("QUFB"), "{error}");
    }
    assert_eq!(format!("{:?}", secret(&format!(" {SECRET}\n"))), "Secret(…)");
}
