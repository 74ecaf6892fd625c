//! `fairway serve` and `fairway router`: users are answered by versions in other processes, and go on being answered when
//! these die.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::shop::{MODEL, NAMESPACE, Shop};

const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "0123456789abcdef";

/// A process that says where it listens. Killed when it is dropped.
struct Service {
    process: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Service {
    fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let said = BufReader::new(process.stderr.take().unwrap());
        // Read to the end, so that the process never waits for a reader.
        std::thread::spawn(move || said.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        Self { process, lines }
    }

    /// The URL in the next line that begins so.
    fn url(&self, word: &str) -> String {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else { break };
            if line.starts_with(word) {
                return line[line.find("http://").unwrap()..].to_owned();
            }
        }
        panic!("it never said `{word}`");
    }

    fn terminate(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("asked to stop, it goes on");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn served(shop: &Shop, digest: &str) -> Service {
    let listen = ["serve", "--model", MODEL, "--listen", "127.0.0.1:0", "--drain", "100ms", "--version", digest];
    Service::start(shop.fairway(&listen))
}

fn order(
    shop: &Shop,
    generation: u64,
    stable: (u64, &str),
    canary: Option<(u64, &str)>,
    servers: &[(u64, &str, &str)],
) {
    let target = |version: u64, digest: &str| json!({"version": version, "digest": digest});
    let route = json!({
        "generation": generation, "stable": target(stable.0, stable.1), "salt": "s", "holdback": 0,
        "canary": canary.map(|(version, digest)| json!({"target": target(version, digest), "weight": 1_000_000})),
        "serve_baseline": false, "slow_over_ms": 500, "deadline_ms": 1_000, "lease_until": null,
    });
    let versions: Vec<Value> =
        servers.iter().map(|(version, digest, url)| json!({"target": target(*version, digest), "url": url})).collect();
    let orders = json!({"route": route, "versions": versions, "settings": {"historyMax": 50}});
    std::fs::write(shop.path("orders.new"), orders.to_string()).unwrap();
    std::fs::rename(shop.path("orders.new"), shop.path("orders.json")).unwrap();
}

async fn ask(url: &str, user: &str) -> Value {
    let body = json!({"user": user, "k": 5});
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

async fn poll(url: &str, after: Option<u64>) -> Value {
    let body = json!({"after": after, "generation": 0, "limit": 100});
    reqwest::Client::new().post(url).json(&body).send().await.unwrap().json().await.unwrap()
}

/// Looks again until it is so.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn users_are_answered_whatever_happens_to_the_versions() {
    let shop = Shop::new().await;
    let one = shop.version("r1", json!({})).await;
    let two = shop.version("r2", json!({"seed": 2, "parameters": {"regularization": "20"}})).await;
    let (first, second) = (served(&shop, &one), served(&shop, &two));
    let (url_one, url_two) = (first.url("serving"), second.url("serving"));

    std::fs::write(shop.path("users.key"), "00112233445566778899aabbccddeeff").unwrap();
    std::fs::write(shop.path("token"), TOKEN).unwrap();
    let words = ["router", "--model", MODEL, "--orders-file", "orders.json", "--users-key", "users.key"];
    let mut router = shop.fairway(&words);
    router.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--admin-token-file", "token"]);
    router.args(["--endpoint", "home", "--replica", "router-0"]);
    let router = Service::start(router);
    order(&shop, 1, (1, &one), None, &[(1, &one, &url_one)]);
    let (recommend, polls) = (router.url("recommend"), router.url("polls"));

    until("version 1 is installed", async || poll(&polls, None).await["installed"] == json!([one])).await;
    let client = reqwest::Client::new();
    let event = json!({"user": "u1", "item": "i21", "kind": "purchase", "id": "1"});
    let told = client.post(recommend.replace("recommend", "events")).json(&event).send().await.unwrap();
    assert_eq!(told.status(), 202);
    let answer = ask(&recommend, "u1").await;
    assert_eq!((&answer["version"], &answer["served_by"]), (&json!(1), &json!("assigned")), "{answer}");
    assert_eq!(answer["items"].as_array().unwrap().len(), 5);

    // Another version takes over without a gap: its server is known before the route names it.
    order(&shop, 1, (1, &one), None, &[(1, &one, &url_one), (2, &two, &url_two)]);
    until("both are installed", async || poll(&polls, None).await["installed"].as_array().unwrap().len() == 2).await;
    order(&shop, 2, (1, &one), Some((2, &two)), &[(1, &one, &url_one), (2, &two, &url_two)]);
    until("the canary answers", async || ask(&recommend, "u1").await["version"] == json!(2)).await;

    // A person takes it back at the router itself.
    let abort = polls.replace("/v1/poll", "/admin/abort");
    assert_eq!(client.post(&abort).send().await.unwrap().status(), 401);
    assert_eq!(client.post(&abort).bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    assert_eq!(ask(&recommend, "u1").await["version"], json!(1));
    assert_eq!(poll(&polls, None).await["aborted"], json!(true));

    // The servers die: answers go on.
    drop(first);
    drop(second);
    for user in ["u1", "u2", "nobody"] {
        let answer = ask(&recommend, user).await;
        assert_ne!(answer["served_by"], json!("assigned"), "{answer}");
    }
    // And begin again when one is back, at the same place in the orders or another.
    let first = served(&shop, &one);
    order(&shop, 3, (1, &one), None, &[(1, &one, &first.url("serving"))]);
    until("version 1 answers again", async || ask(&recommend, "u1").await["served_by"] == json!("assigned")).await;

    let windows = async || poll(&polls, None).await["windows"].as_array().unwrap().len();
    until("a window is closed", async || windows().await > 0).await;
    let polled = poll(&polls, None).await;
    assert!(polled["replica"].as_str().unwrap().starts_with("router-0-"), "{}", polled["replica"]);

    assert_eq!((first.terminate(), router.terminate()), (Some(0), Some(0)));
    let kept = shop.files(&format!("registry/{NAMESPACE}/endpoints/home"));
    for folder in ["decisions/", "windows/", "snapshots/users"] {
        assert!(kept.iter().any(|file| file.starts_with(folder)), "{folder}: {kept:?}");
    }
}

#[tokio::test]
async fn what_may_not_be_served_is_not() {
    let shop = Shop::new().await;
    let digest = shop.version("r1", json!({})).await;
    let said = |digest: &str, more: &[&str]| {
        let mut command = shop.fairway(&["serve", "--model", MODEL, "--listen", "127.0.0.1:0", "--version", digest]);
        let output = command.args(more).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = said("3", &[]);
    assert!(code == 2 && text.contains("--version"), "{text}");
    let (code, text) = said(&format!("sha256:{}", "1".repeat(64)), &[]);
    assert!(code == 2 && text.contains("is registered"), "{text}");
    // Uploaded, and registered by nobody.
    shop.put_plan("r2", json!({"seed": 3})).await;
    let (_, trained) = shop.train("r2");
    let (code, text) = said(trained["result"]["digest"].as_str().unwrap(), &[]);
    assert!(code == 2 && text.contains("is registered"), "{text}");

    let mut keys = Command::new(env!("CARGO_BIN_EXE_fairway"));
    keys.current_dir(shop.path(".")).args(["registry", "keygen", "--out", "mine"]);
    assert!(keys.output().unwrap().status.success());
    let (code, text) = said(&digest, &["--signer", "mine.pub.pem"]);
    assert!(code == 2 && text.contains("none of the --signer keys"), "{text}");

    // A byte that is another.
    let weights = format!("registry/{NAMESPACE}/models/{MODEL}/versions/{}", digest.replace(':', "-"));
    let weights = shop.path(&weights).join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let (code, text) = said(&digest, &[]);
    assert!(code == 1 && text.contains("do not use it"), "{text}");
}

#[tokio::test]
async fn a_server_of_somebody_else_must_answer_as_the_trainer_said() {
    let shop = Shop::new().await;
    let one = shop.version("r1", json!({})).await;
    let two = shop.version("r2", json!({"seed": 2, "parameters": {"regularization": "500"}})).await;
    // What stands behind is a model server like any other of the protocol.
    let behind = served(&shop, &one);
    let url = behind.url("serving");
    let front = |digest: &str| {
        let words = ["serve", "--model", MODEL, "--listen", "127.0.0.1:0", "--drain", "100ms", "--version", digest];
        let mut command = shop.fairway(&words);
        command.args(["--behind", &url, "--behind-within", "30s"]);
        command
    };
    let adapter = Service::start(front(&one));
    let described = format!("{}/v2/models/{MODEL}/fairway", adapter.url("serving"));
    let described: Value = reqwest::get(described).await.unwrap().json().await.unwrap();
    assert_eq!(described["target"]["digest"], json!(one));
    // Another version's answers are not this one's.
    let output = front(&two).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("does not answer as its trainer said"), "{text}");
}
