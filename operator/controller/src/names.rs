//! Names and labels of what the operator makes. Every name follows from its owner's, so that whoever makes it again makes
//! the same object; and a name that would be too long is shortened by a digest of the whole.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Who appends to the registry's logs, and whose fields ours are in the cluster's objects.
pub(crate) const ACTOR: &str = "fairway";
/// Field manager of statuses.
pub(crate) const STATUS_MANAGER: &str = "fairway-status";
/// The same where nothing is known of an object but that it cannot be read.
pub(crate) const UNREADABLE_MANAGER: &str = "fairway-unreadable";

/// Label of everything that the operator makes.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: the endpoint that it belongs to.
pub(crate) const ENDPOINT: &str = "fairway.dev/endpoint";
/// Label: the model that it belongs to.
pub(crate) const MODEL: &str = "fairway.dev/model";
/// Label: the run that it carries out.
pub(crate) const RUN: &str = "fairway.dev/run";
/// Label: `router`, `server` or `trainer`.
pub(crate) const ROLE: &str = "fairway.dev/role";
/// Annotation: the digest of the version that is served; too long for a label.
pub(crate) const DIGEST: &str = "fairway.dev/digest";
/// Annotation: the number of that version.
pub(crate) const VERSION: &str = "fairway.dev/version";

/// Finalizer of an object whose data in the bucket is deleted before it goes, and the annotation that says where that is.
pub(crate) const BUCKET: &str = "fairway.dev/bucket";

/// Longest name of a Service, and of a label's value (RFC 1123).
const LONGEST: usize = 63;

/// `<owner>-<suffix>`, at most 63 characters.
pub(crate) fn child(owner: &str, suffix: &str) -> String {
    format!("{}-{suffix}", shortened(owner, LONGEST - suffix.len().min(40) - 1))
}

/// A name of at most so many characters: one that is longer ends with eight digits that tell it from others.
pub(crate) fn shortened(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    let mark = mark(name);
    let kept: String = name.chars().take(most - mark.len() - 1).collect();
    format!("{}-{mark}", kept.trim_end_matches(['-', '.']))
}

/// The same by the stricter rule of names that become host names (RFC 1035): a letter first, and no dots.
pub(crate) fn strict(name: &str, most: usize) -> String {
    if name.starts_with(|first: char| first.is_ascii_lowercase()) && !name.contains('.') {
        return shortened(name, most);
    }
    // `a.b` and `a-b` are two names, and stay two.
    let mark = if name.contains('.') { format!("-{}", mark(name)) } else { String::new() };
    shortened(&format!("run-{}{mark}", name.replace('.', "-")), most)
}

/// Eight digits that tell a name from others.
fn mark(name: &str) -> String {
    hex::encode(&Sha256::digest(name.as_bytes())[..4])
}

/// Name of what serves a version: the endpoint's, with the first eight digits of the digest.
pub(crate) fn of_version(endpoint: &str, digest: &str) -> String {
    let hex = digest.rsplit(':').next().unwrap_or(digest);
    child(endpoint, hex.get(..8).unwrap_or(hex))
}

/// Name of the ConfigMap with an endpoint's orders.
pub(crate) fn of_orders(endpoint: &str) -> String {
    child(endpoint, "route")
}

/// Name of an endpoint's routers.
pub(crate) fn of_routers(endpoint: &str) -> String {
    child(endpoint, "router")
}

/// Labels of an endpoint's object of this role.
pub(crate) fn labels(endpoint: &str, role: &str) -> BTreeMap<String, String> {
    [(MANAGED_BY, ACTOR), (ENDPOINT, endpoint), (ROLE, role)].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        assert_eq!(child("shop", "router"), "shop-router");
        assert_eq!(of_version("shop", "sha256:0123456789abcdef"), "shop-01234567");
        let [a, b] = ["a", "b"].map(|end| child(&format!("{}{end}", "x".repeat(80)), "router"));
        assert!(a.len() <= 63 && b.len() <= 63 && a != b, "{a} {b}");
        assert_eq!(child(&"x".repeat(80), "router"), child(&"x".repeat(80), "router"));
    }

    #[test]
    fn names_of_hosts_begin_with_a_letter_and_have_no_dots() {
        assert_eq!(strict("shop-0007-drift", 40), "shop-0007-drift");
        assert_eq!(strict("0142-train", 40), "run-0142-train");
        let names = ["a.b-train", "a-b-train", "0a.b", "run-0a-b", &"9".repeat(60), &format!("{}8", "9".repeat(59))];
        let made: std::collections::BTreeSet<String> = names.iter().map(|name| strict(name, 40)).collect();
        assert_eq!(made.len(), names.len(), "{made:?}");
        let fits =
            |it: &String| it.len() <= 40 && !it.contains('.') && it.starts_with(|c: char| c.is_ascii_lowercase());
        assert!(made.iter().all(fits), "{made:?}");
    }
}
