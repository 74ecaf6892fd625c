//! Which names may become part of a path. Names come from manifests, people and the network, so
//! that they are checked here, once, before any path is built. It builds no paths.

use crate::{Error, Result};

const NAME_MAX: usize = 253;
const KEY_MAX: usize = 512;
const SEGMENT_MAX: usize = 200;
const DEPTH_MAX: usize = 16;

/// A name of a namespace, model, endpoint, run or alias: lower-case letters, digits, `-` and `.`.
pub(crate) fn name(what: &'static str, value: &str) -> Result<()> {
    let wrong = |reason| Err(bad(what, value, reason));
    if value.is_empty() || value.len() > NAME_MAX {
        return wrong("must have 1 to 253 characters");
    }
    if !value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.') {
        return wrong("may hold only a-z, 0-9, `-` and `.`");
    }
    if !value.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return wrong("must start with a letter or a digit");
    }
    if value.contains("..") {
        return wrong("must not hold `..`");
    }
    Ok(())
}

/// A key below a fixed folder, or a file of a tree: parts joined by `/`, none of which is a way
/// out. `#` is left out because the local store uses it for its temporary files.
pub(crate) fn key(what: &'static str, value: &str) -> Result<()> {
    let wrong = |reason| Err(bad(what, value, reason));
    if value.is_empty() || value.len() > KEY_MAX {
        return wrong("must have 1 to 512 characters");
    }
    if value.split('/').count() > DEPTH_MAX {
        return wrong("must have at most 16 parts");
    }
    for part in value.split('/') {
        if part.is_empty() || part.len() > SEGMENT_MAX {
            return wrong("each part must have 1 to 200 characters, and none may be absolute");
        }
        if part == "." || part == ".." {
            return wrong("must not hold `.` or `..` as a part");
        }
        if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+=@".contains(&b)) {
            return wrong("may hold only letters, digits and `. _ - + = @`");
        }
    }
    Ok(())
}

fn bad(what: &'static str, value: &str, reason: &'static str) -> Error {
    // Control characters are escaped, so that a name cannot write on a person's terminal.
    let value = value.chars().take(80).flat_map(char::escape_default).collect();
    Error::Name { what, value, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "homefeed", "home-feed.v2", "0", &"a".repeat(253)] {
            name("model", good).unwrap();
        }
        let long = "a".repeat(254);
        for bad in ["", ".", "..", "a..b", "-a", ".a", "A", "a/b", "a b", "a\n", "é", "a#1", "a%2f", &long] {
            assert!(name("model", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys() {
        for good in ["a", "dir/weights.safetensors", ".hidden", "20261101T101010Z-r.1_2", "a@b=c+d"] {
            key("key", good).unwrap();
        }
        let deep = vec!["a"; 17].join("/");
        for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\\b", "a\0", "a\x1b[0m", "a#1", "C:x", &deep] {
            assert!(key("key", bad).is_err(), "{bad:?}");
        }
    }
}
