//! Numbers of many rollouts, and tables for people in Markdown, so that they can be put into the docs as they are.

use crate::exposure::Cost;

/// Prints a table.
pub fn print_table(title: &str, header: &[&str], rows: &[Vec<String>]) {
    println!("\n**{title}**\n\n| {} |\n|{}", header.join(" | "), "---|".repeat(header.len()));
    rows.iter().for_each(|row| println!("| {} |", row.join(" | ")));
}

/// A bar, met or missed.
pub fn bar(what: &str, is_met: bool) {
    println!("- {what}: {}", if is_met { "met" } else { "MISSED" });
}

/// The middle one, by size; 0 of none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Their mean; 0 of none.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (n, sum) = values.fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    if n > 0.0 { sum / n } else { 0.0 }
}

/// Rollbacks of a good candidate per 1,000 rollouts, with Wilson's 95 % interval.
pub fn per_thousand(costs: &[Cost]) -> String {
    share_per_thousand(costs.iter().filter(|cost| cost.rolled_back).count(), costs.len())
}

/// So many of all, per 1,000, with Wilson's 95 % interval.
pub fn share_per_thousand(count: usize, all: usize) -> String {
    let (n, z) = (all.max(1) as f64, 1.96_f64);
    let p = count as f64 / n;
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let end = |value: f64| 1_000.0 * (value / (1.0 + z * z / n)).clamp(0.0, 1.0);
    format!("{:.0} ({:.0} to {:.0})", 1_000.0 * p, end(centre - half), end(centre + half))
}

/// The share that was rolled back.
pub fn rolled_back(costs: &[Cost]) -> f64 {
    mean(costs.iter().map(|cost| f64::from(u8::from(cost.rolled_back))))
}

/// The mean number of users who met the candidate.
pub fn users(costs: &[Cost]) -> f64 {
    mean(costs.iter().map(|cost| f64::from(cost.users)))
}

/// What a row of a table says about a harm: rolled back, of which in the bake, users mean and median, the median of the time
/// until those that were rolled back were, and errors of the candidate.
pub fn harm_row(costs: &[Cost]) -> Vec<String> {
    let in_bake = mean(costs.iter().map(|cost| f64::from(u8::from(cost.in_bake))));
    let back = format!("{:.1} %", 100.0 * rolled_back(costs));
    let back = if in_bake > 0.0 { format!("{back} ({:.1} % in the bake)", 100.0 * in_bake) } else { back };
    let some = costs.iter().any(|cost| cost.rolled_back);
    let minutes = median(costs.iter().filter_map(|cost| cost.minutes).map(|minutes| minutes as f64));
    vec![
        back,
        format!("{:.0}", users(costs)),
        format!("{:.0}", median(costs.iter().map(|cost| f64::from(cost.users)))),
        if some { format!("{minutes:.0} min") } else { "-".to_owned() },
        format!("{:.0}", mean(costs.iter().map(|cost| f64::from(cost.bad)))),
    ]
}
