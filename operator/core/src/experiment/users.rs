//! Users counted once, over any number of routers and restarts, in 8 KiB an experiment.
//!
//! A user has one of 65,536 places, by a hash that nothing else uses. Whoever is first seen at a place is counted, in the arm
//! they are in; whoever comes to a taken place is not. As the place says nothing of the arm, those who are counted are a
//! sample in which arms have the shares that were set, which is what the sample-ratio test asks for. How many users there
//! were is told by how many places are taken (linear counting; Whang, Vander-Zanden & Taylor, ACM TODS 15(2), 1990).

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Places.
const PLACES: usize = 1 << 16;
const BYTES: usize = PLACES / 8;

/// The places that are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users(Box<[u8]>);

impl Default for Users {
    fn default() -> Self {
        Self(vec![0; BYTES].into())
    }
}

impl Users {
    /// Takes a place; false if it was taken.
    pub fn take(&mut self, place: u16) -> bool {
        let (byte, bit) = (usize::from(place / 8), 1 << (place % 8));
        let Some(byte) = self.0.get_mut(byte) else { return false };
        let is_new = *byte & bit == 0;
        *byte |= bit;
        is_new
    }

    /// How many users each counted one stands for: 1 at first, and 11.8 at most, when all places are taken.
    pub fn each(&self) -> f64 {
        let taken: u32 = self.0.iter().map(|byte| byte.count_ones()).sum();
        if taken == 0 {
            return 1.0;
        }
        // Nobody can tell how long ago the last place was taken.
        let free = (PLACES as f64 - f64::from(taken)).max(0.5);
        PLACES as f64 * (PLACES as f64 / free).ln() / f64::from(taken)
    }
}

impl Serialize for Users {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As far as the last byte that says something.
        let end = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.0[..end]))
    }
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(&text).map_err(D::Error::custom)?;
        let mut users = Self::default();
        match users.0.get_mut(..bytes.len()) {
            Some(places) => places.copy_from_slice(&bytes),
            None => return Err(D::Error::custom("more places than there are")),
        }
        Ok(users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_once_and_is_remembered() {
        let mut users = Users::default();
        assert!([0, 7, 8, 300, u16::MAX].into_iter().all(|place| users.take(place)));
        let text = serde_json::to_string(&users).unwrap();
        let mut again: Users = serde_json::from_str(&text).unwrap();
        assert_eq!(again, users);
        assert!([0, 7, 8, 300, u16::MAX].into_iter().all(|place| !again.take(place)));
        assert!(again.take(1));
        assert_eq!(serde_json::to_string(&Users::default()).unwrap(), "\"\"");
        assert!(serde_json::from_str::<Users>(&format!("{:?}", "A".repeat(20_000))).is_err());
    }

    /// SplitMix64's finalizer (Steele, Lea & Flood, OOPSLA 2014): even bits from a counter.
    fn place(user: u64) -> u16 {
        let x = (user ^ (user >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 20) as u16
    }

    #[test]
    fn there_are_as_many_users_as_there_were() {
        for users in [100_u64, 5_000, 60_000, 300_000] {
            let mut places = Users::default();
            let counted = (0..users).filter(|&user| places.take(place(user))).count() as f64;
            // Equation 13 of the paper: the standard error at this load.
            let (n, load) = (users as f64, users as f64 / PLACES as f64);
            let error = (PLACES as f64 * (load.exp() - load - 1.0)).sqrt();
            let told = places.each() * counted;
            assert!((told - n).abs() < 3.0 * error + 1.0, "{users}: {told}");
        }
    }
}
