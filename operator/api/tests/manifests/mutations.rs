//! Whatever happens to a manifest on its way, parsing answers: it never panics, and its errors can be printed.

use fairway_api::{Manifests, parse_documents, substitute};
use proptest::prelude::*;

const SHOP: &str = include_str!("../../../../configs/quickstart/shop.yaml");
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "\n",
    "\t",
    "'",
    "\"",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "---\n",
    "...\n",
    "|",
    "\u{feff}",
    "\u{0}",
    "ä",
    "~",
    "${",
    "99999999999999999999",
    "? ",
];

fn survives(text: &str) {
    for text in [text.to_owned(), substitute(text, &std::collections::BTreeMap::new()).unwrap_or_default()] {
        match parse_documents(&text, "f.yaml") {
            Ok(documents) => drop(Manifests::group(documents).map(|grouped| grouped.warnings())),
            Err(errors) => {
                assert!(!errors.is_empty());
                let lines = u32::try_from(text.lines().count()).unwrap();
                for error in errors {
                    assert!(error.position().line <= lines + 1, "{error}");
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn of_a_shipped_manifest(
        cuts in proptest::collection::vec((0..10_000_usize, 0..PIECES.len(), 0..40_usize), 1..6),
    ) {
        let mut text: Vec<char> = SHOP.chars().collect();
        for (at, piece, removed) in cuts {
            let at = at % (text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        survives(&text.into_iter().collect::<String>());
    }

    #[test]
    fn of_anything(text in "\\PC{0,200}|([a-z]{1,3}|[:{}\\[\\],\n -]){0,80}") {
        survives(&text);
    }
}
