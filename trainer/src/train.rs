//! One run, from checked data to a bundle: fit, evaluate, judge, refit, write.
//!
//! What it does not do: it reads no source and registers nothing. Whether a candidate passes is the caller's closure.

use std::path::{Path, PathBuf};

use fairway_model::{Bundle, Interactions, Recommender};

use crate::data::Data;
use crate::error::TrainError;
use crate::evaluate::{Evaluation, full_ranking};
use crate::families::{self, Inputs};
use crate::plan::TrainingPlan;
use crate::progress::{CancelFlag, Progress};
use crate::publish::{self, Served, Stopwatch};
use crate::reference;
use crate::split::{KS, Split};

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A bundle is there.
    Trained(Trained),
    /// A gate said no; there is no bundle.
    Rejected {
        /// The numbers.
        evaluation: Evaluation,
        /// What the gate said.
        why: String,
    },
    /// The flag was set; there is no bundle.
    Cancelled {
        /// What was being done.
        said: String,
    },
}

/// What a successful run leaves.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The bundle's directory: `work/bundle`.
    pub bundle: PathBuf,
    /// How the recipe was judged.
    pub evaluation: Evaluation,
    /// Where the bundle comes from, for `provenance.json`: a [`fairway_registry::provenance::Provenance`]. Names no user.
    pub provenance: serde_json::Value,
}

/// Trains by a plan. Blocking: use a thread of its own.
///
/// The candidate is fitted on the rows before the holdout and judged on the holdout, beside the champion and popularity on
/// the same users. When `judge` agrees it is fitted again on all rows (if the plan says so) and written to `work/bundle`.
/// Both fits begin from the champion's weights if the plan asks for that, the family and its parameters allow it, and the
/// champion knows nothing of the holdout; a note to `progress` says what they begin from.
/// Progress has the stages `fit`, `evaluate`, `refit` and `write`.
///
/// # Errors
/// When the family or a parameter is not known, data is too little, numbers are not finite, or `work` cannot be written.
pub fn train(
    plan: &TrainingPlan,
    data: &Data,
    champion: Option<&Bundle>,
    work: &Path,
    progress: &dyn Progress,
    cancel: &CancelFlag,
    judge: &dyn Fn(&Evaluation) -> Result<(), String>,
) -> Result<Outcome, TrainError> {
    let run = Run { plan, data, work, progress, cancel };
    match run.run(champion, judge) {
        Err(TrainError::Cancelled(doing)) => Ok(Outcome::Cancelled { said: format!("cancelled while {doing}") }),
        other => other,
    }
}

struct Run<'a> {
    plan: &'a TrainingPlan,
    data: &'a Data,
    work: &'a Path,
    progress: &'a dyn Progress,
    cancel: &'a CancelFlag,
}

impl Run<'_> {
    fn run(
        &self,
        champion: Option<&Bundle>,
        judge: &dyn Fn(&Evaluation) -> Result<(), String>,
    ) -> Result<Outcome, TrainError> {
        let (plan, rows) = (self.plan, &self.data.interactions);
        families::check(&plan.family, &plan.parameters)?;
        publish::clear(self.work)?;
        let mut watch = Stopwatch::start();
        let split = Split::new(rows, plan.holdout, plan.data.previous_newest, plan.seed)?;
        let from = self.begins_from(champion, &split);
        let units = families::steps(&plan.family, &plan.parameters, from.is_some());

        self.progress.stage("fit", units);
        let candidate = self.fit(&split.train, from)?;
        watch.lap("fit");
        let champion = champion.map(|bundle| bundle.recommender.as_ref());
        let evaluation = self.evaluate(candidate.as_ref(), champion, &split)?;
        watch.lap("evaluate");
        if let Err(why) = judge(&evaluation) {
            return Ok(Outcome::Rejected { evaluation, why });
        }
        TrainError::unless_cancelled(self.cancel, "judging")?;

        let refitted = match plan.refit {
            true => {
                self.progress.stage("refit", units);
                Some(self.fit(rows, from)?)
            }
            false => None,
        };
        let model = refitted.as_deref().unwrap_or(candidate.as_ref());
        let fitted = if refitted.is_some() { rows } else { &split.train };
        let sanity = publish::compare(candidate.as_ref(), model, &split)?;
        watch.lap("refit");

        self.progress.stage("write", 2);
        let profile = reference::profile(candidate.as_ref(), model, rows, &split, fitted, plan.seed);
        self.progress.advance(1);
        TrainError::unless_cancelled(self.cancel, "writing")?;
        let gated_sibling = match refitted.is_some() {
            true => Some(publish::digest_of_weights(candidate.as_ref(), self.work)?),
            false => None,
        };
        let served = Served { model, fitted, profile: &profile, gated_sibling, warm_start: from.is_some() };
        let bundle = publish::write(plan, &served, &evaluation, self.work)?;
        watch.lap("write");
        self.progress.advance(1);
        let provenance = publish::provenance(plan, self.data, &served, &evaluation, &sanity, watch).to_value();
        Ok(Outcome::Trained(Trained { bundle, evaluation, provenance }))
    }

    /// The model whose weights the fits begin from. One that has seen the holdout would hand it on to the candidate, whose
    /// numbers would say nothing.
    fn begins_from<'c>(&self, champion: Option<&'c Bundle>, split: &Split) -> Option<&'c dyn Recommender> {
        let plan = self.plan;
        if !plan.warm_start {
            return None;
        }
        let sound = |champion: Option<&'c Bundle>| {
            let champion = champion.ok_or("there is no champion")?;
            if champion.manifest.trained_through_ms >= split.cutoff_ms {
                return Err(format!(
                    "the champion has learned from the holdout, which begins at {}",
                    split.protocol.cutoff
                ));
            }
            let model = champion.recommender.as_ref();
            families::warm_start(&plan.family, &plan.parameters, &plan.features, model).map(|()| model)
        };
        match sound(champion) {
            Ok(model) => {
                self.progress.note("training begins from the champion's weights");
                Some(model)
            }
            Err(why) => {
                self.progress.note(&format!("training begins from nothing: {why}"));
                None
            }
        }
    }

    fn fit(&self, data: &Interactions, from: Option<&dyn Recommender>) -> Result<Box<dyn Recommender>, TrainError> {
        let plan = self.plan;
        let inputs = Inputs { data, items: &self.data.items, features: &plan.features, seed: plan.seed, from };
        families::fit(&plan.family, &plan.parameters, inputs, self.progress, self.cancel)
    }

    fn evaluate(
        &self,
        candidate: &dyn Recommender,
        champion: Option<&dyn Recommender>,
        split: &Split,
    ) -> Result<Evaluation, TrainError> {
        evaluate(self.plan, self.data, candidate, champion, split, self.progress, self.cancel)
    }
}

/// Candidate, champion and baseline on the same users.
pub(crate) fn evaluate(
    plan: &TrainingPlan,
    data: &Data,
    candidate: &dyn Recommender,
    champion: Option<&dyn Recommender>,
    split: &Split,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Evaluation, TrainError> {
    progress.stage("evaluate", 2 + u64::from(champion.is_some()));
    let popularity = families::fit_popularity(&split.train)?;
    let measure = |model: &dyn Recommender| {
        TrainError::unless_cancelled(cancel, "evaluating")?;
        let ranking = full_ranking(model, split, &KS);
        progress.advance(1);
        Ok::<_, TrainError>(ranking)
    };
    let (candidate, popularity) = (measure(candidate)?, measure(&popularity)?);
    let champion = champion.map(measure).transpose()?;
    let evaluation = Evaluation {
        beside_champion: champion.as_ref().map(|it| candidate.beside(it)).unwrap_or_default(),
        beside_popularity: candidate.beside(&popularity),
        beside_champion_by_segment: champion.as_ref().map(|it| candidate.beside_by_segment(it)).unwrap_or_default(),
        beside_popularity_by_segment: candidate.beside_by_segment(&popularity),
        candidate: candidate.metrics,
        champion: champion.map(|it| it.metrics),
        popularity: popularity.metrics,
        users: split.users.len() as u64,
        protocol: split.protocol.clone().of_data(&data.report.digest),
    };
    let at_20 = |metrics: &crate::Metrics| metrics.overall.get("recall@20").copied().unwrap_or(f64::NAN);
    let of_champion =
        evaluation.champion.as_ref().map_or_else(String::new, |it| format!(", champion {:.4}", at_20(it)));
    progress.note(&format!(
        "recall@20 of {} users: {} {:.4}{of_champion}, popularity {:.4}",
        evaluation.users,
        plan.family,
        at_20(&evaluation.candidate),
        at_20(&evaluation.popularity),
    ));
    Ok(evaluation)
}

#[cfg(test)]
mod tests;
