//! From text to trees: the documents of a file one by one, so that a broken one does not hide what is wrong in the others.

use super::header::Problem;
use super::tree::Node;
use crate::error::{FieldError, Position};

/// Splits at document markers, with the number of lines before each part.
pub(super) fn documents(text: &str) -> Vec<(u32, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset, mut line) = (0, 0, 0, 0);
    // Comments and directives before a marker belong to the document that it opens.
    let mut has_content = false;
    for with_end in text.split_inclusive('\n') {
        let rest = with_end.strip_prefix("---");
        let marker = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if marker && has_content {
            parts.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, line);
        }
        let bare = with_end.trim();
        has_content |= marker || !(bare.is_empty() || bare.starts_with('#') || with_end.starts_with('%'));
        offset += with_end.len();
        line += 1;
    }
    parts.push((start_line, &text[start..]));
    parts
}

/// Reads one part, whose first line follows so many lines of the file.
pub(super) fn yaml(part: &str, lines_before: u32) -> Result<Vec<Node>, Problem> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    match serde_saphyr::from_multiple_with_options::<Node>(part, options) {
        Ok(mut nodes) => {
            nodes.iter_mut().for_each(|node| node.shift(lines_before));
            Ok(nodes)
        }
        Err(error) => Err(located(&error, lines_before)),
    }
}

/// The error with its place in the file.
fn located(error: &serde_saphyr::Error, lines_before: u32) -> Problem {
    let clamp = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let (line, column) = match error.location() {
        Some(at) if at.line() > 0 => (clamp(at.line()), clamp(at.column())),
        _ => (1, 0),
    };
    let at = Position { line: lines_before.saturating_add(line), column };
    let said = error.to_string();
    let said = said.lines().next().unwrap_or_default();
    // The place is told beside the message, counted from the file's start; options of the parser are not the reader's.
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    let said = said.split_once(", set ").map_or(said, |(said, _)| said);
    let help = "check the indentation, quotes and brackets here";
    (at, FieldError::new("", format!("not valid YAML: {said}"), help))
}
