//! Scalars that name something: a metric with its cut-off, a version, a quantity of Kubernetes resources.

use std::fmt;
use std::str::FromStr;

use fairway_core::policy::{Metric, MetricKind};

use super::{ValueError, scalar};

/// Cut-offs that evaluations compute.
const CUTOFFS: [u16; 3] = [10, 20, 50];

/// An offline metric with its cut-off, such as `recall@20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricName(pub Metric);

impl MetricName {
    /// `recall@20`, what the default gates look at.
    pub const RECALL_20: Self = Self(Metric { kind: MetricKind::Recall, k: 20 });
}

impl FromStr for MetricName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || {
            let help = "recall, ndcg or coverage, at 10, 20 or 50 items: recall@20";
            ValueError::new(format!("`{text}` is not a metric"), help)
        };
        let (kind, k) = text.trim().split_once('@').ok_or_else(wrong)?;
        let kind = match kind {
            "recall" => MetricKind::Recall,
            "ndcg" => MetricKind::Ndcg,
            "coverage" => MetricKind::Coverage,
            _ => return Err(wrong()),
        };
        let k = k.parse().ok().filter(|k| CUTOFFS.contains(k)).ok_or_else(wrong)?;
        Ok(Self(Metric { kind, k }))
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which version of a model: an alias, a number or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionRef {
    /// `@challenger`: follows the alias. Kept without the `@`.
    Alias(String),
    /// `3`: this version and no other.
    Number(u64),
    /// `sha256:…`: this artifact and no other.
    Digest(String),
}

impl FromStr for VersionRef {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let trimmed = text.trim();
        let alias = |name: &str| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 63 && name.bytes().all(inner)
        };
        let digest = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match (trimmed.strip_prefix('@'), trimmed.strip_prefix("sha256:"), trimmed.parse::<u64>()) {
            (Some(name), _, _) if alias(name) => Ok(Self::Alias(name.to_owned())),
            (_, Some(hex), _) if digest(hex) => Ok(Self::Digest(trimmed.to_owned())),
            (_, _, Ok(number)) if number > 0 => Ok(Self::Number(number)),
            _ => Err(ValueError::new(
                format!("`{text}` is not a version"),
                "an alias such as \"@challenger\", a number such as \"3\", or sha256: and 64 hexadecimal digits",
            )),
        }
    }
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias(name) => write!(f, "@{name}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Digest(digest) => f.write_str(digest),
        }
    }
}

/// The digest of an artifact: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// As it is written everywhere.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.trim().parse::<VersionRef>() {
            Ok(VersionRef::Digest(digest)) => Ok(Self(digest)),
            _ => Err(ValueError::new(format!("`{text}` is not a digest"), "sha256: and 64 hexadecimal digits")),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that Kubernetes, the bucket and salts take: lower-case letters, digits and `-`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that is known to be one.
    pub(crate) fn known(name: &'static str) -> Self {
        Self(name.to_owned())
    }
}

impl FromStr for Name {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if crate::manifest::is_dns_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Ok(Self(text.to_owned()));
        }
        let help = "lower-case letters, digits and `-`, beginning with a letter, at most 63";
        Err(ValueError::new(format!("`{text}` is not a name"), help))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Kubernetes quantity such as `4Gi` or `500m`, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity(String);

impl Quantity {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Quantity {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let trimmed = text.trim();
        let number = trimmed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let suffix = &trimmed[number.len()..];
        let known = ["", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];
        let is_number = number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok();
        if known.contains(&suffix) && is_number && number.len() <= 20 {
            return Ok(Self(trimmed.to_owned()));
        }
        let help = "a number with a unit of Kubernetes: cpu \"2\" or 500m, memory 4Gi or 512Mi";
        Err(ValueError::new(format!("`{text}` is not a quantity"), help))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(MetricName, "Metric", "^(recall|ndcg|coverage)@(10|20|50)$", "type": "string", "maxLength": 32);
scalar!(
    VersionRef,
    "Version",
    "^(@[a-z][a-z0-9-]*|[1-9][0-9]*|sha256:[0-9a-f]{64})$",
    "x-kubernetes-int-or-string": true,
    "maxLength": 71,
    "x-kubernetes-validations": [{"rule": "!string(self).matches('^(-.*|0)$')", "message": "versions are numbered from 1"}]
);
scalar!(Digest, "Digest", "^sha256:[0-9a-f]{64}$", "type": "string", "maxLength": 71);
scalar!(Name, "Name", "^[a-z]([a-z0-9-]*[a-z0-9])?$", "type": "string", "maxLength": 63);
scalar!(Quantity, "Quantity", r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$", "x-kubernetes-int-or-string": true, "maxLength": 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics() {
        assert_eq!("ndcg@10".parse::<MetricName>().unwrap().to_string(), "ndcg@10");
        for text in ["recall", "recall@", "recall@21", "precision@10", "recall@20 x"] {
            assert!(text.parse::<MetricName>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for text in ["@challenger", "3", &digest] {
            assert_eq!(text.parse::<VersionRef>().unwrap().to_string(), text);
        }
        assert_eq!(serde_json::from_str::<VersionRef>("3").unwrap(), VersionRef::Number(3));
        for text in ["", "@", "@Ch", "challenger", "0", "-1", "sha256:00", "sha256:zz"] {
            assert!(text.parse::<VersionRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn digests_and_names() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(digest.parse::<Digest>().unwrap().as_str(), digest);
        for text in ["@champion", "3", "sha256:0a"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert_eq!("no-model".parse::<Name>().unwrap().as_str(), "no-model");
        for text in ["", "1st", "Control", "a-", "a b"] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }

    #[test]
    fn quantities() {
        for text in ["2", "500m", "4Gi", "1.5"] {
            assert_eq!(text.parse::<Quantity>().unwrap().as_str(), text);
        }
        for text in ["", "4GB", "Gi", "1.2.3", "inf"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
