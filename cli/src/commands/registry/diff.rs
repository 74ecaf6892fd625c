//! `fairway registry diff`: what differs between two versions.

use anyhow::Result;
use clap::Args;
use fairway_registry::provenance::{Change, Provenance, Side, comparable, diff};
use fairway_registry::{Access, Manifest, Registry, Version};
use serde_json::json;

use super::find::{Model, open, version};
use crate::args::{RegistryArgument, VersionName};
use crate::exit::Code;
use crate::output::table;

/// What differs between two versions: metrics, parameters, data, code, files
///
/// Shows what differs between two versions: metrics first, then parameters, data, code, and files. What differs in any
/// case (names of runs, timings, energy) is left out. It says whether the metrics of both were made in the same way.
///
/// Example:  fairway registry diff @champion @challenger
#[derive(Debug, Args)]
pub struct Diff {
    /// The first version
    #[arg(value_name = "VERSION")]
    pub before: VersionName,
    /// The second version
    #[arg(value_name = "OTHER")]
    pub after: VersionName,
    /// Where, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

struct Read {
    model: Model,
    version: Version,
    provenance: Provenance,
    manifest: Manifest,
}

impl Read {
    async fn new(registry: &Registry, name: &VersionName) -> Result<Self> {
        let (model, version) = version(registry, name).await?;
        let provenance = Provenance::of(model.log.provenance(&version.digest).await?);
        let manifest = model.log.manifest(&version.digest).await?;
        Ok(Self { model, version, provenance, manifest })
    }

    fn side(&self) -> Side<'_> {
        Side { metrics: &self.version.metrics, provenance: &self.provenance, manifest: Some(&self.manifest) }
    }

    fn name(&self) -> String {
        format!("{} version {}", self.model.full_name(), self.version.number)
    }
}

/// Prints the differences.
///
/// # Errors
/// One of the versions is not there.
pub async fn run(arguments: Diff) -> Result<Code> {
    let registry = open(&arguments.registry, Access::Read).await?;
    let before = Read::new(&registry, &arguments.before).await?;
    let after = Read::new(&registry, &arguments.after).await?;
    let changes = diff(&before.side(), &after.side());
    let comparable = comparable(&before.provenance, &after.provenance);
    let value = json!({
        "before": {"version": before.version.number, "digest": before.version.digest},
        "after": {"version": after.version.number, "digest": after.version.digest},
        "comparable": comparable,
        "changes": changes,
    });
    arguments.registry.output.print(&value, |_| {
        let mut text = format!("{} -> {}\n", before.name(), after.name());
        if before.version.digest == after.version.digest {
            text.push_str("Both have the same digest, so that all files are the same.\n");
        }
        text.push_str(match comparable {
            Some(true) => "Their metrics may be compared: both were made in the same way on the same data.\n",
            Some(false) => "Their metrics may NOT be compared: they were made in other ways or on other data.\n",
            None => "Whether their metrics may be compared is not recorded.\n",
        });
        if changes.is_empty() {
            text.push_str("\nNothing differs.");
            return text;
        }
        text.push('\n');
        text.push_str(&draw(&changes));
        text
    })?;
    Ok(Code::Done)
}

fn draw(changes: &[Change]) -> String {
    let rows = changes.iter().map(|change| {
        let [before, after] = change.texts();
        let grown = change.difference.map_or_else(String::new, grown_by);
        vec![change.path.clone(), before, after, grown]
    });
    table(&["what", "before", "after", "difference"], rows)
}

/// Whole numbers as they are, others to four places or as powers of ten.
fn grown_by(difference: f64) -> String {
    match difference.abs() {
        size if size >= 1e9 || (size > 0.0 && size < 1e-3) => format!("{difference:+.3e}"),
        size if size.fract() == 0.0 => format!("{difference:+}"),
        _ => format!("{difference:+.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::grown_by;

    #[test]
    fn differences_are_short() {
        for (difference, shown) in [(0.36 - 0.31, "+0.0500"), (-3.0, "-3"), (1e-5, "+1.000e-5"), (-2e12, "-2.000e12")] {
            assert_eq!(grown_by(difference), shown);
        }
    }
}
