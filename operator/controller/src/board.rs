//! What the loops of models and endpoints tell each other within one process. Nothing here must survive: each look says
//! it again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairway_core::Reason;
use fairway_core::endpoint::RolloutResult;
use fairway_wire::{Target, Window};

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Most windows that wait for a model's look; the oldest go.
const WAITING_MAX: usize = 2_000;

/// What an endpoint tells its model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EndpointView {
    pub(crate) model: String,
    pub(crate) promotes: bool,
    pub(crate) stable: Option<Target>,
    /// A rollout or a bake is in progress.
    pub(crate) active: bool,
    /// A version waits for its rollout or is in it.
    pub(crate) candidate_waiting: bool,
    pub(crate) awaiting_approval: Option<Reason>,
    pub(crate) ended: Vec<(String, RolloutResult)>,
}

#[derive(Default)]
struct Inner {
    endpoints: BTreeMap<Key, EndpointView>,
    /// Models whose champion is worse than popularity.
    baseline: BTreeMap<Key, bool>,
    windows: BTreeMap<Key, VecDeque<Window>>,
}

/// See above.
#[derive(Default)]
pub(crate) struct Board(Mutex<Inner>);

impl Board {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An endpoint says how it stands. True if that is news.
    pub(crate) fn tell_endpoint(&self, key: &Key, view: EndpointView) -> bool {
        self.inner().endpoints.insert(key.clone(), view.clone()) != Some(view)
    }

    /// Whether an endpoint has said anything since this process leads.
    pub(crate) fn has_told(&self, key: &Key) -> bool {
        self.inner().endpoints.contains_key(key)
    }

    pub(crate) fn forget_endpoint(&self, key: &Key) {
        self.inner().endpoints.remove(key);
    }

    /// The endpoints of a model, the one that promotes first.
    pub(crate) fn endpoints_of(&self, model: &Key) -> Vec<EndpointView> {
        let inner = self.inner();
        let of_it = |(key, view): &(&Key, &EndpointView)| key.0 == model.0 && view.model == model.1;
        let mut views: Vec<EndpointView> = inner.endpoints.iter().filter(of_it).map(|(_, view)| view.clone()).collect();
        views.sort_by_key(|view| !view.promotes);
        views
    }

    /// A model says whether the baseline is to be served in its place. True if that is news.
    pub(crate) fn tell_baseline(&self, model: &Key, serve: bool) -> bool {
        self.inner().baseline.insert(model.clone(), serve) != Some(serve)
    }

    pub(crate) fn serves_baseline(&self, model: &Key) -> bool {
        self.inner().baseline.get(model).copied().unwrap_or(false)
    }

    pub(crate) fn forget_model(&self, key: &Key) {
        let mut inner = self.inner();
        inner.baseline.remove(key);
        inner.windows.remove(key);
    }

    /// Forgets what models and endpoints said that are gone.
    pub(crate) fn keep(&self, models: impl Fn(&Key) -> bool, endpoints: impl Fn(&Key) -> bool) {
        let mut inner = self.inner();
        inner.endpoints.retain(|key, _| endpoints(key));
        inner.baseline.retain(|key, _| models(key));
        inner.windows.retain(|key, _| models(key));
    }

    /// Windows for a model to look at, which are in the bucket already.
    pub(crate) fn hand_over(&self, model: &Key, windows: &[Window]) {
        if windows.is_empty() {
            return;
        }
        let mut inner = self.inner();
        let waiting = inner.windows.entry(model.clone()).or_default();
        waiting.extend(windows.iter().cloned());
        while waiting.len() > WAITING_MAX {
            waiting.pop_front();
        }
    }

    pub(crate) fn take_windows(&self, model: &Key) -> Vec<Window> {
        self.inner().windows.remove(model).map(Vec::from).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_of_an_endpoint_that_is_gone_holds_nobody_back() {
        let key = |name: &str| ("shop".to_owned(), name.to_owned());
        let board = Board::default();
        let view = EndpointView { model: "recs".to_owned(), active: true, ..EndpointView::default() };
        for name in ["stays", "gone"] {
            board.tell_endpoint(&key(name), view.clone());
        }
        board.tell_baseline(&key("recs"), true);
        board.keep(|_| true, |it| it.1 == "stays");
        assert!(board.endpoints_of(&key("recs")).len() == 1 && board.serves_baseline(&key("recs")));
        board.keep(|_| false, |_| false);
        assert!(!board.has_told(&key("stays")) && !board.serves_baseline(&key("recs")));
    }
}
