//! What is written about a run beside its outcome: the plan that it follows, and what its trainer has come to.

use std::time::Duration;

use fairway_controller::TrainResult;
use fairway_core::policy::AdmissionPolicy;
use fairway_trainer::TrainingPlan;
use jiff::fmt::serde::unsigned_duration::friendly::compact;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::exit::Code;

/// `runs/<run>/plan.json`, resolved once: what to train on, how, and what the result must show. All of
/// [`TrainingPlan`]'s fields, and these beside them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunPlan {
    /// What is done.
    #[serde(flatten)]
    pub training: TrainingPlan,
    /// What the candidate must show before anybody uploads it.
    pub admission: AdmissionPolicy,
    /// The longest that one trainer may take. None: whoever started it looks at the clock.
    #[serde(with = "compact::optional", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}

/// The fields that are not the training's.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Beside {
    admission: AdmissionPolicy,
    #[serde(with = "compact::optional")]
    deadline: Option<Duration>,
}

impl<'de> Deserialize<'de> for RunPlan {
    /// Not derived: behind `flatten` a field that nobody knows would pass in silence. A plan of before there were gates in
    /// it asks for nothing.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let beside: Map<String, Value> =
            ["admission", "deadline"].iter().filter_map(|name| fields.remove_entry(*name)).collect();
        let Beside { admission, deadline } = serde_json::from_value(beside.into()).map_err(D::Error::custom)?;
        let training = serde_json::from_value(fields.into()).map_err(D::Error::custom)?;
        Ok(Self { training, admission, deadline })
    }
}

/// The exit code of a result, the same for every trainer of the run.
pub fn code(result: &TrainResult) -> Code {
    match result {
        TrainResult::Uploaded { .. } => Code::Done,
        TrainResult::Rejected { .. } => Code::Rejected,
        TrainResult::DataRefused { .. } | TrainResult::Failed { .. } => Code::Failed,
        TrainResult::TimedOut { .. } => Code::Timeout,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use fairway_registry::Digest;
    use serde_json::json;

    use super::*;

    fn plan() -> Value {
        json!({
            "model": "m", "run": "r", "reason": "CI", "seed": 7, "family": "ease", "asOf": "2011-12-01T00:00:00Z",
            "data": {"interactions": {"url": "a.csv", "sql": "SELECT 1"}},
        })
    }

    #[test]
    fn plans_survive_json_and_old_ones_ask_for_nothing() {
        let mut plan: RunPlan = serde_json::from_value(plan()).unwrap();
        assert_eq!((&plan.admission, plan.deadline), (&AdmissionPolicy::default(), None));
        plan.admission.approvals = 2;
        plan.admission.latency_p95 = Some(Duration::from_millis(30));
        plan.deadline = Some(Duration::from_secs(90 * 60));
        let value = serde_json::to_value(&plan).unwrap();
        assert_eq!((&value["run"], &value["admission"]["approvals"]), (&json!("r"), &json!(2)));
        assert_eq!(serde_json::from_value::<RunPlan>(value).unwrap(), plan);
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused() {
        for (name, value) in [("sed", json!(1)), ("deadline", json!("soon")), ("admission", json!({"gates": 3}))] {
            let mut plan = plan();
            plan[name] = value;
            assert!(serde_json::from_value::<RunPlan>(plan).is_err(), "{name}");
        }
    }

    #[test]
    fn results_say_how_it_ended_and_give_the_code() {
        let digest = Digest::of(b"x");
        let (metrics, labels) = (BTreeMap::from([("recall@20".to_owned(), 0.25)]), BTreeMap::new());
        let uploaded =
            TrainResult::Uploaded { digest, metrics, labels, kinds: BTreeSet::new(), provenance: json!({"run": "r"}) };
        let value = serde_json::to_value(&uploaded).unwrap();
        assert_eq!((&value["end"], &value["metrics"]["recall@20"]), (&json!("uploaded"), &json!(0.25)));
        assert_eq!(serde_json::from_value::<TrainResult>(value).unwrap(), uploaded);
        let why = || "because".to_owned();
        let codes = [
            (uploaded, Code::Done),
            (TrainResult::Rejected { why: why() }, Code::Rejected),
            (TrainResult::DataRefused { code: "DataStale".to_owned(), why: why() }, Code::Failed),
            (TrainResult::Failed { why: why() }, Code::Failed),
            (TrainResult::TimedOut { why: why() }, Code::Timeout),
        ];
        for (result, code) in codes {
            assert_eq!(super::code(&result), code, "{}", result.sentence());
        }
    }
}
