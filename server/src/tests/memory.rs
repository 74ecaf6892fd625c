//! Restarts: what a snapshot brings back, and what it refuses.

use super::*;
use crate::Error;

#[tokio::test]
async fn a_restarted_router_goes_on() {
    let (before, clock) = router(Manner::Good);
    before.set_route(route(1, Some(0)));
    let mut event = bought("ann", "cup");
    event.segment = Some("FR".into());
    before.event(event).await.unwrap();
    before.event(bought("ann", "a")).await.unwrap();
    before.recommend(asking("ann", 3)).await.unwrap();
    let snapshot = before.snapshot();
    assert_eq!(snapshot, before.snapshot());

    let after = Router::new(config(), clock.clock(), Pseudonyms::new(b"test key"));
    // Other names first, so that all the numbers differ.
    after.event(bought("zoe", "zebra")).await.unwrap();
    after.restore(&snapshot).unwrap();
    after.install(&target(1), fake(Manner::Good), profile());
    after.set_route(route(1, Some(0)));
    assert_eq!(names(&after.recommend(asking("ann", 2)).await.unwrap()), ["b", "c"]);
    after.event(bought("ann", "c")).await.unwrap();
    clock.advance(8 * 24 * HOUR_MS);
    let window = merged(after.flush_windows());
    // One exposure from before and one from after, both with `c` in the list.
    let (stable, pairs) = (arm(&window, 1, Track::Stable), window.pairs.len());
    let cells = serde_json::to_value(&stable.reward[&1]).unwrap();
    assert_eq!((cells[0][1].as_u64(), cells[0][2].as_i64(), pairs), (Some(2), Some(2_000_000), 1));

    let mut everything = asking("new", 9);
    everything.context = Context { segment: Some("FR".into()), personalize: false };
    let answer = after.recommend(everything).await.unwrap();
    // Nobody bought more since; what was bought most when the version was trained comes after that.
    assert_eq!(names(&answer), ["cup", "j", "i", "a", "c", "h", "zebra", "b", "d"]);
}

#[tokio::test]
async fn another_key_knows_nobody() {
    let (before, clock) = router(Manner::Good);
    before.event(bought("ann", "a")).await.unwrap();
    let after = Router::new(config(), clock.clock(), Pseudonyms::new(b"another key"));
    after.restore(&before.snapshot()).unwrap();
    after.install(&target(1), fake(Manner::Good), profile());
    after.set_route(route(1, None));
    assert_eq!(names(&after.recommend(asking("ann", 1)).await.unwrap()), ["a"]);
}

#[test]
fn damage_and_other_formats_are_refused() {
    let (router, _) = router(Manner::Good);
    let snapshot = router.snapshot();
    for end in [0, 1, snapshot.len() / 2, snapshot.len() - 1] {
        assert!(matches!(router.restore(&snapshot[..end]), Err(Error::Snapshot(_))), "{end}");
    }
    let other = router.restore(br#"{"format":2,"shape":"other"}"#);
    assert!(matches!(other, Err(Error::SnapshotFormat(2))));
    // Numbers without a name are left out.
    let odd = br#"{"format":1,"items":[],"segments":[],"versions":[],"users":[["zz",0,[]],["00000000000000000000000000000000",7,[[3,1]]]],"popularity":[[5,[[20000,[[1,1]]]]]],"waiting":[]}"#;
    assert_eq!(router.restore(odd).unwrap(), 2);
}
