//! Is a bundle whole, and does it answer as its trainer says? One examination for servers (which load or refuse) and for
//! `fairway bundle check` (which lists everything that is wrong).
//!
//! What it does not do: it repairs nothing.

use std::fmt;
use std::path::Path;

use fairway_stats::Bins;
use fairway_wire::{FeatureProfile, Profile};
use serde::Serialize;

use super::{
    BUNDLE_FILE, Bundle, BundleManifest, CARD_FILE, FORMAT, GOLDEN_FILE, GoldenRequest, ITEMS_FILE, PROFILE_FILE,
    TIE_RULE, WEIGHTS_FILE, files, golden, load_family,
};
use crate::canonical;
use crate::error::Error;
use crate::recommender::Recommender;
use crate::vocabulary::Vocabulary;

/// One thing that is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, by its name in the bundle.
    pub file: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub cure: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.file, self.what, self.cure)
    }
}

/// All that is wrong with the bundle in `dir`; nothing when it may serve.
pub fn check(dir: &Path) -> Vec<Finding> {
    let mut findings = examine(dir).err().unwrap_or_default();
    if !dir.join(CARD_FILE).is_file() {
        let cure = "write a few lines about the model, its data and its limits";
        findings.push(finding(CARD_FILE, "it is missing", cure));
    }
    findings
}

/// A bundle without its model: all that is needed to ask another's server for its answers, and to check them.
#[derive(Clone, Debug)]
pub struct Described {
    /// `bundle.json`, of any family.
    pub manifest: BundleManifest,
    /// `items.json`.
    pub items: Vocabulary,
    /// `profile.json`.
    pub profile: Profile,
    /// `golden.jsonl`.
    pub golden: Vec<GoldenRequest>,
}

/// What could be read of a bundle's files but the weights.
struct Read {
    manifest: Option<BundleManifest>,
    items: Option<Vocabulary>,
    profile: Option<Profile>,
    golden: Option<Vec<GoldenRequest>>,
}

/// All of a bundle but its model, or everything that is wrong with that.
pub(super) fn describe(dir: &Path) -> Result<Described, Vec<Finding>> {
    let mut all = Findings::default();
    match read(&mut all, dir) {
        Read { manifest: Some(manifest), items: Some(items), profile: Some(profile), golden: Some(golden) }
            if all.0.is_empty() =>
        {
            Ok(Described { manifest, items, profile, golden })
        }
        _ => Err(all.0),
    }
}

/// Reads and checks everything but the weights.
fn read(all: &mut Findings, dir: &Path) -> Read {
    let manifest = all.ok(BUNDLE_FILE, read_manifest(dir));
    let items: Option<Vocabulary> = all.ok(ITEMS_FILE, files::json(dir, ITEMS_FILE, files::ITEMS_MAX));
    let profile_text = all.ok(PROFILE_FILE, files::text(dir, PROFILE_FILE, files::SMALL_MAX));
    let profile: Option<Profile> = profile_text
        .as_ref()
        .and_then(|text| all.ok(PROFILE_FILE, serde_json::from_slice(text).map_err(Error::json(PROFILE_FILE))));
    let golden = files::text(dir, GOLDEN_FILE, files::SMALL_MAX).and_then(|text| golden::parse(&text));
    let golden = all.ok(GOLDEN_FILE, golden);
    if let Some(manifest) = &manifest {
        check_manifest(all, manifest, items.as_ref(), profile_text.as_deref());
    }
    if let (Some(profile), Some(items)) = (&profile, &items) {
        check_profile(all, profile, items.len());
    }
    Read { manifest, items, profile, golden }
}

/// The bundle, or everything that is wrong with it.
pub(super) fn examine(dir: &Path) -> Result<Bundle, Vec<Finding>> {
    let mut all = Findings::default();
    let Read { manifest, items, profile, golden } = read(&mut all, dir);
    let recommender = match (&manifest, items) {
        (Some(manifest), Some(items)) => all.ok(WEIGHTS_FILE, load_family(&manifest.family, dir, items)),
        _ => None,
    };
    if let (Some(manifest), Some(model), Some(golden)) = (&manifest, &recommender, &golden) {
        check_golden(&mut all, golden, &**model, manifest.trained_through_ms);
    }
    match (manifest, recommender, profile) {
        (Some(manifest), Some(recommender), Some(profile)) if all.0.is_empty() => {
            Ok(Bundle { manifest, recommender, profile })
        }
        _ => Err(all.0),
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, file: &str, what: impl Into<String>, cure: &str) {
        self.0.push(finding(file, what, cure));
    }

    /// The value, or a finding from the error, whose message is `what; cure`.
    fn ok<T>(&mut self, file: &str, result: Result<T, Error>) -> Option<T> {
        let text = match result {
            Ok(value) => return Some(value),
            Err(error) => error.to_string(),
        };
        let (what, cure) = text.rsplit_once("; ").unwrap_or((&text, "write the bundle again"));
        self.add(file, what, cure);
        None
    }
}

fn finding(file: &str, what: impl Into<String>, cure: &str) -> Finding {
    Finding { file: file.to_owned(), what: what.into(), cure: cure.to_owned() }
}

/// `bundle.json`; its format first, because another format has other fields.
fn read_manifest(dir: &Path) -> Result<BundleManifest, Error> {
    let value: serde_json::Value = files::json(dir, BUNDLE_FILE, files::SMALL_MAX)?;
    if let Some(format) = value.get("format")
        && format.as_u64() != Some(u64::from(FORMAT))
    {
        return Err(Error::Domain {
            name: "bundle.json: format".to_owned(),
            value: format.to_string().chars().take(40).collect(),
            domain: "1, the only one known here; a newer format needs a newer fairway",
        });
    }
    serde_json::from_value(value).map_err(Error::json(BUNDLE_FILE))
}

fn check_manifest(
    all: &mut Findings,
    manifest: &BundleManifest,
    items: Option<&Vocabulary>,
    profile_text: Option<&[u8]>,
) {
    if let Some(items) = items.filter(|items| items.len() != manifest.items as usize) {
        let what = format!("items is {}, but items.json has {}", manifest.items, items.len());
        all.add(BUNDLE_FILE, what, "publish bundle.json and items.json of one run");
    }
    let digest = manifest.features.digest();
    if digest != manifest.features_digest {
        let what = format!("featuresDigest is {}, but the features have {digest}", manifest.features_digest);
        all.add(BUNDLE_FILE, what, "compute it over the canonical JSON of features");
    }
    if let Some(digest) = profile_text.map(canonical::digest).filter(|d| *d != manifest.profile_digest) {
        let what = format!("its digest is {digest}, but bundle.json says {}", manifest.profile_digest);
        all.add(PROFILE_FILE, what, "publish the profile of the same run, or compute profileDigest again");
    }
    if manifest.tie_rule != TIE_RULE {
        let what = format!("tieRule is `{}`", manifest.tie_rule);
        all.add(BUNDLE_FILE, what, "rank by `score desc, item id asc` and say so");
    }
    if manifest.trained_from_ms > manifest.trained_through_ms {
        all.add(BUNDLE_FILE, "trainedFromMs is after trainedThroughMs", "swap them");
    }
}

fn check_profile(all: &mut Findings, profile: &Profile, items: usize) {
    for (name, feature) in &profile.features {
        check_bins(all, name, feature);
    }
    let Some(consumed) = &profile.consumed else {
        return;
    };
    check_bins(all, "consumed", consumed);
    if profile.consumed_bin.len() != items {
        let what = format!("consumed_bin has {} entries for {items} items", profile.consumed_bin.len());
        all.add(PROFILE_FILE, what, "give each item of items.json its rank bin");
    }
    let unknown = consumed.bins.len() - 2;
    if profile.consumed_bin.iter().any(|&bin| usize::from(bin) >= unknown) {
        let what = format!("consumed_bin has a bin beyond the {unknown} of consumed");
        all.add(PROFILE_FILE, what, "use bins of known items only");
    }
}

fn check_bins(all: &mut Findings, name: &str, feature: &FeatureProfile) {
    let (bins, counts) = (feature.bins.len(), feature.reference.counts().len());
    if bins != counts {
        let what = format!("feature `{name}` has {counts} reference counts for {bins} bins");
        all.add(PROFILE_FILE, what, "count the holdout on the bins themselves, with other and missing");
    }
    if let Bins::Quantiles { edges } = &feature.bins
        && !(edges.is_sorted_by(|a, b| a < b) && edges.iter().all(|edge| edge.is_finite()))
    {
        let what = format!("feature `{name}` has edges that are not finite and strictly increasing");
        all.add(PROFILE_FILE, what, "leave out repeated edges");
    }
}

fn check_golden(all: &mut Findings, golden: &[GoldenRequest], model: &dyn Recommender, now_ms: i64) {
    let differs = |request: &GoldenRequest| request.differs(&request.answered_by(model, now_ms));
    let wrong: Vec<(usize, String)> =
        golden.iter().enumerate().filter_map(|(line, request)| Some((line + 1, differs(request)?))).collect();
    if let Some((line, difference)) = wrong.first() {
        let what = format!(
            "{} of {} golden answers are not reproduced, first in line {line}: {difference}",
            wrong.len(),
            golden.len()
        );
        let cure = "check that items.json is in the order of the weights, then write the answers of this very model";
        all.add(GOLDEN_FILE, what, cure);
    }
}
