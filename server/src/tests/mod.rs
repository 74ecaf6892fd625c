//! The router as a whole, by a manual clock and with versions that behave as told.

mod experiments;
mod faults;
mod http;
mod inference;
mod measure;
mod memory;
mod peers;
mod polls;
mod privacy;
mod remote;
mod rewards;
mod routing;
mod servers;
mod swap;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use fairway_model::Vocabulary;
use fairway_model::profile::{category_feature, consumed_bins, consumed_feature, number_feature};
use fairway_wire::{
    Arm, ArmKey, Canary, Context, Event, EventKind, Profile, RecommendRequest, RecommendResponse, Route, Target, Track,
    Weight, Window,
};
use jiff::Timestamp;

use crate::{Clock, ModelFailure, ModelServer, Pseudonyms, Router, RouterConfig, ScoreQuery};

pub(crate) const START_MS: i64 = 1_767_225_600_000;
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// A clock that only moves when told.
#[derive(Clone)]
pub(crate) struct Manual(Arc<AtomicI64>);

impl Manual {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        crate::config::timestamp(self.0.load(Ordering::SeqCst))
    }

    fn clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// What a version does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The items in alphabetical order, or in the reverse.
    Good,
    Reverse,
    Fails,
    NotANumber,
    Nothing,
    Stranger,
    Twice,
    Hangs,
    Panics,
}

/// A version that knows the items `a` to `j` and behaves in a manner.
pub(crate) struct Fake {
    items: Vocabulary,
    manner: Manner,
}

pub(crate) fn fake(manner: Manner) -> Arc<Fake> {
    Arc::new(Fake { items: Vocabulary::from_names(('a'..='j').map(String::from)), manner })
}

#[async_trait]
impl ModelServer for Fake {
    fn items(&self) -> &Vocabulary {
        &self.items
    }

    async fn score(&self, query: ScoreQuery) -> Result<Vec<(String, f32)>, ModelFailure> {
        let mut best: Vec<String> = self.items.iter().map(str::to_owned).collect();
        best.retain(|name| !query.exclude.contains(&self.items.get(name).unwrap()));
        if self.manner == Manner::Reverse {
            best.reverse();
        }
        best.truncate(query.k);
        let scored = |(i, name): (usize, String)| (name, 1.0 / (1.0 + i as f32));
        let mut answer: Vec<(String, f32)> = best.into_iter().enumerate().map(scored).collect();
        match self.manner {
            Manner::Good | Manner::Reverse => {}
            Manner::Fails => return Err(ModelFailure::Error("out of order".into())),
            Manner::NotANumber => answer[0].1 = f32::NAN,
            Manner::Nothing => answer.clear(),
            Manner::Stranger => answer[0].0 = "stranger".into(),
            Manner::Twice => answer[1].0 = answer[0].0.clone(),
            Manner::Hangs => std::future::pending().await,
            Manner::Panics => panic!("the version panicked, as the test told it to"),
        }
        Ok(answer)
    }
}

pub(crate) fn target(version: u64) -> Target {
    Target { version, digest: format!("sha256:{version}") }
}

pub(crate) fn profile() -> Arc<Profile> {
    let counts = [("UK", 5_u64), ("FR", 2)].map(|(name, n)| (name.to_owned(), n)).into();
    let features = [
        ("score", number_feature(&mut [0.1, 0.2, 0.5, 1.0], 4, true)),
        ("historyLength", number_feature(&mut [0.0, 1.0, 2.0, 3.0], 4, false)),
        ("segment", category_feature(&counts, 0, 5)),
    ];
    Arc::new(Profile {
        features: features.map(|(name, feature)| (name.to_owned(), feature)).into(),
        consumed: Some(consumed_feature(10)),
        consumed_bin: consumed_bins(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 1], 10),
    })
}

/// A route with stable 1 and, if `percent` is given, canary 2.
pub(crate) fn route(generation: u64, percent: Option<u8>) -> Route {
    Route {
        generation,
        stable: Some(target(1)),
        canary: percent.map(|percent| Canary {
            target: target(2),
            weight: Weight::from_percent(percent),
            segments: vec![],
            shadow: false,
        }),
        salt: "rollout-1".into(),
        holdback: Weight::ZERO,
        experiments: Vec::new(),
        serve_baseline: false,
        slow_over_ms: 10_000,
        deadline_ms: 20,
        lease_until: None,
    }
}

pub(crate) fn config() -> RouterConfig {
    RouterConfig { replica: "router-1".into(), ..RouterConfig::default() }
}

pub(crate) fn bare(config: RouterConfig) -> (Arc<Router>, Manual) {
    let clock = Manual(Arc::new(AtomicI64::new(START_MS)));
    (Router::new(config, clock.clock(), Pseudonyms::new(b"test key")), clock)
}

/// A router with stable 1 (good), canary 2 in a manner, and popularity `j` before `i` before `h`.
pub(crate) fn router(canary: Manner) -> (Arc<Router>, Manual) {
    router_with(config(), canary)
}

pub(crate) fn router_with(config: RouterConfig, canary: Manner) -> (Arc<Router>, Manual) {
    let (router, clock) = bare(config);
    router.install(&target(1), fake(Manner::Good), profile());
    router.install(&target(2), fake(canary), profile());
    let now = clock.now();
    let rows = [("x", "h"), ("x", "i"), ("y", "i"), ("x", "j"), ("y", "j"), ("z", "j")];
    router.seed(rows.map(|(user, item)| (user, item, now, Some("UK"))));
    (router, clock)
}

pub(crate) fn asking(user: &str, k: usize) -> RecommendRequest {
    let context = Context { segment: None, personalize: true };
    RecommendRequest { user: user.into(), k, context, exclude: vec![] }
}

pub(crate) fn bought(user: &str, item: &str) -> Event {
    Event {
        user: user.into(),
        item: item.into(),
        kind: EventKind::Purchase,
        time: None,
        decision: None,
        segment: None,
        id: None,
    }
}

pub(crate) fn names(answer: &RecommendResponse) -> Vec<&str> {
    answer.items.iter().map(|one| &*one.item).collect()
}

/// All windows as one.
pub(crate) fn merged(windows: Vec<Window>) -> Window {
    let mut windows = windows.into_iter();
    let first = windows.next().unwrap();
    windows.fold(first, |mut all, window| {
        all.merge(&window);
        all
    })
}

pub(crate) fn arm(window: &Window, version: u64, track: Track) -> Arm {
    let digest = if version == 0 { String::new() } else { target(version).digest };
    let mut all = Arm::default();
    for (key, arm) in &window.arms {
        if (&key.digest, key.track) == (&digest, track) {
            all.merge(arm);
        }
    }
    all
}

pub(crate) fn key(version: u64, track: Track, segment: &str) -> ArmKey {
    ArmKey { digest: target(version).digest, track, segment: segment.into(), arm: String::new() }
}
