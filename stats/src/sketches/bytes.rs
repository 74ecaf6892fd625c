//! The one way to write a sketch: DataSketches' images hold what depends on the order of events; this takes it out.
//! It also checks what the library trusts, before the library sees it.

use std::fmt::Write as _;

/// Bytes before the content of an image, by mode: a list of coupons, a set of coupons, registers.
const BEFORE: [usize; 3] = [8, 12, 40];
/// The estimate does not use the accumulator of an image with this flag (Java: OUT_OF_ORDER).
const OUT_OF_ORDER: u8 = 16;
/// The mode byte of HLL_8: two bits of mode, then two of the register type.
const HLL_8: u8 = 2 << 2;
/// Most leading zeros (and one) that a 64-bit hash has.
const MOST_ZEROS: u8 = 63;
const ITEMS_BEFORE: usize = 32;

/// Why `image` cannot be an HLL_8 image of 2^`lg_registers` registers whose numbers make sense, if it cannot.
pub(super) fn check_hll(image: &[u8], lg_registers: u8) -> Result<(), &'static str> {
    let &[_, _, _, lg, _, _, _, mode, ..] = image else {
        return Err("too short");
    };
    let before = BEFORE.get(usize::from(mode & 3)).copied().filter(|_| mode & !3 == HLL_8);
    let content = before.and_then(|before| image.get(before..)).ok_or("not an HLL_8 image")?;
    if lg != lg_registers {
        return Err("another number of registers");
    }
    let registers = mode & 3 == 2;
    if registers && content.len() != 1 << lg || content.len() > 1 << lg {
        return Err("another length than the registers need");
    }
    if registers && content.iter().any(|&zeros| zeros > MOST_ZEROS) {
        return Err("a register that no hash gives");
    }
    Ok(())
}

/// An HLL_8 image (that [`check_hll`] accepts or the library wrote) without the order of events.
pub(super) fn canonical_hll(mut image: Vec<u8>) -> Vec<u8> {
    let mode = image.get(7).map_or(0, |byte| usize::from(byte & 3));
    let before = BEFORE.get(mode).copied().unwrap_or(image.len()).min(image.len());
    let (head, content) = image.split_at_mut(before);
    if mode == 2 {
        // Sums of 2^-zeros, apart below and from 32 zeros; exact in f64, so also independent of the order.
        let sum = |from: u8, to: u8| -> f64 {
            let zeros = content.iter().filter(|zeros| (from..to).contains(zeros));
            zeros.map(|&zeros| (-f64::from(zeros)).exp2()).sum()
        };
        let empty = content.iter().filter(|&&zeros| zeros == 0).count() as u32;
        head[5] |= OUT_OF_ORDER;
        head[8..16].fill(0);
        head[16..24].copy_from_slice(&sum(0, 32).to_le_bytes());
        head[24..32].copy_from_slice(&sum(32, u8::MAX).to_le_bytes());
        head[32..36].copy_from_slice(&empty.to_le_bytes());
    } else {
        let mut coupons: Vec<[u8; 4]> = content.as_chunks().0.to_vec();
        coupons.sort_unstable_by_key(|&coupon| u32::from_le_bytes(coupon));
        content[..coupons.len() * 4].copy_from_slice(coupons.as_flattened());
    }
    image
}

/// Why `image` cannot be the heavy hitters of a table of at most `slots`, if it cannot.
pub(super) fn check_items(image: &[u8], slots: usize) -> Result<(), &'static str> {
    let lg = slots.trailing_zeros() as u8;
    match *image {
        // The size now is what the library allocates.
        [_, _, _, most, now, ..] if most == lg && now <= lg => Ok(()),
        [_, _, _, _, _, ..] => Err("another table size"),
        _ => Err("too short"),
    }
}

/// An image of the library (names with their counts) in the order of names, not of the hash table.
pub(super) fn canonical_items(mut image: Vec<u8>) -> Vec<u8> {
    let Some(mut entries) = entries_of(&image) else {
        return image;
    };
    entries.sort_unstable();
    let sorted: Vec<u8> =
        entries.iter().flat_map(|(_, n)| n).chain(entries.iter().flat_map(|(name, _)| name)).copied().collect();
    image.truncate(ITEMS_BEFORE);
    image.extend(sorted);
    image
}

/// Each name (with its length before it) and its count; `None` for an image without names.
fn entries_of(image: &[u8]) -> Option<Vec<(Vec<u8>, [u8; 8])>> {
    let names = u32::from_le_bytes(*image.get(8..)?.first_chunk()?) as usize;
    let (counts, mut rest) = image.get(ITEMS_BEFORE..)?.split_at_checked(names.checked_mul(8)?)?;
    let mut entries = Vec::with_capacity(names);
    for count in counts.as_chunks::<8>().0 {
        let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
        let (name, after) = rest.split_at_checked(length.checked_add(4)?)?;
        entries.push((name.to_vec(), *count));
        rest = after;
    }
    Some(entries)
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `None` if it is not pairs of hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    bytes.collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}
