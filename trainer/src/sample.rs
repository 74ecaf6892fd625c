//! A small invented shop for tests: items of a group are consumed together.

use std::collections::BTreeMap;

use fairway_model::{Interactions, ItemTexts};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Groups of items; item i is of group i % GROUPS.
pub(crate) const GROUPS: u32 = 4;
/// Items of the shop, named so that their index is their number.
pub(crate) const ITEMS: u32 = 60;
/// A day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// Visits of 150 users over 60 days, three purchases each, nearly all from the user's own group; and one who bought all.
pub(crate) fn interactions() -> Interactions {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut rows = Interactions::builder();
    // So that every item is in the vocabulary.
    (0..ITEMS).for_each(|item| rows.push("collector", &format!("{item:03}"), 0, 1.0, None));
    for user in 0..150_u32 {
        for visit in 0..4_i64 {
            let time = (i64::from(user % 15) + visit * 15) * DAY_MS + i64::from(user);
            for _ in 0..3 {
                let group = if random.random_bool(0.9) { user % GROUPS } else { random.random_range(0..GROUPS) };
                let within = random.random_range(0..ITEMS / GROUPS).min(random.random_range(0..ITEMS / GROUPS));
                let item = within * GROUPS + group;
                let segment = ["fr", "uk"][(user % 2) as usize];
                rows.push(&format!("user {user}"), &format!("{item:03}"), time, 1.0, Some(segment));
            }
        }
    }
    rows.finish()
}

/// A description and a range for each item.
pub(crate) fn texts() -> ItemTexts {
    let of = |item: u32| {
        let description = format!("thing of group {} number {item}", item % GROUPS);
        BTreeMap::from([
            ("description".to_owned(), description),
            ("range".to_owned(), format!("range {}", item % GROUPS)),
        ])
    };
    ItemTexts((0..ITEMS).map(|item| (format!("{item:03}"), of(item))).collect())
}
