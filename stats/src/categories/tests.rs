//! Every kind of name has its bin.

use super::*;

fn fruit() -> Categories {
    let counts = [("pear", 5), ("apple", 9), ("fig", 5), ("kiwi", 1)];
    Categories::from_counts(&counts.map(|(name, n)| (name.to_owned(), n)).into(), 2)
}

#[test]
fn frequent_rare_unseen_missing() {
    let fruit = fruit();
    assert_eq!(fruit.len(), 5);
    let table = [
        (Some("apple"), "apple"),
        (Some("fig"), "fig"),
        (Some("pear"), "rare"),
        (Some("kiwi"), "rare"),
        (Some("durian"), "unseen"),
        (Some(""), "unseen"),
        (None, "missing"),
    ];
    let mut counts = fruit.histogram();
    for (name, label) in table {
        assert_eq!(fruit.label(fruit.index_of(name)), label);
        counts.add(fruit.index_of(name));
    }
    assert_eq!(counts.counts(), [1, 1, 2, 2, 1]);
    assert_eq!(fruit.label(5), "no such bin");
    assert_eq!(fruit.index_of(Some("durian")), fruit.unseen());
}

#[test]
fn json_keeps_names_and_fingerprints() {
    let text = serde_json::to_string(&fruit()).unwrap();
    assert_eq!(serde_json::from_str::<Categories>(&text).unwrap(), fruit());
    let odd: Categories = serde_json::from_str(r#"{"names":["a","a"],"rare":[3,1,3]}"#).unwrap();
    assert_eq!((odd.index_of(Some("a")), odd.len(), &odd.rare[..]), (0, 5, &[1, 3][..]));
    let none = Categories::from_counts(&BTreeMap::new(), 10);
    assert_eq!(none.label(none.index_of(Some("a"))), "unseen");
}

#[test]
fn the_fingerprint_is_fnv() {
    // Published test vectors of FNV-1a 64.
    assert_eq!(fingerprint(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fingerprint("a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fingerprint("foobar"), 0x8594_4171_f739_67e8);
}
