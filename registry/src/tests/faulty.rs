//! A store that answers creates wrongly, by a seeded plan. Everything else it passes on, but for
//! reads that fail when the plan says so.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to one create.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    None,
    AppliedGeneric,
    AppliedAlreadyExists,
    AppliedPrecondition,
    AppliedNoAnswer,
    LostGeneric,
    LostAlreadyExists,
    LostPrecondition,
    LostNoAnswer,
    /// Answered with an error at once, and applied a little later.
    Late,
    Denied,
}

pub(super) const ALL: [Fault; 9] = [
    Fault::None,
    Fault::AppliedGeneric,
    Fault::AppliedAlreadyExists,
    Fault::AppliedPrecondition,
    Fault::AppliedNoAnswer,
    Fault::LostGeneric,
    Fault::LostAlreadyExists,
    Fault::LostPrecondition,
    Fault::Late,
];

#[derive(Debug)]
pub(super) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    /// Faults of the next creates, in order; afterwards random ones, or none.
    script: Mutex<VecDeque<Fault>>,
    chance: Option<Mutex<StdRng>>,
    failing_reads: Mutex<u32>,
}

impl Faulty {
    pub fn scripted(inner: Arc<dyn ObjectStore>, script: &[Fault]) -> Arc<Faulty> {
        let script = Mutex::new(script.iter().copied().collect());
        Arc::new(Faulty { inner, script, chance: None, failing_reads: Mutex::new(0) })
    }

    pub fn random(inner: Arc<dyn ObjectStore>, seed: u64) -> Arc<Faulty> {
        let chance = Some(Mutex::new(StdRng::seed_from_u64(seed)));
        Arc::new(Faulty { inner, script: Mutex::default(), chance, failing_reads: Mutex::new(0) })
    }

    /// What happens to the next creates, and how many reads after the first of them fail.
    pub fn then(&self, faults: &[Fault]) {
        self.script.lock().unwrap().extend(faults);
    }

    pub fn fail_reads(&self, count: u32) {
        *self.failing_reads.lock().unwrap() = count;
    }

    pub fn left(&self) -> usize {
        self.script.lock().unwrap().len()
    }

    fn next(&self) -> Fault {
        if let Some(fault) = self.script.lock().unwrap().pop_front() {
            return fault;
        }
        let Some(chance) = &self.chance else {
            return Fault::None;
        };
        let mut chance = chance.lock().unwrap();
        if chance.random_bool(0.5) { ALL[chance.random_range(0..ALL.len())] } else { Fault::None }
    }
}

fn generic() -> Error {
    Error::Generic { store: "Faulty", source: "connection reset".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create {
            return self.inner.put_opts(location, payload, options).await;
        }
        let path = location.to_string();
        let exists = Error::AlreadyExists { path: path.clone(), source: "409".into() };
        let precondition = Error::Precondition { path: path.clone(), source: "412".into() };
        let fault = self.next();
        let apply = self.inner.put_opts(location, payload.clone(), options.clone());
        match fault {
            Fault::None => return apply.await,
            Fault::Denied => {
                return Err(Error::PermissionDenied { path, source: "403".into() });
            }
            Fault::LostGeneric => return Err(generic()),
            Fault::LostAlreadyExists => return Err(exists),
            Fault::LostPrecondition => return Err(precondition),
            Fault::LostNoAnswer => return std::future::pending().await,
            Fault::Late => {
                let (inner, location) = (self.inner.clone(), location.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    let _ = inner.put_opts(&location, payload, options).await;
                });
                return Err(generic());
            }
            _ => drop(apply.await),
        }
        match fault {
            Fault::AppliedAlreadyExists => Err(exists),
            Fault::AppliedPrecondition => Err(precondition),
            Fault::AppliedNoAnswer => Err(Error::Generic { store: "Faulty", source: "timed out".into() }),
            _ => Err(generic()),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        {
            let mut failing = self.failing_reads.lock().unwrap();
            if *failing > 0 && location.filename() != Some("_hint") && self.script.lock().unwrap().is_empty() {
                *failing -= 1;
                return Err(generic());
            }
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
