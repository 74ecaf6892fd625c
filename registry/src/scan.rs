//! Reads a local tree: which files it has and their hashes, several files at once, and the bytes of the small ones.
//! It blocks; callers move it off the runtime. Which files may enter is in `kinds.rs`.

use crate::kinds::{self, Content};
use crate::manifest::{FILES_MAX, File, TREE_BYTES_MAX};
use crate::progress::Progress;
use crate::{Error, Result, names};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const CHUNK_BYTES: usize = 1 << 20;
/// Files that are hashed at once.
const HASHES_AT_ONCE: usize = 4;
/// So many bytes are worth a thread.
const THREAD_BYTES_MIN: u64 = 4 << 20;
/// So many bytes of a tree that enters are kept, so that small files are not read twice.
const KEPT_BYTES_MAX: u64 = 4 << 20;

/// What a scan refuses.
pub(crate) enum Check<'a> {
    /// Nothing but what has no place in a tree: the files are compared with a manifest.
    Compared,
    /// Also kinds of files that are not known and not among these, and content that runs.
    Entering(&'a BTreeSet<String>),
}

/// A tree as it was read.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// Every file, sorted by path, with size and sha-256.
    pub files: Vec<File>,
    /// The very bytes that were hashed, of the small files of a tree that enters.
    pub kept: BTreeMap<String, Bytes>,
}

/// Reads every file below `root`.
pub(crate) fn scan(root: &Path, check: &Check<'_>, progress: &Progress) -> Result<Scanned> {
    let files = found(root)?;
    let room = AtomicU64::new(if matches!(check, Check::Entering(_)) { KEPT_BYTES_MAX } else { 0 });
    if let Check::Entering(declared) = check {
        for file in &files {
            if let Some(reason) = kinds::undeclared(&file.path, declared) {
                return Err(Error::refused(&file.path, reason));
            }
        }
    }
    progress.stage("hash", files.iter().map(|file| file.bytes).sum());
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let hashes = Mutex::new(vec![None; files.len()]);
    let work = || {
        while let Some((index, file)) = files.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            match hash(root, file, check, &room, progress) {
                Ok(hashed) => locked(&hashes)[index] = Some(hashed),
                Err(error) => {
                    locked(&failed).get_or_insert(error);
                    next.store(files.len(), Ordering::Relaxed);
                }
            }
        }
    };
    // A thread takes longer to come up than a few small files take to be hashed.
    let enough =
        usize::try_from(files.iter().map(|file| file.bytes).sum::<u64>() / THREAD_BYTES_MIN).unwrap_or(usize::MAX);
    let workers =
        files.len().min(HASHES_AT_ONCE).min(enough).min(std::thread::available_parallelism().map_or(1, |n| n.get()));
    std::thread::scope(|scope| {
        (1..workers).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    if let Some(error) = locked(&failed).take() {
        return Err(error);
    }
    let hashes = std::mem::take(&mut *locked(&hashes));
    let mut scanned = Scanned::default();
    for (file, hashed) in files.into_iter().zip(hashes) {
        let (file, bytes) = hashed.ok_or_else(|| Error::refused(&file.path, "was not read"))?;
        scanned.kept.extend(bytes.map(|bytes| (file.path.clone(), bytes)));
        scanned.files.push(file);
    }
    Ok(scanned)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The files below a folder, not yet hashed.
fn found(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut total = 0_u64;
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
            let about = entry.metadata().map_err(Error::io(entry.path()))?;
            if about.is_dir() {
                folders.push(path);
            } else if about.is_file() {
                total = total.saturating_add(about.len());
                files.push(File { path, bytes: about.len(), sha256: String::new() });
            } else {
                return Err(Error::refused(path, "is a link or a special file, not a plain one"));
            }
            if files.len() > FILES_MAX || folders.len() > FILES_MAX || total > TREE_BYTES_MAX {
                let most = format!("a tree has at most {FILES_MAX} files and {TREE_BYTES_MAX} bytes");
                return Err(Error::refused(root.display(), most));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Hashes a file, and keeps its bytes if there is room for them.
fn hash(
    root: &Path,
    file: &File,
    check: &Check<'_>,
    room: &AtomicU64,
    progress: &Progress,
) -> Result<(File, Option<Bytes>)> {
    let place = root.join(&file.path);
    let mut source = fs::File::open(&place).map_err(Error::io(&place))?;
    let mut hasher = Sha256::new();
    let mut bytes = 0_u64;
    let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(file.bytes).unwrap_or(CHUNK_BYTES) + 1)];
    let mut content = Content::default();
    let fits = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(file.bytes)).is_ok();
    let mut kept = fits.then(Vec::new);
    loop {
        let count = source.read(&mut chunk).map_err(Error::io(&place))?;
        if count == 0 {
            break;
        }
        content.see(&chunk[..count]);
        hasher.update(&chunk[..count]);
        bytes += count as u64;
        // One that grew meanwhile has no room.
        kept = kept.filter(|_| bytes <= file.bytes);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&chunk[..count]);
        }
        progress.bytes(count as u64);
        if bytes > TREE_BYTES_MAX {
            return Err(Error::refused(&file.path, "grows while it is read"));
        }
    }
    if let (Check::Entering(_), Some(reason)) = (check, content.refused(&file.path)) {
        return Err(Error::refused(&file.path, reason));
    }
    let file = File { path: file.path.clone(), bytes, sha256: hex::encode(hasher.finalize()) };
    Ok((file, kept.map(Bytes::from)))
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

    fn entering(root: &tempfile::TempDir) -> Result<Vec<File>> {
        scan(root.path(), &Check::Entering(&BTreeSet::new()), &Progress::default()).map(|scanned| scanned.files)
    }

    #[test]
    fn small_files_that_enter_are_kept_as_long_as_there_is_room() {
        let big = vec![7; KEPT_BYTES_MAX as usize - 2];
        let root = tree(&[("a.txt", b"xyz"), ("b.txt", &big), ("c.txt", b"zyx"), ("d.txt", b"")]);
        let kept = scan(root.path(), &Check::Entering(&BTreeSet::new()), &Progress::default()).unwrap().kept;
        let shown = |kept: &BTreeMap<String, Bytes>| kept.iter().map(|(k, v)| (k.clone(), v.len())).collect::<Vec<_>>();
        let total: usize = kept.values().map(Bytes::len).sum();
        assert!(total as u64 <= KEPT_BYTES_MAX && kept.contains_key("d.txt"), "{:?}", shown(&kept));
        assert!(!(kept.contains_key("a.txt") && kept.contains_key("b.txt")), "{:?}", shown(&kept));
        assert!(kept.get("a.txt").is_none_or(|bytes| *bytes == b"xyz"[..]));
        assert!(scan(root.path(), &Check::Compared, &Progress::default()).unwrap().kept.values().all(Bytes::is_empty));
    }

    #[test]
    fn files_are_hashed() {
        let many: Vec<(String, Vec<u8>)> = (0..40).map(|i| (format!("d{}/{i}.txt", i % 3), vec![i; 9])).collect();
        let named: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
        let files = entering(&tree(&named)).unwrap();
        assert_eq!(files.len(), 40);
        assert!(files.is_sorted_by(|a, b| a.path < b.path));
        for file in files {
            let (_, bytes) = many.iter().find(|(name, _)| *name == file.path).unwrap();
            assert_eq!((file.bytes, file.sha256), (9, crate::digest::sha256(bytes)));
        }
        let files = entering(&tree(&[("a.json", b"{}"), ("deep/er/b.txt", b"")])).unwrap();
        let seen: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.bytes)).collect();
        assert_eq!(seen, [("a.json", 2), ("deep/er/b.txt", 0)]);
    }

    #[test]
    fn what_may_not_enter() {
        let late = [b"PK\x03\x04".as_slice(), &vec![0; CHUNK_BYTES - 8], b"data.pkl"].concat();
        let bad: [(&str, &[u8]); 4] =
            [("w.json", &late), ("w.safetensors", b"none"), ("w.bin", b"x"), ("w.txt", b"\x80\x04\x95\x05")];
        for (name, bytes) in bad {
            let root = tree(&[("good.json", b"{}"), (name, bytes)]);
            assert!(matches!(entering(&root), Err(Error::Refused { path, .. }) if path == name), "{name}");
            scan(root.path(), &Check::Compared, &Progress::default()).unwrap();
        }
        scan(tree(&[("w.bin", b"x")]).path(), &Check::Entering(&["bin".to_owned()].into()), &Progress::default())
            .unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_and_wild_names_are_refused() {
        let root = tree(&[("a.txt", b"x")]);
        std::os::unix::fs::symlink("/etc/hostname", root.path().join("link.txt")).unwrap();
        assert!(matches!(entering(&root), Err(Error::Refused { .. })));
        for name in ["a\x1bb", "a#1", "a\nb", "a\\b"] {
            assert!(matches!(entering(&tree(&[(name, b"x")])), Err(Error::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn too_many_files_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for i in 0..=FILES_MAX {
            fs::write(root.path().join(format!("{i}.txt")), b"").unwrap();
        }
        assert!(matches!(entering(&root), Err(Error::Refused { .. })));
    }
}
