//! A report as one HTML file: tables, weights over time, time to rollback. Nothing is fetched and nothing runs; it reads
//! well on paper and in the dark.

use std::fmt::Write;
use std::time::Duration;

use fairway_core::plan::spell;

use super::compare::{Case, Report, Spread};
use super::plot::{Curve, escaped, plot};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--line:#d5dae0;--paper:#fff;\
--c0:#0b62c4;--c1:#b4450b;--c2:#0a7a4b;--c3:#8431ad;--c4:#8a6a00}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a3abb5;--line:#3a414a;--paper:#15181c;\
--c0:#78b4ff;--c1:#ff9e6b;--c2:#5fd49d;--c3:#d59bf3;--c4:#e6c54d}}\
@media print{:root{--ink:#000;--soft:#333;--line:#bbb;--paper:#fff;\
--c0:#0b62c4;--c1:#b4450b;--c2:#0a7a4b;--c3:#8431ad;--c4:#8a6a00}section{break-inside:avoid}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;\
padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}p,li{color:var(--soft)}\
table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line)}\
th:first-child,td:first-child{text-align:left}svg{width:100%;height:auto}svg.key{width:28px;height:12px;margin-right:.4em}\
svg text{fill:var(--soft);font-size:12px}.grid{stroke:var(--line);stroke-width:1}\
.curve{fill:none;stroke-width:2}.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}\
.c4{stroke:var(--c4)}.legend span{margin-right:1.2em;white-space:nowrap}";

/// Draws a report.
pub fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Backtest of rollout policies</title>\n<style>{STYLE}</style>\n<h1>Backtest of rollout policies</h1>\n"
    );
    head(&mut page, report);
    let cases = report.policies.first().map_or(0, |policy| policy.cases.len());
    for at in 0..cases {
        section(&mut page, report, at);
    }
    page.push_str("</html>\n");
    page
}

fn head(page: &mut String, report: &Report) {
    let record = &report.record;
    let users = record.users.map_or_else(String::new, |users| format!(", about {users:.0} users"));
    let _ = writeln!(
        page,
        "<p>{} rollouts of each policy and candidate, seed {}, on {} requests{users} from {} to {}. Stable failed {:.3} % \
         of them and earned {:.4} per exposure.</p>",
        report.rollouts,
        report.seed,
        record.requests,
        record.from,
        record.until,
        record.error_rate * 100.0,
        record.mean_reward,
    );
    page.push_str(
        "<p>A candidate is stable plus the harm that is named; how a real one would have done is not in any record.</p>\n",
    );
    if !report.notes.is_empty() {
        page.push_str("<ul>\n");
        for note in &report.notes {
            let _ = writeln!(page, "<li>{}</li>", escaped(note));
        }
        page.push_str("</ul>\n");
    }
}

fn section(page: &mut String, report: &Report, at: usize) {
    let cases: Vec<(&str, &Case)> =
        report.policies.iter().filter_map(|policy| Some((policy.name.as_str(), policy.cases.get(at)?))).collect();
    let Some((_, first)) = cases.first() else { return };
    let is_good = first.harm.is_none();
    let title = if is_good { "A good candidate".to_owned() } else { format!("A candidate with {}", first.harm) };
    let _ = writeln!(page, "<section>\n<h2>{}</h2>", escaped(&title));
    table(page, &cases, is_good);
    page.push_str("<p>Share of the eligible users over time, in a typical rollout:</p>\n");
    page.push_str(&plot(&weights(&cases), "weight over time"));
    if !is_good && cases.iter().any(|(_, case)| !case.rollback_seconds.is_empty()) {
        page.push_str("<p>Rollouts taken back by then, counted from the beginning of the harm:</p>\n");
        page.push_str(&plot(&rollbacks(&cases), "share rolled back over time"));
    }
    page.push_str("</section>\n");
}

fn table(page: &mut String, cases: &[(&str, &Case)], is_good: bool) {
    page.push_str("<table>\n<tr><th></th>");
    for (name, _) in cases {
        let _ = write!(page, "<th>{}</th>", escaped(name));
    }
    page.push_str("</tr>\n");
    let mut row = |name: &str, value: &dyn Fn(&Case) -> String| {
        let _ = write!(page, "<tr><td>{name}</td>");
        for (_, case) in cases {
            let _ = write!(page, "<td>{}</td>", escaped(&value(case)));
        }
        page.push_str("</tr>\n");
    };
    row("promoted", &|case| format!("{} of {}", case.promoted, case.rollouts));
    if is_good {
        row("false alarms per 1,000 (95 % interval)", &|case| {
            let (rate, low, high) = case.false_alarms_per_1000;
            format!("{rate:.0} ({low:.0} to {high:.0})")
        });
        row("time to promotion, median / 95 %", &|case| times(case.seconds_to_promotion));
    } else {
        row("detected", &|case| format!("{:.0} %", case.detected_share.0 * 100.0));
        row("time to rollback, median / 95 %", &|case| times(case.seconds_to_rollback));
        row("false alarms before the harm", &|case| case.false_alarms.to_string());
        row("bad answers, median / 95 %", &|case| numbers(case.bad_answers));
        row("reward lost, median / 95 %", &|case| numbers(case.reward_lost));
    }
    row("given up for another reason", &|case| case.given_up.to_string());
    row("not over when the record was", &|case| case.unfinished.to_string());
    row("users who met it, median / 95 %", &|case| numbers(case.users));
    page.push_str("</table>\n");
}

fn times(spread: Option<Spread>) -> String {
    let text = |seconds: f64| spell(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    spread.map_or_else(|| "–".to_owned(), |it| format!("{} / {}", text(it.median), text(it.p95)))
}

fn numbers(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |it| format!("{:.0} / {:.0}", it.median, it.p95))
}

fn weights(cases: &[(&str, &Case)]) -> Vec<Curve> {
    let curve = |(name, case): &(&str, &Case)| {
        let typical = case.typical.as_ref()?;
        let points: Vec<(f64, f64)> = typical.steps.iter().map(|step| (step.seconds, step.weight)).collect();
        let last = points.last().map_or(0.0, |(seconds, _)| *seconds);
        // A little beyond the end, so that it is seen where the curve ends up.
        Some(Curve { name: (*name).to_owned(), points, until: last * 1.1 + 1.0 })
    };
    cases.iter().filter_map(curve).collect()
}

fn rollbacks(cases: &[(&str, &Case)]) -> Vec<Curve> {
    let last = cases.iter().filter_map(|(_, case)| case.rollback_seconds.last()).fold(0.0_f64, |a, b| a.max(*b));
    let curve = |(name, case): &(&str, &Case)| {
        let share = |n: usize| n as f64 / case.rollouts.max(1) as f64 * 100.0;
        let taken_back = case.rollback_seconds.iter().enumerate().map(|(i, seconds)| (*seconds, share(i + 1)));
        Curve {
            name: (*name).to_owned(),
            points: [(0.0, 0.0)].into_iter().chain(taken_back).collect(),
            until: last * 1.05,
        }
    };
    cases.iter().map(curve).collect()
}
