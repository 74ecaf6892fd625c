//! How texts write a moment: `01/02/2025 10:00`. Which of two numbers is the day a text tells only if one of them is above 12.

/// A format by which a column's texts can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// As `to_timestamp` takes it.
    pub(super) format: String,
    /// The format if the month comes first, where the text does not tell that it does not.
    pub(super) or_else: Option<String>,
}

/// The format of a text; none where it is not three numbers for a date, and perhaps a time.
pub(super) fn written(text: &str) -> Option<Written> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && !SEPARATORS.contains(&c)).unwrap_or(text.len());
    let (date, rest) = text.split_at(end);
    let separator = date.chars().find(|c| SEPARATORS.contains(c))?;
    let parts: Vec<&str> = date.split(separator).collect();
    let [a, b, c] = parts[..] else { return None };
    let number = |part: &str| part.parse::<u32>().ok().filter(|number| *number > 0);
    let (first, second) = (number(a)?, number(b)?);
    number(c)?;
    let time = time(rest)?;
    let format = |parts: [&str; 3]| format!("{}{time}", parts.join(&separator.to_string()));
    if a.len() == 4 {
        return Some(Written { format: format(["%Y", "%m", "%d"]), or_else: None });
    }
    let year = match c.len() {
        4 => "%Y",
        2 => "%y",
        _ => return None,
    };
    let (day_first, month_first) = (format(["%d", "%m", year]), format(["%m", "%d", year]));
    match (first, second) {
        (13..=31, 1..=12) => Some(Written { format: day_first, or_else: None }),
        (1..=12, 13..=31) => Some(Written { format: month_first, or_else: None }),
        (1..=12, 1..=12) => Some(Written { format: day_first, or_else: Some(month_first) }),
        _ => None,
    }
}

/// What stands between the numbers of a date. With `-`, a date that begins with the year needs no format, and is not text.
const SEPARATORS: [char; 3] = ['/', '.', '-'];

/// The format of what follows a date: nothing, or hours and minutes, perhaps with seconds, perhaps with AM or PM.
fn time(rest: &str) -> Option<String> {
    if rest.is_empty() {
        return Some(String::new());
    }
    let begins = if rest.starts_with('T') { 'T' } else { ' ' };
    let clock = rest.strip_prefix(begins)?.trim_start();
    let (clock, half) = match clock.len().checked_sub(2).and_then(|at| clock.split_at_checked(at)) {
        Some((clock, half)) if ["AM", "PM"].contains(&half.to_ascii_uppercase().as_str()) => (clock, true),
        _ => (clock, false),
    };
    let (digits, gap) = (clock.trim_end(), if clock.ends_with(' ') { " " } else { "" });
    let parts: Vec<&str> = digits.split(':').collect();
    let whole = |part: &&str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !(2..=3).contains(&parts.len()) || !parts.iter().all(whole) || !half && !gap.is_empty() {
        return None;
    }
    let hour = if half { "%I" } else { "%H" };
    let seconds = if parts.len() == 3 { ":%S" } else { "" };
    let half = if half { format!("{gap}%p") } else { String::new() };
    Some(format!("{begins}{hour}:%M{seconds}{half}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_texts() {
        for (text, format, or_else) in [
            ("31/12/2025 10:00", "%d/%m/%Y %H:%M", None),
            ("12/31/2025 10:00", "%m/%d/%Y %H:%M", None),
            ("01/02/2025 10:00", "%d/%m/%Y %H:%M", Some("%m/%d/%Y %H:%M")),
            ("1.2.25", "%d.%m.%y", Some("%m.%d.%y")),
            ("24.12.2025T18:30:05", "%d.%m.%YT%H:%M:%S", None),
            ("2025/12/31 10:00", "%Y/%m/%d %H:%M", None),
            ("12/31/2025 3:04 PM", "%m/%d/%Y %I:%M %p", None),
        ] {
            let expected = Written { format: format.to_owned(), or_else: or_else.map(str::to_owned) };
            assert_eq!(written(text), Some(expected), "{text}");
        }
        for text in
            ["", "yesterday", "1/2", "13/13/2025", "0/1/2025", "1/2/2025 at noon", "1/2/3/2025", "10:00", "é/1/2025"]
        {
            assert_eq!(written(text), None, "{text}");
        }
    }
}
