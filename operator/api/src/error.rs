//! What is wrong with a manifest, where, and what would be right. Errors print as one block with the line in question, as
//! compilers do. Nothing here decides what is wrong.

use std::fmt;

use crate::values::Duration;

/// A field whose value cannot be used (or, as a warning, is not acted on). It knows the field, not the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path from the document's root: `spec.rollout.steps[1].weight`.
    pub field: String,
    /// What is wrong, naming what was found.
    pub problem: String,
    /// What is allowed, or what to do; may be empty.
    pub help: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into(), help: help.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, " ({})", self.help) }
    }
}

impl std::error::Error for FieldError {}

/// All that is wrong with the fields of one object, as one error: a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let line = if i == 0 { "" } else { "\n" };
            write!(f, "{line}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FieldErrors {}

/// Whether a manifest with this finding can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// No.
    Error,
    /// Yes, but not all of it does something.
    Warning,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1; 0 means the file as a whole.
    pub line: u32,
    /// Column in characters, from 1; 0 means the line as a whole.
    pub column: u32,
}

impl Position {
    /// The file as a whole.
    pub const FILE: Self = Self { line: 0, column: 0 };
}

/// Something wrong in a manifest file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError(Box<Finding>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    severity: Severity,
    file: String,
    at: Position,
    error: FieldError,
    excerpt: String,
}

impl ManifestError {
    /// An error at a place of `source`, the text of `file`.
    pub(crate) fn new(file: &str, source: &str, at: Position, error: FieldError) -> Self {
        let line = (at.line as usize).checked_sub(1).and_then(|n| source.lines().nth(n));
        // A line of a generated file can be as long as the file.
        let excerpt = line.map(|line| line.chars().take(200).collect()).unwrap_or_default();
        Self(Box::new(Finding { severity: Severity::Error, file: file.to_owned(), at, error, excerpt }))
    }

    /// An error about a file as a whole.
    pub(crate) fn of_file(file: &str, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(file, "", Position::FILE, FieldError::new("", problem, help))
    }

    pub(crate) fn in_file(mut self, file: &str) -> Self {
        file.clone_into(&mut self.0.file);
        self
    }

    pub(crate) fn warning(mut self) -> Self {
        self.0.severity = Severity::Warning;
        self
    }

    /// Whether the manifest can still be used.
    pub fn severity(&self) -> Severity {
        self.0.severity
    }

    /// The file, as it was given.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// The place in the file.
    pub fn position(&self) -> Position {
        self.0.at
    }

    /// Path of the field from the document's root; empty if it is not about a field.
    pub fn field(&self) -> &str {
        &self.0.error.field
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.0.error.problem
    }

    /// What is allowed, or what to do; may be empty.
    pub fn help(&self) -> &str {
        &self.0.error.help
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { severity, file, at, error, excerpt } = &*self.0;
        f.write_str(match severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        if !error.field.is_empty() {
            write!(f, "{}: ", error.field)?;
        }
        let number = at.line.to_string();
        let margin = " ".repeat(number.len());
        write!(f, "{}\n{margin}--> {}", error.problem, if file.is_empty() { "the manifest" } else { file })?;
        if at.line > 0 {
            write!(f, ":{number}")?;
        }
        if at.column > 0 {
            write!(f, ":{}", at.column)?;
        }
        if !excerpt.is_empty() {
            write!(f, "\n{margin} |\n{number} | {excerpt}\n{margin} | {}", underline(excerpt, at.column))?;
        }
        if !error.help.is_empty() {
            write!(f, "\n{margin} = help: {}", error.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestError {}

/// Carets under the word that starts at a column. Tabs are kept, so that the carets stay below it.
fn underline(line: &str, column: u32) -> String {
    let start = (column as usize).saturating_sub(1);
    let mut marks: String = line.chars().take(start).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let rest = line.chars().skip(start);
    let word = rest.take_while(|c| !c.is_whitespace() && !",}]".contains(*c)).count();
    marks.push_str(&"^".repeat(word.max(1)));
    marks
}

/// The known name that a mistyped one probably means.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no typing mistakes, and the distance is quadratic.
    if word.chars().count() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = (lower.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Edit distance with swaps of neighbours.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// What is allowed, with a guess first if there is one.
pub(crate) fn allowed(word: &str, known: &[&str]) -> String {
    let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match closest(word, known.iter().copied()) {
        Some(guess) => format!("did you mean `{guess}`? allowed: {list}"),
        None => format!("allowed: {list}"),
    }
}

/// Refuses a duration of zero.
pub(crate) fn positive(field: &str, duration: Duration, errors: &mut Vec<FieldError>) {
    if duration.std().is_zero() {
        errors.push(FieldError::new(field, "it must be longer than zero", "such as 1h or 7d"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_one_block() {
        let error =
            FieldError::new("spec.rollout.steps[1].weight", "5 is not above the step before (25)", "weights must grow");
        let at = Position { line: 2, column: 12 };
        let error = ManifestError::new("shop.yaml", "steps:\n- {weight: 5, hold: 1h}\n", at, error);
        let expected = "\
error: spec.rollout.steps[1].weight: 5 is not above the step before (25)
 --> shop.yaml:2:12
  |
2 | - {weight: 5, hold: 1h}
  |            ^
  = help: weights must grow";
        assert_eq!(error.to_string(), expected);
        let whole = ManifestError::of_file("big.yaml", "too large", "").to_string();
        assert_eq!(whole, "error: too large\n --> big.yaml");
    }

    #[test]
    fn guesses() {
        assert_eq!(closest("histroy", ["history", "items"]), Some("history"));
        assert_eq!(closest("fullrefit", ["history", "items"]), None);
        assert_eq!(closest("champion", ["Champion", "Popularity"]), Some("Champion"));
        assert_eq!(closest(&"x".repeat(10_000), ["history"]), None);
        assert_eq!(distance("ab", "ba"), 1);
    }
}
