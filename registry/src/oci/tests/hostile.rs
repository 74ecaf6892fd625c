//! Layouts of other tools, and of people who mean harm.

use super::{FORMATS, content, plain, write};
use crate::oci::archive::{Entries, header};
use crate::oci::{Format, import};
use crate::{Digest, Error};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout that is made by hand.
pub(super) struct Image {
    blobs: Vec<Vec<u8>>,
    index: Value,
}

impl Image {
    /// One image with these layers, each with its media type.
    pub(super) fn of(layers: &[(&str, &[u8])]) -> Image {
        let mut image = Image { blobs: Vec::new(), index: json!({}) };
        let layers: Vec<_> = layers.iter().map(|(kind, bytes)| image.blob(kind, bytes)).collect();
        let ids: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}});
        let config = image.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        image.manifest(&json!({"schemaVersion": 2, "config": config, "layers": layers}));
        image
    }

    /// One artifact with these layers, each with its media type and path.
    fn artifact(layers: &[(&str, &str, &[u8])]) -> Image {
        let mut image = Image { blobs: Vec::new(), index: json!({}) };
        let mut all = Vec::new();
        for (kind, path, bytes) in layers {
            let mut layer = image.blob(&format!("application/vnd.cncf.model.{kind}"), bytes);
            layer["annotations"] = json!({"org.cncf.model.filepath": path});
            all.push(layer);
        }
        let config = image.blob("application/vnd.cncf.model.config.v1+json", b"{}");
        image.manifest(&json!({"schemaVersion": 2, "config": config, "layers": all}));
        image
    }

    fn manifest(&mut self, manifest: &Value) {
        let descriptor = self.blob(IMAGE, manifest.to_string().as_bytes());
        self.index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    }

    fn blob(&mut self, kind: &str, bytes: &[u8]) -> Value {
        self.blobs.push(bytes.to_vec());
        json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()})
    }

    pub(super) fn write(&self, place: &Path) {
        let blobs = place.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for bytes in &self.blobs {
            fs::write(blobs.join(Digest::of(bytes).hex()), bytes).unwrap();
        }
        fs::write(place.join("index.json"), self.index.to_string()).unwrap();
        fs::write(place.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    }

    /// Writes it and reads it back.
    fn read(&self) -> (crate::Result<crate::oci::Imported>, PathBuf, TempDir) {
        let place = tempfile::tempdir().unwrap();
        let (layout, into) = (place.path().join("layout"), place.path().join("into"));
        self.write(&layout);
        let result = import(&layout, None, &into, &mut |_| {});
        let left = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, if result.is_ok() { 2 } else { 1 }, "only a whole folder is left");
        (result, into, place)
    }

    /// Reads it and returns why that cannot be.
    fn refusal(&self) -> String {
        self.read().0.unwrap_err().to_string()
    }
}

/// A tar of entries: the flag of their kind, their path, and their content.
fn tar(entries: &[(u8, &str, &[u8])]) -> Vec<u8> {
    let mut all = Vec::new();
    for (kind, path, bytes) in entries {
        all.extend(entry(*kind, path, bytes.len() as u64));
        all.extend(*bytes);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

fn entry(kind: u8, path: &str, bytes: u64) -> Vec<u8> {
    let mut all = header(path, bytes);
    let last = all.len() - 512;
    let mut one = tar::Header::from_byte_slice(&all[last..]).clone();
    one.set_entry_type(tar::EntryType::new(kind));
    one.set_cksum();
    all.truncate(last);
    all.extend(one.as_bytes());
    all
}

#[test]
fn several_layers_lie_over_each_other() {
    let base = tar(&[
        (b'5', "./", b""),
        (b'0', "./etc/passwd", b"root"),
        (b'2', "bin", b""),
        (b'1', "usr/bin/[", b""),
        (b'3', "dev/null", b""),
        (b'0', "models/a", b"old and long"),
        (b'0', "models/b/c", b"kept"),
    ]);
    let over = tar(&[(b'5', "./models/", b""), (b'5', "./models/b/", b""), (b'0', "./models/a", b"new")]);
    let (result, into, _place) = Image::of(&[(TAR, &base), (TAR, &over)]).read();
    let paths: Vec<_> = result.unwrap().files.into_iter().map(|file| (file.path, file.bytes)).collect();
    assert_eq!(paths, [("a".to_owned(), 3), ("b/c".to_owned(), 4)]);
    assert_eq!(content(&into)["a"], b"new");
}

#[test]
fn paths_and_sizes_of_pax_are_read() {
    let long = format!("models/{}/{}", "x".repeat(150), "y".repeat(150));
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
        format!("{length}{rest}")
    };
    let records = record("mtime", "1.5") + &record("SCHILY.xattr.user.x", "a\nb") + &record("path", &long);
    let layer = tar(&[
        (b'g', "pax_global_header", record("comment", "x").as_bytes()),
        (b'x', "x", records.as_bytes()),
        (b'0', "models/cut", b"content"),
    ]);
    let (result, into, _place) = Image::of(&[(TAR, &layer)]).read();
    assert_eq!(result.unwrap().files[0].path, long["models/".len()..]);
    assert_eq!(content(&into)[&long["models/".len()..]], b"content");

    for (kind, bad) in [
        (b'g', record("path", "models/other")),
        (b'g', record("size", "1")),
        (b'x', record("GNU.sparse.major", "1")),
        (b'x', record("size", "99999999999999999999999")),
        (b'x', record("size", "18446744073709551615")),
        (b'x', record("path", "models/../../x")),
        (b'x', "5 a=".to_owned()),
        (b'x', "999 a=b\n".to_owned()),
        (b'x', "-1 a=b\n".to_owned()),
        (b'x', "0 \n".to_owned()),
        (b'L', "../x".to_owned()),
        (b'L', "x".repeat(100_000)),
    ] {
        let layer = tar(&[(kind, "x", bad.as_bytes()), (b'0', "models/a", b"content")]);
        let refusal = Image::of(&[(TAR, &layer)]).refusal();
        assert!(!refusal.contains("content has sha256"), "{bad}: {refusal}");
    }
}

#[test]
fn layers_that_would_do_harm_are_refused() {
    let sparse: &[u8] = b"";
    for (what, entries) in [
        ("leads out", vec![(b'0', "models/../../x", sparse)]),
        ("leads out", vec![(b'0', "../models/x", sparse)]),
        ("leads out", vec![(b'0', "/models/x", sparse)]),
        ("leads out", vec![(b'5', "a/..", sparse)]),
        ("may hold only", vec![(b'0', "models/a b", sparse)]),
        ("may hold only", vec![(b'5', "models/a\x1b[0m/", sparse)]),
        ("must not hold", vec![(b'0', "models/./x", sparse)]),
        ("is a link", vec![(b'2', "models/x", sparse)]),
        ("is a hard link", vec![(b'1', "models/x", sparse)]),
        ("is a device", vec![(b'3', "models/x", sparse)]),
        ("is a device", vec![(b'4', "models/x", sparse)]),
        ("is a pipe", vec![(b'6', "models/x", sparse)]),
        ("is no folder", vec![(b'2', "models", sparse)]),
        ("is no folder", vec![(b'0', "models", sparse)]),
        ("unknown or sparse", vec![(b'S', "models/x", sparse)]),
        ("has content", vec![(b'2', "x", b"content")]),
        ("has content", vec![(b'5', "models/x/", b"content")]),
        ("removes files", vec![(b'0', "models/.wh.x", sparse)]),
        ("removes files", vec![(b'0', ".wh..wh..opq", sparse)]),
        ("twice", vec![(b'0', "models/x", sparse), (b'0', "./models/x", sparse)]),
        ("both a file and a folder", vec![(b'0', "models/x", sparse), (b'0', "models/x/y", sparse)]),
        ("both a file and a folder", vec![(b'0', "models/x/y", sparse), (b'0', "models/x", sparse)]),
        ("no files below /models", vec![(b'0', "model/x", sparse)]),
        ("no files below /models", vec![]),
    ] {
        let refusal = Image::of(&[(TAR, &tar(&entries))]).refusal();
        assert!(refusal.contains(what), "{what}: {refusal}");
    }
}

#[test]
fn files_beyond_the_octal_sizes_of_tar_are_found_again() {
    // 11 octal digits end at 8 GiB; the file has holes and takes no room.
    let bytes = 9_u64 << 30;
    let place = tempfile::tempdir().unwrap();
    let mut file = fs::File::create_new(place.path().join("a.tar")).unwrap();
    file.write_all(&header("large", bytes)).unwrap();
    file.seek(SeekFrom::Current(bytes as i64)).unwrap();
    file.write_all(&header("small", 0)).unwrap();
    file.rewind().unwrap();
    let mut entries = Entries::seeking(&mut file, "a.tar", 2);
    let found: Vec<_> = std::iter::from_fn(|| entries.next().unwrap()).map(|e| (e.path, e.bytes, e.position)).collect();
    assert_eq!(found, [("large".to_owned(), bytes, 512), ("small".to_owned(), 0, bytes + 1024)]);
}

#[test]
fn archives_that_lie_about_sizes_are_refused() {
    let cut = [entry(b'0', "models/x", 1 << 40), vec![1; 1024]].concat();
    let huge = entry(b'0', "models/x", u64::MAX);
    let many: Vec<_> = (0..1_100).map(|i| format!("models/{i}")).collect();
    let many: Vec<_> = many.iter().map(|path| (b'0', path.as_str(), b"".as_slice())).collect();
    let mut sum = entry(b'0', "models/x", 0);
    sum[0] ^= 1;
    for layer in [cut, huge, tar(&many), sum, vec![0x1f, 0x8b, 8], vec![9; 512]] {
        Image::of(&[(TAR, &layer)]).refusal();
    }
}

#[test]
fn compressed_layers_are_refused_with_a_way_out() {
    for kind in
        [GZIP, "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.image.rootfs.diff.tar.gzip"]
    {
        let refusal = Image::of(&[(kind, &tar(&[(b'0', "models/x", b"")]))]).refusal();
        assert!(refusal.contains("uncompressed layers"), "{refusal}");
    }
    let refusal = Image::artifact(&[("weight.v1.tar+gzip", "x", b"")]).refusal();
    assert!(refusal.contains("uncompressed layers"), "{refusal}");
}

#[test]
fn artifacts_of_other_tools_are_read() {
    let layer = tar(&[(b'0', "config/c.json", b"{}"), (b'0', "README.md", b"#")]);
    let image = Image::artifact(&[("weight.v1.raw", "w.bin", b"abc"), ("doc.v1.tar", "ignored", &layer)]);
    let (result, into, _place) = image.read();
    assert_eq!(result.unwrap().format, Format::Modelpack);
    assert_eq!(content(&into).into_keys().collect::<Vec<_>>(), ["README.md", "config/c.json", "w.bin"]);
    for layers in [
        vec![("weight.v1.raw", "../x", b"".as_slice())],
        vec![("weight.v1.raw", "/x", b"")],
        vec![("weight.v1.raw", "", b"")],
        vec![("weight.v1.raw", "x", b"a"), ("doc.v1.raw", "x", b"b")],
        vec![("weight.v1.raw", "x", b"a"), ("doc.v1.raw", "x/y", b"b")],
        vec![("weight.v1.rot13", "x", b"")],
        vec![],
    ] {
        Image::artifact(&layers).refusal();
    }
}

#[test]
fn blobs_that_were_changed_are_refused() {
    for format in FORMATS {
        let place = tempfile::tempdir().unwrap();
        let good = place.path().join("good");
        write(&plain(), format, &good).unwrap();
        let blobs = good.join("blobs/sha256");
        for blob in fs::read_dir(&blobs).unwrap() {
            let blob = blob.unwrap().path();
            let kept = fs::read(&blob).unwrap();
            let mut flipped = kept.clone();
            if let Some(last) = flipped.last_mut() {
                *last ^= 1;
            }
            for changed in [flipped, [kept.as_slice(), b"x"].concat(), kept[..kept.len().saturating_sub(1)].to_vec()] {
                if changed == kept {
                    continue;
                }
                fs::write(&blob, &changed).unwrap();
                let error = import(&good, None, &place.path().join("into"), &mut |_| {}).unwrap_err();
                assert!(matches!(error, Error::Tampered { .. }), "{format} {}: {error}", blob.display());
                assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
            }
            fs::remove_file(&blob).unwrap();
            let error = import(&good, None, &place.path().join("into"), &mut |_| {}).unwrap_err();
            assert!(matches!(error, Error::NotFound(_)), "{error}");
            fs::write(&blob, &kept).unwrap();
        }
    }
}

#[test]
fn one_of_several_images_is_named() {
    let mut image = Image::of(&[(TAR, &tar(&[(b'0', "models/one", b"1")]))]);
    let mut one = image.index["manifests"][0].take();
    let second = Image::of(&[(TAR, &tar(&[(b'0', "models/two", b"2")]))]);
    let mut two = second.index["manifests"][0].clone();
    image.blobs.extend(second.blobs);
    one["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    two["annotations"] = json!({"org.opencontainers.image.ref.name": "v2"});
    image.index = json!({"schemaVersion": 2, "manifests": [one, two]});
    let refusal = image.refusal();
    assert!(refusal.contains("v1, v2") || refusal.contains("v2, v1"), "{refusal}");
    let place = tempfile::tempdir().unwrap();
    image.write(&place.path().join("layout"));
    for (reference, path) in [("v1", "one"), (two["digest"].as_str().unwrap(), "two")] {
        let into = place.path().join(path);
        let imported = import(&place.path().join("layout"), Some(reference), &into, &mut |_| {}).unwrap();
        assert_eq!(imported.files[0].path, path);
    }
    let missing = import(&place.path().join("layout"), Some("v3"), &place.path().join("three"), &mut |_| {});
    assert!(matches!(missing, Err(Error::NotFound(what)) if what.contains("v3")));

    // As BuildKit writes it: an index in the index, with a statement about the image beside it.
    one["platform"] = json!({"os": "linux", "architecture": "amd64"});
    two["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let inner = image.blob(INDEX, json!({"schemaVersion": 2, "manifests": [one, two]}).to_string().as_bytes());
    image.index = json!({"schemaVersion": 2, "manifests": [inner, one]});
    assert_eq!(image.read().0.unwrap().files[0].path, "one");
}

#[test]
fn other_things_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let into = place.path().join("into");
    let import = |layout: &Path| import(layout, None, &into, &mut |_| {}).unwrap_err();
    assert!(matches!(import(&place.path().join("nowhere")), Error::Io { .. }));
    assert!(matches!(import(place.path()), Error::NotFound(_)));
    let file = place.path().join("file.tar");
    for bytes in [b"".as_slice(), b"no tar", &[0; 1024], &[7; 1024]] {
        fs::write(&file, bytes).unwrap();
        import(&file);
    }
    let layout = place.path().join("layout");
    Image::of(&[(TAR, &tar(&[(b'0', "models/x", b"")]))]).write(&layout);
    fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\":\"2.0.0\"}").unwrap();
    assert!(import(&layout).to_string().contains("version"));
    fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    fs::write(layout.join("index.json"), vec![b' '; (4 << 20) + 1]).unwrap();
    assert!(import(&layout).to_string().contains("of JSON"));
    fs::write(layout.join("index.json"), "[".repeat(100_000)).unwrap();
    assert!(matches!(import(&layout), Error::Corrupt { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_index_and_no_manifest_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut image = Image::of(&[(TAR, &tar(&[(b'0', "models/x", b"1")]))]);
        // Wild bytes, and bytes that are nearly right.
        let mut near = image.blobs[2].clone();
        let from = at.index(near.len());
        let to = (from + bytes.len().min(3)).min(near.len());
        near.splice(from..to, bytes.iter().copied().take(3));
        let manifest = image.blob(IMAGE, if whole { &bytes } else { &near });
        image.index = json!({"schemaVersion": 2, "manifests": [manifest]});
        let _ = image.read();
        let place = tempfile::tempdir().unwrap();
        image.write(place.path());
        fs::write(place.path().join("index.json"), if whole { &bytes } else { &near }).unwrap();
        let _ = import(place.path(), None, &place.path().join("into"), &mut |_| {});
    }

    #[test]
    fn no_layer_panics_or_leaves_its_folder(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        fix in any::<bool>(),
    ) {
        let mut layer = tar(&[(b'5', "models/", b""), (b'x', "x", b"16 path=models/a\n"), (b'0', "models/x", b"12"),
            (b'L', "x", b"models/b"), (b'0', "y", b"")]);
        for (at, byte) in changes {
            let at = at.index(layer.len());
            layer[at] = byte;
        }
        if fix {
            // Right sums, so that what stands behind them is reached.
            for block in layer.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                let mut one = tar::Header::from_byte_slice(block).clone();
                one.set_cksum();
                block.copy_from_slice(one.as_bytes());
            }
        }
        let _ = Image::of(&[(TAR, &layer)]).read();
    }

    #[test]
    fn no_archive_panics(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..700)) {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("image.tar");
        write(&super::version(&[("a".to_owned(), vec![1])].into()), Format::Modelcar, &out).unwrap();
        let mut all = fs::read(&out).unwrap();
        let from = at.index(all.len());
        let to = (from + bytes.len()).min(all.len());
        all[from..to].copy_from_slice(&bytes[..to - from]);
        fs::write(&out, &all).unwrap();
        let _ = import(&out, None, &place.path().join("into"), &mut |_| {});
        fs::write(&out, &bytes).unwrap();
        let wild = import(&out, None, &place.path().join("wild"), &mut |_| {});
        prop_assert!(wild.is_err());
    }
}
