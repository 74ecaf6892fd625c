//! Local files that are whole or not there: they are made in a folder of their own beside the place where they are to
//! be, and moved. Whatever ends the command takes the folder away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::exit::Invalid;

/// The most files and folders that are linked: a little more than a version may have, so that the registry refuses it.
const ENTRIES_MAX: usize = 5_000;

/// A folder that goes when it is no longer needed, whatever happened.
pub struct Scratch(TempDir);

impl Scratch {
    /// A new, empty folder on the same disk as a path where that can be written to, else where temporary files go.
    pub fn near(path: &Path) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".fairway-");
        let made = builder.tempdir_in(parent(path)).or_else(|_| builder.tempdir());
        Ok(Self(made.context("making a temporary folder")?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A thread that has not yet noticed that nobody waits for it may still be making a file in it.
        for _ in 0..5 {
            if std::fs::remove_dir_all(self.0.path()).is_ok() || !self.0.path().exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A file or folder that is being made beside its place.
pub struct Staged {
    scratch: Scratch,
    target: PathBuf,
}

impl Staged {
    /// Looks that the place is free; an empty folder is.
    ///
    /// # Errors
    /// It is not, or nothing can be written there.
    pub fn beside(target: &Path) -> Result<Self> {
        if target.file_name().is_none() {
            bail!(Invalid(format!("{}: name a new file or folder", target.display())));
        }
        check_free(target)?;
        let folder = parent(target);
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self { scratch: Scratch::near(target)?, target: target.to_owned() })
    }

    /// Where to make it.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Moves what was made to its place.
    ///
    /// # Errors
    /// Somebody else has put something there.
    pub fn keep(self, made: &Path) -> Result<()> {
        check_free(&self.target)?;
        if self.target.is_dir() {
            std::fs::remove_dir(&self.target).with_context(|| format!("replacing {}", self.target.display()))?;
        }
        std::fs::rename(made, &self.target).with_context(|| format!("writing {}", self.target.display()))
    }
}

fn check_free(target: &Path) -> Result<()> {
    let taken = match std::fs::symlink_metadata(target) {
        Err(_) => false,
        Ok(about) if about.is_dir() => std::fs::read_dir(target).map_or(true, |mut files| files.next().is_some()),
        Ok(_) => true,
    };
    if taken {
        bail!(Invalid(format!("{} exists already: remove it, or name another place", target.display())));
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes `to` hold the files of `from` without copying their bytes where the disk allows it, but for some at the top.
///
/// # Errors
/// There are too many, or something that is no plain file.
pub fn link(from: &Path, to: &Path, left_out: &[&str]) -> Result<()> {
    let mut folders = vec![PathBuf::new()];
    let mut entries = 0;
    while let Some(folder) = folders.pop() {
        let place = from.join(&folder);
        std::fs::create_dir_all(to.join(&folder)).context("making a temporary folder")?;
        for entry in std::fs::read_dir(&place).with_context(|| format!("reading {}", place.display()))? {
            let entry = entry.with_context(|| format!("reading {}", place.display()))?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            entries += 1;
            if entries > ENTRIES_MAX {
                bail!(Invalid(format!("{} holds more files than a version may have", from.display())));
            } else if kind.is_dir() {
                folders.push(path);
            } else if !kind.is_file() {
                bail!(Invalid(format!("{} is a link or a special file, not a plain one", entry.path().display())));
            } else if !left_out.iter().any(|name| path == Path::new(name)) {
                let target = to.join(&path);
                std::fs::hard_link(entry.path(), &target)
                    .or_else(|_| std::fs::copy(entry.path(), &target).map(drop))
                    .with_context(|| format!("copying {}", entry.path().display()))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_is_whole_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("deep/tree");
        let staged = Staged::beside(&target).unwrap();
        std::fs::create_dir(staged.path().join("made")).unwrap();
        drop(staged);
        let names = |path: &Path| std::fs::read_dir(path).unwrap().count();
        assert_eq!(names(&folder.path().join("deep")), 0, "nothing is left");
        std::fs::create_dir(&target).unwrap();
        let staged = Staged::beside(&target).unwrap();
        let made = staged.path().join("made");
        std::fs::create_dir(&made).unwrap();
        std::fs::write(made.join("a.txt"), "a").unwrap();
        staged.keep(&made).unwrap();
        assert_eq!((names(&target), names(&folder.path().join("deep"))), (1, 1));
        assert!(Staged::beside(&target).is_err(), "it is not empty");
    }

    #[test]
    fn a_tree_is_linked_without_some_files() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(from.join("deep")).unwrap();
        for path in ["a.json", "manifest.json", "deep/manifest.json"] {
            std::fs::write(from.join(path), path).unwrap();
        }
        link(&from, &to, &["manifest.json"]).unwrap();
        assert!(to.join("a.json").exists() && to.join("deep/manifest.json").exists());
        assert!(!to.join("manifest.json").exists());
    }
}
