//! What a run leaves behind: the bundle's directory, whole or not at all, and the record of where it comes from (in
//! `record`).
//!
//! What it does not do: nothing here is registered or uploaded. Times of working are only in the record, so that the same
//! plan makes the same bundle.

mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fairway_model::{Bundle, BundleManifest, GoldenRequest, Interactions, Query, Recommender, Seen, top_k};
use fairway_wire::Profile;

use crate::error::TrainError;
use crate::evaluate::{Evaluation, items_of_model, translate};
use crate::fingerprint;
use crate::machine::Meter;
use crate::plan::TrainingPlan;
use crate::split::{Split, segment_name};

pub(crate) use record::{provenance, provenance_of_other};

/// The bundle's directory in the run's.
const BUNDLE: &str = "bundle";
/// Golden requests of a bundle.
const GOLDEN: usize = 8;
/// Users whose answers a refit is compared on.
const COMPARED: usize = 200;
/// Length of the answers that are compared.
const TOP: usize = 20;

/// For `map_err` beside a path.
pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::Io { path, source }
}

/// Removes what an earlier try left and says where the bundle will be.
pub(crate) fn clear(work: &Path) -> Result<PathBuf, TrainError> {
    std::fs::create_dir_all(work).map_err(io(work))?;
    let bundle = work.join(BUNDLE);
    for dir in [bundle.clone(), partial(work), sibling(work)] {
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(io(&dir))?;
        }
    }
    Ok(bundle)
}

fn partial(work: &Path) -> PathBuf {
    work.join("bundle.partial")
}

fn sibling(work: &Path) -> PathBuf {
    work.join("sibling.partial")
}

/// `sha256:…` of a model's weights file: the identity of a model that is not published.
pub(crate) fn digest_of_weights(model: &dyn Recommender, work: &Path) -> Result<String, TrainError> {
    let dir = sibling(work);
    std::fs::create_dir_all(&dir).map_err(io(&dir))?;
    model.save(&dir)?;
    let file = dir.join(fairway_model::bundle::WEIGHTS_FILE);
    let digest = fingerprint::of_bytes(&std::fs::read(&file).map_err(io(&file))?);
    std::fs::remove_dir_all(&dir).map_err(io(&dir))?;
    Ok(digest)
}

/// What is served and what it was fitted on.
pub(crate) struct Served<'a> {
    pub(crate) model: &'a dyn Recommender,
    pub(crate) fitted: &'a Interactions,
    pub(crate) profile: &'a Profile,
    pub(crate) gated_sibling: Option<String>,
    /// Whether the fits began from the champion's weights.
    pub(crate) warm_start: bool,
}

/// Writes the bundle beside its place and moves it there when it is whole.
pub(crate) fn write(
    plan: &TrainingPlan,
    served: &Served<'_>,
    evaluation: &Evaluation,
    work: &Path,
) -> Result<PathBuf, TrainError> {
    let at = |ms: Option<&i64>| ms.copied().unwrap_or(0);
    let manifest = BundleManifest {
        model: plan.model.clone(),
        run: plan.run.clone(),
        features: plan.features.clone(),
        history_ms: i64::try_from(plan.data.history.as_millis()).unwrap_or(i64::MAX),
        trained_from_ms: at(served.fitted.time_ms.first()),
        trained_through_ms: at(served.fitted.time_ms.last()),
        metrics: evaluation.candidate.overall.clone(),
        parameters: plan.parameters.clone(),
        seed: plan.seed,
        gated_sibling: served.gated_sibling.clone(),
        ..BundleManifest::default()
    };
    let golden = GoldenRequest::invent(served.model.items(), &served.fitted.segments, GOLDEN, plan.seed);
    let (partial, whole) = (partial(work), work.join(BUNDLE));
    Bundle::write(&partial, manifest, served.model, served.profile, &golden)?;
    std::fs::rename(&partial, &whole).map_err(io(&whole))?;
    Ok(whole)
}

/// Answers of the model that is served, beside those of the one that was judged.
pub(crate) struct Sanity {
    /// Users who were asked for.
    users: usize,
    /// Mean share of the first 20 items that both have.
    overlap: f64,
}

/// Asks both models for some users. Refuses a model that has no finite answer for one of them.
pub(crate) fn compare(judged: &dyn Recommender, served: &dyn Recommender, split: &Split) -> Result<Sanity, TrainError> {
    let step = split.users.len().div_ceil(COMPARED).max(1);
    let (to_judged, to_served) = (items_of_model(judged, split), items_of_model(served, split));
    let (mut users, mut shared) = (0, 0.0);
    for user in split.users.iter().step_by(step) {
        let segment = segment_name(&split.train, user.segment);
        let answer = |model, to_model: &[u32]| answer(model, to_model, &user.history, segment, split.cutoff_ms);
        let (before, after) = (answer(judged, &to_judged), answer(served, &to_served));
        let Some(after) = after else {
            return Err(TrainError::Diverged {
                what: "the fitted model has no finite answer for a user of the holdout".to_owned(),
                cure: "lower learningRate or raise regularization, and look at the newest data",
            });
        };
        let before = before.unwrap_or_default();
        let both = after.iter().filter(|item| before.contains(item)).count();
        shared += both as f64 / before.len().max(1) as f64;
        users += 1;
    }
    Ok(Sanity { users, overlap: shared / users.max(1) as f64 })
}

/// The names of the first items, if their scores are finite and there are any.
fn answer(
    model: &dyn Recommender,
    to_model: &[u32],
    history: &[Seen],
    segment: Option<&str>,
    now_ms: i64,
) -> Option<Vec<String>> {
    let (mut known, mut best) = (Vec::new(), Vec::new());
    translate(history, to_model, &mut known);
    let mut scores = vec![0.0; model.items().len()];
    model.score(&Query { history: &known, segment, now_ms }, &mut scores);
    top_k(&scores, |item| known.iter().any(|seen| seen.item == item), TOP, &mut best);
    let finite = !best.is_empty() && best.iter().all(|(_, score)| score.is_finite());
    finite.then(|| best.iter().map(|(item, _)| model.items().name(*item).to_owned()).collect())
}

/// What the stages took.
pub(crate) struct Stopwatch {
    began: Instant,
    seconds: BTreeMap<String, f64>,
    meter: Meter,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), seconds: BTreeMap::new(), meter: Meter::start() }
    }

    /// Ends a stage; the next one begins.
    pub(crate) fn lap(&mut self, stage: &str) {
        self.seconds.insert(stage.to_owned(), self.began.elapsed().as_secs_f64());
        self.began = Instant::now();
    }
}
