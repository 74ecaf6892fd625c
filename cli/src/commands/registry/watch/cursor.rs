//! How far a watch has come: for each model the last entry that was handled, in a file that is whole at every moment.
//! It does not know what handling is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::exit::Invalid;

const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 1 << 20;

/// The cursor of a watch, kept in a file if one was named.
pub(super) struct Cursor {
    file: Option<PathBuf>,
    /// Two watches with one cursor would skip what the other has handled; the lock goes with the process.
    _lock: Option<File>,
    kept: Mutex<Kept>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    format: u32,
    /// The registry's URL: numbers of another one mean nothing.
    registry: String,
    /// Whether all models are watched, so that one that is not listed is new.
    all: bool,
    /// The last handled entry by `namespace/name`.
    models: BTreeMap<String, u64>,
}

impl Cursor {
    /// Reads the cursor, or begins an empty one. Nothing is written yet but the lock file beside it.
    pub(super) fn open(file: Option<&Path>, registry: &str) -> Result<Arc<Self>> {
        let mut kept = Kept { format: FORMAT, registry: registry.to_owned(), all: false, models: BTreeMap::new() };
        let mut lock = None;
        if let Some(path) = file {
            lock = Some(take(path)?);
            if let Some(found) = parse(path)? {
                if found.registry != registry {
                    bail!(Invalid(format!(
                        "the cursor {} is of {}, not of {registry}: name another --cursor, or change `registry` in it \
                         if that one was moved here",
                        path.display(),
                        found.registry
                    )));
                }
                kept = found;
            }
        }
        Ok(Arc::new(Self { file: file.map(Path::to_owned), _lock: lock, kept: Mutex::new(kept) }))
    }

    /// The last handled entry of a model.
    pub(super) fn get(&self, model: &str) -> Option<u64> {
        self.kept().models.get(model).copied()
    }

    /// Whether all models were watched with it before.
    pub(super) fn all(&self) -> bool {
        self.kept().all
    }

    /// Begins with these models, in one write.
    pub(super) async fn begin(self: &Arc<Self>, models: BTreeMap<String, u64>, all: bool) -> Result<()> {
        self.change(move |kept| {
            kept.all |= all;
            kept.models.extend(models);
        })
        .await
    }

    /// An entry was handled. It returns when that will survive a loss of power.
    pub(super) async fn advance(self: &Arc<Self>, model: &str, seq: u64) -> Result<()> {
        let model = model.to_owned();
        self.change(move |kept| {
            kept.models.insert(model, seq);
        })
        .await
    }

    async fn change(self: &Arc<Self>, change: impl FnOnce(&mut Kept) + Send + 'static) -> Result<()> {
        let cursor = self.clone();
        let write = move || {
            // Held while it is written: an older state must not replace a newer one.
            let mut kept = cursor.kept();
            let before = kept.clone();
            change(&mut kept);
            match &cursor.file {
                Some(path) if *kept != before => replace(path, &serde_json::to_vec_pretty(&*kept)?),
                _ => Ok(()),
            }
        };
        tokio::task::spawn_blocking(write).await.context("writing the cursor broke off")?
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn take(path: &Path) -> Result<File> {
    let path = beside(path, ".lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!(Invalid(format!("another watch holds {}: stop it, or name another --cursor", path.display())));
    }
    Ok(file)
}

fn parse(path: &Path) -> Result<Option<Kept>> {
    let Some(bytes) = read(path, BYTES_MAX)? else { return Ok(None) };
    let cure = "restore it, or begin anew with another --cursor and the right --since";
    let kept: Kept = serde_json::from_slice(&bytes)
        .map_err(|error| Invalid(format!("{}: not a cursor ({error}): {cure}", path.display())))?;
    if kept.format != FORMAT {
        bail!(Invalid(format!("{}: written in format {}, this version knows {FORMAT}", path.display(), kept.format)));
    }
    Ok(Some(kept))
}

/// A file of at most `limit` bytes, `None` when there is none.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let reading = || format!("reading {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(reading),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).with_context(reading)?;
    if bytes.len() as u64 > limit {
        bail!(Invalid(format!("{}: larger than {limit} bytes", path.display())));
    }
    Ok(Some(bytes))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = beside(path, ".new");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("writing the cursor {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "s3://models";

    #[tokio::test]
    async fn it_survives_and_knows_its_registry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        {
            let cursor = Cursor::open(Some(&path), HERE).unwrap();
            assert!(!path.exists() && cursor.get("a/b").is_none() && !cursor.all());
            cursor.begin(BTreeMap::from([("a/b".to_owned(), 3), ("a/c".to_owned(), 0)]), true).await.unwrap();
            cursor.advance("a/b", 4).await.unwrap();
            let second = Cursor::open(Some(&path), HERE).err().unwrap();
            assert!(second.is::<Invalid>() && second.to_string().contains("another watch"), "{second}");
        }
        let cursor = Cursor::open(Some(&path), HERE).unwrap();
        assert_eq!((cursor.get("a/b"), cursor.get("a/c"), cursor.all()), (Some(4), Some(0), true));
        drop(cursor);
        let elsewhere = Cursor::open(Some(&path), "s3://others").err().unwrap();
        assert!(elsewhere.is::<Invalid>() && elsewhere.to_string().contains("s3://others"), "{elsewhere}");
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(names.len() == 2, "nothing half-written stays: {names:?}");
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor");
        let newer = r#"{"format": 2, "registry": "s3://models", "all": false, "models": {}}"#;
        let negative = r#"{"format": 1, "registry": "s3://models", "all": false, "models": {"a/b": -1}}"#;
        let large = " ".repeat(BYTES_MAX as usize + 1);
        for text in ["", "7", "{}", newer, negative, &large] {
            std::fs::write(&path, text).unwrap();
            let error = Cursor::open(Some(&path), HERE).err().unwrap();
            assert!(error.is::<Invalid>(), "{error:#}");
        }
    }

    #[tokio::test]
    async fn without_a_file_it_is_kept_in_memory() {
        let cursor = Cursor::open(None, HERE).unwrap();
        cursor.begin(BTreeMap::from([("a/b".to_owned(), 3)]), false).await.unwrap();
        cursor.advance("a/b", 4).await.unwrap();
        assert_eq!(cursor.get("a/b"), Some(4));
    }
}
