//! Names as small numbers, router-wide: items, segments and versions are compared and stored as numbers and become
//! names again only in answers. Numbers are given in the order of arrival and never given back.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// No such name.
pub(crate) const UNKNOWN: u32 = u32::MAX;

#[derive(Default)]
struct Table {
    by_name: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

/// Names and their numbers. Reading is shared; only a new name takes the lock alone.
pub(crate) struct Interner {
    table: RwLock<Table>,
    /// How many names strangers may add. Names of installed versions are always taken.
    limit: usize,
}

impl Interner {
    /// An empty table that takes `limit` names from callers.
    pub(crate) fn new(limit: usize) -> Self {
        Self { table: RwLock::default(), limit }
    }

    /// The number of `name`, which is added if there is room.
    pub(crate) fn add(&self, name: &str) -> Option<u32> {
        self.get(name).or_else(|| self.insert(name, self.limit))
    }

    /// The number of a name that comes from a version, not from a caller; always added.
    pub(crate) fn add_trusted(&self, name: &str) -> u32 {
        let known = self.get(name).or_else(|| self.insert(name, UNKNOWN as usize));
        known.unwrap_or(UNKNOWN)
    }

    /// The number of `name`, if it has one.
    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        self.read().by_name.get(name).copied()
    }

    /// The name of `id`; empty if there is none.
    pub(crate) fn name(&self, id: u32) -> Arc<str> {
        self.read().names.get(id as usize).cloned().unwrap_or_default()
    }

    /// Looks at many names under one lock: index is the number.
    pub(crate) fn with_names<R>(&self, look: impl FnOnce(&[Arc<str>]) -> R) -> R {
        look(&self.read().names)
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.read().names.len()
    }

    fn insert(&self, name: &str, limit: usize) -> Option<u32> {
        let mut table = self.write();
        if let Some(&id) = table.by_name.get(name) {
            return Some(id);
        }
        let id = table.names.len();
        if id >= limit {
            return None;
        }
        let name: Arc<str> = name.into();
        table.names.push(Arc::clone(&name));
        table.by_name.insert(name, id as u32);
        Some(id as u32)
    }

    // A panic elsewhere cannot leave the table half changed in a way that matters: names are pushed before they are
    // found.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_numbers_and_strangers_are_bounded() {
        let names = Interner::new(2);
        assert_eq!((names.add("a"), names.add("b"), names.add("a")), (Some(0), Some(1), Some(0)));
        assert_eq!((names.add("c"), names.get("c")), (None, None));
        assert_eq!(names.add_trusted("c"), 2);
        assert_eq!(names.add("c"), Some(2));
        assert_eq!((&*names.name(2), &*names.name(9)), ("c", ""));
        assert_eq!(names.len(), 3);
    }
}
