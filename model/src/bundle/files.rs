//! Reading a bundle's files without trusting their size.
//!
//! What it does not do: weights are read by `tensors`, which holds them against their own header.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::Error;

/// Most bytes of `bundle.json`, `segments.json`, `profile.json` and `golden.jsonl`.
pub(super) const SMALL_MAX: u64 = 64 << 20;
/// Most bytes of `items.json`.
pub(super) const ITEMS_MAX: u64 = 4 << 30;

/// The file's text, when it has no more than `limit` bytes.
pub(super) fn text(dir: &Path, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
    let path = dir.join(name);
    let file = File::open(&path).map_err(Error::io(&path))?;
    let bytes = file.metadata().map_err(Error::io(&path))?.len();
    let too_large = |bytes| Error::TooLarge { file: name.to_owned(), bytes, limit };
    if bytes > limit {
        return Err(too_large(bytes));
    }
    let mut text = Vec::with_capacity(bytes as usize);
    // One more than allowed, in case the file grows meanwhile.
    file.take(limit + 1).read_to_end(&mut text).map_err(Error::io(&path))?;
    if text.len() as u64 > limit {
        return Err(too_large(text.len() as u64));
    }
    Ok(text)
}

/// The file's value.
pub(super) fn json<T: DeserializeOwned>(dir: &Path, name: &str, limit: u64) -> Result<T, Error> {
    serde_json::from_slice(&text(dir, name, limit)?).map_err(Error::json(name))
}
