//! Who sent a webhook: HMAC-SHA256 with a shared secret over its id, the time of the attempt and its
//! body, as Standard Webhooks 1.0.0 has it (standardwebhooks.com; HMAC: RFC 2104). It sends nothing
//! and has no clock; whether an id was seen before is for the receiver to remember.

use crate::{Error, Result, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::str::FromStr;

/// The header with the event's id, the same at each attempt.
pub const ID: &str = "webhook-id";
/// The header with the time of the attempt, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures, parted by spaces: `v1,` and base64.
pub const SIGNATURE: &str = "webhook-signature";
/// How old or how much ahead an attempt may be for [`verify`], in seconds. It bounds how long a
/// receiver must remember ids; clocks further apart than this cannot talk.
pub const TOLERANCE_SECONDS: u64 = 300;
/// The most secrets in use at once: a new one, the one that it replaces, and some patience.
pub const SECRETS_MAX: usize = 4;

const PREFIX: &str = "whsec_";
const SCHEME: &str = "v1,";
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The most signatures that are looked at: a sender that changes keys has two.
const SIGNATURES_MAX: usize = 16;

/// A shared secret. It never shows itself.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = Error;

    /// `whsec_` and the base64 of 24 to 64 bytes; space around it does not count.
    fn from_str(text: &str) -> Result<Secret> {
        let wrong = |reason: &str| invalid("webhook secret", reason);
        let Some(coded) = text.trim().strip_prefix(PREFIX) else {
            return Err(wrong(
                "must be `whsec_` and the base64 of random bytes; make one with echo \"whsec_$(openssl rand -base64 32)\"",
            ));
        };
        let key = STANDARD.decode(coded).map_err(|_| wrong("after `whsec_` it is not base64"))?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(wrong("must be 24 to 64 bytes, before base64"));
        }
        let mac = Hmac::new_from_slice(&key).map_err(|_| wrong("cannot be a key"))?;
        Ok(Secret(mac))
    }
}

impl Secret {
    /// The signature of one attempt. `id` must not hold a `.`, which parts the signed fields; those of
    /// [`super::event`] never do.
    pub fn sign(&self, id: &str, time: Timestamp, body: &[u8]) -> String {
        let mac = self.over(id, &time.as_second().to_string(), body).finalize();
        format!("{SCHEME}{}", STANDARD.encode(mac.into_bytes()))
    }

    fn over(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

/// The value of the header [`SIGNATURE`]: one signature for each secret, so that a receiver can
/// change to a new one at its own time.
pub fn header(secrets: &[Secret], id: &str, time: Timestamp, body: &[u8]) -> String {
    secrets.iter().map(|secret| secret.sign(id, time, body)).collect::<Vec<_>>().join(" ")
}

/// The headers that a receiver checks, as they came.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    /// [`ID`].
    pub id: &'a str,
    /// [`TIMESTAMP`].
    pub timestamp: &'a str,
    /// [`SIGNATURE`].
    pub signature: &'a str,
}

/// Whether a request was signed with one of the secrets, within [`TOLERANCE_SECONDS`] of `now`. The
/// body must be the bytes that came, not JSON written anew. Signatures are compared in constant time.
pub fn verify(secrets: &[Secret], headers: &Headers<'_>, body: &[u8], now: Timestamp) -> Result<()> {
    let Headers { id, timestamp, signature } = *headers;
    if id.is_empty() || id.contains('.') {
        return Err(invalid(ID, "must not be empty and must not hold a `.`"));
    }
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|b| b.is_ascii_digit());
    let Some(seconds) = timestamp.parse::<i64>().ok().filter(|_| digits) else {
        return Err(invalid(TIMESTAMP, "is not a number of seconds"));
    };
    if now.as_second().abs_diff(seconds) > TOLERANCE_SECONDS {
        return Err(invalid(
            TIMESTAMP,
            "is more than 300 s away from now; an old request sent again, or a wrong clock",
        ));
    }
    for coded in signature.split(' ').take(SIGNATURES_MAX).filter_map(|one| one.strip_prefix(SCHEME)) {
        let Ok(found) = STANDARD.decode(coded) else { continue };
        if secrets.iter().any(|secret| secret.over(id, timestamp, body).verify_slice(&found).is_ok()) {
            return Ok(());
        }
    }
    Err(invalid(SIGNATURE, "none was made with this secret over this id, time and body; do not trust the request"))
}

fn invalid(what: &str, reason: &str) -> Error {
    Error::Invalid { what: what.to_owned(), reason: reason.to_owned() }
}
