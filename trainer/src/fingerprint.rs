//! Digests of what went into a run.
//!
//! What it does not do: it says nothing about what came out; bundles have digests of their own.

use fairway_model::{Interactions, ItemTexts};
use sha2::{Digest, Sha256};

/// Rows that are handed to the hash at once.
const ROWS: usize = 4_096;

/// `sha256:…` over names and rows. Names are length-prefixed and numbers are little-endian, so that no two data sets
/// share a text.
pub(crate) fn of_data(rows: &Interactions, items: &ItemTexts) -> String {
    let mut hash = Sha256::new();
    for names in [&rows.users, &rows.items, &rows.segments] {
        hash.update((names.len() as u64).to_le_bytes());
        names.iter().for_each(|name| text(&mut hash, name));
    }
    hash.update((rows.len() as u64).to_le_bytes());
    let mut buffer = Vec::with_capacity(ROWS * 24);
    for row in 0..rows.len() {
        buffer.extend(rows.user[row].to_le_bytes());
        buffer.extend(rows.item[row].to_le_bytes());
        buffer.extend(rows.segment[row].to_le_bytes());
        buffer.extend(rows.weight[row].to_bits().to_le_bytes());
        buffer.extend(rows.time_ms[row].to_le_bytes());
        if row % ROWS == ROWS - 1 {
            hash.update(&buffer);
            buffer.clear();
        }
    }
    hash.update(&buffer);
    for (item, features) in &items.0 {
        text(&mut hash, item);
        hash.update((features.len() as u64).to_le_bytes());
        for (name, value) in features {
            text(&mut hash, name);
            text(&mut hash, value);
        }
    }
    named(hash)
}

/// `sha256:…` of bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    named(Sha256::new().chain_update(bytes))
}

fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

fn named(hash: Sha256) -> String {
    format!("sha256:{}", hex::encode(hash.finalize()))
}
