//! What independent tools make of the layouts. Without the tool a test says loudly that it did not
//! run; where `FAIRWAY_REQUIRE_TOOLS=1` it fails instead.

use super::{OUTS, content, plain, write};
use crate::oci::{Format, import};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Whether the tool is there.
fn has(tool: &str) -> bool {
    if Command::new(tool).arg("--version").output().is_ok() {
        return true;
    }
    assert!(std::env::var("FAIRWAY_REQUIRE_TOOLS").as_deref() != Ok("1"), "{tool} is not on PATH");
    eprintln!("SKIPPED: {tool} is not on PATH, so that no independent reader checked the OCI layouts");
    false
}

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").args(arguments).output().unwrap();
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn named(out: &str, place: &Path) -> String {
    let transport = if out.ends_with(".tar") { "oci-archive" } else { "oci" };
    format!("{transport}:{}:v7", place.join(out).display())
}

#[test]
fn skopeo_reads_both_formats_and_what_it_writes_is_read() {
    if !has("skopeo") {
        return;
    }
    let version = plain();
    for format in [Format::Modelcar, Format::Modelpack] {
        for out in OUTS {
            let place = tempfile::tempdir().unwrap();
            let exported = write(&version, format, &place.path().join(out)).unwrap();
            let source = named(out, place.path());
            let raw: Value = serde_json::from_slice(&skopeo(&["inspect", "--raw", &source])).unwrap();
            assert_eq!(raw["annotations"]["org.opencontainers.image.title"], "shop/homefeed");
            if format == Format::Modelcar {
                let seen: Value = serde_json::from_slice(&skopeo(&["inspect", &source])).unwrap();
                assert_eq!(seen["Digest"], exported.digest.as_str());
                assert_eq!((&seen["Os"], &seen["Architecture"]), (&"linux".into(), &"amd64".into()));
                assert_eq!(seen["Labels"]["org.opencontainers.image.version"], "7");
            }
            // It checks every blob while it copies. Left to itself it compresses layers.
            let copy = place.path().join("copy");
            let target = format!("oci:{}:again", copy.display());
            skopeo(&["--insecure-policy", "copy", "--preserve-digests", &source, &target]);
            let imported = import(&copy, Some("again"), &place.path().join("into"), &mut |_| {}).unwrap();
            assert_eq!(imported.digest, exported.digest);
            assert_eq!(content(&place.path().join("into")), version.files);
        }
    }
}
