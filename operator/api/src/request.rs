//! A person's verbs on a rollout, as they reach the operator: an annotation of the endpoint, acknowledged in its status. Nothing
//! here decides what becomes of them.

use fairway_core::endpoint::RolloutRequest;
use fairway_wire::Target;
use serde::{Deserialize, Serialize};

use crate::error::{FieldError, allowed};
use crate::values::VersionRef;

/// The annotation of a ModelEndpoint that carries a [`RolloutCommand`]; `status.lastRequest` answers it by its id.
pub const REQUEST_ANNOTATION: &str = "fairway.dev/request";

/// Longest annotation that is looked at.
const BYTES_MAX: usize = 4096;
const VERBS: [&str; 6] = ["pause", "resume", "promote", "abort", "retry", "undo"];

/// What a person asks of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutCommand {
    /// Names this request among all others; one that was answered is not answered again.
    pub id: String,
    /// Who asks. The chart's admission policy holds it against who wrote the annotation.
    pub who: String,
    /// What.
    pub verb: RolloutVerb,
}

/// The verbs of `fairway rollout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutVerb {
    /// Freeze the weight.
    Pause,
    /// Go on after a pause.
    Resume,
    /// To the next step now.
    Promote {
        /// All the way.
        full: bool,
    },
    /// Stable now; the version is barred.
    Abort,
    /// Try a barred version again.
    Retry,
    /// Back to the version before, or to a named one.
    Undo {
        /// The version; the one before if none.
        to: Option<VersionRef>,
    },
}

/// As it is written: flat, so that every field is known.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    id: String,
    who: String,
    verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    full: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<VersionRef>,
}

impl RolloutCommand {
    /// Reads the annotation's text.
    ///
    /// # Errors
    /// What of it cannot be used. Where the id can still be read it stands in [`RolloutCommand::id_of`].
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let field = |name: &str| format!("metadata.annotations[{REQUEST_ANNOTATION}]{name}");
        if text.len() > BYTES_MAX {
            let problem = format!("{} bytes", text.len());
            return Err(FieldError::new(field(""), problem, format!("at most {BYTES_MAX}")));
        }
        let written: Written = serde_json::from_str(text).map_err(|error| {
            let help = r#"{"id": "7f3a", "who": "ann", "verb": "pause"}"#;
            FieldError::new(field(""), format!("it cannot be read: {error}"), help)
        })?;
        let id_fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=64).contains(&written.id.len()) || !written.id.chars().all(id_fits) {
            let help = "1 to 64 letters, digits, -, _ and .";
            return Err(FieldError::new(field(".id"), format!("`{}` is not an id", written.id), help));
        }
        if !(1..=253).contains(&written.who.chars().count()) || written.who.chars().any(char::is_control) {
            return Err(FieldError::new(field(".who"), "it is not a name", "1 to 253 characters"));
        }
        let verb = verb(&written).map_err(|(name, problem, help)| FieldError::new(field(name), problem, help))?;
        Ok(Self { id: written.id, who: written.who, verb })
    }

    /// The id of a text that may be wrong otherwise, so that its sender can be told.
    pub fn id_of(text: &str) -> Option<String> {
        let text = text.get(..text.len().min(BYTES_MAX))?;
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        Some(value.get("id")?.as_str()?.chars().take(64).collect())
    }

    /// The annotation's text.
    pub fn annotation(&self) -> String {
        let (verb, full, to) = match &self.verb {
            RolloutVerb::Pause => ("pause", None, None),
            RolloutVerb::Resume => ("resume", None, None),
            RolloutVerb::Promote { full } => ("promote", full.then_some(true), None),
            RolloutVerb::Abort => ("abort", None, None),
            RolloutVerb::Retry => ("retry", None, None),
            RolloutVerb::Undo { to } => ("undo", None, to.clone()),
        };
        let written = Written { id: self.id.clone(), who: self.who.clone(), verb: verb.to_owned(), full, to };
        serde_json::to_string(&written).expect("text, flags and versions are plain data")
    }

    /// What core is asked. `resolve` finds the version that an `undo` names.
    ///
    /// # Errors
    /// What `resolve` says.
    pub fn request<E>(&self, resolve: impl FnOnce(&VersionRef) -> Result<Target, E>) -> Result<RolloutRequest, E> {
        Ok(match &self.verb {
            RolloutVerb::Pause => RolloutRequest::Pause,
            RolloutVerb::Resume => RolloutRequest::Resume,
            RolloutVerb::Promote { full } => RolloutRequest::Promote { full: *full },
            RolloutVerb::Abort => RolloutRequest::Abort,
            RolloutVerb::Retry => RolloutRequest::Retry,
            RolloutVerb::Undo { to } => RolloutRequest::Undo { to: to.as_ref().map(resolve).transpose()? },
        })
    }
}

fn verb(written: &Written) -> Result<RolloutVerb, (&'static str, String, String)> {
    let Written { verb, full, to, .. } = written;
    let stray = |name, of| Err((name, format!("`{verb}` has none"), format!("only {of} has it")));
    if full.is_some() && verb != "promote" {
        return stray(".full", "promote");
    }
    if to.is_some() && verb != "undo" {
        return stray(".to", "undo");
    }
    Ok(match verb.as_str() {
        "pause" => RolloutVerb::Pause,
        "resume" => RolloutVerb::Resume,
        "promote" => RolloutVerb::Promote { full: full.unwrap_or(false) },
        "abort" => RolloutVerb::Abort,
        "retry" => RolloutVerb::Retry,
        "undo" => RolloutVerb::Undo { to: to.clone() },
        other => return Err((".verb", format!("`{other}` is not a verb"), allowed(other, &VERBS))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(verb: RolloutVerb) -> RolloutCommand {
        RolloutCommand { id: "7f3a".to_owned(), who: "ann@shop".to_owned(), verb }
    }

    #[test]
    fn comes_back_as_it_was_written() {
        let to = Some("3".parse().unwrap());
        for verb in [
            RolloutVerb::Pause,
            RolloutVerb::Resume,
            RolloutVerb::Promote { full: false },
            RolloutVerb::Promote { full: true },
            RolloutVerb::Abort,
            RolloutVerb::Retry,
            RolloutVerb::Undo { to: None },
            RolloutVerb::Undo { to },
        ] {
            let command = command(verb);
            assert_eq!(RolloutCommand::parse(&command.annotation()), Ok(command.clone()));
            // The admission policy of the chart looks for exactly this.
            assert!(command.annotation().contains(r#""who":"ann@shop""#));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, field, problem) in [
            ("pause", "", "it cannot be read"),
            (r#"{"id":"a","who":"ann"}"#, "", "it cannot be read: missing field `verb`"),
            (r#"{"id":"a","who":"ann","who":"bob","verb":"pause"}"#, "", "it cannot be read: duplicate field `who`"),
            (r#"{"id":"a","who":"ann","verb":"pause","why":"x"}"#, "", "it cannot be read: unknown field `why`"),
            (r#"{"id":"a b","who":"ann","verb":"pause"}"#, ".id", "`a b` is not an id"),
            (r#"{"id":"a","who":"","verb":"pause"}"#, ".who", "it is not a name"),
            (r#"{"id":"a","who":"ann","verb":"puase"}"#, ".verb", "`puase` is not a verb"),
            (r#"{"id":"a","who":"ann","verb":"pause","full":true}"#, ".full", "`pause` has none"),
            (r#"{"id":"a","who":"ann","verb":"abort","to":"3"}"#, ".to", "`abort` has none"),
            (
                r#"{"id":"a","who":"ann","verb":"undo","to":"latest"}"#,
                "",
                "it cannot be read: `latest` is not a version",
            ),
        ] {
            let error = RolloutCommand::parse(text).unwrap_err();
            assert_eq!(error.field, format!("metadata.annotations[fairway.dev/request]{field}"), "{text}");
            assert!(error.problem.starts_with(problem), "{}", error.problem);
        }
        assert!(RolloutCommand::parse(&" ".repeat(5000)).unwrap_err().problem.contains("5000 bytes"));
        assert_eq!(RolloutCommand::id_of(r#"{"id":"a","verb":7}"#).as_deref(), Some("a"));
        assert_eq!(RolloutCommand::id_of("pause"), None);
    }

    #[test]
    fn an_undo_names_a_version_that_must_be_found() {
        let undo = command(RolloutVerb::Undo { to: Some("3".parse().unwrap()) });
        assert_eq!(undo.request(|version| Err(version.to_string())), Err("3".to_owned()));
        let back = command(RolloutVerb::Undo { to: None });
        assert_eq!(back.request(|_| Err(())), Ok(RolloutRequest::Undo { to: None }));
        let full = command(RolloutVerb::Promote { full: true });
        assert_eq!(full.request(|_| Err(())), Ok(RolloutRequest::Promote { full: true }));
    }
}
