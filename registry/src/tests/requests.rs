//! How many requests things take: few for a reader that has looked before, a handful for one that
//! has not, whatever the length of the log.

use super::{registration, time, tree};
use crate::store::{Listing, Store};
use crate::{ModelLog, Registry};
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A store in which every request takes a second of a simulated clock, and is noted. What goes on
/// at the same time takes a second together: the seconds are the sequential requests.
#[derive(Debug, Default)]
struct Counted {
    inner: InMemory,
    requests: Mutex<Vec<String>>,
}

impl Counted {
    async fn note(&self, what: &str, path: &Path) {
        self.requests.lock().unwrap().push(format!("{what} {path}"));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.note("put", location).await;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.note(if options.head { "head" } else { "get" }, location).await;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.requests.lock().unwrap().push("delete".to_owned());
        self.inner.delete_stream(locations)
    }

    /// A page of a thousand names is a request.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.requests.lock().unwrap().push(format!("list {}", prefix.map(Path::as_ref).unwrap_or_default()));
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.note("list", prefix.unwrap_or(&Path::default())).await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.note("copy", to).await;
        self.inner.copy_opts(from, to, options).await
    }
}

fn opened(objects: &Arc<Counted>, listing: Listing) -> ModelLog {
    Registry::on(Store::new(objects.clone(), listing), "memory://").model("shop", "m").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_registration_takes_three_requests_besides_its_files() {
    let objects = Arc::new(Counted::default());
    let model = opened(&objects, Listing::Ordered);
    model.register(tree("a").path(), registration("run-1")).await.unwrap();
    objects.take();
    let began = tokio::time::Instant::now();
    let source = tree("b");
    let mut again = registration("run-2");
    again.alias = Some("challenger".to_owned());
    model.register(source.path(), again).await.unwrap();
    let requests = objects.take();
    let own: Vec<&String> = requests.iter().filter(|it| !it.contains("/versions/") && *it != "delete").collect();
    // The newest entry, the entry, the hint. What is new and small takes no pin.
    assert_eq!(own.len(), 3, "{own:#?}");
    // Three files at once, and the manifest after them.
    assert_eq!(began.elapsed().as_secs(), 3 + 2, "{requests:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_warm_reader_asks_once() {
    let objects = Arc::new(Counted::default());
    let model = opened(&objects, Listing::Ordered);
    model.register(tree("a").path(), registration("run-1")).await.unwrap();
    model.move_alias("champion", None, Some(1), "ada", "first", time(1)).await.unwrap();
    objects.take();
    for _ in 0..3 {
        assert_eq!(model.resolve(&"@champion".parse().unwrap()).await.unwrap().number, 1);
        assert_eq!(objects.take().len(), 1);
    }
    model.move_alias("champion", Some(1), None, "ada", "none", time(2)).await.unwrap();
    assert_eq!(objects.take().len(), 2, "the entry and the hint");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_entries_are_opened_cold_with_few_requests() {
    let objects = Arc::new(Counted::default());
    let model = opened(&objects, Listing::Ordered);
    let quick = Registry::on(Store::new(Arc::new(InMemory::new()), Listing::Ordered), "memory://");
    let quick = quick.model("shop", "m").unwrap();
    // Written to memory at once, then brought over: only reading is counted.
    for seq in 1..=10_000_u64 {
        quick.append_plan(seq, &seq).await.unwrap();
    }
    for object in all(&*quick.store.objects).await {
        let bytes = quick.store.objects.get(&object).await.unwrap().bytes().await.unwrap();
        objects.inner.put(&object, bytes.into()).await.unwrap();
    }
    drop(model);
    let hint = Path::from("shop/models/m/plans/_hint");
    for (hinted, listing, most) in [
        (true, Listing::Ordered, 3),
        (true, Listing::Avoid, 3),
        (false, Listing::Ordered, 4),
        (false, Listing::Avoid, 32),
    ] {
        if !hinted {
            let _ = objects.inner.delete(&hint).await;
        }
        let model = opened(&objects, listing);
        objects.take();
        assert_eq!(model.latest_plan::<u64>().await.unwrap(), Some((10_000, 10_000)));
        let requests = objects.take();
        // And one more to open the registry itself.
        assert!(requests.len() <= most, "{hinted} {listing:?}: {requests:#?}");
    }
    objects.inner.put(&hint, r#"{"seq":17}"#.into()).await.unwrap();
    let model = opened(&objects, Listing::Ordered);
    assert_eq!(model.latest_plan::<u64>().await.unwrap(), Some((10_000, 10_000)), "a hint of long ago");
    assert!(objects.take().len() <= 22, "a short walk, then a listing");
}

async fn all(objects: &dyn ObjectStore) -> Vec<Path> {
    use futures::TryStreamExt;
    objects.list(None).map_ok(|object| object.location).try_collect().await.unwrap()
}
