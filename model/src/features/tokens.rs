//! Texts and names as buckets of a hash, so that no list of words has to travel with a model.
//!
//! What it does not do: no stemming and no stop words. The hash is XXH3 (64 bits, seed 0) of UTF-8 bytes; it is part of
//! the format and never changes.

use xxhash_rust::xxh3::xxh3_64;

/// Buckets of a category.
pub const CATEGORY_BUCKETS: u32 = 1024;
/// Words of a text that are looked at.
pub const WORDS_MAX: usize = 128;

/// The buckets of a text: its words in order, then its pairs of neighbouring words. A token that comes twice is there
/// twice.
///
/// Words are runs of letters and digits, lower-cased (both as Unicode has them); a pair is joined by one space. Words
/// beyond [`WORDS_MAX`] are left out. Zero buckets count as one.
pub fn hashed_tokens(text: &str, buckets: u32) -> Vec<u32> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(WORDS_MAX).map(str::to_lowercase).collect();
    let pairs = words.windows(2).map(|pair| bucket(&pair.join(" "), buckets));
    words.iter().map(|word| bucket(word, buckets)).chain(pairs).collect()
}

/// The bucket of a category's value, as it is written.
pub fn category_bucket(value: &str, buckets: u32) -> u32 {
    bucket(value, buckets)
}

/// hash * buckets / 2^64: even over any number of buckets.
fn bucket(token: &str, buckets: u32) -> u32 {
    let hash = u128::from(xxh3_64(token.as_bytes()));
    ((hash * u128::from(buckets.max(1))) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_pairs_have_the_buckets_they_always_had() {
        assert_eq!(hashed_tokens("WHITE Hanging heart", 4096), [1202, 3165, 3521, 3164, 3344]);
        assert_eq!(hashed_tokens("T-light, T-light", 16), [7, 2, 7, 2, 10, 3, 10]);
        assert_eq!(hashed_tokens("Éclair №5", 1 << 20), [684_154, 912_825, 1_022_896]);
        assert_eq!(category_bucket("United Kingdom", CATEGORY_BUCKETS), 491);
    }

    #[test]
    fn case_and_punctuation_do_not_matter() {
        let plain = hashed_tokens("white hanging heart", 4096);
        assert_eq!(hashed_tokens("  White--HANGING...heart!", 4096), plain);
        assert!(hashed_tokens("?!", 4096).is_empty());
        assert!(hashed_tokens("a b c", 0).iter().all(|&bucket| bucket == 0));
        let long = "word ".repeat(1000);
        assert_eq!(hashed_tokens(&long, 8).len(), 2 * WORDS_MAX - 1);
    }
}
