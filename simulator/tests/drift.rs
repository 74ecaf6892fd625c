//! The shop is worth learning, and a sudden change makes what was learned worthless: shown here with the smallest
//! recommender that learns from what is bought together, on lists that users really see.

use std::collections::{BTreeMap, BTreeSet};

use fairway_simulator::{Shift, Shop, ShopConfig, Transaction};
use jiff::{SignedDuration, Timestamp};

const VISITS: i64 = 4_000;
const DAY_SECONDS: i64 = 86_400;
const SHIFT_DAY: i64 = 2;

fn start() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn at(day: i64) -> Timestamp {
    start() + SignedDuration::from_secs(day * DAY_SECONDS)
}

/// All sales so far, and what each user has bought.
#[derive(Default)]
struct Sales {
    rows: Vec<Transaction>,
    baskets: BTreeMap<String, BTreeSet<String>>,
}

impl Sales {
    fn add(&mut self, row: Transaction) {
        self.baskets.entry(row.user.clone()).or_default().insert(row.item.clone());
        self.rows.push(row);
    }

    fn between(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = &Transaction> {
        self.rows.iter().filter(move |row| row.time >= from && row.time < to)
    }
}

/// Scores of items that were bought together with each item: cosine of their sets of buyers.
struct Together(BTreeMap<String, BTreeMap<String, f64>>);

impl Together {
    fn learn<'a>(rows: impl Iterator<Item = &'a Transaction>) -> Self {
        let mut baskets = BTreeMap::<&str, BTreeSet<&str>>::new();
        for row in rows {
            baskets.entry(&row.user).or_default().insert(&row.item);
        }
        let mut pairs = BTreeMap::<String, BTreeMap<String, f64>>::new();
        for basket in baskets.values() {
            for a in basket {
                let row = pairs.entry((*a).to_owned()).or_default();
                basket.iter().for_each(|b| *row.entry((*b).to_owned()).or_default() += 1.0);
            }
        }
        let buyers: BTreeMap<String, f64> = pairs.iter().map(|(item, row)| (item.clone(), row[item])).collect();
        for (a, row) in &mut pairs {
            row.remove(a);
            row.retain(|b, _| buyers[b] >= 5.0);
            row.iter_mut().for_each(|(b, count)| *count /= (buyers[a] * buyers[b]).sqrt());
        }
        Self(pairs)
    }

    fn list(&self, basket: &BTreeSet<String>) -> Vec<String> {
        let mut scores = BTreeMap::<&str, f64>::new();
        for row in basket.iter().filter_map(|item| self.0.get(item)) {
            row.iter().for_each(|(item, score)| *scores.entry(item).or_default() += score);
        }
        ranked(scores, basket).take(20).collect()
    }
}

/// Items by the number of their sales, most sold first.
fn popular<'a>(rows: impl Iterator<Item = &'a Transaction>) -> Vec<String> {
    let mut counts = BTreeMap::<&str, f64>::new();
    rows.for_each(|row| *counts.entry(&row.item).or_default() += 1.0);
    ranked(counts, &BTreeSet::new()).collect()
}

/// Best first, without what is in the basket; ties by name.
fn ranked(scores: BTreeMap<&str, f64>, basket: &BTreeSet<String>) -> impl Iterator<Item = String> {
    let mut ranked: Vec<(&str, f64)> = scores.into_iter().filter(|(item, _)| !basket.contains(*item)).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    ranked.into_iter().map(|(item, _)| item.to_owned())
}

/// Plays one day with the visitors divided among `models` and the popularity of the last 30 days as of the morning.
/// Gives the purchases from lists for each visit, popularity's last.
fn play(shop: &mut Shop, sales: &mut Sales, day: i64, models: &[&Together]) -> Vec<f64> {
    let nothing = BTreeSet::new();
    let morning = popular(sales.between(at(day - 30), at(day)));
    let mut bought = vec![0.0; models.len() + 1];
    for visit in 0..VISITS {
        let now = at(day) + SignedDuration::from_secs(visit * DAY_SECONDS / VISITS);
        let visitor = shop.visit(now);
        let basket = sales.baskets.get(&visitor.user).unwrap_or(&nothing);
        let arm = visit as usize % bought.len();
        let shown = match models.get(arm) {
            Some(model) => model.list(basket),
            None => morning.iter().filter(|item| !basket.contains(*item)).take(20).cloned().collect(),
        };
        for purchase in shop.buy(&visitor, &shown, now) {
            bought[arm] += f64::from(u8::from(purchase.rank.is_some()));
            sales.add(visitor.transaction(purchase, now));
        }
    }
    let visits = VISITS as f64 / bought.len() as f64;
    bought.into_iter().map(|bought| bought / visits).collect()
}

/// Means over days, arm by arm.
fn mean(days: &[Vec<f64>]) -> Vec<f64> {
    (0..days[0].len()).map(|arm| days.iter().map(|day| day[arm]).sum::<f64>() / days.len() as f64).collect()
}

#[test]
fn a_shift_ruins_the_old_model_and_a_new_one_recovers() {
    let config = ShopConfig { shifts: vec![Shift { day: SHIFT_DAY, share: 0.7 }], ..ShopConfig::default() };
    let mut shop = Shop::new(config, start()).unwrap();
    let mut sales = Sales::default();
    shop.history(60).into_iter().for_each(|row| sales.add(row));
    assert!(sales.rows.len() > 12_000, "{} rows of history", sales.rows.len());

    let old = Together::learn(sales.rows.iter());
    let before = mean(&[0, 1].map(|day| play(&mut shop, &mut sales, day, &[&old])));
    let after = mean(&[2, 3, 4].map(|day| play(&mut shop, &mut sales, day, &[&old])));
    let new = Together::learn(sales.between(at(SHIFT_DAY), at(5)));
    let later = mean(&[5, 6].map(|day| play(&mut shop, &mut sales, day, &[&old, &new])));
    println!("purchases from the list a visit: before {before:.3?}, after {after:.3?}, retrained {later:.3?}");

    let [old_before, popular_before] = before[..] else { panic!("two arms") };
    let [old_after, popular_after] = after[..] else { panic!("two arms") };
    let [old_later, new_later, popular_later] = later[..] else { panic!("three arms") };
    assert!(old_before > 1.5 * popular_before, "{old_before} against {popular_before}");
    assert!(old_after < 0.6 * old_before, "{old_before} fell to {old_after} only");
    assert!(popular_after > 0.1 * popular_before, "popularity fell from {popular_before} to {popular_after}");
    assert!(old_later < popular_later, "{old_later} against {popular_later}: in the end popularity is the better one");
    assert!(new_later > 2.0 * popular_later && new_later > 0.6 * old_before, "{new_later} against {popular_later}");
}
