//! One text for one value: JSON with sorted keys, and digests over it.
//!
//! What it does not do: it is not RFC 8785; numbers are written as `serde_json` writes them, which is stable for us.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// `value` as JSON whose keys are sorted at every depth, on one line. Absent where a value cannot be JSON.
pub(crate) fn compact(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(&sorted(serde_json::to_value(value)?))
}

/// As [`compact`], for people: indented, with a newline at the end.
pub(crate) fn pretty(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(&sorted(serde_json::to_value(value)?))?;
    text.push('\n');
    Ok(text)
}

/// `sha256:` and 64 hex digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The same value with keys inserted in order, whatever map `serde_json` was built with.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": [{"z": 1, "a": 0.5}], "a": null});
        assert_eq!(compact(&value).unwrap(), r#"{"a":null,"b":[{"a":0.5,"z":1}]}"#);
        assert!(pretty(&value).unwrap().ends_with("}\n"));
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let known = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), known);
    }
}
