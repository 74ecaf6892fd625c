//! How a request is answered: assignment, then the rungs that the settings name: stable → cached → popularity of the segment →
//! popularity unless they say otherwise. A valid request always gets an answer. Whatever answers in the end, the request counts for the version
//! that the user was assigned to (intention to treat).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fairway_wire::{ErrorKind, Item, Reason, RecommendRequest, RecommendResponse, Rung, Track};

use crate::Problem;
use crate::assign::{Assignment, assign, eligible, place};
use crate::check;
use crate::config::{CACHE_AGE_MS, MODELS_BUDGET};
use crate::interner::UNKNOWN;
use crate::lease::Watch;
use crate::model_server::{ModelFailure, ScoreQuery};
use crate::popularity::Popular;
use crate::pseudonym::UserKey;
use crate::router::{Plan, Router};
use crate::served::{Ranked, Served};
use crate::trials::{Trial, TrialArm};
use crate::users::Consumed;
use crate::windows::ArmId;

/// One request with all that is known when it comes in. The user's identifier is not among it.
pub(crate) struct Visit {
    pub(crate) plan: Arc<Plan>,
    pub(crate) started: Instant,
    pub(crate) now_ms: i64,
    watch: Watch,
    pub(crate) user: UserKey,
    pub(crate) assignment: Assignment,
    /// The user's place in their experiment, if they are new to it.
    pub(crate) new_user: Option<u16>,
    /// The answer's number, and whether the canary could ever be this user's.
    pub(crate) number: u32,
    pub(crate) eligible: bool,
    personalize: bool,
    pub(crate) segment: u32,
    segment_name: Option<Arc<str>>,
    history: Vec<Consumed>,
    /// What the user consumed and what the caller excluded, sorted.
    left_out: Vec<u32>,
    k: usize,
}

/// What the assigned version did, if it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) error: Option<ErrorKind>,
    pub(crate) took: Duration,
    pub(crate) best_score: Option<f32>,
    pub(crate) history_length: usize,
}

/// An answer before it is counted and sent.
pub(crate) struct Answer {
    pub(crate) items: Vec<Ranked>,
    pub(crate) served_by: Rung,
    pub(crate) reason: Reason,
    /// Number and interned digest of the version that answered.
    pub(crate) version: u64,
    pub(crate) digest: u32,
    pub(crate) asked: Option<Asked>,
    /// Stable (interned digest) and its list for the comparison in pairs, which may be longer than the answer.
    pub(crate) compared: Option<(u32, Vec<u32>)>,
}

impl Router {
    /// Answers a request.
    ///
    /// # Errors
    /// A [`Problem`] if the request is not valid, and for no other reason.
    pub async fn recommend(&self, request: RecommendRequest) -> Result<RecommendResponse, Problem> {
        check::request(&request)?;
        let visit = self.visit(request);
        let answer = self.answer(&visit).await;
        Ok(self.conclude(&visit, answer))
    }

    /// Answers a request from popularity alone, because too many come at once.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub fn recommend_cheaply(&self, request: RecommendRequest) -> Result<RecommendResponse, Problem> {
        check::request(&request)?;
        let visit = self.visit(request);
        let answer = self.baseline(&visit, Reason::Overloaded);
        Ok(self.conclude(&visit, answer))
    }

    fn visit(&self, request: RecommendRequest) -> Visit {
        let (started, now) = (Instant::now(), self.now());
        let plan = self.plan.load_full();
        let watch = plan.watch(now);
        let user = self.pseudonyms.key(&request.user);
        let segment_name = request.context.segment.as_deref().filter(|name| !name.is_empty());
        let personalize = request.context.personalize;
        let assignment = assign(&plan.route, &request.user, segment_name, personalize, watch);
        let trial = assignment.arm.and_then(|(index, _)| plan.trials.get(index));
        let new_user = trial.and_then(|trial| {
            let place = place(&trial.salt, &request.user);
            trial.is_new(place).then_some(place)
        });
        // Without consent the history is not even read.
        let history = if personalize { self.users.history(&user) } else { Vec::new() };
        let mut left_out: Vec<u32> = history.iter().map(|one| one.item).collect();
        left_out.extend(request.exclude.iter().filter_map(|name| self.items.get(name)));
        left_out.sort_unstable();
        left_out.dedup();
        Visit {
            eligible: eligible(&plan.route, segment_name, personalize),
            plan,
            started,
            now_ms: now.as_millisecond(),
            watch,
            user,
            assignment,
            new_user,
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            personalize,
            segment: segment_name.and_then(|name| self.segments.add(name)).unwrap_or(UNKNOWN),
            segment_name: segment_name.map(Arc::from),
            history,
            left_out,
            k: request.k,
        }
    }

    async fn answer(&self, visit: &Visit) -> Answer {
        let plan = &visit.plan;
        let (served, named) = match visit.assignment.track {
            _ if !visit.personalize => return self.baseline(visit, Reason::OptOut),
            Track::Holdback => return self.baseline(visit, Reason::Holdback),
            Track::Canary => (&plan.canary, true),
            Track::Experiment => match visit.trial_arm() {
                Some(arm) if arm.version != UNKNOWN => (&arm.served, true),
                _ => return self.baseline(visit, Reason::Holdback),
            },
            Track::Stable if plan.route.serve_baseline => return self.baseline(visit, Reason::ServingBaseline),
            Track::Stable => (&plan.stable, plan.route.stable.is_some()),
        };
        let Some(served) = served else {
            // A version that is still being loaded is no error of it.
            return if named {
                self.fall_back(visit, Reason::NoModel, None).await
            } else {
                self.baseline(visit, Reason::NoModel)
            };
        };
        let (result, mut asked) = self.ask(visit, served).await;
        match result {
            Ok(items) => {
                asked.best_score = items.first().map(|best| best.score);
                self.good(visit, served, items, Rung::Assigned, Reason::Ok, Some(asked))
            }
            Err(failure) => match fault(&failure) {
                Some((kind, reason)) => {
                    asked.error = Some(kind);
                    tracing::debug!(version = served.target.version, %failure, "falling back");
                    self.fall_back(visit, reason, Some(asked)).await
                }
                None => self.cold_start(visit, served, asked),
            },
        }
    }

    /// A version that knows nothing of the user has done nothing wrong, and shows what is popular.
    fn cold_start(&self, visit: &Visit, served: &Served, asked: Asked) -> Answer {
        let is_stable = visit.assignment.track == Track::Stable;
        let compared = is_stable.then(|| (served.version, self.popular_items(visit)));
        Answer { asked: Some(asked), compared, ..self.baseline(visit, Reason::ColdStart) }
    }

    fn comparable(&self, items: &[Ranked]) -> Vec<u32> {
        items.iter().take(self.config.k_pairs).map(|one| one.item).collect()
    }

    /// What the user gets when the assigned version has no answer.
    async fn fall_back(&self, visit: &Visit, reason: Reason, asked: Option<Asked>) -> Answer {
        for rung in &self.config.fallback {
            let answer = match rung {
                Rung::Stable => self.stable_instead(visit, reason).await,
                Rung::Cached => self.cached(visit, reason),
                Rung::SegmentPopularity => {
                    Some(self.baseline(visit, reason)).filter(|it| it.served_by == Rung::SegmentPopularity)
                }
                Rung::Assigned | Rung::Popularity => break,
            };
            if let Some(answer) = answer {
                return Answer { asked, ..answer };
            }
        }
        Answer { asked, ..self.popularity_of(visit, None, reason) }
    }

    /// Stable's answer to a user of another version.
    async fn stable_instead(&self, visit: &Visit, reason: Reason) -> Option<Answer> {
        let elsewhere = matches!(visit.assignment.track, Track::Canary | Track::Experiment);
        let stable = visit.plan.stable.as_ref().filter(|_| elsewhere && !visit.plan.route.serve_baseline)?;
        match self.ask(visit, stable).await.0 {
            Ok(items) => Some(self.good(visit, stable, items, Rung::Stable, reason, None)),
            Err(failure) => match fault(&failure) {
                Some((kind, _)) => {
                    self.metrics.failed(Track::Stable, kind);
                    None
                }
                // It knows nothing of the user, and shows what is popular.
                None => Some(self.baseline(visit, reason)),
            },
        }
    }

    async fn ask(&self, visit: &Visit, served: &Served) -> (Result<Vec<Ranked>, ModelFailure>, Asked) {
        let query = visit.query(served, self.wanted(visit));
        let history_length = query.history.len();
        let left = MODELS_BUDGET.saturating_sub(visit.started.elapsed());
        let started = Instant::now();
        let result = served.ask(query, visit.deadline().min(left)).await;
        (result, Asked { took: started.elapsed(), history_length, ..Asked::default() })
    }

    /// How many items a version is asked for: stable's list may be compared in pairs beyond what is shown.
    fn wanted(&self, visit: &Visit) -> usize {
        match visit.assignment.track {
            Track::Stable => visit.k.max(self.config.k_pairs),
            _ => visit.k,
        }
    }

    fn good(
        &self,
        visit: &Visit,
        served: &Served,
        mut items: Vec<Ranked>,
        served_by: Rung,
        reason: Reason,
        asked: Option<Asked>,
    ) -> Answer {
        let paired = visit.assignment.track == Track::Stable && served_by == Rung::Assigned;
        let compared = paired.then(|| (served.version, self.comparable(&items)));
        items.truncate(visit.k);
        let (version, digest) = (served.target.version, served.version);
        Answer { items, served_by, reason, version, digest, asked, compared }
    }

    /// The user's last good answer, without what was consumed or excluded since.
    fn cached(&self, visit: &Visit, reason: Reason) -> Option<Answer> {
        let last = self.users.last_answer(&visit.user, visit.now_ms - CACHE_AGE_MS)?;
        let mut kept: Vec<(u32, f32)> = last.items.into_vec();
        kept.retain(|(item, _)| visit.may_hold(*item));
        kept.truncate(visit.k);
        if kept.is_empty() {
            return None;
        }
        let named = |names: &[Arc<str>]| {
            let name = |item: u32| names.get(item as usize).map_or("", |name| name).to_owned();
            kept.iter().map(|&(item, score)| Ranked { item, name: name(item), score }).collect()
        };
        Some(Answer {
            items: self.items.with_names(named),
            served_by: Rung::Cached,
            reason,
            version: last.version,
            digest: last.digest,
            asked: None,
            compared: None,
        })
    }

    /// Popularity: the segment's as far as it goes, then everybody's.
    fn baseline(&self, visit: &Visit, reason: Reason) -> Answer {
        self.popularity_of(visit, visit.known_segment(), reason)
    }

    fn popularity_of(&self, visit: &Visit, segment: Option<u32>, reason: Reason) -> Answer {
        let (popular, local) = self.popular(visit, segment, visit.k);
        let ranked =
            popular.into_iter().map(|one| Ranked { item: one.item, name: one.name.to_string(), score: one.share });
        let mut items: Vec<Ranked> = ranked.collect();
        if items.len() < visit.k {
            self.fill_up(visit, &mut items);
        }
        Answer {
            items,
            served_by: if local > 0 { Rung::SegmentPopularity } else { Rung::Popularity },
            reason,
            version: 0,
            digest: UNKNOWN,
            asked: None,
            compared: None,
        }
    }

    /// Adds what was popular when a version was trained, where too little was consumed since: a router that was just started shows
    /// something, too.
    fn fill_up(&self, visit: &Visit, items: &mut Vec<Ranked>) {
        let plan = &visit.plan;
        let any = || self.models().values().max_by_key(|served| served.target.version).cloned();
        let Some(served) = plan.stable.clone().or_else(|| plan.canary.clone()).or_else(any) else {
            return;
        };
        let had: Vec<u32> = items.iter().map(|one| one.item).collect();
        let more = served.by_popularity().filter(|item| visit.may_hold(*item) && !had.contains(item));
        let more: Vec<u32> = more.take(visit.k - items.len()).collect();
        self.items.with_names(|names| {
            let name = |item: u32| names.get(item as usize).map_or("", |name| name).to_owned();
            items.extend(more.into_iter().map(|item| Ranked { item, name: name(item), score: 0.0 }));
        });
    }

    /// What is popular, in a list to compare with.
    pub(crate) fn popular_items(&self, visit: &Visit) -> Vec<u32> {
        self.popular(visit, visit.known_segment(), self.config.k_pairs).0.iter().map(|one| one.item).collect()
    }

    fn popular(&self, visit: &Visit, segment: Option<u32>, k: usize) -> (Vec<Popular>, usize) {
        self.popularity.look(visit.now_ms, &self.items);
        let mut out = Vec::with_capacity(k);
        let local = self.popularity.best(segment, |item| !visit.may_hold(item), k, &mut out);
        (out, local)
    }
}

impl Visit {
    fn known_segment(&self) -> Option<u32> {
        Some(self.segment).filter(|&id| id != UNKNOWN)
    }

    fn may_hold(&self, item: u32) -> bool {
        self.left_out.binary_search(&item).is_err()
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(u64::from(self.plan.route.deadline_ms))
    }

    pub(crate) fn query(&self, served: &Served, k: usize) -> ScoreQuery {
        ScoreQuery {
            history: served.known(&self.history),
            exclude: served.excluded(&self.left_out),
            segment: self.segment_name.clone(),
            now_ms: self.now_ms,
            k,
        }
    }

    pub(crate) fn segment_name(&self) -> Option<&str> {
        self.segment_name.as_deref()
    }

    /// The user's experiment.
    pub(crate) fn trial(&self) -> Option<&Trial> {
        self.plan.trials.get(self.assignment.arm?.0)
    }

    /// The user's arm of it.
    pub(crate) fn trial_arm(&self) -> Option<&TrialArm> {
        self.trial()?.arms.get(self.assignment.arm?.1)
    }

    /// The arm that this request counts for.
    pub(crate) fn arm(&self) -> ArmId {
        let (track, arm) = (self.assignment.track, self.trial_arm());
        let version = match track {
            Track::Canary => self.plan.canary_version,
            Track::Experiment => arm.map_or(UNKNOWN, |arm| arm.version),
            Track::Stable if self.personalize && !self.plan.route.serve_baseline => self.plan.stable_version,
            _ => UNKNOWN,
        };
        ArmId { version, track, segment: self.segment, arm: arm.map_or(UNKNOWN, |arm| arm.name) }
    }

    /// The candidate that should answer this request unseen, if any.
    pub(crate) fn shadow(&self) -> Option<&Arc<Served>> {
        let wanted = self.plan.route.canary.as_ref().is_some_and(|canary| canary.shadow);
        // An expired lease ends the trial, unseen answers too; a weight of 0 does not.
        self.plan.canary.as_ref().filter(|_| wanted && self.eligible && self.watch == Watch::Held)
    }

    pub(crate) fn response(&self, decision: String, arm: String, answer: Answer) -> RecommendResponse {
        let items = answer.items.into_iter();
        RecommendResponse {
            decision,
            items: items.map(|one| Item { item: one.name, score: one.score }).collect(),
            version: answer.version,
            track: self.assignment.track,
            arm,
            served_by: answer.served_by,
            reason: answer.reason,
        }
    }
}

/// How a failure counts; none if it is no fault of the version.
fn fault(failure: &ModelFailure) -> Option<(ErrorKind, Reason)> {
    match failure {
        ModelFailure::Error(_) => Some((ErrorKind::Error, Reason::ModelError)),
        ModelFailure::Timeout => Some((ErrorKind::Timeout, Reason::ModelTimeout)),
        ModelFailure::Invalid(_) => Some((ErrorKind::Invalid, Reason::ModelInvalid)),
        ModelFailure::ColdStart => None,
    }
}
