//! How far a transfer is, told to whoever wants to show it. It shows nothing itself.

use std::fmt;
use std::sync::Arc;

/// What a transfer tells while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// A stage begins: `hash`, `upload` or `download`, and how many bytes it will handle.
    Stage(&'static str, u64),
    /// So many more bytes of the stage are done.
    Bytes(u64),
}

/// A listener, or nobody.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Moved) + Send + Sync>>);

impl Progress {
    /// Tells this listener. It is called from several threads and must not block.
    pub fn to(listener: impl Fn(Moved) + Send + Sync + 'static) -> Progress {
        Progress(Some(Arc::new(listener)))
    }

    pub(crate) fn stage(&self, name: &'static str, bytes: u64) {
        if let Some(listener) = &self.0 {
            listener(Moved::Stage(name, bytes));
        }
    }

    pub(crate) fn bytes(&self, count: u64) {
        if let Some(listener) = self.0.as_ref().filter(|_| count > 0) {
            listener(Moved::Bytes(count));
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(told)" } else { "Progress(silent)" })
    }
}
