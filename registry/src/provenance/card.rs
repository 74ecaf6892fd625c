//! The model card: what a reviewer wants to know of a version, in Markdown (after Mitchell et al., "Model Cards for Model
//! Reporting", FAT* 2019).
//!
//! What it does not do: it reads nothing and judges nothing. Every word of a trainer is escaped; what is not known is
//! said to be unknown.

mod metrics;
mod sections;

use super::{Provenance, text};
use crate::{Digest, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a card is made of: what the log says of a version, and its provenance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CardInput {
    /// The model, with its namespace where that is wanted.
    pub model: String,
    /// The version's number.
    pub version: u64,
    /// The digest of its tree.
    pub digest: Digest,
    /// The aliases that point to it, without `@`.
    pub aliases: Vec<String>,
    /// What it may be used for, in a word: `live`, `archived`, ….
    pub status: Option<String>,
    /// The run that made it.
    pub run: String,
    /// When it was registered.
    pub registered: Timestamp,
    /// The size of its files.
    pub bytes: u64,
    /// The number of its files.
    pub files: u32,
    /// What the log says was measured.
    pub metrics: BTreeMap<String, f64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// Who approved it; `None`: not looked up.
    pub approvals: Option<Vec<Attested>>,
    /// Which signatures it has; `None`: not looked up.
    pub signatures: Option<Vec<Attested>>,
}

/// An approval or a signature, as its checker found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attested {
    /// Who, or whose key.
    pub by: String,
    /// When, if that is known.
    pub at: Option<Timestamp>,
    /// What was said, or what checking it gave.
    pub says: String,
}

/// The card of a version, in Markdown. Its length is bounded, whatever the trainer wrote.
pub fn card(about: &CardInput) -> String {
    let mut page = Page::default();
    title(&mut page, about);
    sections::summary(&mut page, about);
    metrics::tables(&mut page, about);
    sections::why(&mut page, &about.provenance);
    sections::data(&mut page, &about.provenance);
    sections::features(&mut page, &about.provenance);
    sections::training(&mut page, &about.provenance);
    sections::cost(&mut page, &about.provenance);
    attested(&mut page, about);
    sections::other(&mut page, &about.provenance);
    limits(&mut page, &about.provenance);
    page.text
}

/// The page so far, and what could not be said on it.
#[derive(Default)]
struct Page {
    text: String,
    unknown: Vec<&'static str>,
}

impl Page {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Begins a section, and ends the one before it, which may have nothing in it.
    fn heading(&mut self, title: &str) {
        if self.text.ends_with("\n\n") {
            self.push("Nothing was recorded.\n");
        }
        self.push(&format!("\n## {title}\n\n"));
    }

    fn paragraph(&mut self, sentences: &[String]) {
        if !sentences.is_empty() {
            self.push(&sentences.join(" "));
            self.push("\n");
        }
    }

    /// A line of a list.
    fn item(&mut self, name: &str, value: &str) {
        self.push(&format!("- {name}: {value}\n"));
    }

    /// A line of a list, or a word in the limits.
    fn fact(&mut self, name: &'static str, value: Option<String>) {
        match value {
            Some(value) => self.item(name, &value),
            None => self.unknown.push(name),
        }
    }
}

fn title(page: &mut Page, about: &CardInput) {
    let mut title = format!("# {}, version {}", text::prose(&about.model), about.version);
    for alias in about.aliases.iter().take(20) {
        title.push_str(&format!(" {}", text::code(&format!("@{alias}"))));
    }
    if let Some(status) = &about.status {
        title.push_str(&format!(" ({})", text::prose(status)));
    }
    page.push(&title);
    page.push("\n\n");
    page.item("digest", &text::code(about.digest.as_str()));
    page.item("run", &text::code(&about.run));
    page.item("registered", &text::moment(about.registered));
    page.item("size", &format!("{}, {} bytes", text::files(about.files.into()), text::count(about.bytes)));
    if !about.labels.is_empty() {
        let labels = about.labels.iter().take(20).map(|(name, value)| text::code(&format!("{name}={value}")));
        page.item("labels", &labels.collect::<Vec<_>>().join(", "));
    }
}

fn attested(page: &mut Page, about: &CardInput) {
    page.heading("Approvals and signatures");
    for (one, many, list) in
        [("approval", "approvals", &about.approvals), ("signature", "signatures", &about.signatures)]
    {
        match list.as_deref() {
            None => page.unknown.push(many),
            Some([]) => page.item(many, "none"),
            Some(list) => {
                for found in list.iter().take(20) {
                    let at = found.at.map_or_else(String::new, |at| format!(", {}", text::moment(at)));
                    page.item(one, &format!("{}{at}: {}", text::code(&found.by), text::prose(&found.says)));
                }
            }
        }
    }
    if about.approvals.is_none() && about.signatures.is_none() {
        page.push("Not looked up here.\n");
    }
}

fn limits(page: &mut Page, provenance: &Provenance) {
    page.heading("Limits");
    if page.unknown.is_empty() {
        page.push("- All that this card asks for is recorded.\n");
    } else {
        let mut unknown: Vec<&str> = Vec::new();
        page.unknown.iter().for_each(|name| {
            if !unknown.contains(name) {
                unknown.push(name)
            }
        });
        let unknown = unknown.join(", ");
        page.item("not recorded", &unknown);
    }
    if provenance.is_newer() {
        let format = format!("{}; a later version of this program may show more", provenance.format);
        page.item("provenance in format", &format);
    }
    page.push(
        "- What stands here of data, training and metrics is what the trainer wrote; a signature says who wrote it.\n",
    );
    if provenance.refit.as_ref().and_then(|refit| refit.done) == Some(true) {
        page.push(
            "- The metrics are of the weights that were judged; the served ones were fitted again on more rows.\n",
        );
    }
}

#[cfg(test)]
mod tests;
