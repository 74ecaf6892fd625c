//! What is done with an answer before it is sent: it is counted in the window, remembered for feedback and for the
//! cached rung, logged, and compared unseen with the candidate.

use std::sync::Arc;

use fairway_model::profile::{HISTORY_LENGTH, SCORE, SEGMENT};
use fairway_wire::{Reason, RecommendResponse, Track};

use crate::decision_id::DecisionId;
use crate::decisions::Logged;
use crate::exposures::{Exposure, Lists, Unseen};
use crate::interner::UNKNOWN;
use crate::model_server::ModelFailure;
use crate::recommend::{Answer, Asked, Visit};
use crate::router::Router;
use crate::served::Served;
use crate::users::LastAnswer;
use crate::windows::{ArmId, FeatureHit, Observation};

impl Router {
    pub(crate) fn conclude(&self, visit: &Visit, answer: Answer) -> RecommendResponse {
        let micros = u64::try_from(visit.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.count(visit, &answer, micros);
        let compared = self.expose(visit, &answer);
        self.shadow(visit, &answer, compared);
        if answer.reason == Reason::Ok && !answer.items.is_empty() {
            self.users.remember(
                &visit.user,
                visit.segment,
                LastAnswer {
                    time_ms: visit.now_ms,
                    version: answer.version,
                    digest: answer.digest,
                    items: scored(&answer),
                },
            );
        }
        let id = DecisionId {
            version: u32::try_from(answer.version).unwrap_or(u32::MAX),
            cell: visit.user.cell(),
            time_ms: visit.now_ms,
            propensity_ppm: visit.assignment.propensity.ppm(),
            number: visit.number,
        };
        self.log(visit, &answer, id, micros);
        let arm = visit.trial_arm().map_or_else(String::new, |arm| self.arms.name(arm.name).to_string());
        visit.response(id.sign(&self.pseudonyms), arm, answer)
    }

    fn count(&self, visit: &Visit, answer: &Answer, micros: u64) {
        let route = &visit.plan.route;
        let track = visit.assignment.track;
        let seconds = micros as f64 / 1e6;
        self.metrics.answered(track, answer.served_by, answer.reason, seconds);
        let error = answer.asked.as_ref().and_then(|asked| asked.error);
        if let Some(kind) = error {
            self.metrics.failed(track, kind);
        }
        // A baseline's time is that of the whole answer; a version's is its own.
        let took = match &answer.asked {
            Some(asked) => Some(u64::try_from(asked.took.as_micros()).unwrap_or(u64::MAX)),
            None => (visit.arm().version == UNKNOWN).then_some(micros),
        };
        let slow = took.is_some_and(|took| took > u64::from(route.slow_over_ms) * 1_000);
        self.windows.observe(
            visit.now_ms,
            route.generation,
            visit.arm(),
            Observation {
                cell: visit.user.cell(),
                error,
                slow: slow && error.is_none(),
                fallback: (answer.reason != Reason::Ok).then_some(answer.reason),
                latency_us: took,
                features: answer.asked.as_ref().map(|asked| features(visit, asked)).unwrap_or_default(),
                new_user: visit.new_user,
            },
        );
    }

    /// Keeps what was shown until feedback is in, if the user is one of those who are waited for. Not without consent, and not for
    /// a version that was never asked because it is still being loaded: others' lists would speak for it. True if lists that
    /// nobody sees are compared with what was shown.
    fn expose(&self, visit: &Visit, answer: &Answer) -> bool {
        let arm = visit.arm();
        let loading = answer.reason == Reason::NoModel && arm.version != UNKNOWN;
        if answer.reason == Reason::OptOut || loading || !self.exposures.waits_for(&visit.user) {
            return false;
        }
        // While the baseline is shown in stable's place nobody would see stable recover.
        let unshown = visit.plan.stable.as_ref().filter(|_| answer.reason == Reason::ServingBaseline);
        let paired = answer.compared.is_some() || unshown.is_some();
        let lists = paired.then(|| {
            let (stable, popularity) = (answer.compared.clone(), self.popular_items(visit));
            Box::new(Lists { stable, popularity, candidate: None })
        });
        let waits = self.exposures.add(
            &visit.user,
            Exposure {
                time_ms: visit.now_ms,
                number: visit.number,
                generation: visit.plan.route.generation,
                arm,
                shown: answer.items.iter().map(|one| one.item).collect(),
                lists,
                consumed: Vec::new(),
            },
        );
        let compared = paired && waits;
        if let Some(stable) = unshown.filter(|_| compared) {
            self.answer_unseen(visit, stable, Unseen::Stable, None);
        }
        compared
    }

    /// Lets the candidate answer what others were asked, if it is to. Its list is compared if `compared`. Whether it has an answer
    /// is evidence where stable was asked for one too: each of the two counts then.
    fn shadow(&self, visit: &Visit, answer: &Answer, compared: bool) {
        let Some(candidate) = visit.shadow().filter(|_| answer.reason != Reason::OptOut) else { return };
        let arm = visit.arm();
        let asked = answer.asked.is_some() && arm.track == Track::Stable && arm.version != UNKNOWN;
        let counts = asked.then(|| ArmId { version: candidate.version, track: Track::Canary, ..arm });
        if counts.is_some() || compared {
            self.answer_unseen(visit, candidate, Unseen::Candidate, counts);
        }
    }

    /// Lets a version answer beside what is shown, on a task of its own: the user waits for none of it.
    fn answer_unseen(&self, visit: &Visit, served: &Arc<Served>, who: Unseen, counts: Option<ArmId>) {
        let Ok(permit) = Arc::clone(&self.shadows).try_acquire_owned() else {
            return;
        };
        let query = visit.query(served, self.config.k_pairs);
        let (served, exposures) = (Arc::clone(served), Arc::clone(&self.exposures));
        let (user, number, deadline) = (visit.user, visit.number, visit.deadline());
        let failed = self.metrics.shadow_errors.clone();
        let (windows, now_ms, generation) = (self.windows.clone(), visit.now_ms, visit.plan.route.generation);
        tokio::spawn(async move {
            let answered = served.ask(query, deadline).await;
            // One that is late may have come to servers that are too few for everybody.
            if let Some(arm) = counts.filter(|_| !matches!(answered, Err(ModelFailure::Timeout))) {
                let error = matches!(answered, Err(ModelFailure::Error(_) | ModelFailure::Invalid(_)));
                windows.unseen(now_ms, generation, arm, user.cell(), error);
            }
            match answered {
                Ok(items) => {
                    let list = items.iter().map(|one| one.item).collect();
                    exposures.add_unseen(&user, number, who, served.version, Some(list));
                }
                Err(ModelFailure::ColdStart) => exposures.add_unseen(&user, number, who, served.version, None),
                Err(_) => {
                    failed.inc();
                }
            }
            drop(permit);
        });
    }

    fn log(&self, visit: &Visit, answer: &Answer, id: DecisionId, micros: u64) {
        if !self.decisions.sampled(id.number) {
            return;
        }
        let kept = self.decisions.push(Logged {
            id,
            user: visit.user,
            segment: visit.segment,
            digest: answer.digest,
            track: visit.assignment.track,
            arm: visit.arm().arm,
            served_by: answer.served_by,
            reason: answer.reason,
            generation: visit.plan.route.generation,
            latency_us: micros,
            items: scored(answer),
        });
        if !kept {
            self.metrics.decisions_dropped.inc();
            self.windows.dropped(1);
        }
    }
}

fn scored(answer: &Answer) -> Box<[(u32, f32)]> {
    answer.items.iter().map(|one| (one.item, one.score)).collect()
}

/// The bins that a request falls in, on the profile of the version that was asked.
fn features(visit: &Visit, asked: &Asked) -> Vec<FeatureHit> {
    let plan = &visit.plan;
    let served = match visit.assignment.track {
        Track::Canary => plan.canary.as_ref(),
        Track::Experiment => visit.trial_arm().and_then(|arm| arm.served.as_ref()),
        _ => plan.stable.as_ref(),
    };
    let Some(served) = served else {
        return Vec::new();
    };
    let mut hits = Vec::with_capacity(3);
    let mut hit = |name: &'static str, bin: &dyn Fn(&fairway_stats::Bins) -> usize| {
        if let Some(feature) = served.profile.features.get(name) {
            hits.push(FeatureHit { name, bin: bin(&feature.bins), bins: feature.bins.len() });
        }
    };
    if asked.error.is_none() {
        hit(SCORE, &|bins| bins.index_of(asked.best_score.map(f64::from)));
    }
    hit(HISTORY_LENGTH, &|bins| bins.index_of(Some(asked.history_length as f64)));
    hit(SEGMENT, &|bins| bins.index_of_category(visit.segment_name()));
    hits
}
