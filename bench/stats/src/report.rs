//! Tables for people, in Markdown, so that they can be put into the docs as they are.

use crate::simulation::Found;

/// Prints a table.
pub fn print_table(title: &str, header: &[&str], rows: &[Vec<String>]) {
    println!("\n**{title}**\n\n| {} |\n|{}", header.join(" | "), "---|".repeat(header.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}

/// A rate of errors with four digits, or with a mark when it is above what chance allows at its level.
pub fn rate(count: u64, runs: u64, bound: u64) -> String {
    let mark = if count > bound { " ABOVE" } else { "" };
    format!("{:.4}{mark}", count as f64 / runs as f64)
}

/// When a rule ended: `share of runs; canary requests / bad answers`, medians, or only the share when most runs went on.
pub fn end(found: &Found) -> String {
    match (found.canary_requests, found.canary_bad) {
        (Some(requests), Some(bad)) => format!("{:.3}; {requests} / {bad}", found.rate()),
        _ => format!("{:.3}", found.rate()),
    }
}
