//! `card.md`: the model card, for people.
//!
//! What it does not do: nothing reads it back.

use std::fmt::Write;

use jiff::Timestamp;

use super::BundleManifest;
use crate::features::Milliseconds;

/// The card of a version.
pub(super) fn of(manifest: &BundleManifest) -> String {
    let mut card = format!(
        "# {}\n\nA `{}` model of {} items, made by run `{}` with seed {}.\n",
        manifest.model, manifest.family, manifest.items, manifest.run, manifest.seed
    );
    if let Some(sibling) = &manifest.gated_sibling {
        let _ = write!(
            card,
            "\nRefitted on the whole history. The gates judged the same recipe on the holdout: `{sibling}`.\n"
        );
    }
    let _ = write!(
        card,
        "\n## Data\n\nInteractions from {} through {} (history of {}).\n",
        time(manifest.trained_from_ms),
        time(manifest.trained_through_ms),
        Milliseconds(manifest.history_ms)
    );
    let metrics = manifest.metrics.iter().map(|(name, value)| (name, format!("{value:.4}")));
    table(&mut card, "Metrics", metrics);
    let parameters = manifest.parameters.iter().map(|(name, value)| (name, value.clone()));
    table(&mut card, "Parameters", parameters);
    let _ = write!(
        card,
        "\n## Ranking\n\nOrder: {}. Features: `{}`. Profile: `{}`.\n",
        manifest.tie_rule, manifest.features_digest, manifest.profile_digest
    );
    card
}

fn table<'a>(card: &mut String, title: &str, rows: impl Iterator<Item = (&'a String, String)>) {
    let rows: Vec<String> = rows.map(|(name, value)| format!("| {name} | {value} |\n")).collect();
    if !rows.is_empty() {
        let _ = write!(card, "\n## {title}\n\n| | |\n|---|---|\n{}", rows.concat());
    }
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}
