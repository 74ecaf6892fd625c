//! Foreign text in Markdown: nothing that a trainer writes can become markup, a link, a terminal command or a page of
//! its own length.
//!
//! What it does not do: no wrapping, no colours.

use crate::Timestamp;
use serde_json::Value;

/// Longest text in a line or a cell, in characters.
const LINE_MAX: usize = 300;
/// Longest block, in characters.
const BLOCK_MAX: usize = 4_000;
/// What stands for a character that must not be printed.
const HIDDEN: char = '\u{fffd}';

/// Characters that show nothing, or change how others are shown (Unicode's Bidi_Control, zero-width and tag characters).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The first characters, in one line, with nothing hidden in them.
fn line(text: &str, max: usize) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if is_hidden(c) => HIDDEN,
        c => c,
    };
    let mut line: String = text.chars().take(max).map(shown).collect();
    if text.chars().nth(max).is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

/// Text outside Markdown: one line, nothing hidden.
pub(super) fn plain(text: &str) -> String {
    line(text, LINE_MAX)
}

/// A sentence: every mark that Markdown, HTML or an automatic link could be made of is escaped.
pub(super) fn prose(text: &str) -> String {
    let text = line(text, LINE_MAX);
    let mut escaped = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    let mut at_start = true;
    while let Some(c) = chars.next() {
        let marks = match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '$' | '#' | '@' | '!' => true,
            // Links without brackets: `https://…` and `www.…`.
            ':' => chars.peek() == Some(&'/'),
            '.' => escaped.len() >= 3 && escaped.as_bytes()[escaped.len() - 3..].eq_ignore_ascii_case(b"www"),
            // Lists and rules begin a line.
            '-' | '+' | '=' => at_start,
            _ => false,
        };
        if marks {
            escaped.push('\\');
        }
        escaped.push(c);
        at_start = false;
    }
    escaped
}

/// A name, a place or a digest: a code span, in which nothing has a meaning.
pub(super) fn code(text: &str) -> String {
    let text = line(text, LINE_MAX);
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    let fence = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A name in a cell of a table. A bar would end the cell even in a code span, so that such a name is a sentence.
pub(super) fn cell(text: &str) -> String {
    if text.contains('|') { prose(text) } else { code(text) }
}

/// A code block.
pub(super) fn block(language: &str, text: &str) -> String {
    let shown = |c: char| if c != '\n' && is_hidden(c) { HIDDEN } else { c };
    let mut body: String = text.trim().replace("\r\n", "\n").chars().take(BLOCK_MAX).map(shown).collect();
    if text.trim().chars().nth(BLOCK_MAX).is_some() {
        body.push('…');
    }
    let fence = "`".repeat(longest_run(&body).max(2) + 1);
    format!("{fence}{language}\n{body}\n{fence}\n")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// A JSON value in a code span; texts without their quotes.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => code(text),
        other => code(&other.to_string()),
    }
}

/// A measured number: four places, or powers of ten where these would say nothing.
pub(super) fn measured(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) { format!("{number:.3e}") } else { format!("{number:.4}") }
}

/// A number of seconds or joules.
pub(super) fn amount(number: f64) -> String {
    if number.abs() < 1e9 { format!("{number:.2}") } else { format!("{number:.3e}") }
}

/// A whole number in groups of three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of files.
pub(super) fn files(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "file" } else { "files" })
}

/// A moment, to the second, UTC.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_lose_their_meaning() {
        for (text, expected) in [
            ("psi 0.31 > 0.25 (segment)", "psi 0.31 \\> 0.25 (segment)"),
            ("<script>x</script>", "\\<script\\>x\\</script\\>"),
            ("[a](javascript:x) ![b](c)", "\\[a\\](javascript:x) \\!\\[b\\](c)"),
            ("see https://a.b and www.c.d or e@f.g", "see https\\://a.b and www\\.c.d or e\\@f.g"),
            ("# head\n- item\n| x |", "\\# head - item \\| x \\|"),
            ("- item", "\\- item"),
            ("a\u{1b}[31mb\u{202e}c\u{200b}", "a\u{fffd}\\[31mb\u{fffd}c\u{fffd}"),
            ("", ""),
        ] {
            assert_eq!(prose(text), expected, "{text:?}");
        }
    }

    #[test]
    fn code_spans_hold_any_text() {
        for (text, expected) in [
            ("a*b", "`a*b`"),
            ("a`b", "``a`b``"),
            ("``", "``` `` ```"),
            (" \n ", "(empty)"),
            ("x\u{7}y", "`x\u{fffd}y`"),
        ] {
            assert_eq!(code(text), expected, "{text:?}");
        }
        assert_eq!((cell("a|b"), cell("a\\|*b")), ("a\\|b".to_owned(), "a\\\\\\|\\*b".to_owned()));
        assert_eq!(code(&"é".repeat(400)).chars().count(), LINE_MAX + 3);
        assert_eq!(block("sql", "SELECT 1\n```\n<b>"), "````sql\nSELECT 1\n```\n<b>\n````\n");
    }

    #[test]
    fn numbers_and_moments() {
        for (number, expected) in
            [(0_u64, "0"), (999, "999"), (1_000, "1,000"), (u64::MAX, "18,446,744,073,709,551,615")]
        {
            assert_eq!(count(number), expected);
        }
        for (number, expected) in [(0.0, "0.0000"), (0.12345, "0.1235"), (1e-5, "1.000e-5"), (-3.5e300, "-3.500e300")] {
            assert_eq!(measured(number), expected);
        }
        assert_eq!((amount(12.345), amount(1e300)), ("12.35".to_owned(), "1.000e300".to_owned()));
        assert_eq!(moment(Timestamp::UNIX_EPOCH), "1970-01-01 00:00:00 UTC");
    }

    proptest! {
        #[test]
        fn nothing_hidden_gets_through(text in any::<String>()) {
            for shown in [prose(&text), code(&text), cell(&text)] {
                prop_assert!(!shown.chars().any(is_hidden), "{shown:?}");
            }
            prop_assert!(!block("", &text).chars().any(|c| c != '\n' && is_hidden(c)));
        }

        #[test]
        fn a_block_ends_only_at_its_end(text in "[`a\n ]{0,60}") {
            let shown = block("", &text);
            let fence = shown.lines().next().unwrap();
            prop_assert_eq!(shown.lines().filter(|line| line.trim().starts_with(fence)).count(), 2);
        }
    }
}
