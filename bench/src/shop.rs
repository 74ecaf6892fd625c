//! An invented shop of a given size: who bought what and when, what items are called, what users have.
//!
//! Shaped like UCI's Online Retail II: few users buy most, an item's buyers fall slowly with its rank and then fast, a
//! user's rows come in visits, and much is bought again. The same size and seed give the same shop. It has no taste:
//! nothing can be learned here but popularity, which costs what learning anything costs.

use fairway_model::{Interactions, ItemTexts};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::Distribution;
use rand_distr::weighted::WeightedIndex;

/// Midnight of 2009-12-01, UTC, in milliseconds since 1970: the first moment of the shop.
pub const BEGIN_MS: i64 = 1_259_625_600_000;
/// Two years later: nothing was bought from then on.
pub const END_MS: i64 = BEGIN_MS + 2 * 365 * DAY_MS;
/// The column of [`texts`].
pub const DESCRIPTION: &str = "description";

const DAY_MS: i64 = 86_400_000;
/// Standard deviation of the logarithm of a user's rows, as in Online Retail.
const SPREAD: f64 = 1.42;
/// Rows of one visit, in the mean.
const ROWS_PER_VISIT: f64 = 20.0;
/// Share of rows that repeat an earlier one of the user, beside those that do so by chance: in Online Retail 39 % of rows
/// repeat one.
const BOUGHT_AGAIN: f64 = 0.3;
/// Different words in descriptions.
const WORDS: usize = 2_000;
/// Words in a description.
const WORDS_EACH: usize = 4;

/// What a stream of random numbers is for, so that one part of a shop does not depend on another.
#[derive(Clone, Copy)]
enum Stream {
    Rows = 1,
    Names,
    Texts,
    Histories,
}

/// How large a shop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Users; each has a row at least.
    pub users: usize,
    /// Items; each has a row at least.
    pub items: usize,
    /// Rows: who bought what, repeats included. At least as many as users and as items.
    pub rows: usize,
}

/// Online Retail II: its customers, items and rows that a recommender can use.
pub const ONLINE_RETAIL: Size = Size { users: 5_852, items: 4_619, rows: 788_187 };

/// Everything that was bought.
///
/// # Errors
/// A size of nothing.
pub fn interactions(size: Size, seed: u64) -> anyhow::Result<Interactions> {
    let mut random = stream(seed, Stream::Rows);
    let names = item_names(size, seed);
    let items = WeightedIndex::new(item_weights(size.items))?;
    let activity = rand_distr::LogNormal::new(0.0, SPREAD)?;
    let weights: Vec<f64> = (0..size.users).map(|_| activity.sample(&mut random)).collect();
    let rows_each = size.rows as f64 / weights.iter().sum::<f64>();
    let visits_of = |weight: &f64| 1 + (weight * rows_each / ROWS_PER_VISIT) as usize;
    let visits: Vec<Vec<i64>> = weights
        .iter()
        .map(|weight| (0..visits_of(weight)).map(|_| random.random_range(BEGIN_MS..END_MS)).collect())
        .collect();
    let users = WeightedIndex::new(&weights)?;
    let mut bought: Vec<Vec<usize>> = vec![Vec::new(); size.users];
    let mut rows = Interactions::builder();
    for row in 0..size.rows {
        // The first rows make sure that nobody and nothing is missing.
        let user = if row < size.users { row } else { users.sample(&mut random) };
        let earlier = &bought[user];
        let item = match row {
            first if first < size.items => first,
            _ if !earlier.is_empty() && random.random_bool(BOUGHT_AGAIN) => {
                earlier[random.random_range(0..earlier.len())]
            }
            _ => items.sample(&mut random),
        };
        bought[user].push(item);
        let time = visits[user][random.random_range(0..visits[user].len())];
        rows.push(&user_name(user), &names[item], time, 1.0, Some(segment_of(user)));
    }
    Ok(rows.finish())
}

/// Four words about each item.
///
/// # Errors
/// Never; words have weights.
pub fn texts(size: Size, seed: u64) -> anyhow::Result<ItemTexts> {
    let mut random = stream(seed, Stream::Texts);
    let words = WeightedIndex::new((1..=WORDS).map(|rank| 1.0 / rank as f64))?;
    let mut texts = ItemTexts::default();
    for item in item_names(size, seed) {
        let text: Vec<String> = (0..WORDS_EACH).map(|_| format!("word{}", words.sample(&mut random))).collect();
        texts.0.entry(item).or_default().insert(DESCRIPTION.to_owned(), text.join(" "));
    }
    Ok(texts)
}

/// For each user `each` different items by name, the popular ones more often.
///
/// # Errors
/// More items each than there are, or a size of nothing.
pub fn histories(size: Size, each: usize, seed: u64) -> anyhow::Result<Vec<Vec<String>>> {
    anyhow::ensure!(each <= size.items, "{each} different items of {} cannot be had", size.items);
    let mut random = stream(seed, Stream::Histories);
    let names = item_names(size, seed);
    let items = WeightedIndex::new(item_weights(size.items))?;
    let mut history = || {
        let mut chosen: Vec<usize> = Vec::with_capacity(each);
        while chosen.len() < each {
            let item = items.sample(&mut random);
            if !chosen.contains(&item) {
                chosen.push(item);
            }
        }
        chosen.into_iter().map(|item| names[item].clone()).collect()
    };
    Ok((0..size.users).map(|_| history()).collect())
}

/// The name of a user.
pub fn user_name(user: usize) -> String {
    format!("{user:06}")
}

/// The segment of a user: nine in ten are at home.
pub fn segment_of(user: usize) -> &'static str {
    const ABROAD: [&str; 4] = ["Eire", "France", "Germany", "Spain"];
    if user % 10 < 9 { "United Kingdom" } else { ABROAD[user / 10 % ABROAD.len()] }
}

/// Names of items, the popular ones first. Names are dealt at random, so that popular items do not lie side by side in a
/// model's memory, whose order is that of names.
pub fn item_names(size: Size, seed: u64) -> Vec<String> {
    let mut names: Vec<String> = (0..size.items).map(|item| format!("{:05}", 10_000 + item)).collect();
    names.shuffle(&mut stream(seed, Stream::Names));
    names
}

/// How often each item is bought, by rank: a power of the rank with a cut-off, fitted by eye to Online Retail's buyers.
fn item_weights(items: usize) -> impl Iterator<Item = f64> {
    let cut_off = 0.28 * items as f64;
    (1..=items).map(move |rank| (rank as f64).powf(-0.25) * (-(rank as f64) / cut_off).exp())
}

fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream as u64);
    random
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { users: 40, items: 60, rows: 3_000 };

    #[test]
    fn the_size_is_what_was_asked_for() {
        let shop = interactions(SMALL, 1).unwrap();
        assert_eq!((shop.len(), shop.users.len(), shop.items.len()), (3_000, 40, 60));
        assert!(shop.time_ms[0] >= BEGIN_MS && shop.time_ms[2_999] < END_MS);
        assert_eq!(texts(SMALL, 1).unwrap().0.len(), 60);
        assert_eq!(shop, interactions(SMALL, 1).unwrap());
        assert_ne!(shop, interactions(SMALL, 2).unwrap());
    }

    #[test]
    fn few_items_are_bought_most() {
        let shop = interactions(SMALL, 1).unwrap();
        let mut counts = vec![0; 60];
        shop.item.iter().for_each(|&item| counts[item as usize] += 1);
        counts.sort_unstable();
        assert!(counts[50..].iter().sum::<i32>() > 3 * counts[..30].iter().sum::<i32>());
    }

    #[test]
    fn histories_are_different_items_of_the_shop() {
        let shop = interactions(SMALL, 1).unwrap();
        for history in histories(SMALL, 20, 1).unwrap() {
            let different: std::collections::BTreeSet<&String> = history.iter().collect();
            assert_eq!((history.len(), different.len()), (20, 20));
            assert!(history.iter().all(|item| shop.items.get(item).is_some()));
        }
        assert!(histories(SMALL, 61, 1).is_err());
    }
}
