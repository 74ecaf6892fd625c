//! `fairway bundle check`: what a server would say of a bundle, for authors of trainers.

use anyhow::Result;

use crate::args::Bundle;
use crate::exit::Code;

/// Checks a bundle's folder.
///
/// # Errors
/// The result cannot be printed.
pub fn run(bundle: &Bundle) -> Result<Code> {
    let Bundle::Check { dir, output } = bundle;
    let findings = fairway_model::check(dir);
    output.print(&findings, |findings| {
        if findings.is_empty() {
            return format!("{} is a bundle that a server would load", dir.display());
        }
        findings
            .iter()
            .map(|finding| format!("{}: {}\n  cure: {}", finding.file, finding.what, finding.cure))
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    Ok(if findings.is_empty() { Code::Done } else { Code::Invalid })
}
