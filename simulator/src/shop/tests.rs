//! The shop's habits, checked in numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{Season, Shift};

fn start() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn hour(hours: i64) -> Timestamp {
    start() + SignedDuration::from_hours(hours)
}

fn written(rows: &[Transaction]) -> String {
    rows.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect()
}

#[test]
fn same_seed_same_bytes() {
    let run = |seed: u64| {
        let mut shop = Shop::new(ShopConfig { seed, users: 300, ..ShopConfig::default() }, start()).unwrap();
        let mut rows = shop.history(5);
        for visit in 0..500 {
            let now = hour(visit / 10);
            let visitor = shop.visit(now);
            let shown: Vec<String> = rows.iter().rev().take(20).map(|row| row.item.clone()).collect();
            let bought = shop.buy(&visitor, &shown, now);
            rows.extend(bought.into_iter().map(|purchase| visitor.transaction(purchase, now)));
        }
        written(&rows)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn the_world_does_not_depend_on_the_traffic() {
    let config = ShopConfig { shifts: vec![Shift { day: 2, share: 0.5 }], ..ShopConfig::default() };
    let mut quiet = Shop::new(config.clone(), start()).unwrap();
    let mut busy = Shop::new(config, start()).unwrap();
    quiet.visit(hour(0));
    for visit in 0..400 {
        let visitor = busy.visit(hour(visit / 10));
        busy.buy(&visitor, &[], hour(visit / 10));
    }
    quiet.visit(hour(100));
    busy.visit(hour(100));
    let names = |shop: &Shop| -> Vec<String> { (0..600).map(|place| shop.catalogue.name(place).to_owned()).collect() };
    assert_eq!(names(&quiet), names(&busy));
}

#[test]
fn history_is_sorted_and_ends_at_the_start() {
    let mut shop = Shop::new(ShopConfig::default(), start()).unwrap();
    let rows = shop.history(10);
    assert!(rows.is_sorted_by_key(|row| row.time));
    assert!(rows.iter().all(|row| row.time < start() && row.time >= hour(-240) && row.quantity >= 1));
    let visits: f64 = (1..=10).map(|day| 300.0 * shop.volume(-f64::from(day))).sum();
    let per_visit = rows.len() as f64 / visits;
    assert!((per_visit - 1.0).abs() < 0.03, "{per_visit} purchases a visit");
    assert!(shop.history(10).is_empty(), "days that passed are not made again");
}

#[test]
fn nobody_buys_the_same_thing_twice() {
    let mut shop = Shop::new(ShopConfig { users: 200, ..ShopConfig::default() }, start()).unwrap();
    let rows = shop.history(30);
    let pairs: BTreeSet<(&str, &str)> = rows.iter().map(|row| (row.user.as_str(), row.item.as_str())).collect();
    assert_eq!(pairs.len(), rows.len());
}

#[test]
fn popularity_within_a_group_is_zipf() {
    let quiet = Season { volume: 0.0, tastes: 0.0, ..Season::default() };
    // Many users and no memory: what a user already has does not bend the curve.
    let config =
        ShopConfig { users: 5_000, memory: 0, births_per_day: 0, season: quiet, zipf: 0.9, ..ShopConfig::default() };
    let mut shop = Shop::new(config, start()).unwrap();
    let mut counts = vec![0_f64; 50];
    for _ in 0..100_000 {
        let visit = shop.visit(hour(0));
        for purchase in shop.buy(&visit, &[], hour(0)) {
            counts[shop.catalogue.rank(shop.catalogue.place(&purchase.item).unwrap())] += 1.0;
        }
    }
    let points = || counts.iter().enumerate().map(|(rank, count)| (((rank + 1) as f64).ln(), count.ln()));
    let (mean_x, mean_y) = points().fold((0.0, 0.0), |(x, y), point| (x + point.0 / 50.0, y + point.1 / 50.0));
    let covariance: f64 = points().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let slope = covariance / points().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    assert!((slope + 0.9).abs() < 0.05, "slope {slope}");
}

#[test]
fn higher_ranks_are_looked_at_more() {
    let mut shop =
        Shop::new(ShopConfig { users: 1, memory: 0, organic_purchases: 0.0, ..ShopConfig::default() }, start())
            .unwrap();
    let visit = shop.visit(hour(0));
    let taste = shop.users.taste(0, &[1.0; 12]);
    let main = (0..12).max_by(|a, b| taste[*a].total_cmp(&taste[*b])).unwrap();
    let best = (0..600).find(|place| shop.catalogue.group(*place) == main && shop.catalogue.rank(*place) == 0).unwrap();
    let shown = vec![shop.catalogue.name(best).to_owned(); 20];
    let mut by_rank = BTreeMap::<usize, u32>::new();
    for _ in 0..60_000 {
        for purchase in shop.buy(&visit, &shown, hour(0)) {
            *by_rank.entry(purchase.rank.unwrap()).or_default() += 1;
        }
    }
    for (rank, share) in [(1, 0.616), (4, 0.324), (19, 0.123)] {
        let found = f64::from(by_rank[&rank]) / f64::from(by_rank[&0]);
        assert!((found - share).abs() < 0.04, "rank {rank}: {found}");
    }
}

#[test]
fn what_fits_is_bought_more_and_what_is_gone_is_not() {
    let mut shop = Shop::new(ShopConfig { organic_purchases: 0.0, ..ShopConfig::default() }, start()).unwrap();
    let (mut fitting, mut other, mut gone) = (0, 0, 0);
    for _ in 0..5_000 {
        let visit = shop.visit(hour(0));
        let taste = shop.users.taste(visit.index, &[1.0; 12]);
        let main = (0..12).max_by(|a, b| taste[*a].total_cmp(&taste[*b])).unwrap();
        let of = |shop: &Shop, group: usize| -> Vec<String> {
            (0..600)
                .filter(|place| shop.catalogue.group(*place) == group)
                .take(20)
                .map(|place| shop.catalogue.name(place).to_owned())
                .collect()
        };
        let (right, wrong) = (of(&shop, main), of(&shop, (main + 6) % 12));
        fitting += shop.buy(&visit, &right, hour(0)).len();
        other += shop.buy(&visit, &wrong, hour(0)).len();
        gone += shop.buy(&visit, &vec!["i99999".to_owned(); 20], hour(0)).len();
    }
    assert!(fitting > 5 * other, "{fitting} against {other}");
    assert_eq!(gone, 0);
}

#[test]
fn volume_follows_the_season() {
    let usual = ShopConfig::default().visits_per_day;
    let shop = Shop::new(ShopConfig::default(), start()).unwrap();
    let quarter = shop.visits_per_day(hour(24 * 365 / 4));
    assert!((quarter / usual - 1.3).abs() < 0.001, "{quarter}");
}
