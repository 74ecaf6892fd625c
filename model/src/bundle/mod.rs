//! A bundle: the directory that is published as a version. Writing it, loading it, refusing it.
//!
//! Files: `bundle.json`, `weights.safetensors`, `items.json`, `segments.json` (families that know segments),
//! `profile.json`, `golden.jsonl`, `card.md`. The same model gives the same bytes: keys are sorted and there are no times
//! of writing.
//!
//! What it does not do: no signatures and no digest of the whole; those are the registry's.

mod card;
mod examine;
mod files;
mod golden;
mod manifest;

use std::fmt;
use std::path::Path;

use fairway_wire::Profile;

pub use examine::{Described, Finding, check};
pub use golden::{GOLDEN_MAX, GoldenRequest};
pub use manifest::{BundleManifest, FORMAT, TIE_RULE, bundle_schema};

use crate::canonical;
use crate::ease::Ease;
use crate::error::Error;
use crate::popularity::Popularity;
use crate::recommender::Recommender;
use crate::two_tower::TwoTower;
use crate::vocabulary::Vocabulary;

/// The manifest.
pub const BUNDLE_FILE: &str = "bundle.json";
/// The weights.
pub const WEIGHTS_FILE: &str = "weights.safetensors";
/// The items in the order of their indices.
pub const ITEMS_FILE: &str = "items.json";
/// The segments in the order of their indices.
pub const SEGMENTS_FILE: &str = "segments.json";
/// The profile that drift is measured against.
pub const PROFILE_FILE: &str = "profile.json";
/// Requests with answers, one a line.
pub const GOLDEN_FILE: &str = "golden.jsonl";
/// The model card.
pub const CARD_FILE: &str = "card.md";

/// A version that was checked and may serve.
pub struct Bundle {
    /// `bundle.json`.
    pub manifest: BundleManifest,
    /// The model.
    pub recommender: Box<dyn Recommender>,
    /// `profile.json`.
    pub profile: Profile,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BundleManifest { model, family, run, items, .. } = &self.manifest;
        write!(f, "Bundle({model}, {family} of {items} items, run {run})")
    }
}

impl Bundle {
    /// Writes all files of a bundle into `dir`, which is made.
    ///
    /// What follows from the model is filled in here, whatever `manifest` says: `format`, `family`, `features_digest`,
    /// `items`, `tie_rule`, `profile_digest`. Answers of `golden` are computed here; there must be at least one request
    /// ([`GoldenRequest::invent`] makes some). `bundle.json` is written last.
    ///
    /// # Errors
    /// When a file cannot be written, a metric is not finite, or the golden requests are none or too many.
    pub fn write(
        dir: &Path,
        manifest: BundleManifest,
        recommender: &dyn Recommender,
        profile: &Profile,
        golden: &[GoldenRequest],
    ) -> Result<(), Error> {
        let profile_text = canonical::pretty(profile).map_err(Error::json(PROFILE_FILE))?;
        let manifest = BundleManifest {
            format: FORMAT,
            family: recommender.family().to_owned(),
            features_digest: manifest.features.digest(),
            items: recommender.items().len() as u32,
            tie_rule: TIE_RULE.to_owned(),
            profile_digest: canonical::digest(profile_text.as_bytes()),
            ..manifest
        };
        manifest.check()?;
        let golden_text = golden::answered(golden, recommender, manifest.trained_through_ms)?;
        let items = canonical::pretty(recommender.items()).map_err(Error::json(ITEMS_FILE))?;
        let bundle = canonical::pretty(&manifest).map_err(Error::json(BUNDLE_FILE))?;
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        recommender.save(dir)?;
        for (name, text) in [
            (ITEMS_FILE, items),
            (PROFILE_FILE, profile_text),
            (GOLDEN_FILE, golden_text),
            (CARD_FILE, card::of(&manifest)),
            (BUNDLE_FILE, bundle),
        ] {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Reads a bundle that may serve: format, family, item count, shapes, digests, and golden answers that come out
    /// again (items exactly, scores within 1e-4 relative). Weights may be anything, NaN too: only answers decide.
    ///
    /// # Errors
    /// [`Error::Refused`] with everything that is wrong.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        examine::examine(dir).map_err(|findings| Error::Refused { dir: dir.to_owned(), findings })
    }

    /// Reads and checks everything but the model, of whatever family: another's server answers for it. Whether that one
    /// reproduces the golden answers is for the caller to ask.
    ///
    /// # Errors
    /// [`Error::Refused`] with everything that is wrong.
    pub fn describe(dir: &Path) -> Result<Described, Error> {
        examine::describe(dir).map_err(|findings| Error::Refused { dir: dir.to_owned(), findings })
    }
}

/// Reads the weights of a family over the given items, without any check but shapes.
///
/// # Errors
/// [`Error::Family`] for a family that is not built in; else when files are missing or shapes do not fit.
pub fn load_family(family: &str, dir: &Path, items: Vocabulary) -> Result<Box<dyn Recommender>, Error> {
    match family {
        Popularity::FAMILY => Ok(Box::new(Popularity::read(dir, items)?)),
        Ease::FAMILY => Ok(Box::new(Ease::read(dir, items)?)),
        TwoTower::FAMILY => Ok(Box::new(TwoTower::read(dir, items)?)),
        other => Err(Error::Family(other.chars().take(64).collect())),
    }
}

/// The segments of a family that knows some.
pub(crate) fn read_segments(dir: &Path) -> Result<Vocabulary, Error> {
    files::json(dir, SEGMENTS_FILE, files::SMALL_MAX)
}

#[cfg(test)]
mod tests;
