//! A report as tables: one for each kind of candidate, policies side by side.

use std::time::Duration;

use fairway_core::plan::spell;
use fairway_sim::backtest::{Case, PolicyReport, Report, Spread};

use crate::output::{self, table};

type Row<'a> = (&'a str, &'a dyn Fn(&Case) -> String);

/// Draws a report.
pub(super) fn report(report: &Report) -> String {
    let record = &report.record;
    let users = record.users.map_or_else(String::new, |users| format!(" of about {users:.0} users"));
    let mut text = format!(
        "{} requests{users}, {} to {}, in periods of {}\n{} rollouts each, seed {}; a candidate is stable plus the harm\n",
        record.requests,
        output::time(record.from),
        output::time(record.until),
        seconds(record.period_seconds),
        report.rollouts,
        report.seed,
    );
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    let cases = report.policies.first().map_or(0, |policy| policy.cases.len());
    for at in 0..cases {
        text.push('\n');
        text.push_str(&section(&report.policies, at));
        text.push('\n');
    }
    text
}

fn section(policies: &[PolicyReport], at: usize) -> String {
    let named: Vec<(&PolicyReport, &Case)> =
        policies.iter().filter_map(|policy| Some((policy, policy.cases.get(at)?))).collect();
    let Some((_, first)) = named.first() else { return String::new() };
    let is_good = first.harm.is_none();
    let title = if is_good { "a good candidate".to_owned() } else { format!("a candidate with {}", first.harm) };
    let header: Vec<&str> = [""].into_iter().chain(named.iter().map(|(policy, _)| policy.name.as_str())).collect();
    let declared = named.iter().map(|(policy, _)| format!("{:.0}", policy.false_alarm_rate * 1_000.0));
    let declared: Vec<String> = ["  declared, at most".to_owned()].into_iter().chain(declared).collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, value) in if is_good { good() } else { bad() } {
        rows.push([(*name).to_owned()].into_iter().chain(named.iter().map(|(_, case)| value(case))).collect());
        if name.starts_with("false alarms per") {
            rows.push(declared.clone());
        }
    }
    format!("{title}\n{}", table(&header, rows))
}

fn good() -> &'static [Row<'static>] {
    &[
        ("promoted", &|case| of(case.promoted, case)),
        ("false alarms per 1,000", &|case| {
            let (rate, low, high) = case.false_alarms_per_1000;
            format!("{rate:.0} ({low:.0}-{high:.0})")
        }),
        ("given up for another reason", &|case| of(case.given_up, case)),
        ("paused for a person", &|case| of(case.paused, case)),
        ("not over with the record", &|case| of(case.unfinished, case)),
        ("time to promotion, median", &|case| time(case.seconds_to_promotion, median)),
        ("  95 %", &|case| time(case.seconds_to_promotion, p95)),
    ]
}

fn bad() -> &'static [Row<'static>] {
    &[
        ("detected and rolled back", &|case| format!("{:.1} %", case.detected_share.0 * 100.0)),
        ("promoted all the same", &|case| of(case.promoted, case)),
        ("rolled back before the harm", &|case| of(case.false_alarms, case)),
        ("given up for another reason", &|case| of(case.given_up, case)),
        ("not over with the record", &|case| of(case.unfinished, case)),
        ("time to rollback, median", &|case| time(case.seconds_to_rollback, median)),
        ("  95 %", &|case| time(case.seconds_to_rollback, p95)),
        ("users who met it, median", &|case| number(case.users, median)),
        ("  95 %", &|case| number(case.users, p95)),
        ("bad answers more, median", &|case| number(case.bad_answers, median)),
        ("reward lost, median", &|case| number(case.reward_lost, median)),
    ]
}

fn median(spread: &Spread) -> f64 {
    spread.median
}

fn p95(spread: &Spread) -> f64 {
    spread.p95
}

fn of(n: usize, case: &Case) -> String {
    format!("{n} of {}", case.rollouts)
}

fn time(spread: Option<Spread>, which: fn(&Spread) -> f64) -> String {
    spread.map_or_else(|| "-".to_owned(), |spread| seconds(which(&spread)))
}

fn seconds(seconds: f64) -> String {
    spell(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn number(spread: Option<Spread>, which: fn(&Spread) -> f64) -> String {
    spread.map_or_else(|| "-".to_owned(), |spread| format!("{:.0}", which(&spread)))
}
