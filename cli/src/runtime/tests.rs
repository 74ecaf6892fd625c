//! The loop in one process, on a bucket and a disk that fail for a while or for good.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fairway_core::Reason;
use fairway_core::endpoint::RolloutRequest;
use fairway_core::model::{ModelRequest, RunEnd, RunMode};
use fairway_registry::{Author, Digest, EndpointLog, ModelLog, Registry};
use fairway_wire::{Context, RecommendRequest, Target};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::backoff::Backoff;
use super::{Clock, Command, Runtime, Spec};
use crate::train::RunPlan;

/// What comes by itself comes within this, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

const MANIFESTS: &str = r#"
apiVersion: fairway.dev/v1alpha1
kind: Model
metadata: {name: recs}
spec:
  data:
    interactions:
      url: sales.csv
      sql: SELECT "user" AS user_id, item AS item_id, CAST(day AS TIMESTAMP) AS time FROM interactions
    history: 60d
  reward: {event: purchase, within: 1h}
  trainer: {builtin: {family: popularity}}
  evaluation: {holdout: 6d, gates: [{metric: recall@20, versus: Popularity, tolerance: 100%}]}
---
apiVersion: fairway.dev/v1alpha1
kind: ModelEndpoint
metadata: {name: shop}
spec: {model: recs}
"#;

/// A small shop, whose registry is a folder.
struct Shop {
    folder: TempDir,
    registry: Registry,
    runtime: Runtime,
    commands: mpsc::Sender<Command>,
}

impl Shop {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        std::fs::write(manifests.join("shop.yaml"), MANIFESTS).unwrap();
        std::fs::write(folder.path().join("sales.csv"), sales()).unwrap();
        let manifests = fairway_api::load_dir_with(&manifests, &Default::default()).unwrap();
        let spec = Spec::from_manifests(&manifests, folder.path(), "").unwrap();
        let registry = Registry::open(folder.path().join("registry").to_str().unwrap()).await.unwrap();
        let clock = Clock::manual("2027-02-01T00:00:00Z".parse().unwrap());
        let (runtime, commands) = Runtime::open(spec, &registry, &folder.path().join("state"), clock).await.unwrap();
        Self { folder, registry, runtime, commands }
    }

    /// With a first version, which serves.
    async fn serving() -> Self {
        let mut shop = Self::open().await;
        shop.runtime.settle().await.unwrap();
        assert_eq!(shop.stable().version, 1);
        shop
    }

    fn stable(&self) -> Target {
        self.runtime.endpoint_status().stable.clone().unwrap()
    }

    fn model(&self) -> ModelLog {
        self.registry.model("default", "recs").unwrap()
    }

    fn endpoint(&self) -> EndpointLog {
        self.registry.endpoint("default", "shop").unwrap()
    }

    fn said(&self, code: &str) -> Option<String> {
        self.runtime.journal().lines().into_iter().find(|line| line.code == code).map(|line| line.message)
    }

    /// A place in the bucket, of the model or the endpoint.
    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join("registry/default").join(name)
    }

    /// As on a bucket that refuses what is written below a name, until [`Shop::mend`].
    fn block(&self, name: &str) {
        std::fs::create_dir_all(self.place(name).parent().unwrap()).unwrap();
        std::fs::write(self.place(name), "").unwrap();
    }

    fn mend(&self, name: &str) {
        std::fs::remove_file(self.place(name)).unwrap();
    }

    async fn pause(&self) -> oneshot::Receiver<Vec<Reason>> {
        let (answer, answered) = oneshot::channel();
        let request = RolloutRequest::Pause;
        self.commands.send(Command::Rollout { who: "ann".to_owned(), request, answer }).await.unwrap();
        answered
    }

    async fn start(&self, name: &str) -> oneshot::Receiver<Vec<Reason>> {
        let (answer, answered) = oneshot::channel();
        let request = ModelRequest::Start { name: name.to_owned(), reason: "CI".to_owned(), force: true };
        self.commands.send(Command::Model { request, answer }).await.unwrap();
        answered
    }

    fn train(&mut self, name: &str) {
        let now = self.runtime.clock.now();
        self.runtime.start_training(name, &Reason::new("Asked", "CI"), RunMode::default(), now);
    }

    /// Looks again and again until it holds.
    async fn until(&mut self, what: &str, mut holds: impl AsyncFnMut(&mut Runtime) -> bool) {
        let began = Instant::now();
        while !holds(&mut self.runtime).await {
            assert!(began.elapsed() < PATIENCE, "{what} did not come");
            self.runtime.look().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn sales() -> String {
    let mut text = "user,item,day\n".to_owned();
    for user in 0..40 {
        for visit in 0..10 {
            let (item, day) = ((user * 7 + visit * 3) % 31, 1 + visit * 2 + user % 3);
            text.push_str(&format!("u{user},i{item},2027-01-{day:02}\n"));
        }
    }
    text
}

fn author(actor: &'static str) -> Author<'static> {
    Author { actor, reason: "", time: "2027-02-01T00:00:00Z".parse().unwrap() }
}

async fn champion(log: &ModelLog) -> Option<u64> {
    log.state().await.unwrap().aliases.get("champion").copied()
}

#[tokio::test]
async fn an_alias_that_may_not_be_moved_holds_nothing_up() {
    let mut shop = Shop::open().await;
    let log = shop.model();
    log.protect("champion", &BTreeSet::from(["release-bot".to_owned()]), author("ann")).await.unwrap();
    shop.runtime.settle().await.unwrap();
    assert_eq!((shop.stable().version, champion(&log).await), (1, None));
    let told = shop.said("BucketRefused").expect("it is told");
    assert!(told.contains("only release-bot may move it"), "{told}");
    let answered = shop.pause().await;
    shop.runtime.look().await.unwrap();
    assert_eq!(answered.await.unwrap()[0].code, "NothingToPause", "what people ask is decided");
    let tells = shop.runtime.journal().lines().iter().filter(|line| line.code == "BucketRefused").count();
    assert_eq!(tells, 1, "said once");
    // While a try waits, it is no reason to store plan after plan.
    for unmet in shop.runtime.unmet.values_mut() {
        unmet.backoff = (0..9).fold(unmet.backoff, |backoff, _| Backoff::after(Some(backoff)));
    }
    // That nobody asks any more is news.
    shop.runtime.look().await.unwrap();
    let before = shop.runtime.endpoint.seq;
    for _ in 0..3 {
        shop.runtime.look().await.unwrap();
    }
    assert_eq!(shop.runtime.endpoint.seq, before);

    shop.runtime.unmet.clear();
    log.protect("champion", &BTreeSet::new(), author("ann")).await.unwrap();
    shop.until("the move", async |_| champion(&log).await == Some(1)).await;
}

#[tokio::test]
async fn a_plan_whose_answer_was_lost_is_gone_on_from() {
    let mut shop = Shop::serving().await;
    let (seq, mut plan) = shop.endpoint().latest_plan::<Value>().await.unwrap().unwrap();
    plan["plan"]["status"]["barred"] = serde_json::json!({"sha256:0": "another decision"});
    shop.endpoint().append_plan(seq + 1, &plan).await.unwrap();
    drop(shop.pause().await);
    let refused = shop.runtime.look().await;
    assert!(refused.is_err(), "what was decided from the plan before is not stored");
    let answered = shop.pause().await;
    shop.runtime.look().await.unwrap();
    assert_eq!(answered.await.unwrap()[0].code, "NothingToPause");
    let (stored, plan) = shop.endpoint().latest_plan::<Value>().await.unwrap().unwrap();
    assert_eq!(stored, seq + 2);
    assert_eq!(plan["plan"]["status"]["barred"]["sha256:0"], "another decision", "it is gone on from");

    let (seq, mut plan) = shop.model().latest_plan::<Value>().await.unwrap().unwrap();
    plan["plan"]["effects"] = serde_json::json!([]);
    plan["plan"]["status"]["rejections"] = 2.into();
    shop.model().append_plan(seq + 1, &plan).await.unwrap();
    drop(shop.start("lost").await);
    assert!(shop.runtime.look().await.is_err());
    let answered = shop.start("ci-1").await;
    shop.runtime.look().await.unwrap();
    assert!(answered.await.unwrap().iter().any(|reason| reason.code == "RunStarted"));
    assert!(shop.said("PlanReread").is_some());
    shop.runtime.settle().await.unwrap();
    assert!(shop.model().run("ci-1").unwrap().outcome::<RunEnd>().await.unwrap().is_some());
    assert!(shop.model().run("lost").unwrap().plan::<Value>().await.unwrap().is_none(), "never decided");
}

/// A run that another process, or a lost answer, has decided: it is taken up, as after a start.
#[tokio::test]
async fn a_run_of_a_plan_that_was_not_known_is_taken_up() {
    let mut shop = Shop::serving().await;
    let (seq, mut plan) = shop.model().latest_plan::<Value>().await.unwrap().unwrap();
    let reason = serde_json::json!({"code": "Asked", "message": "CI"});
    plan["plan"]["effects"] = serde_json::json!([{"effect": "startRun", "name": "theirs", "reason": reason}]);
    plan["plan"]["status"]["run"] = serde_json::json!({
        "name": "theirs", "reason": reason, "started": "2027-02-01T00:00:00Z", "automatic": false,
    });
    shop.model().append_plan(seq + 1, &plan).await.unwrap();
    drop(shop.start("ours").await);
    assert!(shop.runtime.look().await.is_err());
    assert_eq!(shop.runtime.training.as_ref().map(super::training::Training::name), Some("theirs"));
    shop.runtime.settle().await.unwrap();
    assert!(shop.model().run("theirs").unwrap().outcome::<RunEnd>().await.unwrap().is_some());
}

#[tokio::test]
async fn what_may_pass_is_loaded_later_and_what_cannot_is_broken() {
    let mut shop = Shop::serving().await;
    let (stable, router, log) = (shop.stable(), shop.runtime.router().clone(), shop.model());
    shop.runtime.versions.unload(&router, &stable.digest);
    // A disk on which nothing can be written for a while.
    let cache = shop.folder.path().join("state/cache");
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::write(&cache, "").unwrap();
    shop.runtime.versions.load(&log, &stable);
    shop.runtime.versions.wait(&router).await;
    assert!(shop.runtime.versions.ready().is_empty() && shop.runtime.versions.broken().is_empty());

    let answered = shop.start("ci-1").await;
    shop.runtime.look().await.unwrap();
    assert_eq!(answered.await.unwrap().last().unwrap().code, "Loading");
    assert!(shop.runtime.training.is_none(), "what serves is not taken for none");
    std::fs::remove_file(&cache).unwrap();
    let digest = stable.digest.clone();
    shop.until("the version", async |runtime| runtime.versions.ready().contains(&digest)).await;

    let unknown = Target { version: 7, digest: Digest::of(b"unknown").to_string() };
    shop.runtime.versions.load(&log, &unknown);
    shop.runtime.versions.wait(&router).await;
    assert!(shop.runtime.versions.broken()[&unknown.digest].contains("does not exist"));
}

#[tokio::test]
async fn a_run_is_judged_beside_the_champion_of_its_plan_or_not_at_all() {
    let mut shop = Shop::serving().await;
    let (stable, router) = (shop.stable(), shop.runtime.router().clone());
    // Not in memory, as after a start on which it could not be loaded at once.
    shop.runtime.versions.unload(&router, &stable.digest);
    shop.train("fetched");
    shop.runtime.training.as_mut().unwrap().wait().await;
    let plan = shop.model().run("fetched").unwrap().plan::<RunPlan>().await.unwrap().unwrap();
    assert_eq!(plan.training.champion.as_ref(), Some(&stable.digest));
    assert!(plan.training.data.previous_newest.is_some(), "what it knows is not judged on");

    shop.runtime.training = None;
    shop.runtime.endpoint.status.stable = Some(Target { version: 9, digest: Digest::of(b"gone").to_string() });
    shop.train("alone");
    shop.runtime.training.as_mut().unwrap().wait().await;
    let end = shop.model().run("alone").unwrap().outcome::<RunEnd>().await.unwrap();
    let Some(RunEnd::Failed { why }) = end else { panic!("{end:?}") };
    assert!(why.contains("cannot be had, to be judged beside"), "{why}");
}

#[tokio::test]
async fn a_bucket_that_fails_for_a_while_fails_no_run() {
    let mut shop = Shop::open().await;
    shop.block("models/recs/versions");
    shop.train("patient");
    let trained = shop.folder.path().join("state/runs/patient/bundle/bundle.json");
    let began = Instant::now();
    while !trained.exists() {
        assert!(began.elapsed() < PATIENCE, "it was never trained");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Time enough to be refused once.
    tokio::time::sleep(Duration::from_millis(500)).await;
    shop.mend("models/recs/versions");
    shop.runtime.training.as_mut().unwrap().wait().await;
    let end = shop.runtime.training.as_mut().unwrap().poll().await;
    assert_eq!(end, Some(RunEnd::Registered { version: 1 }));
    assert_eq!(shop.model().run("patient").unwrap().outcome::<RunEnd>().await.unwrap(), end);
}

#[tokio::test]
async fn a_run_that_cannot_go_on_is_cancelled_and_says_so_in_the_bucket() {
    let mut shop = Shop::open().await;
    shop.block("models/recs/log");
    shop.train("stuck");
    shop.runtime.training.as_ref().unwrap().cancel("by ann");
    tokio::time::sleep(Duration::from_millis(300)).await;
    shop.mend("models/recs/log");
    shop.runtime.training.as_mut().unwrap().wait().await;
    let end = shop.model().run("stuck").unwrap().outcome::<RunEnd>().await.unwrap();
    assert!(matches!(&end, Some(RunEnd::Cancelled { .. })), "{end:?}");
}

#[tokio::test]
async fn decisions_that_the_bucket_refuses_are_kept_until_it_takes_them() {
    let mut shop = Shop::serving().await;
    let now = shop.runtime.clock.now();
    let ask = async |shop: &Shop| {
        let context = Context { segment: None, personalize: true };
        let request = RecommendRequest { user: "ann".to_owned(), k: 5, context, exclude: Vec::new() };
        shop.runtime.router().recommend(request).await.unwrap();
    };
    ask(&shop).await;
    shop.block("endpoints/shop/decisions");
    assert!(shop.runtime.flush_decisions(now).await.is_err());
    ask(&shop).await;
    assert!(shop.runtime.flush_decisions(now).await.is_err(), "still refused");
    shop.mend("endpoints/shop/decisions");
    shop.runtime.flush_decisions(now).await.unwrap();
    let hour = shop.place("endpoints/shop/decisions/dt=2027-02-01/hr=00");
    assert_eq!(std::fs::read_dir(hour).unwrap().count(), 2, "what waited, and what has come since");
}
