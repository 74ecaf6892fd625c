//! Trees of invented files that a registry takes: safetensors of bytes that do not compress.

use crate::Outcome;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const CHUNK_BYTES: usize = 1 << 20;

/// Writes `count` files of `bytes` each into a new folder, other ones for each seed.
///
/// # Errors
/// The disk's.
pub fn write(folder: &Path, count: u64, bytes: u64, seed: u64) -> Outcome<()> {
    std::fs::create_dir(folder)?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut chunk = vec![0; CHUNK_BYTES];
    for index in 0..count {
        let mut file = BufWriter::new(File::create_new(folder.join(format!("weights-{index}.safetensors")))?);
        let header = header(bytes);
        file.write_all(&header)?;
        let mut left = bytes.saturating_sub(header.len() as u64);
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            random.fill_bytes(&mut chunk[..size]);
            file.write_all(&chunk[..size])?;
            left -= size as u64;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    }
    Ok(())
}

/// The header of a safetensors file of about `bytes` with one tensor in it. Its length does not depend on `bytes`.
fn header(bytes: u64) -> Vec<u8> {
    const LENGTH: usize = 120;
    let data = bytes.saturating_sub(LENGTH as u64 + 8);
    let json = format!(r#"{{"w":{{"dtype":"U8","shape":[{data}],"data_offsets":[0,{data}]}}}}"#);
    let mut header = (LENGTH as u64).to_le_bytes().to_vec();
    header.extend(format!("{json:<LENGTH$}").into_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_size_and_no_two_are_alike() {
        let folder = tempfile::tempdir().unwrap();
        let read = |tree: &str, index| {
            std::fs::read(folder.path().join(format!("{tree}/weights-{index}.safetensors"))).unwrap()
        };
        for (seed, tree) in ["a", "b"].iter().enumerate() {
            write(&folder.path().join(tree), 2, 3_000_000, seed as u64).unwrap();
        }
        assert_eq!(read("a", 0).len(), 3_000_000);
        assert_ne!(read("a", 0), read("a", 1));
        assert_ne!(read("a", 0), read("b", 0));
        let whole = read("a", 1);
        let json: serde_json::Value = serde_json::from_slice(&whole[8..128]).unwrap();
        assert_eq!(json["w"]["data_offsets"][1], 3_000_000 - 128);
    }
}
