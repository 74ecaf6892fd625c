//! How people and manifests name a version. It resolves nothing: a model's log does.

use crate::{Digest, Error, Result, names};
use std::fmt;
use std::str::FromStr;

/// A reference to a version: `@champion`, `3`, `sha256:…`, or the same behind a model's name:
/// `models:/name@champion`, `models:/name/3`, `models:/name@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The model's name, when the reference gives one.
    pub model: Option<String>,
    /// Which of its versions.
    pub target: Target,
}

/// Which version of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The version that an alias points to.
    Alias(String),
    /// The version with this number.
    Number(u64),
    /// The newest version with this digest.
    Digest(Digest),
}

impl Reference {
    /// The version that this alias points to.
    pub fn alias(alias: impl Into<String>) -> Reference {
        Target::Alias(alias.into()).into()
    }

    /// The version with this number.
    pub fn number(number: u64) -> Reference {
        Target::Number(number).into()
    }

    /// The version with this digest.
    pub fn digest(digest: Digest) -> Reference {
        Target::Digest(digest).into()
    }
}

impl From<Target> for Reference {
    fn from(target: Target) -> Reference {
        Reference { model: None, target }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        let wrong = || Error::Reference(text.chars().take(80).flat_map(char::escape_default).collect());
        let Some(rest) = text.strip_prefix("models:/") else {
            return Ok(target(text).map_err(|_| wrong())?.into());
        };
        let split = rest.find(['@', '/']).ok_or_else(wrong)?;
        let (model, tail) = rest.split_at(split);
        names::name("model", model)?;
        let target = match tail.strip_prefix('/') {
            Some(number) => Target::Number(self::number(number).ok_or_else(wrong)?),
            None if tail.starts_with("@sha256:") => Target::Digest(tail[1..].parse()?),
            None => target(tail).map_err(|_| wrong())?,
        };
        Ok(Reference { model: Some(model.to_owned()), target })
    }
}

fn target(text: &str) -> Result<Target> {
    if let Some(alias) = text.strip_prefix('@') {
        names::name("alias", alias)?;
        return Ok(Target::Alias(alias.to_owned()));
    }
    match number(text) {
        Some(number) => Ok(Target::Number(number)),
        None => Ok(Target::Digest(text.parse()?)),
    }
}

/// Digits only: `u64::from_str` would also take `+3`.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.model.as_deref();
        match (&self.target, model) {
            (Target::Alias(alias), None) => write!(f, "@{alias}"),
            (Target::Number(number), None) => write!(f, "{number}"),
            (Target::Digest(digest), None) => write!(f, "{digest}"),
            (Target::Alias(alias), Some(model)) => write!(f, "models:/{model}@{alias}"),
            (Target::Number(number), Some(model)) => write!(f, "models:/{model}/{number}"),
            (Target::Digest(digest), Some(model)) => write!(f, "models:/{model}@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_round_trip() {
        let digest = Digest::of(b"x");
        let texts = [
            "@champion".to_owned(),
            "3".to_owned(),
            digest.to_string(),
            "models:/home-feed@champion".to_owned(),
            "models:/home-feed/3".to_owned(),
            format!("models:/home-feed@{digest}"),
        ];
        for text in texts {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        assert_eq!("@champion".parse::<Reference>().unwrap(), Reference::alias("champion"));
        assert_eq!("7".parse::<Reference>().unwrap(), Reference::number(7));
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "champion",
            "@",
            "@A",
            "+3",
            "-1",
            "3 ",
            "18446744073709551616",
            "sha256:ab",
            "models:/",
            "models:/name",
            "models:/name/",
            "models:/name/x",
            "models:/name@",
            "models:/../x@champion",
            "models:/name@sha256:ab",
            "models:/@champion",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
