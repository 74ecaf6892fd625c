//! Fixed times: five fields of cron, in UTC. When was the last tick, and when is the next?
//!
//! Strict on purpose: no names such as `@daily`, no seconds, no `L` or `#`, and a schedule that never comes is refused. It
//! knows no clock and keeps no state; what to do about a tick that was missed is decided in [`crate::triggers`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::plan::elapsed;

/// A schedule that cannot be used: which field, what was found, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem} ({help})")]
pub struct CronError {
    /// What is wrong, naming what was found.
    pub problem: String,
    /// What is allowed.
    pub help: String,
}

/// A schedule: minute, hour, day of month, month, day of week. Each is `*`, a number, a range `1-5`, a step `*/15` or
/// `8-18/2`, or a list of these; months and days also by their first three letters. Sunday is 0 and 7.
///
/// As in every cron: when both days are given (neither begins with `*`), one of them is enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

/// Days that are searched for a tick. 29 February on a given weekday comes every 28 years, and after 12 more when a
/// century without a leap day lies between.
const SEARCH_DAYS: usize = 41 * 366;
/// Ticks that are looked at for a rhythm: more than two weeks of an hourly one.
const RHYTHM_TICKS: usize = 400;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One of the five: what people call it, what it holds, and words for its values.
struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, words: &[] },
    Field { name: "hour", min: 0, max: 23, words: &[] },
    Field { name: "day of month", min: 1, max: 31, words: &[] },
    Field { name: "month", min: 1, max: 12, words: &MONTHS },
    Field { name: "day of week", min: 0, max: 7, words: &WEEKDAYS },
];

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts[..] else {
            return Err(CronError {
                problem: format!("`{text}` has {} fields, five are needed", parts.len()),
                help: "minute, hour, day of month, month, day of week: `0 3 * * 1` is Monday at 03:00 UTC".to_owned(),
            });
        };
        let [minutes, hours, days, months, weekdays] = FIELDS;
        let weekdays = weekdays.parse(weekday)?;
        let cron = Self {
            text: parts.join(" "),
            minutes: minutes.parse(minute)?,
            hours: hours.parse(hour)?,
            days: days.parse(day)?,
            months: months.parse(month)?,
            // 7 is another name of Sunday.
            weekdays: weekdays | weekdays >> 7,
            any_day: day.starts_with('*'),
            any_weekday: weekday.starts_with('*'),
        };
        if cron.next(Timestamp::UNIX_EPOCH).is_none() {
            let problem = format!("`{text}` never comes");
            return Err(CronError { problem, help: "no month has that day".to_owned() });
        }
        Ok(cron)
    }
}

impl Field {
    /// The values as bits.
    fn parse(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.part(part).ok_or_else(|| self.wrong(part))?))
    }

    fn part(&self, text: &str) -> Option<u64> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
            None => (text, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max),
            Some((from, to)) => (self.value(from)?, self.value(to)?),
            // `5/15` is from 5 to the end, as Kubernetes has it.
            None => (self.value(range)?, if step.is_some() { self.max } else { self.value(range)? }),
        };
        let values = (from..=to).step_by(usize::from(step.unwrap_or(1)));
        (from <= to).then(|| values.fold(0, |bits, value| bits | 1 << value))
    }

    fn value(&self, text: &str) -> Option<u8> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let value = word.and_then(|at| u8::try_from(at).ok()).map(|at| at + self.min).or_else(|| number(text))?;
        (self.min..=self.max).contains(&value).then_some(value)
    }

    fn wrong(&self, part: &str) -> CronError {
        let words = match self.words {
            [first, .., last] => format!(", {first} to {last}"),
            _ => String::new(),
        };
        CronError {
            problem: format!("`{part}` is not a {}", self.name),
            help: format!("{} to {}{words}, `*`, a range `1-5`, a step `*/15`, or a list of these", self.min, self.max),
        }
    }
}

/// Digits alone: `u8` would take a sign.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Cron {
    /// The first tick after a moment. `None` beyond the end of the calendar (the year 9999).
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = civil(after);
        let mut date = after.date();
        let mut minute = minute_of_day(after) + 1;
        for _ in 0..SEARCH_DAYS {
            let found = self.falls_on(date).then(|| (minute..MINUTES).find(|minute| self.falls_at(*minute))).flatten();
            if let Some(found) = found {
                return timestamp(date, found);
            }
            (date, minute) = (date.tomorrow().ok()?, 0);
        }
        None
    }

    /// The last tick at or before a moment. `None` if there was none in 41 years.
    pub fn previous(&self, at: Timestamp) -> Option<Timestamp> {
        let at = civil(at);
        let mut date = at.date();
        let mut minute = minute_of_day(at);
        for _ in 0..SEARCH_DAYS {
            let found = self.falls_on(date).then(|| (0..=minute).rev().find(|minute| self.falls_at(*minute))).flatten();
            if let Some(found) = found {
                return timestamp(date, found);
            }
            (date, minute) = (date.yesterday().ok()?, MINUTES - 1);
        }
        None
    }

    /// How close ticks come: the shortest gap between two of the first 400 since 1970, and how many of those fall into a
    /// period that begins with the first. `None` with fewer than two ticks.
    pub fn rhythm(&self, period: Duration) -> Option<(Duration, usize)> {
        let first = self.next(Timestamp::UNIX_EPOCH)?;
        let ticks = std::iter::successors(Some(first), |tick| self.next(*tick)).take(RHYTHM_TICKS);
        let ticks: Vec<Timestamp> = ticks.collect();
        let gap = ticks.windows(2).map(|pair| elapsed(pair[0], pair[1])).min()?;
        Some((gap, ticks.iter().take_while(|tick| elapsed(first, **tick) < period).count()))
    }

    fn falls_on(&self, date: Date) -> bool {
        let bit = |bits: u64, at: i8| bits >> at & 1 == 1;
        let day = bit(self.days, date.day());
        let weekday = bit(self.weekdays, date.weekday().to_sunday_zero_offset());
        let given = !self.any_day && !self.any_weekday;
        bit(self.months, date.month()) && if given { day || weekday } else { day && weekday }
    }

    fn falls_at(&self, minute: u16) -> bool {
        self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1
    }
}

/// Minutes of a day: UTC has neither 23 nor 25 hours.
const MINUTES: u16 = 24 * 60;

fn civil(at: Timestamp) -> DateTime {
    at.to_zoned(TimeZone::UTC).datetime()
}

fn minute_of_day(at: DateTime) -> u16 {
    u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs())
}

fn timestamp(date: Date, minute: u16) -> Option<Timestamp> {
    let hour = i8::try_from(minute / 60).ok()?;
    let minute = i8::try_from(minute % 60).ok()?;
    Some(date.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).ok()?.timestamp())
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Cron {
    type Error = CronError;
    fn try_from(text: String) -> Result<Self, CronError> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

#[cfg(test)]
mod tests;
