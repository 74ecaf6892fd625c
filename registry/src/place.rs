//! Where a registry is: a URL and options become an object store. It reads and writes nothing.
//!
//! Options are those of the `object_store` crate (`aws_region`, `google_service_account`,
//! `azure_storage_account_name`, …); what is not given is taken from the environment, under the
//! same names in capitals. Values are never shown: some are secrets.

use crate::directory::Directory;
use crate::store::{Listing, Store};
use crate::{Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Options of a store, by name.
pub type StoreOptions = BTreeMap<String, String>;

/// A store, and where in it the registry is.
pub(crate) struct Place {
    pub store: Store,
    pub root: Path,
    /// The URL in its full form.
    pub url: String,
    /// Whether it is this process's own, so that nobody needs to be asked what it can do.
    pub own: bool,
}

impl Place {
    /// Finds the place that a URL names. A directory is created when it is not there.
    pub async fn open(url: &str, options: &StoreOptions) -> Result<Place> {
        Place::find(url, options, true).await
    }

    /// Finds the place that a URL names, and creates nothing.
    pub async fn open_existing(url: &str, options: &StoreOptions) -> Result<Place> {
        Place::find(url, options, false).await
    }

    async fn find(url: &str, options: &StoreOptions, create: bool) -> Result<Place> {
        let scheme = match url.split_once("://") {
            Some((scheme, _)) => scheme,
            None if url.starts_with("file:") => "file",
            None => return directory(url, PathBuf::from(url), options, create).await,
        };
        match scheme {
            "memory" => {
                no_options(url, options)?;
                let store = Store::new(Arc::new(InMemory::new()), Listing::Ordered);
                Ok(Place { store, root: Path::default(), url: url.to_owned(), own: true })
            }
            "file" => {
                let parsed = Url::parse(url).map_err(|e| wrong(url, &e.to_string()))?;
                let path = parsed
                    .to_file_path()
                    .map_err(|()| wrong(url, "must be `file://` and an absolute path, with three slashes"))?;
                directory(url, path, options, create).await
            }
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" => bucket(scheme, url, options),
            scheme => Err(Error::Scheme { url: url.to_owned(), scheme: scheme.to_owned() }),
        }
    }
}

fn wrong(url: &str, reason: &str) -> Error {
    Error::Url { url: url.to_owned(), reason: reason.to_owned() }
}

fn no_options(url: &str, options: &StoreOptions) -> Result<()> {
    match options.keys().next() {
        None => Ok(()),
        Some(name) => Err(Error::StoreOption { name: name.clone(), reason: format!("`{url}` has no options") }),
    }
}

async fn directory(url: &str, path: PathBuf, options: &StoreOptions, create: bool) -> Result<Place> {
    no_options(url, options)?;
    if path.as_os_str().is_empty() || path == std::path::Path::new("/") {
        return Err(wrong(url, "names no directory of its own"));
    }
    if !create && !path.is_dir() {
        return Err(Error::NoRegistry { url: url.to_owned() });
    }
    let place = path.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let directory = Directory::open(&place)?;
        Ok::<_, std::io::Error>((directory, std::fs::canonicalize(&place)?))
    });
    let (directory, absolute) = match opened.await {
        Ok(opened) => opened.map_err(Error::io(&path))?,
        Err(stopped) => return Err(Error::io(&path)(std::io::Error::other(stopped))),
    };
    // Absolute, so that a child process with another working directory finds the same place.
    let url = Url::from_directory_path(&absolute).map_err(|()| wrong(url, "has no absolute path"))?;
    let url = url.as_str().trim_end_matches('/').to_owned();
    let mut store = Store::new(Arc::new(directory), Listing::Cheap);
    store.local = Some(absolute);
    store.place = url.clone();
    Ok(Place { store, root: Path::default(), url, own: true })
}

/// A bucket somewhere else.
fn bucket(scheme: &str, url: &str, options: &StoreOptions) -> Result<Place> {
    let parsed = Url::parse(url).map_err(|e| wrong(url, &e.to_string()))?;
    if parsed.host_str().is_none_or(str::is_empty) {
        return Err(wrong(url, "names no bucket"));
    }
    if parsed.password().is_some() || parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(wrong(
            url,
            "may hold a bucket and a prefix only; give credentials as options or in the environment",
        ));
    }
    let container = if scheme.starts_with("abfs") && !parsed.username().is_empty() {
        parsed.username()
    } else {
        parsed.host_str().unwrap_or_default()
    };
    let objects: Arc<dyn ObjectStore> = match scheme {
        "s3" | "s3a" => {
            let base =
                AmazonS3Builder::from_env().with_url(url).with_retry(retries()).with_client_options(client(options));
            let set = |builder: AmazonS3Builder, key: AmazonS3ConfigKey, value: &str| builder.with_config(key, value);
            Arc::new(configured(base, options, set)?.build().map_err(|e| unusable(url, e))?)
        }
        "gs" => {
            let base = GoogleCloudStorageBuilder::from_env()
                .with_url(url)
                .with_retry(retries())
                .with_client_options(client(options));
            let set =
                |builder: GoogleCloudStorageBuilder, key: GoogleConfigKey, value: &str| builder.with_config(key, value);
            Arc::new(configured(base, options, set)?.build().map_err(|e| unusable(url, e))?)
        }
        _ => {
            let base = MicrosoftAzureBuilder::from_env()
                .with_container_name(container)
                .with_retry(retries())
                .with_client_options(client(options));
            let set =
                |builder: MicrosoftAzureBuilder, key: AzureConfigKey, value: &str| builder.with_config(key, value);
            Arc::new(configured(base, options, set)?.build().map_err(|e| unusable(url, e))?)
        }
    };
    let root = Path::from_url_path(parsed.path()).map_err(|e| wrong(url, &e.to_string()))?;
    let mut store = Store::new(objects, Listing::Ordered);
    // The same bucket by the same options is one store, which copies by itself.
    let identity: String = options.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    store.place = format!("{scheme}://{container} {}", crate::digest::sha256(identity.as_bytes()));
    Ok(Place { store, root, url: url.trim_end_matches('/').to_owned(), own: false })
}

fn configured<B, K: FromStr>(builder: B, options: &StoreOptions, set: impl Fn(B, K, &str) -> B) -> Result<B> {
    options.iter().try_fold(builder, |builder, (name, value)| match name.parse::<K>() {
        Ok(key) => Ok(set(builder, key, value)),
        Err(_) => Err(Error::StoreOption {
            name: name.clone(),
            reason: "is not known to this kind of store; common ones are aws_access_key_id, aws_secret_access_key, \
                     aws_region, aws_endpoint, google_service_account, azure_storage_account_name, \
                     azure_storage_account_key"
                .to_owned(),
        }),
    })
}

fn unusable(url: &str, error: object_store::Error) -> Error {
    Error::Access { url: url.to_owned(), reason: error.to_string(), cure: cure(url) }
}

/// What to change when a store lets nobody in.
pub(crate) fn cure(url: &str) -> &'static str {
    match url.split("://").next() {
        Some("s3" | "s3a") => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or use a role) and AWS_REGION; for a store that is not Amazon's, --store-option aws_endpoint=URL"
        }
        Some("gs") => {
            "set GOOGLE_SERVICE_ACCOUNT to the path of a key file, or run where a service account is attached"
        }
        _ => "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or use a managed identity)",
    }
}

/// The commit protocol repeats by itself, so that the client need not for long.
fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        ..BackoffConfig::default()
    };
    RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(20), backoff }
}

fn client(options: &StoreOptions) -> ClientOptions {
    // These replace what `from_env` has read: so the environment is asked here too.
    let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let ours = |name: &str| ["aws_", "azure_", "google_"].iter().any(|store| name.starts_with(store));
    let mut named = environment.filter(|(name, _)| ours(name)).chain(options.clone());
    let plain = named.any(|(name, value)| allows_plain(&name, &value));
    ClientOptions::new()
        .with_timeout(Duration::from_secs(60))
        .with_connect_timeout(Duration::from_secs(5))
        .with_allow_http(plain)
}

/// Whoever writes `http://` into an endpoint has allowed it.
fn allows_plain(name: &str, value: &str) -> bool {
    let is_endpoint = ["endpoint", "endpoint_url", "endpoint_url_s3"].iter().any(|end| name.ends_with(end));
    is_endpoint && value.starts_with("http://") || name.ends_with("allow_http") && value == "true"
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(url: &str, options: &[(&str, &str)]) -> String {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Place::open(url, &options).await.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn http_is_allowed_by_whoever_writes_it() {
        let table = [
            ("aws_endpoint", "http://minio:9000", true),
            ("aws_endpoint_url", "http://minio:9000", true),
            ("aws_endpoint_url_s3", "http://minio:9000", true),
            ("aws_endpoint", "https://minio:9000", false),
            ("aws_allow_http", "true", true),
            ("aws_allow_http", "false", false),
            ("aws_region", "http://", false),
        ];
        for (name, value, expected) in table {
            assert_eq!(allows_plain(name, value), expected, "{name}={value}");
        }
    }

    #[tokio::test]
    async fn wrong_places_say_what_to_change() {
        for url in ["http://x", "ftp://x"] {
            assert!(refused(url, &[]).await.contains("file://"), "{url}");
        }
        for url in ["", "file://", "file://relative/path", "s3://", "s3:///x", "s3://u:secret@b/x", "s3://b/x?y=z"] {
            let error = refused(url, &[]).await;
            assert!(!error.contains("object_store"), "{error}");
        }
        let error = refused("s3://b/x", &[("aws_regoin", "eu"), ("aws_secret_access_key", "hidden")]).await;
        assert!(error.contains("aws_regoin") && error.contains("aws_region") && !error.contains("hidden"), "{error}");
        assert!(refused("gs://b/x", &[("aws_region", "eu")]).await.contains("aws_region"));
        assert!(refused("memory://", &[("aws_region", "eu")]).await.contains("no options"));
    }

    #[tokio::test]
    async fn buckets_have_a_root_and_an_identity() {
        let options = |region: &str| StoreOptions::from([("aws_region".to_owned(), region.to_owned())]);
        let one = Place::open("s3://models/team/a/", &options("eu-west-1")).await.unwrap();
        let two = Place::open("s3://models/team/b", &options("eu-west-1")).await.unwrap();
        let far = Place::open("s3://models/team/b", &options("us-east-1")).await.unwrap();
        assert_eq!((one.root.as_ref(), one.url.as_str()), ("team/a", "s3://models/team/a"));
        assert_eq!(one.store.place, two.store.place);
        assert_ne!(far.store.place, two.store.place);
    }
}
