//! Who made which version, for the rule that nobody approves what they made. A run says who asked for it, in an annotation
//! that the chart's admission policy holds against who asks; its version carries that name as a label, which the operator
//! counts approvals by; and the model's status shows it to the API server, which refuses the word at once.

use std::collections::BTreeMap;

use fairway_api::{REQUESTED_BY_ANNOTATION, TrainingRun};
use fairway_registry::{State, Version};
use kube::ResourceExt;
use serde_json::Value;

use crate::names::ACTOR;

/// Evidence for a run that a person or a pipeline asked for, and label of its version.
const REQUESTED_BY: &str = "requestedBy";
/// Most versions of a model that its status names, the newest.
const VERSIONS_MAX: usize = 200;

/// Part of the evidence for a run that somebody asked for: it is in the run's plan, which nobody changes, whatever becomes
/// of the run's record.
pub(super) fn evidence(run: &TrainingRun) -> Option<(String, Value)> {
    run.annotations().get(REQUESTED_BY_ANNOTATION).map(|who| (REQUESTED_BY.to_owned(), who.clone().into()))
}

/// The label of a version that came of a run with this plan.
pub(super) fn label(plan: &Value) -> Option<(String, String)> {
    plan["evidence"][REQUESTED_BY].as_str().map(|who| (REQUESTED_BY.to_owned(), who.to_owned()))
}

/// Who counts as the maker of a version: whoever asked for its run, else the operator.
pub(crate) fn producer(version: &Version) -> &str {
    version.labels.get(REQUESTED_BY).map_or(ACTOR, String::as_str)
}

/// By digest, as the admission policy looks them up.
pub(super) fn producers(state: &State) -> BTreeMap<String, String> {
    let asked = state.versions.values().rev().take(VERSIONS_MAX);
    let asked = asked.filter_map(|version| Some((version, version.labels.get(REQUESTED_BY)?)));
    asked.map(|(version, who)| (version.digest.to_string().replace(':', "-"), who.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::words;

    fn state(labels: BTreeMap<String, String>) -> State {
        let version = Version { labels, ..words::judged(&[]) };
        State { versions: BTreeMap::from([(1, version)]), ..State::default() }
    }

    #[test]
    fn who_asked_for_a_run_made_its_version() {
        let mut run = TrainingRun::new("nightly", serde_json::from_value(json!({"model": "recs"})).unwrap());
        assert_eq!(evidence(&run), None, "the loop itself has started it");
        run.annotations_mut().insert(REQUESTED_BY_ANNOTATION.to_owned(), "ann".to_owned());
        let plan = json!({"model": "recs", "evidence": BTreeMap::from_iter(evidence(&run))});
        let labels = BTreeMap::from_iter(label(&plan));

        let asked = state(labels);
        assert_eq!(producer(&asked.versions[&1]), "ann");
        let digest = asked.versions[&1].digest.to_string();
        assert_eq!(producers(&asked), [(digest.replace("sha256:", "sha256-"), "ann".to_owned())].into());
        let own = state(BTreeMap::new());
        assert_eq!((producer(&own.versions[&1]), producers(&own).len()), (ACTOR, 0));
    }
}
