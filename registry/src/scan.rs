//! Reads a local tree: which files it has, their hashes, and whether one of them may not enter.
//! Pickles run code when loaded and are refused by content. It blocks; callers move it off the runtime.

use crate::manifest::{FILES_MAX, File, TREE_BYTES_MAX};
use crate::{Error, Result, names};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Read;
use std::path::Path;

const CHUNK_BYTES: usize = 1 << 20;
const PICKLE_MEMBER: &[u8] = b"data.pkl";

/// Every file below `root`, in no particular order, with size and sha-256.
pub(crate) fn scan(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut total = 0;
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let place = root.join(&folder);
        for entry in fs::read_dir(&place).map_err(Error::io(&place))? {
            let entry = entry.map_err(Error::io(&place))?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                let shown = entry.file_name().to_string_lossy().escape_default().to_string();
                return Err(Error::refused(shown, "its name is not UTF-8"));
            };
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            names::key("file", &path)?;
            // Not followed: a link could lead anywhere on this machine.
            let kind = entry.file_type().map_err(Error::io(entry.path()))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let file = hash(&entry.path(), path)?;
                total += file.bytes;
                files.push(file);
            } else {
                return Err(Error::refused(path, "is a link or a special file, not a plain one"));
            }
            if files.len() > FILES_MAX || folders.len() > FILES_MAX || total > TREE_BYTES_MAX {
                let most = format!("a tree has at most {FILES_MAX} files and {TREE_BYTES_MAX} bytes");
                return Err(Error::refused(root.display(), most));
            }
        }
    }
    Ok(files)
}

fn hash(place: &Path, path: String) -> Result<File> {
    let mut source = fs::File::open(place).map_err(Error::io(place))?;
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut pickles = Pickles::default();
    loop {
        let count = source.read(&mut chunk).map_err(Error::io(place))?;
        if count == 0 {
            break;
        }
        pickles.see(&chunk[..count]);
        hasher.update(&chunk[..count]);
        bytes += count as u64;
    }
    if pickles.found {
        return Err(Error::refused(path, "is a pickle, which runs code when loaded; save it as safetensors"));
    }
    Ok(File { path, bytes, sha256: hex::encode(hasher.finalize()) })
}

/// Looks for pickles in bytes that come in chunks.
#[derive(Default)]
struct Pickles {
    head: Vec<u8>,
    tail: Vec<u8>,
    found: bool,
}

impl Pickles {
    fn see(&mut self, chunk: &[u8]) {
        self.head.extend(chunk.iter().take(4 - self.head.len()));
        self.found |= is_pickle(&self.head);
        if !self.head.starts_with(b"PK\x03\x04") {
            return;
        }
        // The member's name may lie across two chunks.
        self.tail.extend_from_slice(chunk);
        self.found |= self.tail.windows(PICKLE_MEMBER.len()).any(|part| part == PICKLE_MEMBER);
        self.tail.drain(..self.tail.len().saturating_sub(PICKLE_MEMBER.len() - 1));
    }
}

/// `PROTO 2` to `PROTO 5` and then an opcode. The opcode matters: a safetensors file whose header
/// has 640 bytes starts with `80 02 00`, and no opcode is below `(` (0x28).
fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [0x80, 0x02..=0x05, opcode, ..] if *opcode >= 0x28)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let place = root.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, bytes).unwrap();
        }
        root
    }

    #[test]
    fn files_are_hashed() {
        let root = tree(&[("a.json", b"{}"), ("deep/er/b.bin", b"")]);
        let mut files = scan(root.path()).unwrap();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let seen: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.bytes)).collect();
        assert_eq!(seen, [("a.json", 2), ("deep/er/b.bin", 0)]);
        assert_eq!(files[0].sha256, crate::digest::sha256(b"{}"));
    }

    #[test]
    fn pickles_are_refused_by_content() {
        let zip = [b"PK\x03\x04".as_slice(), &[0; 26], b"archive/data.pkl", &[1; 9]].concat();
        let late = [b"PK\x03\x04".as_slice(), &vec![0; CHUNK_BYTES - 8], b"data.pkl"].concat();
        let bad: [&[u8]; 5] = [b"\x80\x02}q\0.", b"\x80\x04\x95\x05", b"\x80\x05K\x01.", &zip, &late];
        for bytes in bad {
            let root = tree(&[("weights.safetensors", bytes)]);
            assert!(matches!(scan(root.path()), Err(Error::Refused { .. })));
        }
        let mut safetensors = 640_u64.to_le_bytes().to_vec();
        safetensors.extend(b"{\"__metadata__\":{}}");
        for good in [&safetensors[..], b"PK\x03\x04 a plain zip", b"\x80", b"\x80\x02", b"data.pkl"] {
            scan(tree(&[("w", good)]).path()).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_and_wild_names_are_refused() {
        let root = tree(&[("a", b"x")]);
        std::os::unix::fs::symlink("/etc/hostname", root.path().join("link")).unwrap();
        assert!(matches!(scan(root.path()), Err(Error::Refused { .. })));
        for name in ["a\x1bb", "a#1", "a\nb", "a\\b"] {
            assert!(matches!(scan(tree(&[(name, b"x")]).path()), Err(Error::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn too_many_files_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for i in 0..=FILES_MAX {
            fs::write(root.path().join(i.to_string()), b"").unwrap();
        }
        assert!(matches!(scan(root.path()), Err(Error::Refused { .. })));
    }
}
