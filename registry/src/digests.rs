//! Finds every digest that a JSON text names, whatever it means by it. What an endpoint's plan
//! or a run's plan names may be in use, and is kept.

use crate::Digest;
use std::collections::BTreeSet;

const PREFIX: &str = "sha256:";
const HEX: usize = 64;

/// The digests that stand anywhere in these bytes.
pub(crate) fn named(bytes: &[u8]) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(PREFIX.len()).position(|part| part == PREFIX.as_bytes()) {
        rest = &rest[at..];
        let text = rest.get(..PREFIX.len() + HEX).and_then(|text| std::str::from_utf8(text).ok());
        found.extend(text.and_then(|text| text.parse().ok()));
        rest = &rest[PREFIX.len()..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_stand() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let text = format!(r#"{{"a":"{one}","b":["sha256:short","sha256:{one}"],"c":"see {two}!"}}"#);
        assert_eq!(named(text.as_bytes()), BTreeSet::from([one, two.clone()]));
        assert_eq!(named(two.as_str().as_bytes()).len(), 1);
        for none in ["", "sha256:", "sha256:é", &two.as_str()[..70], &two.as_str().to_uppercase()] {
            assert!(named(none.as_bytes()).is_empty(), "{none}");
        }
    }
}
