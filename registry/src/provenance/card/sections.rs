//! The parts of a card that are lists of facts.

use super::{CardInput, Page};
use crate::provenance::sections::{RowReport, Schema, Snapshot, Source};
use crate::provenance::{Provenance, text};
use serde_json::Value;

/// Most lines of a list that a trainer fills.
const LINES_MAX: usize = 40;

/// One paragraph, of what is known.
pub(super) fn summary(page: &mut Page, about: &CardInput) {
    let provenance = &about.provenance;
    page.heading("What it is");
    let training = provenance.training.as_ref();
    let family = training.and_then(|training| training.family.as_deref());
    let mut first = family.map_or_else(
        || "A recommender of a family that is not recorded".to_owned(),
        |family| format!("A recommender of the family {}", text::code(family)),
    );
    let report = provenance.data.as_ref().and_then(|data| data.report.as_ref());
    if let Some((report, rows)) = report.and_then(|report| Some((report, report.rows?))) {
        first.push_str(&format!(", trained on {} rows{}", text::count(rows), of_whom(report)));
    }
    let mut sentences = vec![format!("{first}.")];
    if let Some(evaluation) = &provenance.evaluation
        && let Some(users) = evaluation.users
    {
        let cutoff = evaluation.protocol.as_ref().and_then(|protocol| protocol.cutoff);
        let begins = cutoff.map_or_else(String::new, |at| format!(", which begins at {}", text::moment(at)));
        sentences.push(format!("It was judged on {} users of the holdout{begins}.", text::count(users)));
    }
    if let Some(refit) = &provenance.refit {
        sentences.extend(match (refit.done, refit.rows) {
            (Some(true), Some(rows)) => {
                Some(format!("What is served was then fitted again on all {} rows.", text::count(rows)))
            }
            (Some(true), None) => Some("What is served was then fitted again on all rows.".to_owned()),
            (Some(false), _) => Some("What is served are the weights that were judged.".to_owned()),
            (None, _) => None,
        });
    }
    page.paragraph(&sentences);
}

fn of_whom(report: &RowReport) -> String {
    let mut text = String::new();
    if let (Some(users), Some(items)) = (report.users, report.items) {
        text.push_str(&format!(" of {} users and {} items", text::count(users), text::count(items)));
    }
    if let (Some(oldest), Some(newest)) = (report.oldest, report.newest) {
        text.push_str(&format!(", from {} to {}", text::moment(oldest), text::moment(newest)));
    }
    text
}

/// What caused it and what it comes after.
pub(super) fn why(page: &mut Page, provenance: &Provenance) {
    page.heading("Why it exists");
    let trigger = provenance.trigger.clone().unwrap_or_default();
    page.fact("trigger", trigger.code.as_deref().map(text::code));
    page.fact("reason", trigger.message.as_deref().map(text::prose));
    match trigger.evidence.is_empty() {
        true => page.unknown.push("evidence of the trigger"),
        false => pairs(page, "evidence", trigger.evidence.iter()),
    }
    let parent = provenance.parent.clone().unwrap_or_default();
    page.fact("champion then", parent.champion.as_deref().map(text::code));
    if let Some(start) = &parent.warm_start {
        page.item("started from the weights of", &text::code(start));
    }
}

/// Sources, files, rows.
pub(super) fn data(page: &mut Page, provenance: &Provenance) {
    page.heading("Data");
    let Some(data) = &provenance.data else {
        page.unknown.push("data");
        return;
    };
    let window = data.window.map(|window| format!("{} to {}", text::moment(window.from), text::moment(window.through)));
    page.fact("window", window);
    page.fact("as of", data.as_of.map(text::moment));
    let report = data.report.clone().unwrap_or_default();
    page.fact("rows read", report.read.map(text::count));
    page.fact("rows used", report.rows.map(text::count));
    page.fact("digest of the rows", report.digest.as_deref().map(text::code));
    match &data.interactions {
        Some(interactions) => source(page, "interactions", interactions),
        None => page.unknown.push("location of the data"),
    }
    if let Some(items) = &data.items {
        source(page, "items", items);
    }
}

fn source(page: &mut Page, name: &str, source: &Source) {
    page.push(&format!("\n### Source of {name}\n\n"));
    page.fact("location", source.url.as_deref().map(text::code));
    page.fact("snapshot of the files", source.snapshot.as_ref().map(snapshot));
    page.fact("schema", source.schema.as_ref().map(schema));
    page.fact("digest of the SQL", source.sql_digest.as_deref().map(text::code));
    if let Some(sql) = &source.sql {
        page.push("\n");
        page.push(&text::block("sql", sql));
    }
}

fn snapshot(snapshot: &Snapshot) -> String {
    let mut parts = vec![snapshot.digest.as_deref().map_or_else(|| "no digest".to_owned(), text::code)];
    parts.extend(snapshot.files.map(text::files));
    parts.extend(snapshot.bytes.map(|bytes| format!("{} bytes", text::count(bytes))));
    parts.extend(snapshot.newest.map(|at| format!("last changed {}", text::moment(at))));
    parts.join(", ")
}

fn schema(schema: &Schema) -> String {
    let digest = schema.digest.as_deref().map_or_else(|| "no digest".to_owned(), text::code);
    let columns = schema.columns.iter().take(LINES_MAX);
    let columns: Vec<String> = columns.map(|column| text::code(&format!("{} {}", column.name, column.kind))).collect();
    let more = match schema.columns.len().saturating_sub(LINES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if columns.is_empty() { digest } else { format!("{digest}: {}{more}", columns.join(", ")) }
}

/// What is derived from the data.
pub(super) fn features(page: &mut Page, provenance: &Provenance) {
    page.heading("Features");
    let features = provenance.features.clone().unwrap_or_default();
    page.fact("digest of the feature definitions", features.digest.as_deref().map(text::code));
    let lists = features.definitions.as_ref().and_then(Value::as_object).into_iter().flatten();
    let mut said = 0;
    for (kind, list) in lists {
        for feature in list.as_array().into_iter().flatten().take(LINES_MAX.saturating_sub(said)) {
            page.item(&format!("of {}", text::code(kind)), &text::value(feature));
            said += 1;
        }
    }
    if features.definitions.is_some() && said == 0 {
        page.push("- no features: users and items are only names\n");
    }
}

/// How, and by what code.
pub(super) fn training(page: &mut Page, provenance: &Provenance) {
    page.heading("Training");
    let training = provenance.training.clone().unwrap_or_default();
    page.fact("family", training.family.as_deref().map(text::code));
    page.fact("seed", training.seed.map(|seed| seed.to_string()));
    page.fact("mode", training.mode.as_deref().map(text::code));
    page.fact("threads", training.threads.map(|threads| threads.to_string()));
    let again = |yes| if yes { "the same plan and data give the same bytes (same machine and threads)" } else { "no" };
    page.fact("deterministic", training.deterministic.map(|yes| again(yes).to_owned()));
    match training.parameters.is_empty() {
        true => page.item("parameters", "the family's defaults, or none were recorded"),
        false => pairs(page, "parameter", training.parameters.iter()),
    }
    let code = provenance.code.clone().unwrap_or_default();
    let version = code.version.as_deref().unwrap_or("of no recorded version");
    page.fact("code", code.package.as_deref().map(|package| text::code(&format!("{package} {version}"))));
    page.fact("source revision", code.revision.as_deref().map(text::code));
    page.fact("image digest", code.image.as_deref().map(text::code));
    if let Some(refit) = &provenance.refit {
        if let Some(sibling) = &refit.gated_sibling {
            page.item("weights that were judged", &text::code(sibling));
        }
        if let (Some(overlap), Some(users)) = (refit.overlap_at20, refit.overlap_users) {
            let users = text::count(users);
            let overlap = format!("{} of the first 20 items, {users} users", text::measured(overlap));
            page.item("agreement of judged and served weights", &overlap);
        }
    }
}

/// Machine, energy, timings.
pub(super) fn cost(page: &mut Page, provenance: &Provenance) {
    page.heading("Machine, energy and timings");
    let machine = provenance.machine.clone().unwrap_or_default();
    page.fact("processor", machine.cpu.as_deref().map(text::prose));
    page.fact("logical processors", machine.cores.map(text::count));
    page.fact("memory", machine.memory_bytes.map(|bytes| format!("{} bytes", text::count(bytes))));
    let system = machine.os.as_deref().zip(machine.arch.as_deref());
    page.fact("system", system.map(|(os, arch)| format!("{} on {}", text::code(os), text::code(arch))));
    let energy = provenance.energy.clone().unwrap_or_default();
    page.fact("processor time", energy.cpu_seconds.map(|seconds| format!("{} s", text::amount(seconds))));
    page.fact("energy", energy.joules.map(|joules| format!("{} J", text::amount(joules))));
    if let Some(method) = &energy.method {
        page.item("measured by", &text::prose(method));
    }
    match &provenance.timings {
        Some(timings) if !timings.is_empty() => {
            for (stage, seconds) in timings.iter().take(LINES_MAX) {
                page.item(&format!("stage {}", text::code(stage)), &format!("{} s", text::amount(*seconds)));
            }
        }
        _ => page.unknown.push("timings"),
    }
}

/// What a trainer wrote that has no place here.
pub(super) fn other(page: &mut Page, provenance: &Provenance) {
    if provenance.extra.is_empty() {
        return;
    }
    page.heading("Other fields");
    pairs(page, "field", provenance.extra.iter());
}

fn pairs<'a>(page: &mut Page, name: &str, all: impl ExactSizeIterator<Item = (&'a String, &'a Value)>) {
    let more = all.len().saturating_sub(LINES_MAX);
    for (key, value) in all.take(LINES_MAX) {
        page.item(&format!("{name} {}", text::code(key)), &text::value(value));
    }
    if more > 0 {
        page.push(&format!("- {more} more are in the JSON\n"));
    }
}
