//! The keys that sign and check models: ECDSA over P-256, as PEM text. It opens no files, and a
//! secret reaches no message.

use super::json::shown;
use crate::digest::sha256;
use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::SecretKey;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{DerSignature, Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate as _;
use p256::elliptic_curve::zeroize::Zeroizing;
use p256::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding,
};
use std::fmt;

/// The most bytes of a key file.
const PEM_MAX: usize = 16 << 10;
const CURE: &str = "make one with `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`";

/// DER object identifiers of keys that people have at hand and that cannot be used, for the message.
const OTHERS: [(&[u8], &str); 6] = [
    (&[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01], "an RSA key"),
    (&[0x06, 0x03, 0x2b, 0x65, 0x70], "an Ed25519 key"),
    (&[0x06, 0x03, 0x2b, 0x65, 0x71], "an Ed448 key"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22], "a P-384 key"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23], "a P-521 key"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a], "a secp256k1 key"),
];

/// A key that signs. Its memory is cleared when it is dropped.
pub struct PrivateKey {
    secret: SecretKey,
    public: PublicKey,
}

impl PrivateKey {
    /// A new key, from the operating system's randomness.
    ///
    /// # Errors
    /// `Invalid` where the operating system gives none.
    pub fn generate() -> Result<PrivateKey> {
        let secret = SecretKey::try_generate()
            .map_err(|e| wrong("private key", format!("the operating system gave no randomness: {e}")))?;
        PrivateKey::new(secret)
    }

    /// Reads a key from PEM text, `EC PRIVATE KEY` (SEC 1, RFC 5915) or `PRIVATE KEY` (PKCS#8, RFC 5958).
    ///
    /// # Errors
    /// `Invalid` for an encrypted key, another kind of key, or what is no key at all.
    pub fn from_pem(text: &str) -> Result<PrivateKey> {
        let what = "private key";
        let (label, pem) = block(what, text)?;
        let secret = match label {
            "EC PRIVATE KEY" if !pem.contains(':') => SecretKey::from_sec1_pem(&pem).ok(),
            "PRIVATE KEY" => SecretKey::from_pkcs8_pem(&pem).ok(),
            // The older way to encrypt says so in header lines, which hold colons.
            "EC PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => {
                let cure = "decrypt it with `openssl pkey -in key.pem -out plain.pem` and keep that file safe";
                return Err(wrong(what, format!("is encrypted, which this version cannot read; {cure}")));
            }
            "PUBLIC KEY" => return Err(wrong(what, "is a public key; only its private half can sign")),
            other => return Err(unusable(what, other, &pem)),
        };
        PrivateKey::new(secret.ok_or_else(|| unusable(what, label, &pem))?)
    }

    /// The key as PKCS#8 PEM text. It clears its memory when dropped; write it where only its owner can read.
    ///
    /// # Errors
    /// `Invalid` where it cannot be encoded, which no valid key causes.
    pub fn to_pem(&self) -> Result<Zeroizing<String>> {
        self.secret.to_pkcs8_pem(LineEnding::LF).map_err(|e| wrong("private key", e.to_string()))
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of a message in DER. The same message always has the same signature (RFC 6979).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature: DerSignature = SigningKey::from(&self.secret)
            .try_sign(message)
            .map_err(|_| wrong("private key", "could not sign; nothing was written"))?;
        Ok(signature.as_bytes().to_vec())
    }

    fn new(secret: SecretKey) -> Result<PrivateKey> {
        let public = PublicKey::new(secret.public_key())?;
        Ok(PrivateKey { secret, public })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public.hint()).finish_non_exhaustive()
    }
}

/// A key that checks signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    pem: String,
}

impl PublicKey {
    /// Reads a key from PEM text, `PUBLIC KEY` (SubjectPublicKeyInfo, RFC 5480).
    ///
    /// # Errors
    /// `Invalid` for a private key, another kind of key, or what is no key at all.
    pub fn from_pem(text: &str) -> Result<PublicKey> {
        let what = "public key";
        let (label, pem) = block(what, text)?;
        if label.ends_with("PRIVATE KEY") {
            let cure = "write its public half with `openssl pkey -in key.pem -pubout -out key.pub`";
            return Err(wrong(what, format!("is a private key; {cure}")));
        }
        let key = if label == "PUBLIC KEY" { p256::PublicKey::from_public_key_pem(&pem).ok() } else { None };
        PublicKey::new(key.ok_or_else(|| unusable(what, label, &pem))?)
    }

    /// The key as PEM text: lines of 64 characters that end with `\n`, the last one too.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// What names the key in a bundle: the sha-256, in hex, of [`PublicKey::to_pem`]. It does not depend
    /// on how the key's file ended its lines.
    pub fn hint(&self) -> String {
        sha256(self.pem.as_bytes())
    }

    /// Reads a key as bundles before 1.1 carried it: the PEM text or the DER form.
    pub(super) fn from_raw(bytes: &[u8]) -> Result<PublicKey> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN ") => PublicKey::from_pem(text),
            _ => p256::PublicKey::from_public_key_der(bytes)
                .map_err(|_| wrong("public key", "is no P-256 key"))
                .and_then(PublicKey::new),
        }
    }

    /// Whether this key's owner signed this message; the signature is in DER.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|signature| self.key.verify(message, &signature).is_ok())
    }

    fn new(key: p256::PublicKey) -> Result<PublicKey> {
        let pem = key.to_public_key_pem(LineEnding::LF).map_err(|e| wrong("public key", e.to_string()))?;
        Ok(PublicKey { key: key.into(), pem })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.hint()).finish()
    }
}

/// The label and text of the one PEM block in a file, with plain line endings. Text before it and
/// the curve's name, which `openssl ecparam -genkey` writes as a block of its own, are left out.
fn block<'t>(what: &str, text: &'t str) -> Result<(&'t str, Zeroizing<String>)> {
    if text.len() > PEM_MAX {
        return Err(wrong(what, format!("has {} bytes, a key has at most {PEM_MAX}", text.len())));
    }
    // As long as it can become, so that it never moves and leaves a copy behind.
    let mut pem = Zeroizing::new(String::with_capacity(text.len() + 1));
    let mut found = None;
    let mut open = None;
    for line in text.lines().map(str::trim) {
        if let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) {
            if found.is_some() || open.is_some() {
                return Err(wrong(what, "holds more than one PEM block; keep one key in a file"));
            }
            open = Some(label);
        }
        let Some(label) = open.filter(|_| !line.is_empty()) else { continue };
        if label != "EC PARAMETERS" {
            pem.push_str(line);
            pem.push('\n');
        }
        if line.starts_with("-----END ") {
            open = None;
            found = Some(label).filter(|label| *label != "EC PARAMETERS");
        }
    }
    match (found, open) {
        (Some(label), None) => Ok((label, pem)),
        _ => Err(wrong(what, format!("is no PEM text (`-----BEGIN …`); {CURE}"))),
    }
}

/// Says what was given instead of a P-256 key.
fn unusable(what: &str, label: &str, pem: &str) -> Error {
    let mut body = Zeroizing::new(String::with_capacity(pem.len()));
    pem.lines().filter(|line| !line.starts_with("-----")).for_each(|line| body.push_str(line));
    let der = Zeroizing::new(STANDARD.decode(body.as_str()).unwrap_or_default());
    let holds = |id: &[u8]| der.windows(id.len()).any(|part| part == id);
    let kind = match OTHERS.iter().find(|(id, _)| holds(id)) {
        _ if label.starts_with("RSA ") => "is an RSA key".to_owned(),
        _ if label.starts_with("OPENSSH ") => "is an OpenSSH key".to_owned(),
        _ if !label.ends_with("KEY") => format!("holds `{}`, which is no key", shown(label)),
        Some((_, kind)) => format!("is {kind}"),
        None => "is damaged, or a kind of key that this version does not know".to_owned(),
    };
    wrong(what, format!("{kind}; models are signed with ECDSA P-256 keys: {CURE}"))
}

fn wrong(what: &str, reason: impl Into<String>) -> Error {
    Error::Invalid { what: what.to_owned(), reason: reason.into() }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
