//! Files and folders that are built beside their final name and renamed once they are whole, so
//! that nothing half made ever has that name. What is not kept is removed.

use crate::directory::sync_folder;
use crate::{Error, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const TRIES: usize = 100;
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Something that is being built.
pub(super) struct Aside {
    aside: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl Aside {
    /// An empty folder that is to become `target`.
    pub fn folder(target: &Path) -> Result<Aside> {
        let (aside, ()) = Aside::make(target, |place| fs::create_dir(place))?;
        Ok(aside)
    }

    /// An empty file that is to become `target`.
    pub fn file(target: &Path) -> Result<(Aside, fs::File)> {
        Aside::make(target, |place| fs::File::create_new(place))
    }

    fn make<T>(target: &Path, create: impl Fn(&Path) -> io::Result<T>) -> Result<(Aside, T)> {
        let Some(name) = target.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::refused(target.display(), "has no name of its own; name a new file or folder"));
        };
        absent(target)?;
        let process = std::process::id();
        for _ in 0..TRIES {
            // A name that an earlier process of the same number left behind is passed over.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let place = target.with_file_name(format!(".{name}.{process}-{number}.partial"));
            match create(&place) {
                Ok(made) => return Ok((Aside { aside: place, target: target.to_owned(), kept: false }, made)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(place)(error)),
            }
        }
        Err(Error::refused(target.display(), "too many unfinished `.partial` files beside it; remove them"))
    }

    /// Where it is being built.
    pub fn path(&self) -> &Path {
        &self.aside
    }

    /// Gives it its final name.
    pub fn keep(mut self) -> Result<()> {
        absent(&self.target)?;
        fs::rename(&self.aside, &self.target).map_err(Error::io(&self.target))?;
        self.kept = true;
        sync(self.target.parent().unwrap_or(Path::new("")))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.kept {
            // A leftover has a name of its own and disturbs nobody.
            let _ = if self.aside.is_dir() { fs::remove_dir_all(&self.aside) } else { fs::remove_file(&self.aside) };
        }
    }
}

/// Makes the names in a folder last.
pub(super) fn sync(folder: &Path) -> Result<()> {
    sync_folder(folder).map_err(Error::io(folder))
}

fn absent(target: &Path) -> Result<()> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(Error::refused(target.display(), "exists already; remove it or name another place")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(target)(error)),
    }
}
