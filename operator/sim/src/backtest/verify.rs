//! Deciding a recorded plan again, and the first field in which it differs. It reads no bucket: the caller brings the
//! status of the plan before and the windows.

use fairway_core::Plan;
use fairway_core::endpoint::{EndpointEffect, EndpointInputs, EndpointStatus, decide};
use fairway_core::policy::EndpointPolicy;
use fairway_wire::Window;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// The first field in which two plans differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The path of the field, such as `status.rollout.step` or `effects[0].route.canary.weight`.
    pub field: String,
    /// Its value in the record; null if it is not there.
    pub recorded: Value,
    /// What follows from what was recorded; null if nothing does.
    pub decided: Value,
}

/// Decides again, as it was decided at `at`.
pub fn decide_again(
    policy: &EndpointPolicy,
    inputs: &EndpointInputs,
    before: &EndpointStatus,
    windows: &[Window],
    at: Timestamp,
) -> Plan<EndpointEffect, EndpointStatus> {
    decide(policy, &inputs.with(before, windows), at)
}

/// The first difference between a recorded plan and what was decided again: in its status, its effects or its reasons.
/// Compared as JSON, which is how plans are kept.
pub fn first_difference(
    recorded: &Plan<EndpointEffect, EndpointStatus>,
    decided: &Plan<EndpointEffect, EndpointStatus>,
) -> Option<Difference> {
    let json = |value: serde_json::Result<Value>| value.unwrap_or_default();
    let parts = [
        ("status", json(serde_json::to_value(&recorded.status)), json(serde_json::to_value(&decided.status))),
        ("effects", json(serde_json::to_value(&recorded.effects)), json(serde_json::to_value(&decided.effects))),
        ("reasons", json(serde_json::to_value(&recorded.reasons)), json(serde_json::to_value(&decided.reasons))),
    ];
    parts.iter().find_map(|(name, recorded, decided)| difference(name, recorded, decided))
}

fn difference(field: &str, recorded: &Value, decided: &Value) -> Option<Difference> {
    match (recorded, decided) {
        _ if recorded == decided => None,
        (Value::Object(left), Value::Object(right)) => {
            let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
            names.sort_unstable();
            names.dedup();
            let at = |map: &serde_json::Map<String, Value>, name: &str| map.get(name).cloned().unwrap_or_default();
            names.into_iter().find_map(|name| difference(&format!("{field}.{name}"), &at(left, name), &at(right, name)))
        }
        (Value::Array(left), Value::Array(right)) => {
            let at = |list: &[Value], i: usize| list.get(i).cloned().unwrap_or_default();
            let longest = left.len().max(right.len());
            (0..longest).find_map(|i| difference(&format!("{field}[{i}]"), &at(left, i), &at(right, i)))
        }
        _ => Some(Difference { field: field.to_owned(), recorded: recorded.clone(), decided: decided.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_field_that_differs_is_named() {
        let table = [
            (json!({"a": 1, "b": [1, 2]}), json!({"a": 1, "b": [1, 2]}), None),
            (json!({"a": 1, "b": [1, 2]}), json!({"a": 1, "b": [1, 3]}), Some("x.b[1]")),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), Some("x.b")),
            (json!([1]), json!([1, 2]), Some("x[1]")),
            (json!({"a": {"c": null}}), json!({"a": null}), Some("x.a")),
        ];
        for (recorded, decided, field) in table {
            let found = difference("x", &recorded, &decided);
            assert_eq!(found.map(|it| it.field).as_deref(), field, "{recorded} {decided}");
        }
    }
}
