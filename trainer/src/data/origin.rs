//! What the files of a source were and which columns its SQL gave, for the run's provenance.
//!
//! What it does not do: it reads no content. A snapshot says which files there were in which state; the digest of the rows
//! says what was in them.

use datafusion::common::DFSchema;
use fairway_registry::provenance::{Column, Schema, Snapshot};
use jiff::Timestamp;
use object_store::ObjectMeta;
use object_store::path::Path;
use serde_json::json;

use crate::fingerprint;

/// Most columns that are named.
const COLUMNS_MAX: usize = 200;

/// Files and columns of one source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// The files when reading began.
    pub snapshot: Snapshot,
    /// The columns of the SQL's output.
    pub schema: Schema,
}

/// The files of a source.
pub(super) struct Listed {
    /// The file or folder that the URL names.
    pub(super) root: Path,
    /// On disk, an entity tag holds the number of the inode, which a copy does not keep; the time of change does instead.
    pub(super) on_disk: bool,
    pub(super) files: Vec<ObjectMeta>,
    /// Whether these are all.
    pub(super) complete: bool,
}

/// The identity of a list of files: names below the root, sizes, and entity tags (or times of change).
pub(super) fn snapshot(mut listed: Listed) -> Snapshot {
    listed.files.sort_by(|a, b| a.location.cmp(&b.location));
    let name = |file: &ObjectMeta| match file.location.prefix_match(&listed.root) {
        Some(parts) if file.location != listed.root => {
            parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/")
        }
        _ => file.location.filename().unwrap_or_default().to_owned(),
    };
    let state = |file: &ObjectMeta| match &file.e_tag {
        Some(tag) if !listed.on_disk => json!(tag),
        _ => json!(file.last_modified.timestamp_millis()),
    };
    let identity: Vec<_> = listed.files.iter().map(|file| json!([name(file), file.size, state(file)])).collect();
    let newest = listed.files.iter().map(|file| file.last_modified.timestamp_millis()).max();
    Snapshot {
        digest: listed.complete.then(|| fingerprint::of_bytes(json!(identity).to_string().as_bytes())),
        files: Some(listed.files.len() as u64),
        bytes: Some(listed.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size))),
        newest: newest.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        ..Snapshot::default()
    }
}

/// Names and types of columns, in their order.
pub(super) fn schema(schema: &DFSchema) -> Schema {
    let columns = schema.fields().iter();
    let columns: Vec<(&String, String)> = columns.map(|field| (field.name(), field.data_type().to_string())).collect();
    let digest = fingerprint::of_bytes(json!(columns).to_string().as_bytes());
    let named = columns.into_iter().take(COLUMNS_MAX).map(|(name, kind)| Column { name: name.clone(), kind });
    Schema { digest: Some(digest), columns: named.collect(), ..Schema::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64, tag: Option<&str>) -> ObjectMeta {
        let last_modified = Default::default();
        ObjectMeta { location: path.into(), last_modified, size, e_tag: tag.map(str::to_owned), version: None }
    }

    fn digest(root: &str, on_disk: bool, files: &[ObjectMeta]) -> String {
        let listed = Listed { root: root.into(), on_disk, files: files.to_vec(), complete: true };
        snapshot(listed).digest.unwrap()
    }

    #[test]
    fn a_snapshot_is_the_list_of_files_in_any_order_and_any_place() {
        let (one, two) = (file("s/a/1.csv", 5, Some("x")), file("s/a/b/2.csv", 6, Some("y")));
        let expected = digest("s/a", false, &[one.clone(), two.clone()]);
        assert_eq!(expected, digest("s/a", false, &[two.clone(), one.clone()]));
        let moved = [file("t/1.csv", 5, Some("x")), file("t/b/2.csv", 6, Some("y"))];
        assert_eq!(expected, digest("t", false, &moved));
        for other in [
            vec![one.clone()],
            vec![one.clone(), file("s/a/b/2.csv", 7, Some("y"))],
            vec![one.clone(), file("s/a/b/2.csv", 6, Some("z"))],
            vec![one.clone(), file("s/a/b/3.csv", 6, Some("y"))],
        ] {
            assert_ne!(expected, digest("s/a", false, &other), "{other:?}");
        }
        // On disk the tag does not count; a file is its own root.
        assert_eq!(digest("d", true, &[file("d/1", 5, Some("x"))]), digest("d", true, &[file("d/1", 5, Some("y"))]));
        assert_eq!(digest("d/1", false, &[file("d/1", 5, None)]), digest("e/1", false, &[file("e/1", 5, None)]));
    }

    #[test]
    fn of_too_many_files_there_is_no_digest() {
        let files = vec![file("a/1", 5, None), file("a/2", 6, None)];
        let cut = snapshot(Listed { root: "a".into(), on_disk: true, files, complete: false });
        assert_eq!((cut.digest, cut.files, cut.bytes), (None, Some(2), Some(11)));
        assert_eq!(cut.newest, Some(Timestamp::UNIX_EPOCH));
    }
}
