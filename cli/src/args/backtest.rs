//! The command line of `fairway backtest`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use fairway_sim::backtest::Harm;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::RegistryArgument;

/// See [`super::Command::Backtest`].
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Backtest {
    /// A folder of manifests whose endpoint has the policy; give it again to compare policies, each named by its folder
    /// [default: the policy of the newest recorded plan]
    #[arg(long, value_name = "DIR")]
    pub manifests: Vec<PathBuf>,
    /// What is wrong with the candidate; give it again for more cases. A good candidate is always played too.
    /// errors=x3, errors=+2%, slow=x2, degrade=reward:-20%; together with commas; later with @10:00 or @90m after the start
    /// [default: errors=x3 and degrade=reward:-20%]
    #[arg(long, value_name = "HARM")]
    pub inject: Vec<Harm>,
    /// The namespace of the endpoint whose windows were recorded [default: that of the manifests, else `default`]
    #[arg(long, value_name = "NS")]
    pub namespace: Option<String>,
    /// The endpoint whose windows were recorded [default: that of the manifests]
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// Only windows that begin at this time or later, such as 2026-11-01 or 2026-11-01T08:00:00Z (UTC)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<Timestamp>,
    /// Only windows that begin before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
    /// Rollouts of each policy and case, at moments all over the record
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub rollouts: usize,
    /// The same seed gives the same numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Most windows that are read; the newest of those that are asked for
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub windows: usize,
    /// Also write the report as one HTML file, with pictures
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Play nothing: decide the recorded plans again from what they were decided by, and compare. Exit code 1 if one differs
    #[arg(long, conflicts_with_all = ["inject", "from", "until", "html"])]
    pub verify: bool,
    /// Most plans that --verify decides again, the newest first
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "verify", value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub plans: usize,
    /// Values of variables in the manifests, for example `data=/tmp/x.parquet`
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Where the windows are, and how to print
    #[command(flatten)]
    pub registry: RegistryArgument,
}

const EXAMPLES: &str = "Examples:
  What would my policy have done with good and with bad candidates?
    fairway backtest --registry s3://acme-models/prod --manifests shop/
  Is a faster policy still safe? Side by side, and as a page for the review:
    fairway backtest --registry s3://acme-models/prod --manifests now/ --manifests faster/ --html report.html
  A candidate that breaks ten hours into its rollout, and one that earns a fifth less:
    fairway backtest --manifests shop/ --inject errors=x3@10:00 --inject degrade=reward:-20%
  Does each recorded decision follow from what it was decided by?
    fairway backtest --registry s3://acme-models/prod --endpoint shop --verify

What is assumed, and how to read the table: docs/backtest.md";

/// A moment, or the first one of a day, UTC.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let midnight = text.parse::<jiff::civil::Date>().ok().and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    midnight.map(|at| at.timestamp()).ok_or_else(|| "write 2026-11-01 or 2026-11-01T08:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_days() {
        assert_eq!(parse_time("2026-11-01").unwrap().to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(parse_time("2026-11-01T08:00:00+01:00").unwrap().to_string(), "2026-11-01T07:00:00Z");
        assert!(["", "yesterday", "2026-13-01", "10:00"].iter().all(|bad| parse_time(bad).is_err()));
    }
}
