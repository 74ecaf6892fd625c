//! Variables in manifests: `${state}` is replaced before parsing, so that one file runs from any folder.

use std::collections::BTreeMap;

use crate::error::{FieldError, ManifestError, Position, allowed};

/// Replaces every `${name}` by its value. `$` without `{` stays, and `$${` is a literal `${`. Comment lines are left as they are.
///
/// # Errors
/// A variable that is not given, with its line, or a `${` without `}`.
pub fn substitute(text: &str, variables: &BTreeMap<String, String>) -> Result<String, ManifestError> {
    let mut out = String::with_capacity(text.len());
    for (i, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
            continue;
        }
        let mut rest = line;
        while let Some(start) = rest.find("${") {
            let column = line.len() - rest.len() + start;
            if rest[..start].ends_with('$') {
                out.push_str(&rest[..start - 1]);
                out.push_str("${");
                rest = &rest[start + 2..];
                continue;
            }
            out.push_str(&rest[..start]);
            let wrong = |problem: String, help: String| {
                let column = u32::try_from(line[..column].chars().count() + 1).unwrap_or(0);
                let at = Position { line: u32::try_from(i + 1).unwrap_or(0), column };
                ManifestError::new("", text, at, FieldError::new("", problem, help))
            };
            let Some(end) = rest[start..].find('}') else {
                return Err(wrong(
                    "`${` is never closed".into(),
                    "write ${name}, or $${ for the characters themselves".into(),
                ));
            };
            let name = &rest[start + 2..start + end];
            let Some(value) = variables.get(name) else {
                let known: Vec<&str> = variables.keys().map(String::as_str).collect();
                let help = if known.is_empty() { "no variables are given here".into() } else { allowed(name, &known) };
                return Err(wrong(format!("the variable `{name}` is not known"), help));
            };
            out.push_str(value);
            rest = &rest[start + end + 1..];
        }
        out.push_str(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_refuses() {
        let variables = BTreeMap::from([("state".to_owned(), "/tmp/x".to_owned())]);
        assert_eq!(
            substitute("a: file://${state}/r # ${state}\n", &variables).unwrap(),
            "a: file:///tmp/x/r # /tmp/x\n"
        );
        assert_eq!(substitute("a: '^[0-9]{5}$' $${state}", &variables).unwrap(), "a: '^[0-9]{5}$' ${state}");
        assert_eq!(substitute("# ${anything}\n", &variables).unwrap(), "# ${anything}\n");

        let error = substitute("ä: 1\nbé: ${stat}\n", &variables).unwrap_err();
        assert_eq!((error.position().line, error.position().column), (2, 5));
        assert_eq!(error.problem(), "the variable `stat` is not known");
        assert_eq!(error.help(), "did you mean `state`? allowed: `state`");
        assert_eq!(substitute("a: ${state", &variables).unwrap_err().problem(), "`${` is never closed");
    }
}
