//! What the query engine says, as a reason with a cure.

use std::error::Error as StdError;
use std::io;

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

use super::error::DataError;
use super::session::MEMORY_BYTES;

/// What was tried when it failed.
#[derive(Clone, Copy)]
pub(super) enum Doing<'a> {
    /// Listing or reading the files at a URL.
    Reading {
        /// As the manifest has it.
        url: &'a str,
    },
    /// Planning or running the SQL for a table.
    Querying {
        /// The table.
        table: &'a str,
        /// Its files.
        url: &'a str,
    },
}

impl Doing<'_> {
    fn url(self) -> String {
        match self {
            Self::Reading { url } | Self::Querying { url, .. } => url.to_owned(),
        }
    }
}

/// The reason that an error of the engine stands for.
pub(super) fn explain(error: &DataFusionError, doing: Doing<'_>) -> DataError {
    if let Some(why) = denied(error) {
        return DataError::AccessDenied { url: doing.url(), why };
    }
    let root = error.find_root();
    let said = root.strip_backtrace();
    match (doing, root) {
        (Doing::Querying { table, .. }, DataFusionError::ResourcesExhausted(_)) => {
            let limit = format!("{} MiB of memory", MEMORY_BYTES >> 20);
            DataError::TooExpensive { table: table.to_owned(), limit }
        }
        (Doing::Querying { table, .. }, DataFusionError::SchemaError(schema, _)) => match &**schema {
            SchemaError::FieldNotFound { field, valid_fields } => DataError::ColumnMissing {
                column: field.name.clone(),
                place: format!("`{table}`"),
                existing: valid_fields.iter().map(|column: &Column| column.name.clone()).collect(),
                cure: "correct the name in the SQL (names with capitals need double quotes)".to_owned(),
            },
            _ => DataError::SqlInvalid { table: table.to_owned(), why: said },
        },
        (Doing::Querying { url, .. }, DataFusionError::ParquetError(_)) => unreadable(url, &said),
        (Doing::Querying { table, .. }, _) => DataError::SqlInvalid { table: table.to_owned(), why: said },
        (Doing::Reading { url }, _) => unreadable(url, &said),
    }
}

fn unreadable(url: &str, said: &str) -> DataError {
    DataError::AccessDenied {
        url: url.to_owned(),
        why: format!("{said}; is the file whole and what its extension says?"),
    }
}

/// Why access failed, if that is the reason, anywhere in the chain of causes.
fn denied(error: &DataFusionError) -> Option<String> {
    let root: &DataFusionError = error.find_root();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(root);
    while let Some(error) = cause {
        if let Some(store) = error.downcast_ref::<object_store::Error>() {
            return Some(of_store(store));
        }
        if let Some(io) = error.downcast_ref::<io::Error>()
            && matches!(io.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        {
            return Some(format!("{io}; check the path and its permissions"));
        }
        cause = error.source();
    }
    None
}

fn of_store(error: &object_store::Error) -> String {
    match error {
        object_store::Error::NotFound { path, .. } => format!("there is nothing at {path}; check the path"),
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            format!("{error}; check the credentials in the environment, and that they may list and read")
        }
        _ => format!("{error}; check the URL, the region and the network"),
    }
}
