//! What leaves the router holds no user as the caller names them.

use super::*;
use crate::decisions_to_parquet;

const USER: &str = "ann.smith@example.org";

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn no_user_is_named_in_windows_decisions_snapshots_metrics_or_answers() {
    let (router, clock) = router(Manner::Good);
    router.set_route(route(1, Some(50)));
    let answer = router.recommend(asking(USER, 3)).await.unwrap();
    let mut event = bought(USER, "a");
    event.decision = Some(answer.decision.clone());
    event.id = Some("event-of-ann.smith@example.org".into());
    router.event(event).await.unwrap();
    let snapshot = router.snapshot();
    let decisions = router.take_decisions();
    clock.advance(8 * 24 * HOUR_MS);
    let windows = serde_json::to_vec(&router.flush_windows()).unwrap();
    let pseudonym = Pseudonyms::new(b"test key").key(USER).hex();
    assert_eq!((decisions.len(), &decisions[0].user), (1, &pseudonym));
    assert!(holds(&snapshot, &pseudonym));
    let all = [
        snapshot,
        windows,
        serde_json::to_vec(&decisions).unwrap(),
        decisions_to_parquet(&decisions).unwrap().to_vec(),
        router.metrics_text().into_bytes(),
        serde_json::to_vec(&answer).unwrap(),
    ];
    for (i, bytes) in all.iter().enumerate() {
        assert!(!holds(bytes, "ann.smith"), "{i}");
    }
    assert!(!holds(&all[4], "item") && !holds(&all[4], &pseudonym));
}

#[tokio::test]
async fn feedback_must_name_an_answer_that_this_user_got() {
    let (router, _) = router(Manner::Good);
    router.set_route(route(1, None));
    let decision = router.recommend(asking(USER, 3)).await.unwrap().decision;
    let forged = decision.replace(&decision[..2], if decision.starts_with("AB") { "AC" } else { "AB" });
    for (user, decision) in [(USER, forged), (USER, "none".into()), ("bob", decision)] {
        let event = Event { decision: Some(decision), ..bought(user, "a") };
        let problem = router.event(event).await.unwrap_err();
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some("decision")));
    }
}
