//! The tables of metrics: this version beside the champion of its time and popularity, over all users and by segment.

use super::{CardInput, Page};
use crate::provenance::sections::{Evaluation, Metrics, Protocol, SegmentMetrics};
use crate::provenance::text;
use std::collections::{BTreeMap, BTreeSet};

/// Most rows of a table.
const ROWS_MAX: usize = 40;
/// The metric by which segments are compared, if there is one of that name.
const BY_SEGMENT: &str = "recall@20";

pub(super) fn tables(page: &mut Page, about: &CardInput) {
    page.heading("Metrics");
    let nothing = Evaluation::default();
    let evaluation = about.provenance.evaluation.as_ref().unwrap_or(&nothing);
    let judged = |metrics: &Option<Metrics>| metrics.as_ref().map(|metrics| metrics.overall.clone());
    let mut ours = judged(&evaluation.candidate).unwrap_or_default();
    ours.extend(about.metrics.clone());
    if ours.is_empty() {
        page.push("None were recorded.\n");
        page.unknown.push("metrics");
        return;
    }
    let rivals = [("champion then", judged(&evaluation.champion)), ("popularity", judged(&evaluation.popularity))];
    for (name, rival) in &rivals {
        if rival.is_none() {
            page.unknown.push(if *name == "popularity" { "metrics of popularity" } else { "metrics of a champion" });
        }
    }
    overall(page, &ours, &rivals);
    segments(page, evaluation);
    match &evaluation.protocol {
        Some(protocol) => how(page, protocol),
        None => page.unknown.push("evaluation protocol"),
    }
}

fn overall(page: &mut Page, ours: &BTreeMap<String, f64>, rivals: &[(&str, Option<BTreeMap<String, f64>>)]) {
    let present: Vec<_> = rivals.iter().filter_map(|(name, rival)| Some((*name, rival.as_ref()?))).collect();
    let heads: Vec<&str> = present.iter().map(|(name, _)| *name).collect();
    header(page, &["metric"], &heads);
    for (name, value) in ours.iter().take(ROWS_MAX) {
        let others = present.iter().map(|(_, rival)| number(rival.get(name)));
        row(page, &[text::cell(name)], text::measured(*value), others);
    }
    cut(page, ours.len());
}

/// One metric by segment, the segment with most users first; all metrics would be a page of their own.
fn segments(page: &mut Page, evaluation: &Evaluation) {
    let Some(ours) = evaluation.candidate.as_ref().map(|metrics| &metrics.by_segment).filter(|all| !all.is_empty())
    else {
        page.unknown.push("metrics by segment");
        return;
    };
    let names: BTreeSet<&str> = ours.values().flat_map(|segment| segment.values.keys().map(String::as_str)).collect();
    let Some(metric) = names.get(BY_SEGMENT).or_else(|| names.first()).copied() else {
        return;
    };
    page.push(&format!("\n{} by segment:\n\n", text::code(metric)));
    let rivals = [("champion then", &evaluation.champion), ("popularity", &evaluation.popularity)];
    let present: Vec<_> = rivals.iter().filter_map(|(name, rival)| Some((*name, rival.as_ref()?))).collect();
    let heads: Vec<&str> = present.iter().map(|(name, _)| *name).collect();
    header(page, &["segment", "users"], &heads);
    let mut sorted: Vec<(&String, &SegmentMetrics)> = ours.iter().collect();
    sorted.sort_by_key(|(_, segment)| std::cmp::Reverse(segment.users));
    for (name, segment) in sorted.into_iter().take(ROWS_MAX) {
        let others =
            present.iter().map(|(_, rival)| number(rival.by_segment.get(name).and_then(|it| it.values.get(metric))));
        let value = number(segment.values.get(metric));
        row(page, &[text::cell(name), text::count(segment.users)], value, others);
    }
    cut(page, ours.len());
}

fn how(page: &mut Page, protocol: &Protocol) {
    page.push("\n");
    page.fact("protocol digest", protocol.digest.as_deref().map(text::code));
    if protocol.digest.is_some() {
        page.push("  (metrics of two versions may be compared only where this is the same)\n");
    }
    let words = [
        ("ranking", &protocol.ranking),
        ("split", &protocol.split),
        ("targets", &protocol.targets),
        ("metrics", &protocol.metrics),
        ("ties", &protocol.tie_rule),
    ];
    for (name, said) in words {
        page.fact(name, said.as_deref().map(text::prose));
    }
}

fn header(page: &mut Page, first: &[&str], rivals: &[&str]) {
    let left = first.join(" | ");
    let right: String = rivals.iter().map(|name| format!(" {name} |")).collect();
    page.push(&format!("| {left} | this version |{right}\n"));
    // Names to the left, numbers to the right.
    let numbers = first.len() + rivals.len();
    page.push(&format!("|---|{}\n", "---:|".repeat(numbers)));
}

fn row(page: &mut Page, first: &[String], ours: String, others: impl Iterator<Item = String>) {
    let cells: Vec<String> = first.iter().cloned().chain([ours]).chain(others).collect();
    page.push(&format!("| {} |\n", cells.join(" | ")));
}

fn number(value: Option<&f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| text::measured(*value))
}

fn cut(page: &mut Page, len: usize) {
    if len > ROWS_MAX {
        page.push(&format!("\n{} more are in the JSON.\n", len - ROWS_MAX));
    }
}
