//! Versions behind model servers: they answer as in this process, and whatever becomes of them costs no answer.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fairway_model::Seen;
use fairway_wire::{ErrorKind, Reason};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::servers::{MODEL, canned, ease, http_answer, quick, start, start_at};
use super::*;
use crate::{Foreign, Remote};

const SOON: Duration = Duration::from_secs(20);

/// A route whose deadline a busy machine keeps.
fn patient(generation: u64, percent: Option<u8>) -> Route {
    Route { deadline_ms: 10_000, ..route(generation, percent) }
}

fn query(history: &[u32], k: usize) -> ScoreQuery {
    let history: Vec<Seen> = history.iter().map(|&item| Seen { item, time_ms: START_MS }).collect();
    let mut exclude: Vec<u32> = history.iter().map(|seen| seen.item).collect();
    exclude.sort_unstable();
    ScoreQuery { history, exclude, segment: Some("UK".into()), now_ms: START_MS, k }
}

fn asked() -> impl Strategy<Value = (String, Vec<u8>, usize, Option<bool>)> {
    let exclude = prop::collection::vec(0_u8..80, 0..30);
    ("[a-h]", exclude, 1..200_usize, prop::option::of(any::<bool>()))
}

fn seeded(router: &Router) {
    let bought = |user: char, n: u32| (0..n).map(move |i| (user.to_string(), format!("i\"{}é", (i * 7 + n) % 75)));
    let rows: Vec<(String, String)> =
        ('a'..='g').zip([1, 2, 5, 9, 20, 40, 60]).flat_map(|(u, n)| bought(u, n)).collect();
    let at = crate::config::timestamp(START_MS - HOUR_MS);
    router.seed(rows.iter().map(|(user, item)| (user.as_str(), item.as_str(), at, Some("UK"))));
}

#[test]
fn two_remote_versions_answer_like_the_two_in_process() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (here, _) = bare(config());
    let (there, _) = bare(config());
    let servers = runtime.block_on(async {
        let mut servers = Vec::new();
        for (version, items) in [(1, 60), (2, 80)] {
            let model = ease(items, version);
            let server = start(version, model.clone()).await;
            let remote = Remote::connect(&server.url(), MODEL, SOON).await.unwrap();
            assert_eq!((remote.target(), remote.profile()), (&target(version), &servers::profile_of(&*model)));
            let profile = Arc::clone(remote.profile());
            here.install(&target(version), model, Arc::clone(&profile));
            there.install(&target(version), Arc::new(remote), profile);
            servers.push(server);
        }
        servers
    });
    for router in [&here, &there] {
        seeded(router);
        router.set_route(patient(1, Some(50)));
    }
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    let checked = runner.run(&asked(), |(user, exclude, k, segment)| {
        let exclude = exclude.iter().map(|i| format!("i\"{i}é")).collect();
        let segment = segment.map(|uk| if uk { "UK" } else { "Neverland" }.to_owned());
        let context = Context { segment, personalize: true };
        let request = RecommendRequest { user, k, context, exclude };
        let one = runtime.block_on(here.recommend(request.clone())).unwrap();
        let other = runtime.block_on(there.recommend(request)).unwrap();
        prop_assert_eq!(
            RecommendResponse { decision: String::new(), ..one },
            RecommendResponse { decision: String::new(), ..other }
        );
        Ok(())
    });
    checked.unwrap();
    let errors = merged(there.flush_windows()).arms.values().map(Arm::errors_total).sum::<u64>();
    assert_eq!(errors, 0);
    drop(servers);
}

#[tokio::test]
async fn a_long_history_is_asked_about_like_a_short_one() {
    let model = ease(600, 3);
    let server = start(1, model.clone()).await;
    let remote = Remote::connect(&server.url(), MODEL, SOON).await.unwrap();
    let history: Vec<u32> = (0..500).collect();
    let (there, here) = (remote.score(query(&history, 20)).await, model.score(query(&history, 20)).await);
    assert_eq!(there, here);
    assert_eq!(there.unwrap().len(), 20);
    assert_eq!(remote.score(query(&[], 20)).await, Err(ModelFailure::ColdStart));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_costs_no_answer_and_is_asked_again_when_it_is_back() {
    let (router, _) = router(Manner::Good);
    let server = start(2, fake(Manner::Reverse)).await;
    let (address, url) = (server.address, server.url());
    router.install(&target(2), Arc::new(Remote::connect(&url, MODEL, SOON).await.unwrap()), profile());
    router.set_route(patient(1, Some(100)));
    let done = Arc::new(AtomicBool::new(false));
    let askers: Vec<_> = (0..4)
        .map(|asker| {
            let (router, done) = (Arc::clone(&router), Arc::clone(&done));
            tokio::spawn(async move {
                let mut n = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    let answer = router.recommend(asking(&format!("u{asker}-{n}"), 3)).await.unwrap();
                    assert_eq!(answer.items.len(), 3);
                    n += 1;
                    tokio::task::yield_now().await;
                }
                n
            })
        })
        .collect();
    let pause = || tokio::time::sleep(Duration::from_millis(150));
    pause().await;
    server.kill().await;
    pause().await;
    assert_eq!(router.recommend(asking("ann", 2)).await.unwrap().reason, Reason::ModelError);
    let _again = start_at(address, 2, fake(Manner::Reverse), quick()).await;
    let answer = router.recommend(asking("ann", 2)).await.unwrap();
    assert_eq!((names(&answer), answer.reason), (vec!["j", "i"], Reason::Ok));
    pause().await;
    done.store(true, Ordering::Relaxed);
    let mut asked = 2;
    for asker in askers {
        asked += asker.await.unwrap();
    }
    let canary = arm(&merged(router.flush_windows()), 2, Track::Canary);
    assert_eq!(canary.requests, asked);
    assert!(canary.errors[&ErrorKind::Error] > 0 && canary.errors_total() < asked, "{:?}", canary.errors);
}

fn body(outputs: &str) -> Option<Vec<u8>> {
    Some(http_answer(200, &format!(r#"{{"model_name":"x","model_version":"1","outputs":[{outputs}]}}"#)))
}

#[tokio::test]
async fn nonsense_hanging_and_flooding_are_counted_and_bounded() {
    let flood =
        [http_answer(200, "")[..0].to_vec(), b"HTTP/1.1 200 OK\r\n\r\n[".to_vec(), vec![b' '; 4_000_000]].concat();
    let items = r#"{"name":"items","datatype":"BYTES","shape":[2],"data":["a","b"]}"#;
    let table = [
        (Some(b"BREW".to_vec()), ErrorKind::Error),
        (Some(Vec::new()), ErrorKind::Error),
        (Some(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()), ErrorKind::Error),
        (Some(http_answer(500, r#"{"error":"out of memory"}"#)), ErrorKind::Error),
        (Some(http_answer(400, "x")), ErrorKind::Error),
        (Some(http_answer(502, r#"{"error":"the model behind answers nonsense"}"#)), ErrorKind::Invalid),
        (Some(http_answer(504, "")), ErrorKind::Timeout),
        (None, ErrorKind::Timeout),
        (Some(http_answer(200, "<html>")), ErrorKind::Invalid),
        (Some(http_answer(200, r#"{"model_version":"1","outputs":[]}"#)), ErrorKind::Invalid),
        (Some(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{".to_vec()), ErrorKind::Invalid),
        (Some(flood), ErrorKind::Invalid),
        (body(&format!(r#"{items},{{"name":"scores","datatype":"FP32","shape":[1],"data":[1]}}"#)), ErrorKind::Invalid),
        (body(&format!(r#"{items},{{"name":"scores","datatype":"FP32","shape":[2],"data":[1]}}"#)), ErrorKind::Invalid),
        (
            body(&format!(r#"{items},{{"name":"scores","datatype":"BOOL","shape":[2],"data":[1,0]}}"#)),
            ErrorKind::Invalid,
        ),
        (
            body(&format!(r#"{items},{{"name":"scores","datatype":"FP32","shape":[2],"data":[1,1e99]}}"#)),
            ErrorKind::Invalid,
        ),
        (
            body(&format!(r#"{items},{{"name":"scores","datatype":"FP32","shape":[2],"data":[1,NaN]}}"#)),
            ErrorKind::Invalid,
        ),
        (body(r#"{"name":"scores","datatype":"FP32","shape":[3],"data":[1,2,3]}"#), ErrorKind::Invalid),
    ];
    for (answer, kind) in table {
        let shown = answer.as_deref().map(|bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(160)]).into_owned());
        let url = canned(answer).await;
        let (router, _) = router(Manner::Good);
        let server = Foreign::new(&url, MODEL, fake(Manner::Good).items.clone(), Duration::from_secs(20)).unwrap();
        router.install(&target(2), Arc::new(server), profile());
        let deadline_ms = if shown.is_none() { 50 } else { 10_000 };
        router.set_route(Route { deadline_ms, ..route(1, Some(100)) });
        let answer = router.recommend(asking("ann", 2)).await.unwrap();
        assert_eq!(answer.items.len(), 2);
        let canary = arm(&merged(router.flush_windows()), 2, Track::Canary);
        assert_eq!(canary.errors.into_iter().collect::<Vec<_>>(), [(kind, 1)], "{shown:?}");
    }
}

#[tokio::test]
async fn another_servers_scores_of_all_items_are_ranked_here() {
    let items = fake(Manner::Good).items.clone();
    let scores =
        r#"{"name":"scores","datatype":"FP64","shape":[10,1],"data":[[9],[8],[7.5],[1],[1],[1],[1],[1],[0],[-1]]}"#;
    let url = canned(body(scores)).await;
    let foreign = Foreign::new(&format!("{url}/"), "theirs", items.clone(), SOON).unwrap();
    foreign.ready().await.unwrap();
    let best = foreign.score(query(&[0], 3)).await.unwrap();
    assert_eq!(best, [("b".to_owned(), 8.0), ("c".to_owned(), 7.5), ("d".to_owned(), 1.0)]);
    let named = r#"{"name":"scores","datatype":"FP32","shape":[1],"data":[2]},{"name":"items","datatype":"BYTES","shape":[1],"data":["j"]}"#;
    let foreign = Foreign::new(&canned(body(named)).await, "theirs", items.clone(), SOON).unwrap();
    assert_eq!(foreign.score(query(&[0], 3)).await.unwrap(), [("j".to_owned(), 2.0)]);
    let stranger = Foreign::new(&canned(body(&named.replace('j', "?"))).await, "theirs", items.clone(), SOON).unwrap();
    assert!(matches!(stranger.score(query(&[0], 3)).await, Err(ModelFailure::Invalid(_))));
    let nobody = Foreign::new("http://127.0.0.1:1", "theirs", items.clone(), SOON).unwrap();
    assert!(nobody.ready().await.is_err());
    for wrong in ["", "shop:8080", "https://shop", "http://", "http://shop?x=1", "/shop"] {
        assert!(Foreign::new(wrong, "theirs", items.clone(), SOON).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_foreign_server_behind_ours_fails_as_what_it_is() {
    let manners = [
        (canned(body(r#"{"name":"scores","datatype":"FP32","shape":[1],"data":[1]}"#)).await, Reason::ModelInvalid),
        (canned(Some(http_answer(504, ""))).await, Reason::ModelTimeout),
        (canned(Some(http_answer(503, ""))).await, Reason::ModelError),
    ];
    for (url, reason) in manners {
        let foreign = Foreign::new(&url, "theirs", fake(Manner::Good).items.clone(), SOON).unwrap();
        let server = start(2, Arc::new(foreign)).await;
        let (router, _) = router(Manner::Good);
        let remote = Remote::connect(&server.url(), MODEL, SOON).await.unwrap();
        router.install(&target(2), Arc::new(remote), profile());
        router.set_route(patient(1, Some(100)));
        assert_eq!(router.recommend(asking("ann", 2)).await.unwrap().reason, reason);
    }
}

#[tokio::test]
async fn a_description_that_is_none_is_refused() {
    let lying = r#"{"target":{"version":1,"digest":"x"},"items":["a","b"],"profile":{"features":{},"consumed":null,"consumed_bin":[1]}}"#;
    let unsorted = lying.replace(r#"["a","b"]"#, r#"["b","a"]"#);
    for body in [lying, &unsorted, "{}", ""] {
        let url = canned(Some(http_answer(200, body))).await;
        let error = Remote::connect(&url, MODEL, SOON).await.err().unwrap();
        assert!(error.to_string().contains("does not describe its version"), "{error}");
    }
    let hangs = canned(None).await;
    let error = Remote::connect(&hangs, MODEL, Duration::from_millis(50)).await.err().unwrap();
    assert!(error.to_string().contains("in time"), "{error}");
}
