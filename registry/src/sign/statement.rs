//! What is signed: an in-toto statement v1 whose predicate lists every file of a model with its
//! sha-256 (OpenSSF Model Signing v1.0). It knows nothing of keys and reads no files.

use super::json::{parse, shown};
use super::{RESOURCES_MAX, Resource, refused};
use crate::digest::is_sha256;
use crate::manifest::SIGNATURE;
use crate::{Error, Result, names};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
const ALGORITHM: &str = "sha256";
const METHOD: &str = "files";
const NAME_MAX: usize = 253;
/// What other verifiers skip at the root of a tree, so that a signature says nothing about it.
const SKIPPED: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// What is read first, so that another kind of statement is named as such instead of as bad JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(rename = "_type")]
    kind: Option<String>,
    predicate_type: Option<String>,
}

// The fields of all structs below are in the order in which they are written: sorted by name.

/// A statement about one model.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate: Predicate,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    resources: Vec<Descriptor>,
    serialization: Serialization,
}

/// A file. The specification lets descriptors carry more, to be ignored.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Descriptor {
    algorithm: String,
    digest: String,
    name: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Serialization {
    allow_symlinks: bool,
    hash_type: String,
    #[serde(default)]
    ignore_paths: Vec<String>,
    method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard_size: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Subject {
    digest: DigestSet,
    name: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DigestSet {
    sha256: String,
}

impl Statement {
    /// The statement that a model has these files, which [`sorted`] has checked.
    pub(super) fn new(name: &str, files: &[Resource]) -> Result<Statement> {
        if name.is_empty() || name.len() > NAME_MAX || name.contains(char::is_control) {
            let reason = format!("must have 1 to {NAME_MAX} bytes and no control characters");
            return Err(Error::Invalid { what: "name of the signed model".to_owned(), reason });
        }
        let describe = |file: &Resource| Descriptor {
            algorithm: ALGORITHM.to_owned(),
            digest: file.sha256.clone(),
            name: file.name.clone(),
        };
        Ok(Statement {
            kind: STATEMENT_TYPE.to_owned(),
            predicate: Predicate {
                resources: files.iter().map(describe).collect(),
                serialization: Serialization {
                    allow_symlinks: false,
                    hash_type: ALGORITHM.to_owned(),
                    ignore_paths: SKIPPED.map(str::to_owned).to_vec(),
                    method: METHOD.to_owned(),
                    shard_size: None,
                },
            },
            predicate_type: PREDICATE_TYPE.to_owned(),
            subject: vec![Subject { digest: DigestSet { sha256: root(files) }, name: name.to_owned() }],
        })
    }

    /// The bytes that are signed: compact JSON with sorted keys.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|source| Error::Json { path: SIGNATURE.to_owned(), source })
    }

    /// Reads a statement, which may say only what this version can check in full.
    pub(super) fn read(payload: &[u8]) -> Result<Statement> {
        let told = |reason| refused(format!("its statement {reason}"));
        let head: Head = parse(payload).map_err(told)?;
        for (what, found, known) in
            [("type", head.kind, STATEMENT_TYPE), ("predicate type", head.predicate_type, PREDICATE_TYPE)]
        {
            let found = found.unwrap_or_default();
            if found != known {
                return Err(told(format!("has {what} `{}`, this version reads `{known}`", shown(&found))));
            }
        }
        let statement: Statement = parse(payload).map_err(told)?;
        statement.predicate.serialization.check().map_err(told)?;
        Ok(statement)
    }

    /// The signed files sorted by name, the model's name, and the root digest, all of them consistent.
    pub(super) fn into_parts(self) -> Result<(Vec<Resource>, String, String)> {
        let told = |reason| refused(format!("its statement {reason}"));
        let Ok([subject]) = <[Subject; 1]>::try_from(self.subject) else {
            return Err(told("must be about one model".to_owned()));
        };
        if subject.name.is_empty() {
            return Err(told("names no model".to_owned()));
        }
        let listed = self.predicate.resources;
        if listed.is_empty() || listed.len() > RESOURCES_MAX {
            return Err(told(format!("lists {} files, must be 1 to {RESOURCES_MAX}", listed.len())));
        }
        let mut files = Vec::with_capacity(listed.len());
        for Descriptor { algorithm, digest, name } in listed {
            if algorithm != ALGORITHM {
                return Err(told(format!(
                    "hashes with `{}`; this version reads only `{ALGORITHM}`",
                    shown(&algorithm)
                )));
            }
            files.push(Resource { name, sha256: digest });
        }
        if let Some((name, reason)) = files.iter().find_map(fault) {
            return Err(told(format!("lists `{name}`, which {reason}")));
        }
        if !ordered(&files) {
            return Err(told("lists its files not sorted, or one of them twice".to_owned()));
        }
        let root = root(&files);
        if subject.digest.sha256 != root {
            let claimed = shown(&subject.digest.sha256);
            return Err(told(format!("has the root digest `{claimed}`, but its files make `{root}`")));
        }
        files.sort();
        Ok((files, shown(&subject.name), root))
    }
}

impl Serialization {
    fn check(&self) -> std::result::Result<(), String> {
        if self.method != METHOD || self.shard_size.is_some() {
            return Err(format!("hashes by `{}`; this version reads only `{METHOD}`", shown(&self.method)));
        }
        if self.hash_type != ALGORITHM {
            return Err(format!("hashes with `{}`; this version reads only `{ALGORITHM}`", shown(&self.hash_type)));
        }
        if self.allow_symlinks {
            return Err("allows symbolic links; sign the model without them".to_owned());
        }
        // The signature cannot list itself. Any other file that is left out is a file that nobody signed.
        let known = |path: &String| SKIPPED.contains(&path.as_str()) || path == SIGNATURE;
        match self.ignore_paths.iter().find(|path| !known(path)) {
            Some(path) => Err(format!("leaves out `{}`; sign every file of the model", shown(path))),
            None => Ok(()),
        }
    }
}

/// These files sorted by name, if a signature may cover them.
pub(super) fn sorted(files: &[Resource]) -> Result<Vec<Resource>> {
    if files.is_empty() || files.len() > RESOURCES_MAX {
        return Err(Error::refused("the tree", format!("has {} files, must have 1 to {RESOURCES_MAX}", files.len())));
    }
    if let Some((name, reason)) = files.iter().find_map(fault) {
        return Err(Error::refused(name, reason));
    }
    let mut files = files.to_vec();
    files.sort();
    match files.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(Error::refused(&pair[0].name, "is there twice")),
        None => Ok(files),
    }
}

/// Why a file cannot be signed, with its name.
fn fault(file: &Resource) -> Option<(String, String)> {
    let reason = match names::key("file", &file.name) {
        Err(Error::Name { reason, .. }) => reason.to_owned(),
        Err(other) => other.to_string(),
        Ok(()) if file.name == SIGNATURE => "is the signature, which cannot cover itself".to_owned(),
        Ok(()) if file.name.split('/').next().is_some_and(|first| SKIPPED.contains(&first)) => {
            "is skipped by other verifiers, so that no signature covers it; remove it from the tree".to_owned()
        }
        Ok(()) if !is_sha256(&file.sha256) => "has no sha-256 of 64 lower-case hex digits".to_owned(),
        Ok(()) => return None,
    };
    Some((shown(&file.name), reason))
}

/// Whether no file is there twice and the order is one of two: by code points, as the specification
/// has it, or by parts of the path, as model-signing 1.1.1 sorts (`a/b` before `a-b`).
fn ordered(files: &[Resource]) -> bool {
    files.is_sorted_by(|a, b| a.name < b.name) || files.is_sorted_by(|a, b| a.name.split('/').lt(b.name.split('/')))
}

/// The sha-256, in hex, over the raw digests in the order of the list.
fn root(files: &[Resource]) -> String {
    let mut hasher = Sha256::new();
    for file in files {
        // Both callers have checked that it is hex.
        hasher.update(hex::decode(&file.sha256).unwrap_or_default());
    }
    hex::encode(hasher.finalize())
}

/// A file as it was signed, and as it is there.
type Pair<'f> = (Option<&'f Resource>, Option<&'f Resource>);

/// Refuses the first file, by name, in which the signed files and those that are there differ.
pub(super) fn compare(signed: &[Resource], there: &[Resource]) -> Result<()> {
    let mut pairs: BTreeMap<&str, Pair<'_>> = BTreeMap::new();
    signed.iter().for_each(|file| pairs.entry(&file.name).or_default().0 = Some(file));
    there.iter().for_each(|file| pairs.entry(&file.name).or_default().1 = Some(file));
    // Two files that both lack their counterpart and have the same content are one that was renamed.
    let gone = |file: &Resource| {
        let same = |pair: &Pair<'_>| matches!(pair, (Some(old), None) if old.sha256 == file.sha256);
        pairs.iter().find(|(_, pair)| same(pair)).map(|(name, _)| *name)
    };
    let come = |file: &Resource| {
        let same = |pair: &Pair<'_>| matches!(pair, (None, Some(new)) if new.sha256 == file.sha256);
        pairs.iter().find(|(_, pair)| same(pair)).map(|(name, _)| *name)
    };
    for (name, pair) in &pairs {
        let reason = match pair {
            (Some(old), Some(new)) if old.sha256 == new.sha256 => continue,
            (Some(old), Some(new)) => format!("was changed: it has sha256 {}, signed is {}", new.sha256, old.sha256),
            (Some(old), None) => match come(old) {
                Some(other) => format!("was signed but is missing; its content is there as `{other}`"),
                None => "was signed but is missing".to_owned(),
            },
            (None, Some(new)) => match gone(new) {
                Some(other) => format!("is there but was not signed; its content was signed as `{other}`"),
                None => "is there but was not signed".to_owned(),
            },
            (None, None) => continue,
        };
        return Err(Error::refused(name, reason));
    }
    Ok(())
}
