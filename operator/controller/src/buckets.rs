//! Registries, opened once: by their URL and the Secret that opens them. With each go the logs of its models, which all who
//! look at a model share: what one has read is there for the others.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use fairway_api::Model;
use fairway_registry::{ModelLog, Registry, StoreOptions};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use crate::board::Key;
use crate::call::call;

/// A registry is opened again after this, so that a Secret that was renewed is used.
const OPEN_FOR: Duration = Duration::from_secs(600);
/// One that could not be opened is tried again after this: those that waited for it do not wait another time.
const FAILED_FOR: Duration = Duration::from_secs(3);
/// Longest that opening one may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Most registries that are kept open.
const OPEN_MAX: usize = 10_000;

/// Namespace, URL and name of the Secret; no name where there is none.
type Door = (String, String, String);

/// Where a registry is, and the Secret that opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    registry: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl Place {
    /// A model's.
    ///
    /// # Errors
    /// Nobody names one.
    pub(crate) fn of(model: &Model, default: Option<&str>) -> Result<Self> {
        let secret = model.spec.storage_secret_ref.as_ref().map(|secret| secret.name.clone());
        Ok(Self { registry: url_of(model, default)?.to_owned(), secret })
    }
}

/// A registry that was opened.
pub(crate) struct Bucket {
    place: Place,
    registry: Registry,
    /// Those that somebody has.
    models: std::sync::Mutex<HashMap<Key, Weak<ModelLog>>>,
}

impl Bucket {
    /// The registry in it.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether it is there.
    pub(crate) fn is_at(&self, place: &Place) -> bool {
        self.place == *place
    }

    /// The log of a model; the same for all who ask while one of them has it.
    ///
    /// # Errors
    /// A name that no registry takes.
    pub(crate) fn model(&self, key: &Key) -> Result<Arc<ModelLog>> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = models.get(key).and_then(Weak::upgrade) {
            return Ok(log);
        }
        if models.len() == models.capacity() {
            models.retain(|_, log| log.strong_count() > 0);
        }
        let log = Arc::new(self.registry.model(&key.0, &key.1)?);
        models.insert(key.clone(), Arc::downgrade(&log));
        Ok(log)
    }

    /// What is there under this name from now on is another one.
    pub(crate) fn forget(&self, key: &Key) {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// What opening a registry came to, or why it failed, and when. Whoever opens it holds the lock, and others wait: after a start
/// thousands of looks ask for the same one at once, and each that opened it would keep a client with connections of its own.
type Opened = Option<(Result<Arc<Bucket>, String>, Instant)>;

/// The registries of all models.
#[derive(Default)]
pub(crate) struct Buckets {
    open: Mutex<HashMap<Door, Arc<Mutex<Opened>>>>,
}

impl Buckets {
    /// The registry of a model.
    ///
    /// # Errors
    /// None is named, its Secret cannot be read, or the bucket cannot be used.
    pub(crate) async fn of(&self, client: &Client, model: &Model, default: Option<&str>) -> Result<Arc<Bucket>> {
        let namespace = model.metadata.namespace.as_deref().unwrap_or_default();
        self.at(client, namespace, &Place::of(model, default)?).await
    }

    /// The registry at a place, with a Secret of this namespace.
    ///
    /// # Errors
    /// Its Secret cannot be read, or the bucket cannot be used.
    pub(crate) async fn at(&self, client: &Client, namespace: &str, place: &Place) -> Result<Arc<Bucket>> {
        let door = self.door(namespace, place).await;
        enter(door.lock().await, client, namespace, place).await
    }

    /// What to use in the place of an open one, if that was opened again. Of those who ask when it is due one opens it, and
    /// nobody waits for that; what is open is used until then, and for as long as its Secret cannot be read.
    pub(crate) async fn renewed(&self, client: &Client, namespace: &str, open: &Arc<Bucket>) -> Option<Arc<Bucket>> {
        let door = self.door(namespace, &open.place).await;
        let bucket = enter(door.try_lock().ok()?, client, namespace, &open.place).await.ok()?;
        (!Arc::ptr_eq(&bucket, open)).then_some(bucket)
    }

    async fn door(&self, namespace: &str, place: &Place) -> Arc<Mutex<Opened>> {
        let Place { registry, secret } = place;
        let door = (namespace.to_owned(), registry.clone(), secret.clone().unwrap_or_default());
        let mut open = self.open.lock().await;
        if open.len() >= OPEN_MAX && !open.contains_key(&door) {
            // One whose lock is held is being opened.
            open.retain(|_, it| it.try_lock().map_or(true, |it| it.as_ref().is_some_and(is_fresh)));
        }
        open.entry(door).or_default().clone()
    }
}

/// Opens it if that was long ago.
async fn enter(
    mut opened: MutexGuard<'_, Opened>,
    client: &Client,
    namespace: &str,
    place: &Place,
) -> Result<Arc<Bucket>> {
    if let Some((bucket, _)) = opened.as_ref().filter(|it| is_fresh(it)) {
        return bucket.clone().map_err(|why| anyhow!(why));
    }
    let registry = open(client, namespace, &place.registry, place.secret.as_deref()).await;
    let bucket = registry
        .map(|registry| Arc::new(Bucket { place: place.clone(), registry, models: std::sync::Mutex::default() }));
    *opened = Some((bucket.as_ref().cloned().map_err(|error| format!("{error:#}")), Instant::now()));
    bucket
}

fn is_fresh((bucket, since): &(Result<Arc<Bucket>, String>, Instant)) -> bool {
    since.elapsed() < if bucket.is_ok() { OPEN_FOR } else { FAILED_FOR }
}

async fn open(client: &Client, namespace: &str, url: &str, secret: Option<&str>) -> Result<Registry> {
    let options = match secret {
        Some(name) => options_of(client, namespace, name).await?,
        None => StoreOptions::new(),
    };
    let opening = Registry::open_or_init(url, &options);
    tokio::time::timeout(DEADLINE, opening)
        .await
        .with_context(|| format!("the bucket {url} did not answer within {} s", DEADLINE.as_secs()))?
        .with_context(|| format!("opening the registry {url}"))
}

/// Where a model's registry is.
///
/// # Errors
/// Nobody says, or it is the path of a folder, which each pod would have for itself.
pub(crate) fn url_of<'a>(model: &'a Model, default: Option<&'a str>) -> Result<&'a str> {
    let named = model.spec.registry.as_deref().or(default);
    let url = named.context("spec.registry is not set and this operator has no default (--registry): name a bucket")?;
    if !url.contains("://") {
        let bucket = url.trim_matches(['.', '/']);
        bail!("the registry `{url}` is a folder, which no other pod would see: name a bucket, such as s3://{bucket}");
    }
    Ok(url)
}

/// The variables that a Secret gives to containers: the names of its keys, without what they hold.
///
/// # Errors
/// It cannot be read.
pub(crate) async fn variables_of(client: &Client, namespace: &str, name: &str) -> Result<Vec<String>> {
    let secret = secret(client, namespace, name).await?;
    // Others are left out by Kubernetes too.
    let is_name = |key: &String| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        key.chars().all(fits) && !key.starts_with(|first: char| first.is_ascii_digit())
    };
    Ok(secret.data.unwrap_or_default().into_keys().filter(is_name).collect())
}

/// The options of a store, as the Secret has them: `AWS_ACCESS_KEY_ID` and the like.
async fn options_of(client: &Client, namespace: &str, name: &str) -> Result<StoreOptions> {
    let secret = secret(client, namespace, name).await?;
    let mut options = StoreOptions::new();
    for (key, value) in secret.data.unwrap_or_default() {
        let value = String::from_utf8(value.0)
            .with_context(|| format!("the Secret {namespace}/{name} holds bytes that are no text under {key}"))?;
        options.insert(key.to_ascii_lowercase(), value);
    }
    Ok(options)
}

async fn secret(client: &Client, namespace: &str, name: &str) -> Result<Secret> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    call(|| format!("reading the Secret {namespace}/{name} (spec.storageSecretRef)"), api.get(name)).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_registry_is_a_bucket_that_all_pods_see() {
        let model = |registry: Option<&str>| -> Model {
            let data = json!({"interactions": {"url": "s3://b/x/", "sql": "SELECT 1"}});
            let mut spec = json!({"data": data, "reward": {"event": "click", "within": "1h"}, "trainer": {"builtin": {"family": "ease"}}});
            spec["registry"] = json!(registry);
            let model =
                json!({"apiVersion": "fairway.dev/v1alpha1", "kind": "Model", "metadata": {"name": "m"}, "spec": spec});
            serde_json::from_value(model).unwrap()
        };
        let url = |named, default| url_of(&model(named), default).map(str::to_owned).map_err(|error| error.to_string());
        assert_eq!(url(Some("s3://models"), Some("s3://other")), Ok("s3://models".to_owned()));
        assert_eq!(url(None, Some("s3://other")), Ok("s3://other".to_owned()));
        assert!(url(None, None).unwrap_err().contains("name a bucket"));
        for (named, default) in [(Some("models"), None), (Some("./models"), None), (None, Some("models"))] {
            assert!(url(named, default).unwrap_err().contains("such as s3://models"), "{named:?} {default:?}");
        }
    }
}
