//! Windows from the bucket, many at once, within bounds.

use anyhow::{Context, Result, bail};
use fairway_registry::EndpointLog;
use fairway_sim::backtest::{Named, Record};
use fairway_wire::Window;
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::bar;
use crate::args::Backtest;
use crate::exit::Invalid;

/// Windows that are fetched at once.
const AT_ONCE: usize = 32;
/// Most bytes of one record.
const BYTES_MAX: u64 = 4 << 30;
/// The most names that the registry lists.
const LISTED_MAX: usize = 100_000;
/// What to do when there is nothing to play on.
pub(super) const CURE: &str = "windows are kept while `fairway up` serves: check --registry, --namespace, --endpoint, --from \
                               and --until";

/// Reads the windows that are asked for, oldest first.
///
/// # Errors
/// They are too large, or cannot be read.
pub(super) async fn record(backtest: &Backtest, log: &EndpointLog, policies: &[Named]) -> Result<Record> {
    let mut record = Record::new(policies.iter().map(|named| named.policy.slow_over));
    let mut keys = log.windows(LISTED_MAX).await.context("listing the windows")?;
    keys.retain(|key| is_asked_for(key, backtest.from, backtest.until));
    if keys.len() > backtest.windows {
        let (all, most) = (keys.len(), backtest.windows);
        eprintln!(
            "only the newest {most} of {all} windows are read: --windows N reads more, --from and --until others"
        );
        keys.truncate(most);
    }
    keys.reverse();
    let bar = bar(backtest.registry.output, "reading", keys.len());
    let mut bytes = 0_u64;
    for part in keys.chunks(AT_ONCE) {
        for (window, size) in fetch(log, part).await? {
            bytes = bytes.saturating_add(size);
            record.take(&window);
        }
        if bytes > BYTES_MAX {
            bail!(Invalid(format!(
                "the windows have more than {} GiB: read fewer with --windows N, or narrow --from and --until",
                BYTES_MAX >> 30
            )));
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    Ok(record)
}

/// The windows of these keys with their sizes in bytes, in the order of the keys.
///
/// # Errors
/// One is not there or cannot be read.
pub(super) async fn fetch(log: &EndpointLog, keys: &[String]) -> Result<Vec<(Window, u64)>> {
    let mut fetched = Vec::with_capacity(keys.len());
    for part in keys.chunks(AT_ONCE) {
        let mut under_way = JoinSet::new();
        for (at, key) in part.iter().cloned().enumerate() {
            let log = log.clone();
            under_way.spawn(async move {
                let what = || format!("reading the window {key}");
                let bytes = log.window(&key).await.with_context(what)?;
                let window: Window = serde_json::from_slice(&bytes).with_context(what)?;
                Ok::<_, anyhow::Error>((at, window, bytes.len() as u64))
            });
        }
        let mut together = Vec::with_capacity(part.len());
        while let Some(one) = under_way.join_next().await {
            together.push(one??);
        }
        together.sort_unstable_by_key(|(at, ..)| *at);
        fetched.extend(together.into_iter().map(|(_, window, size)| (window, size)));
    }
    Ok(fetched)
}

/// A key begins with the window's first moment, in milliseconds.
fn is_asked_for(key: &str, from: Option<Timestamp>, until: Option<Timestamp>) -> bool {
    let Some(start) = key.split('-').next().and_then(|millis| millis.parse::<i64>().ok()) else { return true };
    from.is_none_or(|from| from.as_millisecond() <= start) && until.is_none_or(|until| start < until.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_when_a_window_began() {
        let at = |millis: i64| Timestamp::from_millisecond(millis).ok();
        let key = "1790000000000-router-a-00000007";
        for (from, until, asked) in [
            (None, None, true),
            (at(1_790_000_000_000), at(1_790_000_000_001), true),
            (at(1_790_000_000_001), None, false),
            (None, at(1_790_000_000_000), false),
        ] {
            assert_eq!(is_asked_for(key, from, until), asked, "{from:?} {until:?}");
        }
        assert!(is_asked_for("odd", at(1), at(2)), "the window itself will tell");
    }
}
