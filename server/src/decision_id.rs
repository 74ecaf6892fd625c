//! Identifiers of answers: signed and self-describing, so that any replica can check that feedback names an answer of
//! ours and read which version, which cell, when and with which propensity. They are not secret and hold no user.
//!
//! Layout before base64url without padding, integers big-endian: version u32, cell u8, time in milliseconds i64,
//! propensity in parts per million u32, number u32, then the first 8 bytes of HMAC-SHA256 over what comes before.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::pseudonym::Pseudonyms;

const CONTENT: usize = 21;
const LENGTH: usize = CONTENT + 8;
/// Characters of an identifier.
pub(crate) const TEXT: usize = (LENGTH * 4).div_ceil(3);

/// What an identifier says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionId {
    /// Number of the version that answered; 0 for a baseline.
    pub version: u32,
    /// The user's cell.
    pub cell: u8,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// Probability of the user's group, in parts per million.
    pub propensity_ppm: u32,
    /// Tells answers of one millisecond apart; starts at random in each incarnation.
    pub number: u32,
}

impl DecisionId {
    /// The identifier, signed.
    pub fn sign(&self, pseudonyms: &Pseudonyms) -> String {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&self.version.to_be_bytes());
        bytes[4] = self.cell;
        bytes[5..13].copy_from_slice(&self.time_ms.to_be_bytes());
        bytes[13..17].copy_from_slice(&self.propensity_ppm.to_be_bytes());
        bytes[17..21].copy_from_slice(&self.number.to_be_bytes());
        let tag = pseudonyms.sign_decision(&bytes[..CONTENT]);
        bytes[CONTENT..].copy_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What `text` says; `None` unless it was signed with the same key.
    pub fn verify(text: &str, pseudonyms: &Pseudonyms) -> Option<Self> {
        if text.len() != TEXT {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let bytes: [u8; LENGTH] = bytes.try_into().ok()?;
        let (content, tag) = bytes.split_at(CONTENT);
        if !pseudonyms.signed_decision(content, tag.try_into().ok()?) {
            return None;
        }
        let (version, rest) = content.split_first_chunk()?;
        let (&[cell], rest) = rest.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (propensity, rest) = rest.split_first_chunk()?;
        Some(Self {
            version: u32::from_be_bytes(*version),
            cell,
            time_ms: i64::from_be_bytes(*time),
            propensity_ppm: u32::from_be_bytes(*propensity),
            number: u32::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_is_believed() {
        let key = Pseudonyms::new(b"key");
        let id = DecisionId { version: 7, cell: 200, time_ms: 1 << 41, propensity_ppm: 50_000, number: 3 };
        let text = id.sign(&key);
        assert_eq!(text.len(), TEXT);
        assert_eq!(DecisionId::verify(&text, &key), Some(id));
        assert_eq!(DecisionId::verify(&text, &Pseudonyms::new(b"other")), None);
        for at in 0..TEXT {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(DecisionId::verify(std::str::from_utf8(&forged).unwrap(), &key), None, "{at}");
        }
        for wrong in ["", "x", &text[1..], &"é".repeat(TEXT / 2)] {
            assert_eq!(DecisionId::verify(wrong, &key), None);
        }
    }
}
