//! The bundle around a signed statement: Sigstore bundle v0.3 (JSON), in it a DSSE envelope v1.
//! It knows who signed which bytes, and nothing of what the bytes say.

use super::json::{parse, shown};
use super::{PrivateKey, PublicKey, refused};
use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The most bytes of a bundle. One with 1,001 long names has less than 2 MiB.
pub(super) const BUNDLE_MAX: usize = 4 << 20;
/// The most keys that may be trusted at a time.
pub(super) const KEYS_MAX: usize = 64;
pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What is read first, so that a later format is named as such instead of as bad JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    media_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Bundle {
    #[serde(rename = "mediaType")]
    _media_type: IgnoredAny,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<KeyName>,
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
    tlog_entries: Option<Vec<IgnoredAny>>,
}

/// The signer as the bundle names it: nothing that is signed, so that it only narrows the choice.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyName {
    hint: Option<String>,
    raw_bytes: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    sig: String,
    // Says nothing that is checked: model signing names the key elsewhere (OpenSSF Model Signing v1.0, 4.1).
    #[serde(rename = "keyid", default)]
    _keyid: Option<String>,
}

/// The bundle that holds these bytes, signed.
pub(super) fn seal(payload: &[u8], key: &PrivateKey) -> Result<Vec<u8>> {
    let sig = STANDARD.encode(key.sign(&pae(payload))?);
    let hint = key.public().hint();
    let payload = STANDARD.encode(payload);
    // Only hex, base64 and constants are filled in: nothing needs to be escaped.
    let json = format!(
        r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{{"publicKey":{{"hint":"{hint}"}},"tlogEntries":[]}},"dsseEnvelope":{{"payload":"{payload}","payloadType":"{PAYLOAD_TYPE}","signatures":[{{"sig":"{sig}","keyid":""}}]}}}}"#
    );
    if json.len() > BUNDLE_MAX {
        return Err(refused(format!("would have {} bytes, more than {BUNDLE_MAX}", json.len())));
    }
    Ok(json.into_bytes())
}

/// The bytes that one of the trusted keys signed, and that key.
pub(super) fn open<'k>(bundle: &[u8], trusted: &'k [PublicKey]) -> Result<(Vec<u8>, &'k PublicKey)> {
    if trusted.is_empty() || trusted.len() > KEYS_MAX {
        let reason = format!("there are {}, must be 1 to {KEYS_MAX}", trusted.len());
        return Err(Error::Invalid { what: "trusted keys".to_owned(), reason });
    }
    let Bundle { verification_material: material, dsse_envelope: envelope, .. } = read(bundle)?;
    let name = checked(material)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(refused(format!("has payload type `{}`, not `{PAYLOAD_TYPE}`", shown(&envelope.payload_type))));
    }
    let [signature] = envelope.signatures.as_slice() else {
        return Err(refused(format!("has {} signatures, must have one", envelope.signatures.len())));
    };
    let payload = decode("payload", &envelope.payload)?;
    let signature = decode("signature", &signature.sig)?;
    let message = pae(&payload);
    let mut asked = candidates(&name, trusted)?;
    match asked.find(|key| key.signed(&message, &signature)) {
        Some(key) => Ok((payload, key)),
        None => {
            Err(refused("the signature does not hold: the bundle was changed, or none of the trusted keys made it"))
        }
    }
}

/// What a DSSE signature covers: the pre-authentication encoding of DSSE v1. Signers before model
/// signing 1.0 wrote `DSSEV1`; what they signed is not accepted.
pub(super) fn pae(payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

fn read(bundle: &[u8]) -> Result<Bundle> {
    if bundle.len() > BUNDLE_MAX {
        return Err(refused(format!("has {} bytes, at most {BUNDLE_MAX} are read", bundle.len())));
    }
    let head: Head = parse(bundle).map_err(refused)?;
    let media_type = head.media_type.unwrap_or_default();
    if media_type != MEDIA_TYPE {
        return Err(refused(format!("has media type `{}`, this version reads `{MEDIA_TYPE}`", shown(&media_type))));
    }
    parse(bundle).map_err(refused)
}

/// How the bundle names its key, if it was signed with a bare key at all.
fn checked(material: Material) -> Result<KeyName> {
    if material.certificate.is_some() || material.x509_certificate_chain.is_some() {
        return Err(refused("carries certificates, which this version cannot check; sign it with a bare key"));
    }
    let Some(name) = material.public_key else {
        return Err(refused("names no public key; sign it with a bare ECDSA P-256 key"));
    };
    if material.tlog_entries.is_some_and(|entries| !entries.is_empty()) {
        return Err(refused("carries transparency log entries, which this version cannot check"));
    }
    Ok(name)
}

/// The trusted keys that the bundle's name for its key allows: all of them where it gives none.
fn candidates<'k>(name: &KeyName, trusted: &'k [PublicKey]) -> Result<impl Iterator<Item = &'k PublicKey>> {
    let raw = match &name.raw_bytes {
        None => None,
        Some(text) => {
            let key = PublicKey::from_raw(&decode("public key", text)?);
            Some(key.map_err(|_| refused("was signed with a key that is not ECDSA P-256; sign it with such a key"))?)
        }
    };
    let fits = |key: &&PublicKey| {
        name.hint.as_ref().is_none_or(|hint| *hint == key.hint()) && raw.as_ref().is_none_or(|raw| raw == *key)
    };
    let fitting: Vec<&PublicKey> = trusted.iter().filter(fits).collect();
    if fitting.is_empty() {
        let hint = name.hint.clone().or_else(|| raw.map(|raw| raw.hint())).unwrap_or_default();
        let count = trusted.len();
        return Err(refused(format!("names key `{}`, which is none of the {count} trusted keys", shown(&hint))));
    }
    Ok(fitting.into_iter())
}

/// DSSE v1 allows both alphabets.
fn decode(what: &str, text: &str) -> Result<Vec<u8>> {
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    alphabet.decode(text).map_err(|e| refused(format!("its {what} is no base64: {e}")))
}
