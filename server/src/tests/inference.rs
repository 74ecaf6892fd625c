//! The Open Inference Protocol as a model server speaks it, on a real socket.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use super::servers::{MODEL, call, question, quick, start, start_at};
use super::*;

#[tokio::test]
async fn every_path_of_the_protocol_answers_json() {
    let server = start(3, fake(Manner::Good)).await;
    let get = async |path: &str| {
        let (status, _, body) = call(Method::GET, &format!("{}{path}", server.url()), "").await;
        (status, body)
    };
    assert_eq!(get("/v2").await.1["name"], "fairway");
    assert_eq!(get("/v2/health/live").await, (200, json!({"live": true})));
    assert_eq!(get("/v2/health/ready").await, (200, json!({"ready": true})));
    for path in ["/v2/models/shop", "/v2/models/shop/versions/3"] {
        let (status, model) = get(path).await;
        assert_eq!((status, &model["name"], &model["versions"]), (200, &json!(MODEL), &json!(["3"])));
        assert_eq!(model["inputs"].as_array().unwrap().len(), 6);
        assert_eq!(model["outputs"][1], json!({"name": "scores", "datatype": "FP32", "shape": [-1]}));
        assert_eq!(get(&format!("{path}/ready")).await, (200, json!({"name": "shop", "ready": true})));
        let (status, told) = get(&format!("{path}/fairway")).await;
        assert_eq!((status, &told["target"]), (200, &json!({"version": 3, "digest": "sha256:3"})));
        assert_eq!((told["items"].as_array().unwrap().len(), told["profile"].is_object()), (10, true));
    }
    let table = [
        ("/v2/models/nope", 404),
        ("/v2/models/shop/versions/4", 404),
        ("/v2/models/shop/versions/4/ready", 404),
        ("/v1/models", 404),
        ("/v2/models/shop/infer", 405),
    ];
    for (path, expected) in table {
        let (status, body) = get(path).await;
        assert_eq!(status, expected, "{path}");
        assert!(body["error"].is_string(), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_question_gets_the_tensors_that_it_wants() {
    let server = start(3, fake(Manner::Good)).await;
    for path in ["/v2/models/shop/infer", "/v2/models/shop/versions/3/infer"] {
        let url = format!("{}{path}", server.url());
        let (status, _, body) = call(Method::POST, &url, question(&["a", "c", "unheard"], 2).to_string()).await;
        let expected = json!({"model_name": "shop", "model_version": "3", "id": "q-1", "outputs": [
            {"name": "items", "datatype": "BYTES", "shape": [2], "data": ["b", "d"]},
            {"name": "scores", "datatype": "FP32", "shape": [2], "data": [1.0, 0.5]},
        ]});
        assert_eq!((status, body), (200, expected));
    }
    let mut one = question(&[], 1);
    one["outputs"] = json!([{"name": "scores"}]);
    one["parameters"] = json!({"anything": 1});
    one["inputs"][0]["parameters"] = json!({"content_type": "str"});
    // Nested, as clients of matrices send it.
    one["inputs"][5] = json!({"name": "k", "datatype": "INT32", "shape": [1, 1], "data": [[1]]});
    let (status, _, body) =
        call(Method::POST, &format!("{}/v2/models/shop/infer", server.url()), one.to_string()).await;
    assert_eq!((status, body["outputs"].as_array().unwrap().len()), (200, 1), "{body}");
    assert_eq!(body["outputs"][0]["name"], "scores");
}

#[tokio::test]
async fn a_version_that_knows_nothing_of_the_user_says_so() {
    let server = start(3, servers::ease(5, 1)).await;
    let url = format!("{}/v2/models/shop/infer", server.url());
    let (status, _, body) = call(Method::POST, &url, question(&["unheard"], 2).to_string()).await;
    assert_eq!((status, &body["parameters"], &body["outputs"]), (200, &json!({"cold_start": true}), &json!([])));
}

/// A question with a field of an input changed.
fn with(input: usize, field: &str, value: Value) -> String {
    let mut body = question(&["a", "b"], 2);
    body["inputs"][input][field] = value;
    body.to_string()
}

#[tokio::test]
async fn what_is_wrong_is_refused_before_the_model_is_asked() {
    let server = start(3, fake(Manner::Panics)).await;
    let url = format!("{}/v2/models/shop/infer", server.url());
    let missing = json!({"inputs": [question(&[], 1)["inputs"][5]]}).to_string();
    let table = [
        ("{".to_owned(), 400),
        ("{}".to_owned(), 400),
        (r#"{"inputs":[]}"#.to_owned(), 400),
        (missing, 400),
        (with(0, "shape", json!([3])), 400),
        (with(0, "shape", json!([4_294_967_296_u64, 4_294_967_296_u64])), 400),
        (with(0, "datatype", json!("INT64")), 400),
        (with(0, "data", json!([1, 2])), 400),
        (with(0, "data", json!(["a", 2])), 400),
        (with(0, "data", json!(["a", null])), 400),
        (with(0, "name", json!("colour")), 400),
        (with(1, "data", json!([1.5, 2])), 400),
        (with(3, "data", json!(["UK", "FR"])), 400),
        (with(4, "data", json!([])), 400),
        (with(5, "data", json!([0])), 400),
        (with(5, "data", json!([201])), 400),
        (format!("\"{}\"", "x".repeat(2_000_000)), 413),
        (question(&["a"], 2).to_string(), 500),
    ];
    for (body, expected) in table {
        let (status, _, answer) = call(Method::POST, &url, body.clone()).await;
        assert_eq!(status, expected, "{body:.200}: {answer}");
        assert!(answer["error"].is_string(), "{answer}");
    }
    let text = server.inference.metrics.text();
    assert!(text.contains("fairway_server_requests_total{outcome=\"refused\"} 17"), "{text}");
    assert!(text.contains("fairway_server_requests_total{outcome=\"error\"} 1"), "{text}");
    assert!(text.contains("fairway_server_in_flight 0"), "{text}");
}

#[tokio::test]
async fn a_model_that_hangs_is_given_up_and_no_more_than_the_limit_wait_for_it() {
    let config = crate::InferenceConfig { in_flight: 1, deadline: Duration::from_millis(500), ..quick() };
    let server = start_at(([127, 0, 0, 1], 0).into(), 3, fake(Manner::Hangs), config).await;
    let url = format!("{}/v2/models/shop/infer", server.url());
    let ask = async || call(Method::POST, &url, question(&["a"], 2).to_string()).await.0;
    let (one, other) = tokio::join!(ask(), ask());
    assert_eq!([one.min(other), one.max(other)], [503, 504]);
}

#[tokio::test]
async fn a_server_that_stops_says_no_first_and_then_answers_what_it_has_begun() {
    let config = crate::InferenceConfig { drain_pause: Duration::from_millis(600), ..quick() };
    let server = start_at(([127, 0, 0, 1], 0).into(), 3, fake(Manner::Good), config).await;
    let url = server.url();
    server.shutdown.cancel();
    let started = Instant::now();
    let ready = async || call(Method::GET, &format!("{url}/v2/health/ready"), "").await;
    let mut said = ready().await.0;
    while said == 200 && started.elapsed() < Duration::from_millis(500) {
        said = ready().await.0;
    }
    assert_eq!(said, 503);
    let (status, closes, _) =
        call(Method::POST, &format!("{url}/v2/models/shop/infer"), question(&["a"], 2).to_string()).await;
    assert_eq!((status, closes), (200, true));
    server.task.await.unwrap().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(600));
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}
