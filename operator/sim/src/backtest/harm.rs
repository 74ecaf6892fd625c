//! What is wrong with a candidate, as people write it: `errors=x3`, `slow=x2`, `degrade=reward:-20%@10:00`, `none`.
//! It says how rates and rewards change, and from when on; it draws nothing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What may be written, for messages.
const ALLOWED: &str = "write none, errors=x3, errors=+2%, slow=x2, slow=+5% or degrade=reward:-20%; several with commas; \
                       each may begin later, so long after the rollout's start: errors=x3@10:00 or errors=x3@90m";
/// Beyond this nobody means it.
const TIMES_MAX: f64 = 1_000.0;
/// A century in seconds: longer than any record.
const SECONDS_MAX: u64 = 100 * 366 * 86_400;

/// What is wrong with a candidate, and from when on. In text and JSON as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Harm {
    text: String,
    faults: Vec<Fault>,
}

/// A harm that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{part}`: {problem}; {ALLOWED}")]
pub struct HarmError {
    /// The part that is wrong, as it was written.
    pub part: String,
    /// What is wrong with it.
    pub problem: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Fault {
    what: What,
    after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Errors(Excess),
    Slow(Excess),
    /// The share of the reward that is lost.
    Reward(f64),
}

/// How a rate grows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Excess {
    Times(f64),
    Added(f64),
}

impl Harm {
    /// A candidate that is as good as stable.
    pub fn none() -> Self {
        Self { text: "none".to_owned(), faults: Vec::new() }
    }

    /// Whether nothing is wrong.
    pub fn is_none(&self) -> bool {
        self.faults.is_empty()
    }

    /// How long after the rollout's start the first of it begins; zero for none.
    pub fn after(&self) -> Duration {
        self.faults.iter().map(|fault| fault.after).min().unwrap_or_default()
    }

    /// Whether it changes nothing on traffic with these rates: a multiple of nothing is nothing.
    pub fn is_idle(&self, error_rate: f64, slow_rate: f64, reward: f64) -> bool {
        self.faults.iter().all(|fault| match fault.what {
            What::Errors(excess) => excess.of(error_rate) <= error_rate,
            What::Slow(excess) => excess.of(slow_rate) <= slow_rate,
            What::Reward(_) => reward <= 0.0,
        })
    }

    /// The candidate's error rate where stable has `rate`, so long after the rollout's start.
    pub(super) fn errors(&self, rate: f64, since: Duration) -> f64 {
        self.active(since).fold(rate, |rate, what| if let What::Errors(excess) = what { excess.of(rate) } else { rate })
    }

    /// The same for slow answers.
    pub(super) fn slow(&self, rate: f64, since: Duration) -> f64 {
        self.active(since).fold(rate, |rate, what| if let What::Slow(excess) = what { excess.of(rate) } else { rate })
    }

    /// The share of the reward that the candidate still earns.
    pub(super) fn earned(&self, since: Duration) -> f64 {
        self.active(since)
            .fold(1.0, |kept, what| if let What::Reward(lost) = what { kept * (1.0 - lost) } else { kept })
    }

    fn active(&self, since: Duration) -> impl Iterator<Item = What> {
        self.faults.iter().filter(move |fault| since >= fault.after).map(|fault| fault.what)
    }
}

impl Excess {
    fn of(self, rate: f64) -> f64 {
        match self {
            Self::Times(times) => (rate * times).min(1.0),
            Self::Added(more) => (rate + more).min(1.0),
        }
    }
}

impl FromStr for Harm {
    type Err = HarmError;

    fn from_str(text: &str) -> Result<Self, HarmError> {
        let text = text.trim();
        if text == "none" {
            return Ok(Self::none());
        }
        let faults = text.split(',').map(|part| fault(part.trim())).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), faults })
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Harm {
    type Error = HarmError;
    fn try_from(text: String) -> Result<Self, HarmError> {
        text.parse()
    }
}

impl From<Harm> for String {
    fn from(harm: Harm) -> Self {
        harm.text
    }
}

fn fault(part: &str) -> Result<Fault, HarmError> {
    let wrong = |problem: String| HarmError { part: part.to_owned(), problem };
    let (what, after) = part.split_once('@').map_or((part, None), |(what, after)| (what, Some(after)));
    let after = after.map_or(Ok(Duration::ZERO), moment).map_err(wrong)?;
    let Some((name, amount)) = what.split_once('=') else {
        return Err(wrong("there is no `=`".to_owned()));
    };
    let what = match (name.trim(), amount.trim()) {
        ("errors", amount) => What::Errors(excess(amount).map_err(wrong)?),
        ("slow", amount) => What::Slow(excess(amount).map_err(wrong)?),
        ("reward", amount) => What::Reward(loss(amount).map_err(wrong)?),
        ("degrade", amount) => match amount.split_once(':') {
            Some(("reward", amount)) => What::Reward(loss(amount).map_err(wrong)?),
            _ => return Err(wrong("only reward can be degraded: degrade=reward:-20%".to_owned())),
        },
        (other, _) => return Err(wrong(format!("`{other}` is nothing that can be harmed"))),
    };
    Ok(Fault { what, after })
}

fn excess(text: &str) -> Result<Excess, String> {
    if let Some(percent) = text.strip_prefix('+') {
        return Ok(Excess::Added(percentage(percent)?));
    }
    let number = text.strip_prefix(['x', 'X', '×']).ok_or_else(|| format!("`{text}` is neither x3 nor +2%"))?;
    match number.parse::<f64>() {
        Ok(times) if times > 1.0 && times <= TIMES_MAX => Ok(Excess::Times(times)),
        _ => Err(format!("`{text}`: a number above 1, up to {TIMES_MAX}, belongs after the x")),
    }
}

fn loss(text: &str) -> Result<f64, String> {
    let percent = text.strip_prefix(['-', '−']).ok_or_else(|| format!("`{text}` takes nothing away: write -20%"))?;
    percentage(percent)
}

/// `20%` as 0.2; above 0 % and at most 100 %.
fn percentage(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').ok_or_else(|| format!("`{text}` has no %"))?;
    match number.trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err(format!("`{text}` is not between 0% and 100%")),
    }
}

/// `10:00` (hours and minutes) or `1h30m`, both after the rollout's start.
fn moment(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let wrong = || format!("`{text}` is no time after the start: write 10:00 or 1h30m");
    let seconds = match text.split_once(':') {
        Some((hours, minutes)) => {
            let (hours, minutes): (u64, u64) = (whole(hours).ok_or_else(wrong)?, whole(minutes).ok_or_else(wrong)?);
            (minutes < 60).then(|| hours.saturating_mul(3_600).saturating_add(minutes * 60)).ok_or_else(wrong)?
        }
        None => length(text).ok_or_else(wrong)?,
    };
    if seconds <= SECONDS_MAX { Ok(Duration::from_secs(seconds)) } else { Err(wrong()) }
}

/// Digits only: no sign.
fn whole(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Seconds of `1d2h3m4s`, longest unit first, each at most once.
fn length(text: &str) -> Option<u64> {
    let (mut rest, mut total, mut units) = (text, 0_u64, [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)].as_slice());
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = rest[end..].chars().next()?;
        let at = units.iter().position(|(name, _)| *name == unit)?;
        total = total.saturating_add(whole(&rest[..end])?.saturating_mul(units[at].1));
        (rest, units) = (&rest[end + 1..], &units[at + 1..]);
    }
    (!text.is_empty()).then_some(total)
}
