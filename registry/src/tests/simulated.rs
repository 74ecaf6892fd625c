//! A store under a simulated clock that fails in every way that stores fail, by a seeded plan:
//! applied and answered with an error, not applied, applied much later, slow, and (for creates)
//! `AlreadyExists` for one's own success or for nothing at all. It also remembers when each pin came
//! and went, and when each object was written, by its own clock.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// The clock and the objects that all processes share.
#[derive(Debug)]
pub(super) struct World {
    pub objects: InMemory,
    began: Instant,
    written: Mutex<BTreeMap<Path, Timestamp>>,
    pub pins: Mutex<Vec<PinLife>>,
}

/// When a pin was there.
#[derive(Clone, Debug)]
pub(super) struct PinLife {
    path: Path,
    /// The JSON in it.
    pub body: Vec<u8>,
    pub from: Timestamp,
    pub until: Timestamp,
}

impl World {
    pub fn new() -> Arc<World> {
        let (written, pins) = (Mutex::default(), Mutex::default());
        Arc::new(World { objects: InMemory::new(), began: Instant::now(), written, pins })
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap().checked_add(self.began.elapsed()).unwrap()
    }

    async fn put(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let body = location.as_ref().contains("/pins/").then(|| bytes::Bytes::from(payload.clone()).to_vec());
        let put = self.objects.put_opts(location, payload, options).await?;
        self.written.lock().unwrap().insert(location.clone(), self.now());
        if let Some(body) = body {
            let mut pins = self.pins.lock().unwrap();
            if !pins.iter().any(|pin| pin.path == *location) {
                // One that lands late was written with an earlier end.
                let text: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let until = text["expires"].as_str().unwrap().parse().unwrap();
                pins.push(PinLife { path: location.clone(), body, from: self.now(), until });
            }
        }
        Ok(put)
    }

    async fn delete(&self, location: &Path) -> Result<()> {
        self.objects.delete(location).await?;
        let now = self.now();
        for pin in self.pins.lock().unwrap().iter_mut().filter(|pin| pin.path == *location) {
            pin.until = pin.until.min(now);
        }
        Ok(())
    }
}

/// The world as one process sees it.
#[derive(Debug)]
pub(super) struct Simulated {
    world: Arc<World>,
    chance: Mutex<StdRng>,
    /// How many calls of a hundred go wrong.
    faults: u32,
    /// The longest that a late write is late, and a stalled process stalls.
    longest: Duration,
}

enum Fate {
    Clean,
    Lost,
    Applied,
    /// `AlreadyExists`, applied or not.
    Exists(bool),
    Late(Duration),
    Stalled(Duration),
}

fn generic() -> Error {
    Error::Generic { store: "Simulated", source: "503".into() }
}

impl Simulated {
    pub fn new(world: Arc<World>, seed: u64, faults: u32, longest: Duration) -> Arc<Simulated> {
        Arc::new(Simulated { world, chance: Mutex::new(StdRng::seed_from_u64(seed)), faults, longest })
    }

    fn draw(&self) -> (Fate, Duration) {
        let mut chance = self.chance.lock().unwrap();
        let delay = Duration::from_millis(chance.random_range(1..40));
        if chance.random_range(0..100) >= self.faults {
            return (Fate::Clean, delay);
        }
        let long = self.longest.mul_f64(chance.random::<f64>().powi(3));
        let fate = match chance.random_range(0..8) {
            0 | 1 => Fate::Lost,
            2 | 3 => Fate::Applied,
            4 => Fate::Exists(chance.random()),
            5 => Fate::Late(long),
            _ => Fate::Stalled(long),
        };
        (fate, delay)
    }

    /// Carries out a change under a drawn fate.
    async fn change<T: Send + 'static>(
        &self,
        create: Option<&Path>,
        apply: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (fate, delay) = self.draw();
        tokio::time::sleep(delay).await;
        match (fate, create) {
            (Fate::Lost, _) | (Fate::Exists(false), None) => Err(generic()),
            (Fate::Applied, _) | (Fate::Exists(true), None) => {
                let _ = apply.await;
                Err(generic())
            }
            (Fate::Exists(applied), Some(path)) => {
                if applied {
                    let _ = apply.await;
                }
                Err(Error::AlreadyExists { path: path.to_string(), source: "409".into() })
            }
            (Fate::Late(long), _) => {
                tokio::spawn(async move {
                    tokio::time::sleep(long).await;
                    let _ = apply.await;
                });
                Err(generic())
            }
            // The process stalls before or after the store has done it.
            (Fate::Stalled(long), _) => {
                let before = self.chance.lock().unwrap().random();
                if before {
                    tokio::time::sleep(long).await;
                }
                let done = apply.await;
                if !before {
                    tokio::time::sleep(long).await;
                }
                done
            }
            (Fate::Clean, _) => apply.await,
        }
    }

    async fn look(&self) -> Result<()> {
        let (fate, delay) = self.draw();
        tokio::time::sleep(delay).await;
        match fate {
            Fate::Clean | Fate::Exists(_) => Ok(()),
            Fate::Stalled(long) => {
                tokio::time::sleep(long).await;
                Ok(())
            }
            Fate::Lost | Fate::Applied | Fate::Late(_) => Err(generic()),
        }
    }
}

impl fmt::Display for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

#[async_trait]
impl ObjectStore for Simulated {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let create = (options.mode == PutMode::Create).then_some(location);
        let (world, at) = (self.world.clone(), location.clone());
        self.change(create, async move { world.put(&at, payload, options).await }).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "multipart".into(), implementer: "Simulated".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.look().await?;
        self.world.objects.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let world = self.world.clone();
        // The trait's stream borrows nothing, so that each deletion draws its fate beforehand.
        let (fate, delay) = self.draw();
        let slow = match &fate {
            Fate::Stalled(long) => *long,
            _ => Duration::ZERO,
        };
        let (lost, failing) =
            (matches!(fate, Fate::Lost | Fate::Exists(false)), !matches!(fate, Fate::Clean | Fate::Stalled(_)));
        let late = if let Fate::Late(long) = fate { Some(long) } else { None };
        locations
            .then(move |location| {
                let world = world.clone();
                async move {
                    let location = location?;
                    tokio::time::sleep(delay + slow).await;
                    if let Some(long) = late {
                        let at = location.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(long).await;
                            let _ = world.delete(&at).await;
                        });
                        return Err(generic());
                    }
                    if !lost {
                        world.delete(&location).await?;
                    }
                    if failing { Err(generic()) } else { Ok(location) }
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (fate, delay) = self.draw();
        let (world, prefix) = (self.world.clone(), prefix.cloned());
        let listing = async move {
            tokio::time::sleep(delay).await;
            if !matches!(fate, Fate::Clean | Fate::Stalled(_)) {
                return futures::stream::iter(vec![Err(generic())]);
            }
            let mut objects: Vec<Result<ObjectMeta>> = world.objects.list(prefix.as_ref()).collect().await;
            let written = world.written.lock().unwrap();
            for object in objects.iter_mut().flatten() {
                let at = written[&object.location].as_millisecond();
                object.last_modified = (std::time::UNIX_EPOCH + Duration::from_millis(at as u64)).into();
            }
            futures::stream::iter(objects)
        };
        futures::stream::once(listing).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.look().await?;
        self.world.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.look().await?;
        self.world.objects.copy_opts(from, to, options).await
    }
}
