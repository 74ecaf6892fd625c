//! What is served: an EASE version of a given size, installed as stable, and users with histories.
//!
//! The weights are made up: what a request costs does not depend on what was learned.

use std::sync::Arc;
use std::time::Instant;

use fairway_bench::data::SEED;
use fairway_bench::load;
use fairway_bench::shop::{self, END_MS, Size};
use fairway_model::profile::{HISTORY_LENGTH, SCORE, SEGMENT, category_feature, number_feature};
use fairway_model::{Bundle, BundleManifest, Ease, Query, Seen, Vocabulary, top_k};
use fairway_server::{Builtin, Clock, Pseudonyms, Router, RouterConfig};
use fairway_wire::{Context, Profile, RecommendRequest, Route, Target, Weight};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Items of an answer.
pub const K: usize = 20;
/// Items of each user's history.
const HISTORY: usize = 50;
/// A user's items were bought this far apart, and the newest just now.
const APART_MS: i64 = 12 * 3_600_000;
/// Bins of a number's profile.
const BINS: usize = 10;

/// A router that serves, and what is asked of it.
pub struct Endpoint {
    /// The router.
    pub router: Arc<Router>,
    /// One request of each user, as HTTP.
    pub requests: Vec<Vec<u8>>,
    bundle: Arc<Bundle>,
    histories: Vec<Vec<Seen>>,
}

impl Endpoint {
    /// With everything installed and told.
    pub fn new(size: Size) -> anyhow::Result<Self> {
        let names = shop::histories(size, HISTORY, SEED)?;
        let bundle = Arc::new(bundle(Vocabulary::from_names(shop::item_names(size, SEED)))?);
        let router = Router::new(RouterConfig::default(), clock()?, Pseudonyms::new(b"a key for invented users"));
        let target = Target { version: 1, digest: "sha256:1".to_owned() };
        router.install(&target, Arc::new(Builtin(Arc::clone(&bundle))), Arc::new(bundle.profile.clone()));
        router.set_route(route(target));
        let bought = |at: usize| Timestamp::from_millisecond(END_MS - at as i64 * APART_MS);
        let times = (0..HISTORY).map(bought).collect::<Result<Vec<_>, _>>()?;
        let users: Vec<String> = (0..size.users).map(shop::user_name).collect();
        let rows = names.iter().enumerate().flat_map(|(user, history)| {
            let (name, segment) = (users[user].as_str(), Some(shop::segment_of(user)));
            history.iter().zip(&times).map(move |(item, &time)| (name, item.as_str(), time, segment))
        });
        router.seed(rows);
        let known = |name: &String| bundle.recommender.items().get(name).map(|item| Seen { item, time_ms: END_MS });
        let histories = names.iter().map(|history| history.iter().filter_map(known).collect()).collect();
        let json = |user| serde_json::to_string(&question(user)).map(|json| load::request("/v1/recommend", &json));
        let requests = (0..size.users).map(json).collect::<Result<_, _>>()?;
        Ok(Self { router, requests, bundle, histories })
    }

    /// The request of a user; users take turns.
    pub fn ask(&self, number: usize) -> RecommendRequest {
        question(number % self.histories.len())
    }

    /// What the model does for such a request, without the router.
    pub fn model_alone(&self, number: usize, scores: &mut Vec<f32>, best: &mut Vec<(u32, f32)>) {
        let history = &self.histories[number % self.histories.len()];
        scores.resize(self.bundle.recommender.items().len(), 0.0);
        self.bundle.recommender.score(&Query { history, segment: None, now_ms: END_MS }, scores);
        // The few best are asked for, so looking through the history costs next to nothing.
        top_k(scores, |item| history.iter().any(|seen| seen.item == item), K, best);
    }
}

fn question(user: usize) -> RecommendRequest {
    let context = Context::of_segment(shop::segment_of(user));
    RecommendRequest { user: shop::user_name(user), k: K, context, exclude: Vec::new() }
}

fn bundle(items: Vocabulary) -> anyhow::Result<Bundle> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let n = items.len();
    let weights = (0..n * n).map(|_| random.random_range(-0.01..0.05)).collect();
    let recommender = Box::new(Ease::new(items, weights)?);
    Ok(Bundle { manifest: BundleManifest::default(), recommender, profile: profile() })
}

/// With the features of a real version, since the router counts on their bins.
fn profile() -> Profile {
    let evenly = |most: f64| {
        number_feature(&mut (0..1_000).map(|i| most * f64::from(i) / 1e3).collect::<Vec<_>>(), BINS, most < 10.0)
    };
    let segments = (0..1_000).map(|user| (shop::segment_of(user).to_owned(), 1)).collect();
    let features =
        [(SCORE, evenly(3.0)), (HISTORY_LENGTH, evenly(100.0)), (SEGMENT, category_feature(&segments, 0, 20))];
    Profile { features: features.map(|(name, feature)| (name.to_owned(), feature)).into(), ..Profile::default() }
}

fn route(stable: Target) -> Route {
    Route {
        generation: 1,
        stable: Some(stable),
        canary: None,
        salt: "bench".to_owned(),
        holdback: Weight::ZERO,
        experiments: Vec::new(),
        serve_baseline: false,
        slow_over_ms: 50,
        deadline_ms: 100,
        lease_until: None,
    }
}

/// Goes at the speed of time, from the shop's end on.
fn clock() -> anyhow::Result<Clock> {
    let (end, started) = (Timestamp::from_millisecond(END_MS)?, Instant::now());
    Ok(Arc::new(move || {
        let passed = SignedDuration::try_from(started.elapsed()).unwrap_or(SignedDuration::ZERO);
        end.checked_add(passed).unwrap_or(end)
    }))
}
