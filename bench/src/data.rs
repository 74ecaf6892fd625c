//! The data that the training benches train on: the invented shop, or a file when one is named.
//!
//! What it does not do: no manifest is read. A file has the columns of Online Retail II, and the SELECT is that of
//! `configs/online-retail/online-retail.yaml` with the description of items beside it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use fairway_model::{Interactions, ItemTexts};
use fairway_trainer::{DataSpec, Source};
use jiff::Timestamp;

use crate::shop;

/// The seed of every invented shop.
pub const SEED: u64 = 1;

const SQL: &str = "SELECT customer AS user_id, stock_code AS item_id, time, country AS segment FROM interactions \
    WHERE customer IS NOT NULL AND quantity > 0 AND unit_price > 0 AND stock_code ~ '^[0-9]{5}'";
const ITEMS_SQL: &str = "SELECT stock_code AS item_id, description FROM items";
/// 2100-01-01: after every row of every file.
const AS_OF_SECOND: i64 = 4_102_444_800;
/// 130 years: before every row of every file.
const HISTORY: Duration = Duration::from_secs(130 * 365 * 86_400);

/// Options of the benches that train.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Train on this file, which has the columns of Online Retail II, and not on the invented shop
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// How often everything is measured; the best and the worst are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is trained on.
pub struct Shop {
    /// Who bought what and when.
    pub interactions: Interactions,
    /// What items are called.
    pub texts: ItemTexts,
    /// What it is, for people.
    pub what: String,
}

impl Options {
    /// Whether to measure anything: not when the bench is run as a test, which `cargo test --benches` does.
    pub fn measures(&self) -> bool {
        crate::report::measures(self.bench)
    }

    /// The file's rows, or the invented shop's.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn shop(&self) -> anyhow::Result<Shop> {
        let (interactions, texts, name) = match &self.data {
            Some(path) => {
                let (interactions, texts) = read(path)?;
                (interactions, texts, path.display().to_string())
            }
            None => {
                let size = shop::ONLINE_RETAIL;
                (shop::interactions(size, SEED)?, shop::texts(size, SEED)?, "an invented shop".to_owned())
            }
        };
        let (rows, users, items) = (interactions.len(), interactions.users.len(), interactions.items.len());
        let pairs = first_consumptions(&interactions).iter().sum::<u32>();
        let what = format!("{name}: {rows} rows ({pairs} different) of {users} users and {items} items");
        Ok(Shop { interactions, texts, what })
    }
}

fn read(path: &Path) -> anyhow::Result<(Interactions, ItemTexts)> {
    let url = std::path::absolute(path).context("finding the file")?.display().to_string();
    let source = |sql: &str| Source { url: url.clone(), sql: sql.to_owned() };
    let mut spec = DataSpec::new(source(SQL));
    spec.items = Some(source(ITEMS_SQL));
    spec.history = HISTORY;
    let runtime = tokio::runtime::Runtime::new()?;
    let data = runtime.block_on(fairway_trainer::read(&spec, Path::new("."), Timestamp::from_second(AS_OF_SECOND)?))?;
    Ok((data.interactions, data.items))
}

/// How many different users each item has: its examples for two-tower, and its diagonal in EASE's matrix.
pub fn first_consumptions(data: &Interactions) -> Vec<u32> {
    let pairs = data.user.iter().zip(&data.item).map(|(&user, &item)| (item, user));
    let mut pairs: Vec<(u32, u32)> = pairs.collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut counts = vec![0; data.items.len()];
    pairs.iter().for_each(|&(item, _)| counts[item as usize] += 1);
    counts
}
