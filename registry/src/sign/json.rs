//! Reading JSON that somebody else wrote: two readers must never see two different values, so an
//! object that names a key twice is refused. It knows nothing of signatures.

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// The most characters of foreign text in a message.
const SHOWN_MAX: usize = 200;

/// The value that these bytes hold, or why there is none. Nesting is bounded by `serde_json` (128).
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let told = |error: serde_json::Error| format!("is not the JSON it should be: {}", shown(&error.to_string()));
    serde_json::from_slice::<Unique>(bytes).map_err(told)?;
    serde_json::from_slice(bytes).map_err(told)
}

/// Foreign text made fit for a message: shortened, and unable to write on a person's terminal.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().take(SHOWN_MAX).map(plain).collect()
}

/// Any JSON value in which no object names a key twice. It keeps nothing.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Unique, D::Error> {
        source.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        while items.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` is there twice")));
            }
            keys.insert(key);
            entries.next_value::<Unique>()?;
        }
        Ok(Unique)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_key_may_be_there_only_once_at_any_depth() {
        for good in ["1", "null", r#"{"a":1,"b":{"a":[true,-1,1.5,"x",null]}}"#, r#"[{"a":1},{"a":2}]"#] {
            parse::<Value>(good.as_bytes()).unwrap();
        }
        // The last one writes the same key in two ways.
        for twice in [r#"{"a":1,"a":1}"#, r#"[{"x":{"a":1,"b":2,"a":3}}]"#, r#"{"a":1,"\u0061":2}"#] {
            let reason = parse::<Value>(twice.as_bytes()).unwrap_err();
            assert!(reason.contains("the key `a` is there twice"), "{reason}");
        }
        for bad in ["", "{", "1 2", "\u{feff}1", &"[".repeat(100_000)] {
            assert!(parse::<Value>(bad.as_bytes()).is_err());
        }
    }

    #[test]
    fn foreign_text_is_shortened_and_cannot_reach_the_terminal() {
        assert_eq!(shown("é\x1b[2J\n"), "é\\u{1b}[2J\\n");
        assert_eq!(shown(&"x".repeat(1_000)).len(), SHOWN_MAX);
    }
}
