//! A bounded query engine with one source in it: memory limited, nothing on disk, only what was registered.
//!
//! What it does not do: it never writes, and it knows no tables but `interactions` or `items`.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use super::error::DataError;
use super::failure::{self, Doing};
use super::origin::Listed;

/// Most memory that a query may use for sorts, joins and groups.
pub(super) const MEMORY_BYTES: usize = 1 << 30;
/// Parts of a query that run at the same time.
const PARTITIONS: usize = 2;
/// Rows by which the types of CSV and JSON columns are guessed. Identifiers that are mostly digits need many.
const INFERENCE_ROWS: usize = 50_000;
/// Files of a folder that are looked at to find its format, and that a snapshot may have.
const LISTED_MAX: usize = 10_000;

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Parquet,
    Csv,
    JsonLines,
}

impl Format {
    /// By the extension of a file's name.
    fn of(name: &str) -> Option<(Self, &str)> {
        let (_, extension) = name.rsplit_once('.')?;
        let format = match extension.to_ascii_lowercase().as_str() {
            "parquet" => Self::Parquet,
            "csv" => Self::Csv,
            "jsonl" | "ndjson" | "json" => Self::JsonLines,
            _ => return None,
        };
        Some((format, extension))
    }

    fn reader(self) -> Arc<dyn FileFormat> {
        match self {
            Self::Parquet => Arc::new(ParquetFormat::default()),
            Self::Csv => Arc::new(CsvFormat::default().with_has_header(true).with_schema_infer_max_rec(INFERENCE_ROWS)),
            Self::JsonLines => Arc::new(JsonFormat::default().with_schema_infer_max_rec(INFERENCE_ROWS)),
        }
    }
}

/// An engine whose only table is `table`, over the files at `url`; and these files.
pub(super) async fn open(table: &str, url: &str, base: &Path) -> Result<(SessionContext, Listed), DataError> {
    let failed = |error: DataFusionError| failure::explain(&error, Doing::Reading { url });
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES, 1.0).with_disk_manager_builder(disk);
    let mut config = SessionConfig::new().with_target_partitions(PARTITIONS);
    config.options_mut().execution.listing_table_ignore_subdirectory = false;
    let context = SessionContext::new_with_config_rt(config, Arc::new(runtime.build().map_err(failed)?));

    let place = locate(url, base)?;
    let (store, path) = object_store::parse_url_opts(&place, options_of_environment())
        .map_err(|error| failed(DataFusionError::ObjectStore(Box::new(error))))?;
    let store: Arc<dyn ObjectStore> = Arc::from(store);
    let Found { place, format, extension, listed } = format_of(url, place, &store, path).await?;
    let place = ListingTableUrl::try_new(place, None).map_err(failed)?;
    context.register_object_store(place.object_store().as_ref(), store);

    let options = ListingOptions::new(format.reader()).with_file_extension(extension);
    let schema = options.infer_schema(&context.state(), &place).await.map_err(failed)?;
    let config = ListingTableConfig::new(place).with_listing_options(options).with_schema(schema);
    let files = ListingTable::try_new(config).map_err(failed)?;
    context.register_table(table, Arc::new(files)).map_err(failed)?;
    Ok((context, listed))
}

/// The URL of a source; paths are relative to `base`.
fn locate(url: &str, base: &Path) -> Result<Url, DataError> {
    let denied = |why: String| DataError::AccessDenied { url: url.to_owned(), why };
    if url.contains("://") {
        return Url::parse(url).map_err(|error| denied(format!("it is not a URL ({error}); write scheme://host/path")));
    }
    let path = std::path::absolute(base.join(url)).map_err(|error| denied(error.to_string()))?;
    let path = without_parents(&path);
    Url::from_file_path(&path).map_err(|()| denied(format!("{} is not a path that can be a URL", path.display())))
}

/// The path without `..`, which stores refuse: as it is written, whatever links are on the way.
fn without_parents(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// The environment's settings of clouds (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, …) by the names stores know.
fn options_of_environment() -> impl Iterator<Item = (String, String)> {
    let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    let named = std::env::vars_os().filter_map(text).map(|(key, value)| (key.to_ascii_lowercase(), value));
    named.filter(|(key, _)| ["aws_", "google_", "azure_"].iter().any(|cloud| key.starts_with(cloud)))
}

/// What lies at a place.
struct Found {
    /// With a `/` at the end if it is a folder.
    place: Url,
    format: Format,
    extension: String,
    listed: Listed,
}

/// The format of a file or a folder, and its files of that format.
async fn format_of(
    url: &str,
    mut place: Url,
    store: &Arc<dyn ObjectStore>,
    root: object_store::path::Path,
) -> Result<Found, DataError> {
    let failed = |error| failure::explain(&DataFusionError::ObjectStore(Box::new(error)), Doing::Reading { url });
    let on_disk = place.scheme() == "file";
    let folder = place.path().ends_with('/') || place.to_file_path().is_ok_and(|path| path.is_dir());
    if !folder && let Some((format, extension)) = Format::of(place.path()) {
        let extension = format!(".{extension}");
        let files = vec![store.head(&root).await.map_err(failed)?];
        return Ok(Found { place, format, extension, listed: Listed { root, on_disk, files, complete: true } });
    }
    if !folder && store.head(&root).await.is_ok() {
        let why = "it is a file whose name ends in none of .parquet, .csv, .jsonl, .ndjson and .json; what is compressed must be \
                   unpacked, and what is separated by tabs written with commas"
            .to_owned();
        return Err(DataError::AccessDenied { url: url.to_owned(), why });
    }
    let mut listing = store.list(Some(&root)).take(LISTED_MAX + 1);
    let mut seen: Vec<ObjectMeta> = Vec::new();
    while let Some(file) = listing.next().await {
        seen.push(file.map_err(failed)?);
    }
    drop(listing);
    let complete = seen.len() <= LISTED_MAX;
    seen.truncate(LISTED_MAX);
    let first = seen
        .iter()
        .filter_map(|file| Some((&file.location, Format::of(file.location.as_ref())?)))
        .min_by_key(|(name, _)| *name);
    let Some((_, (format, extension))) = first else {
        let why = format!(
            "{} files were found there and none ends in .parquet, .csv, .jsonl, .ndjson or .json; check the path and the extension",
            seen.len()
        );
        return Err(DataError::AccessDenied { url: url.to_owned(), why });
    };
    let extension = format!(".{extension}");
    if !place.path().ends_with('/') {
        let with_slash = format!("{}/", place.path());
        place.set_path(&with_slash);
    }
    let files = seen.into_iter().filter(|file| file.location.as_ref().ends_with(&extension)).collect();
    Ok(Found { place, format, extension, listed: Listed { root, on_disk, files, complete } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_begin_at_their_base() {
        let base = Path::new("/srv/shop/manifests");
        for (url, place) in [
            ("sales/", "file:///srv/shop/manifests/sales"),
            ("../sales/", "file:///srv/shop/sales"),
            ("./a/../../b.csv", "file:///srv/shop/b.csv"),
            ("/data/x.parquet", "file:///data/x.parquet"),
            ("../../../../x", "file:///x"),
            ("s3://b/sales/", "s3://b/sales/"),
        ] {
            assert_eq!(locate(url, base).unwrap().as_str(), place, "{url}");
        }
    }
}
