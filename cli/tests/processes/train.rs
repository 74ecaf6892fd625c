//! `fairway train`: what it leaves in the bucket, what it says, and how it ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::s3;
use super::shop::{MODEL, NAMESPACE, Shop, last_line};

/// A fit of minutes.
fn long() -> Value {
    json!({"family": "two-tower", "parameters": {"epochs": "1000", "batchSize": "2", "minUsers": "1"}})
}

#[tokio::test]
async fn a_run_leaves_a_tree_and_a_result_and_no_version() {
    let shop = Shop::new().await;
    shop.put_plan("r1", json!({})).await;
    let output = shop.training("r1").args(["--progress-file", "progress.json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = last_line(&output);
    assert_eq!((&said["run"], &said["result"]["end"]), (&json!("r1"), &json!("uploaded")));
    for line in String::from_utf8_lossy(&output.stdout).lines().rev().skip(1) {
        let beat: Value = serde_json::from_str(line).unwrap();
        assert_eq!(beat["run"], "r1", "{line}");
        assert!(beat["step"].is_string() && beat.get("percent").is_some() && beat.get("secondsLeft").is_some());
    }
    let newest: Value = serde_json::from_slice(&std::fs::read(shop.path("progress.json")).unwrap()).unwrap();
    assert_eq!(newest["run"], "r1");

    let model = shop.model().await;
    assert!(model.head().await.unwrap().is_none(), "the log is somebody else's");
    let result: Value = model.run("r1").unwrap().result().await.unwrap().unwrap();
    assert_eq!(result["digest"], said["result"]["digest"]);
    assert!(result["metrics"]["recall@20"].as_f64().unwrap() > 0.0, "{result}");
    assert_eq!((&result["labels"]["family"], &result["provenance"]["run"]), (&json!("ease"), &json!("r1")));

    // Started again, on any machine: nothing is done, and the code is the same.
    assert_eq!(shop.train("r1"), (0, said.clone()));
    let digest = said["result"]["digest"].as_str().unwrap();
    assert_eq!(shop.register("r1", digest).await, 1);
    let dir = model.fetch(&digest.parse().unwrap(), &shop.path("cache")).await.unwrap();
    fairway_model::Bundle::load(&dir).unwrap();
    model.run("r1").unwrap().finish(&json!({"end": "registered", "version": 1})).await.unwrap();
    assert_eq!(shop.train("r1"), (0, json!({"run": "r1", "result": {"end": "registered", "version": 1}})));

    // The next one is judged beside it.
    shop.put_plan("r2", json!({"champion": digest, "seed": 2})).await;
    let (code, _) = shop.train("r2");
    let result: Value = model.run("r2").unwrap().result().await.unwrap().unwrap();
    assert_eq!(code, 0);
    assert!(result["provenance"]["evaluation"]["champion"]["overall"]["recall@20"].is_number(), "{result}");
}

#[tokio::test]
async fn how_runs_end_that_leave_no_tree() {
    let shop = Shop::new().await;
    let gate = json!({"metric": {"kind": "recall", "k": 20}, "versus": "popularity",
        "demand": {"atLeastBetter": {"absolute": 0.99}}});
    shop.put_plan("rejected", json!({"admission": {"gates": [gate]}})).await;
    let sql = "SELECT \"user\" AS user_id, item AS item_id, time FROM interactions";
    let data = json!({"interactions": {"url": shop.data, "sql": sql}, "checks": [{"minRows": 1_000_000}]});
    shop.put_plan("refused", json!({"data": data})).await;
    shop.put_plan("failed", json!({"family": "forest"})).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    shop.put_plan("alone", json!({"champion": digest})).await;
    for (run, code, end) in
        [("rejected", 3, "rejected"), ("refused", 5, "dataRefused"), ("failed", 5, "failed"), ("alone", 5, "failed")]
    {
        let first = shop.train(run);
        assert_eq!((first.0, &first.1["result"]["end"]), (code, &json!(end)), "{run}: {first:?}");
        assert!(!first.1["result"]["why"].as_str().unwrap().is_empty());
        assert_eq!(shop.train(run), first, "{run} is not done again");
    }
    // An outcome counts where there is no result: somebody has cancelled the run before it began.
    shop.put_plan("cancelled", json!({})).await;
    let run = shop.model().await.run("cancelled").unwrap();
    run.finish(&json!({"end": "cancelled", "why": "ann said so"})).await.unwrap();
    assert_eq!(shop.train("cancelled").0, 5);
    assert_eq!(run.result::<Value>().await.unwrap(), None);

    let said = |mut command: Command| {
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = said(shop.training("nobody"));
    assert!(code == 2 && text.contains("has no plan"), "{text}");
    let plan = shop.plan("other", json!({}));
    shop.model().await.run("mine").unwrap().create_plan(&plan).await.unwrap();
    let (code, text) = said(shop.training("mine"));
    assert!(code == 2 && text.contains("is one for run other"), "{text}");
}

#[tokio::test]
async fn asked_to_stop_it_leaves_no_result_and_a_deadline_leaves_one() {
    let shop = Shop::new().await;
    let mut plan = long();
    plan["deadline"] = json!("6s");
    shop.put_plan("r1", plan).await;
    let run = shop.model().await.run("r1").unwrap();

    let progress = shop.path("progress.json");
    let mut process = shop.training("r1");
    process.arg("--progress-file").arg(&progress).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = process.spawn().unwrap();
    let begun = Instant::now();
    while !progress.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60) && process.try_wait().unwrap().is_none(), "no progress");
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap().success());
    assert_eq!(process.wait().unwrap().code(), Some(143));
    assert!(asked.elapsed() < Duration::from_secs(5), "at once: {:?}", asked.elapsed());
    assert_eq!(run.result::<Value>().await.unwrap(), None);

    let (code, said) = shop.train("r1");
    assert_eq!((code, &said["result"]["end"]), (6, &json!("timedOut")), "{said}");
    assert!(said["result"]["why"].as_str().unwrap().contains("6s"), "{said}");
    // Whoever keeps the log calls that a failure; the trainer's word stays.
    run.finish(&json!({"end": "failed", "why": "timed out"})).await.unwrap();
    assert_eq!(shop.train("r1"), (6, said));
}

#[tokio::test]
async fn two_trainers_of_one_run_come_to_one_result() {
    let shop = Shop::new().await;
    shop.put_plan("r1", json!({})).await;
    let both: Vec<_> =
        (0..2).map(|_| shop.training("r1").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    let said: Vec<Value> = both
        .into_iter()
        .map(|process| {
            let output = process.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            last_line(&output)
        })
        .collect();
    assert_eq!(said[0]["result"]["digest"], said[1]["result"]["digest"], "the first one's counts");
    assert_eq!(shop.register("r1", said[0]["result"]["digest"].as_str().unwrap()).await, 1);
}

#[tokio::test]
async fn data_and_registry_in_a_bucket_are_reached_by_the_environment() {
    let Some(server) = s3::start().await else { return };
    let mut shop = Shop::new().await;
    server.put("data/sales/part-1.jsonl", &super::shop::sales());
    shop.registry = format!("s3://{}/registry", s3::BUCKET);
    shop.data = format!("s3://{}/data/sales/", s3::BUCKET);
    shop.options = server.options();
    shop.environment = server.environment();
    shop.put_plan("r1", json!({})).await;
    let (code, said) = shop.train("r1");
    assert_eq!((code, &said["result"]["end"]), (0, &json!("uploaded")), "{said}");
    assert_eq!(shop.register("r1", said["result"]["digest"].as_str().unwrap()).await, 1);
    let provenance = shop.model().await.provenance(&said["result"]["digest"].as_str().unwrap().parse().unwrap()).await;
    let source = &provenance.unwrap()["data"]["interactions"]["url"];
    assert_eq!(source, &json!(shop.data), "and no secret");

    // With a wrong secret the data are refused, in words; the registry's is on the command line here.
    shop.put_plan("r2", json!({})).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command.args(["train", "--registry", &shop.registry, "--namespace", NAMESPACE, "--model", MODEL, "--run", "r2"]);
    for (name, value) in &shop.options {
        command.args(["--store-option", &format!("{name}={value}")]);
    }
    command.envs(shop.environment.clone()).env("AWS_SECRET_ACCESS_KEY", "wrong").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), &last_line(&output)["result"]["code"]), (Some(5), &json!("AccessDenied")));
}

/// The container: here it is the binary itself, which trains on the rows before the holdout in a registry of its own.
async fn left_by_a_container(desk: &Path) {
    let other = Shop::new().await;
    std::fs::copy(desk.join("interactions.parquet"), other.path("rows.parquet")).unwrap();
    let sql = "SELECT * FROM interactions WHERE NOT holdout";
    let data = json!({"interactions": {"url": "rows.parquet", "sql": sql}});
    let fields = json!({"data": data, "family": "popularity", "parameters": {}, "refit": true, "holdout": "240h"});
    let trained = other.version("r1", fields).await;
    let bundle = other.model().await.fetch(&trained.parse().unwrap(), &other.path("cache")).await.unwrap();
    std::fs::create_dir(desk.join("bundle")).unwrap();
    for entry in std::fs::read_dir(bundle).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_owned();
        // What a registry writes itself is no part of a bundle.
        if !["manifest.json", "provenance.json"].iter().any(|own| name == *own) {
            std::fs::copy(&path, desk.join("bundle").join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_container_between_prepare_and_publish_can_be_the_trainer() {
    let shop = Shop::new().await;
    shop.put_plan("r1", json!({})).await;
    let part = |part: &str, run: &str| {
        let output = shop.fairway(&["train", part, "desk", "--model", MODEL, "--run", run]).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(part("prepare", "r1").0, 0);
    let desk = shop.path("desk");
    let plan: Value = serde_json::from_slice(&std::fs::read(desk.join("plan.json")).unwrap()).unwrap();
    assert!(plan["run"] == "r1" && desk.join("interactions.parquet").exists());
    let run = shop.model().await.run("r1").unwrap();

    left_by_a_container(&desk).await;
    let (code, text) = part("publish", "r1");
    assert_eq!(code, 0, "{text}");
    let result: Value = run.result().await.unwrap().unwrap();
    assert_eq!((&result["end"], &result["labels"]["family"]), (&json!("uploaded"), &json!("popularity")));
    assert_eq!(result["provenance"]["training"]["family"], "popularity");
    assert_eq!(shop.register("r1", result["digest"].as_str().unwrap()).await, 1);
    assert_eq!((part("publish", "r1").0, part("prepare", "r1").0), (0, 0), "again is harmless");
    assert!(desk.join("ended.json").exists(), "and says that there is nothing to do");

    // Another run's folder, and no bundle at all.
    shop.put_plan("r2", json!({})).await;
    let (code, text) = part("publish", "r2");
    assert!(code == 2 && text.contains("prepare the folder"), "{text}");
    std::fs::remove_dir_all(&desk).unwrap();
    assert_eq!(part("prepare", "r2").0, 0);
    let (code, text) = part("publish", "r2");
    assert!(code == 5 && text.contains("bundle.json"), "{text}");
}

#[tokio::test]
async fn beside_a_container_it_is_published_once_that_has_ended() {
    let shop = Shop::new().await;
    shop.put_plan("r1", json!({})).await;
    let prepared = shop.fairway(&["train", "prepare", "desk", "--model", MODEL, "--run", "r1"]).status().unwrap();
    assert!(prepared.success());
    let run = shop.model().await.run("r1").unwrap();
    // It waits, is asked to stop, and ends.
    let stopped = |node: &str| {
        let words = ["train", "publish", "desk", "--when-stopped", "--model", MODEL, "--run", "r1"];
        let mut command = shop.fairway(&words);
        command.env("JOB_COMPLETION_INDEX", node).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("waiting for the container"));
        assert!(Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap().success());
        let said: Vec<String> = lines.map_while(Result::ok).collect();
        (process.wait().unwrap().code(), said.join("\n"))
    };
    // The pod goes, or the trainer fails, half-way: nothing is said of the run for good.
    std::fs::create_dir(shop.path("desk/bundle")).unwrap();
    std::fs::write(shop.path("desk/bundle/bundle.json"), "{").unwrap();
    let (code, said) = stopped("0");
    assert!(code == Some(1) && said.contains("no bundle that may serve"), "{said}");
    assert_eq!(run.result::<Value>().await.unwrap(), None);

    std::fs::remove_dir_all(shop.path("desk/bundle")).unwrap();
    left_by_a_container(&shop.path("desk")).await;
    assert_eq!(stopped("1").0, Some(0), "another pod's is not published");
    assert_eq!(run.result::<Value>().await.unwrap(), None);
    let (code, said) = stopped("0");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(run.result::<Value>().await.unwrap().unwrap()["end"], "uploaded");
}
