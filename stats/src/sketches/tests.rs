//! Union to the bit, bounds that hold, and images that are checked.

use proptest::prelude::*;

use super::*;

fn distinct(names: impl IntoIterator<Item = u32>) -> Distinct {
    let mut distinct = Distinct::new();
    names.into_iter().for_each(|i| distinct.record(&format!("item-{i}")));
    distinct
}

fn union(a: &Distinct, b: &Distinct) -> Distinct {
    let mut union = a.clone();
    union.merge(b);
    union
}

fn hitters(names: impl IntoIterator<Item = u32>) -> HeavyHitters {
    let mut hitters = HeavyHitters::new();
    names.into_iter().for_each(|i| hitters.record(&format!("item-{i}")));
    hitters
}

#[test]
fn estimates_are_within_three_standard_errors() {
    assert_eq!(Distinct::new().estimate(), 0.0);
    for n in [1, 7, 8, 90, 400, 2_000, 20_000, 100_000] {
        let estimate = distinct(0..n).estimate();
        assert!((estimate / f64::from(n) - 1.0).abs() < 0.05, "{n}: {estimate}");
    }
    let twice = distinct((0..500).chain(0..500));
    assert_eq!(twice, distinct((0..500).rev()));
}

#[test]
fn the_order_of_names_and_of_unions_is_not_in_the_state() {
    // A list, a set, a set that becomes registers, registers; all ways round.
    let parts = [distinct(0..5), distinct(3..300), distinct(200..560), distinct(1_000..30_000), Distinct::new()];
    for a in &parts {
        for b in &parts {
            let ab = union(a, b);
            assert_eq!(ab, union(b, a));
            assert_eq!(ab.estimate(), union(b, a).estimate());
            for c in &parts {
                assert_eq!(union(&ab, c), union(a, &union(b, c)));
            }
        }
    }
    assert_eq!(union(&parts[1], &parts[2]), distinct((3..560).rev()));
    assert_eq!(union(&parts[3], &parts[0]), distinct((0..5).chain(1_000..30_000)));
}

#[test]
fn distinct_counts_survive_json_to_the_bit() {
    for n in [0, 3, 100, 5_000] {
        let before = distinct(0..n);
        let text = serde_json::to_string(&before).unwrap();
        let after: Distinct = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&after).unwrap(), text);
        assert_eq!(after.estimate(), before.estimate());
        assert_eq!(union(&after, &distinct(n..n + 50)), distinct(0..n + 50));
    }
}

#[test]
fn few_names_are_exact_and_ties_are_in_order() {
    let counted = hitters([3, 1, 1, 2, 1, 3]);
    let expected = [("item-1", 3), ("item-3", 2)];
    let expected = expected.map(|(name, n)| HeavyHitter { name: name.to_owned(), at_least: n, at_most: n });
    assert_eq!(counted.top(2), expected);
    assert_eq!((counted.total(), counted.top(9).len(), HeavyHitters::new().top(9).len()), (6, 3, 0));
    let mut long = HeavyHitters::new();
    long.record(&"é".repeat(100));
    assert_eq!(long.top(1)[0].name, "é".repeat(64));
}

#[test]
fn bounds_hold_beyond_the_table_and_after_merging() {
    // Item i comes about 20000 / (i + 1) times, in two halves.
    let times = |i: u32| 20_000 / (i + 1);
    let half = |odd: u32| hitters((0..5_000).flat_map(|i| std::iter::repeat_n(i, ((times(i) + odd) / 2) as usize)));
    let mut all = half(0);
    assert!(all.merge(&half(1)));
    let worst = all.total() * 35 / 10_000;
    for (i, hitter) in (0..10).zip(all.top(10)) {
        assert_eq!(hitter.name, format!("item-{i}"));
        let truth = u64::from(times(i));
        assert!(hitter.at_least <= truth && truth <= hitter.at_most, "{hitter:?} {truth}");
        assert!(hitter.at_most - hitter.at_least <= worst);
    }
    let text = serde_json::to_string(&all).unwrap();
    let after: HeavyHitters = serde_json::from_str(&text).unwrap();
    assert_eq!((after.top(100), serde_json::to_string(&after).unwrap()), (all.top(100), text));
}

#[test]
fn merging_few_names_is_to_the_bit() {
    let (a, b) = (hitters([1, 2, 2]), hitters([9, 2, 5, 5]));
    let (mut ab, mut ba) = (a.clone(), b.clone());
    assert!(ab.merge(&b) && ba.merge(&a));
    assert_eq!(ab, ba);
    let mut none = HeavyHitters::new();
    assert!(none.merge(&a) && a.clone().merge(&HeavyHitters::new()));
    assert_eq!(none, a);
}

#[test]
fn broken_images_are_refused_with_a_reason() {
    let registers = serde_json::to_value(distinct(0..5_000)).unwrap().as_str().unwrap().to_owned();
    let table = [
        ("0", "not hexadecimal"),
        ("zz", "not hexadecimal"),
        ("0a01", "too short"),
        (&registers[..200], "another length"),
        (&registers.replacen("0a01070c", "0a010715", 1), "another number of registers"),
        (&format!("{}ff", &registers[..registers.len() - 2]), "a register that no hash gives"),
    ];
    for (text, why) in table {
        let error = Distinct::try_from(text.to_owned()).unwrap_err();
        assert!(error.contains(why) && error.starts_with("distinct count: "), "{error}");
    }
    let items = String::from(hitters([1, 2]));
    for (text, why) in [("04010a1e1e", "another table size"), ("04", "too short"), (&items[..60], "heavy hitters: ")] {
        let error = HeavyHitters::try_from(text.to_owned()).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let mut full = items.into_bytes();
    full[32..64].fill(b'f');
    assert!(HeavyHitters::try_from(String::from_utf8(full).unwrap()).is_err());
}

proptest! {
    #[test]
    fn no_image_panics_or_gives_nan(
        n in 0..3_000_u32, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let damage = |text: String| {
            let mut image = bytes::from_hex(&text).unwrap();
            if !image.is_empty() {
                let (at, cut) = (at.index(image.len()), cut.index(image.len() * 3));
                image[at] = byte;
                image.truncate(cut.max(1));
            }
            bytes::to_hex(&image)
        };
        if let Ok(mut read) = Distinct::try_from(damage(String::from(distinct(0..n)))) {
            read.merge(&distinct(0..20));
            prop_assert!(read.estimate().is_finite() && read.estimate() >= 0.0);
        }
        if let Ok(mut read) = HeavyHitters::try_from(damage(String::from(hitters((0..n).map(|i| i % 50))))) {
            prop_assert!(read.merge(&hitters([1])) || read.total() > 1 << 61);
            read.record("x");
            let _ = read.top(5);
        }
    }
}
