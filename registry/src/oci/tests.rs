//! Export and import as their users see them: what goes in comes out, the same bytes each time,
//! and nothing half made is left behind.

mod hostile;
mod tools;

use super::{About, Architecture, Format, export, import};
use crate::digest::sha256;
use crate::manifest::{MANIFEST, SIGNATURE};
use crate::{Digest, Error, File, Manifest};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const FORMATS: [Format; 2] = [Format::Modelcar, Format::Modelpack];
const OUTS: [&str; 2] = ["image", "image.tar"];

/// A tree on disk, with its manifest, a signature and what is to be said about it.
struct Version {
    tree: TempDir,
    manifest: Manifest,
    about: About,
    files: BTreeMap<String, Vec<u8>>,
}

fn version(files: &BTreeMap<String, Vec<u8>>) -> Version {
    let described = |(path, bytes): (&String, &Vec<u8>)| File {
        path: path.clone(),
        bytes: bytes.len() as u64,
        sha256: sha256(bytes),
    };
    let manifest = Manifest::new(files.iter().map(described).collect()).unwrap();
    let (sealed, digest) = manifest.seal().unwrap();
    let mut files = files.clone();
    files.insert(MANIFEST.to_owned(), sealed.to_vec());
    files.insert(SIGNATURE.to_owned(), b"{\"mediaType\":\"a bundle\"}".to_vec());
    let tree = tempfile::tempdir().unwrap();
    for (path, bytes) in &files {
        let place = tree.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }
    Version { tree, manifest, about: about(digest), files }
}

fn about(digest: Digest) -> About {
    About {
        namespace: "shop".to_owned(),
        model: "homefeed".to_owned(),
        version: 7,
        digest,
        created: crate::Timestamp::from_second(1_800_000_000).unwrap(),
        architecture: Architecture::Amd64,
        family: Some("two-tower".to_owned()),
        reference: "v7".to_owned(),
        annotations: BTreeMap::from([("org.opencontainers.image.licenses".to_owned(), "Apache-2.0".to_owned())]),
        base: None,
    }
}

/// Files of each kind: empty, twice the same, deep, with names that a plain tar header cannot hold.
fn plain() -> Version {
    let long = format!("{}/{}/{}.bin", "a".repeat(190), "b".repeat(190), "c".repeat(100));
    let edge = "d".repeat(100 - "models/".len());
    let files = [
        ("bundle.json", b"{\"format\":1}".to_vec()),
        ("weights/item.safetensors", vec![7; 3 * 512]),
        ("weights/user.safetensors", vec![7; 3 * 512]),
        ("README.md", b"# homefeed".to_vec()),
        ("empty", Vec::new()),
        (&edge, vec![1]),
        (&format!("{edge}e"), vec![2; 513]),
        (&long, vec![3; 2 << 20]),
    ];
    version(&files.map(|(path, bytes)| (path.to_owned(), bytes)).into())
}

fn content(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let place = entry.unwrap().path();
            if place.is_dir() {
                folders.push(place);
            } else {
                let path = place.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                all.insert(path, fs::read(place).unwrap());
            }
        }
    }
    all
}

fn write(version: &Version, format: Format, out: &Path) -> crate::Result<super::Exported> {
    export(version.tree.path(), &version.manifest, &version.about, format, out, &mut |_| {})
}

/// The whole way there and back.
fn round_trip(version: &Version, format: Format, out: &str) {
    let place = tempfile::tempdir().unwrap();
    let (out, into) = (place.path().join(out), place.path().join("into"));
    let total: u64 = version.files.values().map(|bytes| bytes.len() as u64).sum();
    let mut told = 0;
    let exported =
        export(version.tree.path(), &version.manifest, &version.about, format, &out, &mut |b| told += b).unwrap();
    assert_eq!(told, total);
    told = 0;
    let imported = import(&out, Some("v7"), &into, &mut |b| told += b).unwrap();
    assert_eq!(told, total);
    assert_eq!(imported.format, format);
    assert_eq!(imported.digest, exported.digest);
    assert_eq!(imported.annotations["org.opencontainers.image.revision"], version.about.digest.to_string());
    assert_eq!(imported.annotations["org.opencontainers.image.title"], "shop/homefeed");
    assert_eq!(imported.annotations["org.opencontainers.image.licenses"], "Apache-2.0");
    assert_eq!(content(&into), version.files);
    let described = |(path, bytes): (&String, &Vec<u8>)| File {
        path: path.clone(),
        bytes: bytes.len() as u64,
        sha256: sha256(bytes),
    };
    assert_eq!(imported.files, version.files.iter().map(described).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "nothing else is left behind");
}

#[test]
fn what_goes_in_comes_out() {
    let version = plain();
    for format in FORMATS {
        for out in OUTS {
            round_trip(&version, format, out);
        }
    }
}

#[test]
fn the_same_version_gives_the_same_image() {
    // These digests are part of the format: an image of an old version must not change its name.
    let golden = [
        "sha256:f377343fc91041843245d009de7ddcaf6749dcb80a61d40f26f8fafc8e149a24",
        "sha256:81813163ebdf760657f5ab2a25ab211c0a865f0dd8bf07bc14f05e7db088a941",
    ];
    for (format, golden) in FORMATS.into_iter().zip(golden) {
        for out in OUTS {
            let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let first = write(&plain(), format, &one.path().join(out)).unwrap();
            let second = write(&plain(), format, &two.path().join(out)).unwrap();
            assert_eq!(first, second);
            assert!(content(one.path()) == content(two.path()), "{format} {out}: bytes differ");
            assert_eq!(first.digest.as_str(), golden, "{format}");
        }
    }
}

#[test]
fn media_types_are_those_of_the_specifications() {
    let place = tempfile::tempdir().unwrap();
    let version = plain();
    let car = write(&version, Format::Modelcar, &place.path().join("car")).unwrap();
    let oci = "application/vnd.oci.image";
    assert_eq!(
        car.media_types,
        [format!("{oci}.manifest.v1+json"), format!("{oci}.config.v1+json"), format!("{oci}.layer.v1.tar")]
    );
    let pack = write(&version, Format::Modelpack, &place.path().join("pack")).unwrap();
    let cncf = "application/vnd.cncf.model";
    let mut types = pack.media_types.clone();
    types.sort();
    let expected = ["config.v1+json", "doc.v1.raw", "manifest.v1+json", "weight.config.v1.raw", "weight.v1.raw"];
    assert_eq!(types, expected.map(|kind| format!("{cncf}.{kind}")));
    // Each file is a blob under its own sha-256.
    for file in &version.manifest.files {
        let blob = place.path().join("pack/blobs/sha256").join(&file.sha256);
        assert_eq!(fs::metadata(blob).unwrap().len(), file.bytes, "{}", file.path);
    }
}

#[test]
fn a_changed_tree_is_refused_and_leaves_nothing() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("another byte", |tree| fs::write(tree.join("bundle.json"), b"{\"format\":2}").unwrap()),
        ("longer", |tree| fs::write(tree.join("bundle.json"), b"{\"format\":1}\n").unwrap()),
        ("shorter", |tree| fs::write(tree.join("bundle.json"), b"{\"format\":1").unwrap()),
        ("another manifest", |tree| fs::write(tree.join(MANIFEST), b"{}").unwrap()),
        // The same content lies under another name, so that the blob is there already.
        ("the second of two", |tree| fs::write(tree.join("weights/user.safetensors"), [8; 3 * 512]).unwrap()),
        ("gone", |tree| fs::remove_file(tree.join("README.md")).unwrap()),
    ];
    for (what, change) in changes {
        for format in FORMATS {
            for out in OUTS {
                let version = plain();
                change(version.tree.path());
                let place = tempfile::tempdir().unwrap();
                let error = write(&version, format, &place.path().join(out)).unwrap_err();
                let as_told = matches!(error, Error::Tampered { .. }) || what == "gone";
                assert!(as_told, "{what}: {error}");
                assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{what}");
            }
        }
    }
}

#[test]
fn what_is_there_is_never_replaced() {
    let version = plain();
    for out in OUTS {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join(out);
        fs::write(&target, b"mine").unwrap();
        assert!(matches!(write(&version, Format::Modelcar, &target), Err(Error::Refused { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        let good = place.path().join("good");
        write(&version, Format::Modelcar, &good).unwrap();
        assert!(matches!(import(&good, None, &target, &mut |_| {}), Err(Error::Refused { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"mine");
    }
}

#[test]
fn what_no_tool_could_use_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("image");
    type Change = fn(&mut About);
    let changes: [Change; 7] = [
        |about| about.reference = String::new(),
        |about| about.reference = "a/b".to_owned(),
        |about| about.reference = ".a".to_owned(),
        |about| about.model = "../x".to_owned(),
        |about| about.digest = Digest::of(b"another"),
        |about| drop(about.annotations.insert("org.opencontainers.image.version".to_owned(), "8".to_owned())),
        |about| drop(about.annotations.insert("big".to_owned(), "x".repeat(1 << 20))),
    ];
    for change in changes {
        let mut version = plain();
        change(&mut version.about);
        assert!(write(&version, Format::Modelcar, &out).is_err(), "{:?}", version.about);
    }
    let whiteout = version(&BTreeMap::from([("weights/.wh.x".to_owned(), vec![1])]));
    assert!(matches!(write(&whiteout, Format::Modelcar, &out), Err(Error::Refused { .. })));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn links_in_the_tree_are_not_followed() {
    for path in ["bundle.json", SIGNATURE] {
        let version = plain();
        let place = tempfile::tempdir().unwrap();
        let link = version.tree.path().join(path);
        fs::rename(&link, version.tree.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        let error = write(&version, Format::Modelpack, &place.path().join("image")).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
}

#[test]
fn a_base_lies_below_the_model() {
    let place = tempfile::tempdir().unwrap();
    let tar = [super::archive::header("bin/sh", 2), b"#!".to_vec(), vec![0; 510 + 1024]].concat();
    let base = place.path().join("base");
    // A layer that looks compressed is taken over as it is: nobody looks into it.
    hostile::Image::of(&[("application/vnd.oci.image.layer.v1.tar+gzip", &tar)]).write(&base);
    let mut version = plain();
    version.about.base = Some(base);
    let (out, into) = (place.path().join("image.tar"), place.path().join("into"));
    let exported = write(&version, Format::Modelcar, &out).unwrap();
    assert_eq!(exported.media_types.len(), 4);
    import(&out, None, &into, &mut |_| {}).unwrap();
    assert_eq!(content(&into), version.files);
    version.about.architecture = Architecture::Arm64;
    let error = write(&version, Format::Modelcar, &place.path().join("other")).unwrap_err();
    assert!(error.to_string().contains("linux/amd64"), "{error}");
    assert!(write(&version, Format::Modelpack, &place.path().join("other")).is_err());
}

#[test]
fn formats_and_architectures_read_as_they_are_written() {
    for format in FORMATS {
        assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
    }
    for architecture in [Architecture::Amd64, Architecture::Arm64] {
        assert_eq!(architecture.to_string().parse::<Architecture>().unwrap(), architecture);
    }
    assert!("Modelcar".parse::<Format>().is_err());
    assert!("x86".parse::<Architecture>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_small_tree_comes_back(
        files in prop::collection::btree_map("[a-c][a-z0-9._+=@-]{0,120}(/[d-f][a-z0-9]{0,90}){0,4}",
            prop::collection::vec(any::<u8>(), 0..1500), 1..6),
        format in prop::sample::select(&FORMATS),
        out in prop::sample::select(&OUTS),
    ) {
        // A file cannot be a folder as well.
        let folder = |path: &str| files.keys().any(|other| other.starts_with(&format!("{path}/")));
        let files = files.iter().filter(|(path, _)| !folder(path) && *path != MANIFEST && *path != SIGNATURE);
        let files = files.map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
        round_trip(&version(&files), format, out);
    }
}
