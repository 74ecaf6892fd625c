//! Users as keyed HMACs: what is kept of a user is [`UserKey`], from which the identifier cannot be recovered without
//! the key (NIST FIPS 198-1). It does not rotate keys: another key means other users.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Error;

/// A key as written by [`Pseudonyms::load_or_create`], in bytes.
const KEY_BYTES: usize = 32;
/// The shortest key that is taken from a file, in bytes.
const KEY_BYTES_MIN: usize = 16;

/// What is kept of a user: the first half of HMAC-SHA256 of the identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserKey(pub [u8; 16]);

impl UserKey {
    /// 32 hex digits, as in decision logs and snapshots.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The user's cell of the 256 in which rewards are counted.
    pub fn cell(&self) -> u8 {
        self.0[0]
    }

    /// Which of 64 locks guards the user. Independent of the cell.
    pub(crate) fn shard(&self) -> usize {
        usize::from(self.0[1] & 63)
    }

    /// The user's place among 2^48 by which users are sampled. Independent of the cell, of the lock, and of all groups, which are
    /// hashes of the identifier without the key.
    pub(crate) fn lot(&self) -> u64 {
        let [_, _, a, b, c, d, e, f, ..] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

// The bytes of an HMAC are uniform and secret: eight of them are a hash already.
impl std::hash::Hash for UserKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl std::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Takes the hash that a [`UserKey`] carries.
#[derive(Clone, Copy, Default)]
pub(crate) struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A map from users.
pub(crate) type UserMap<V> = std::collections::HashMap<UserKey, V, std::hash::BuildHasherDefault<KeyHasher>>;

/// The keyed hash, ready to use.
#[derive(Clone)]
pub struct Pseudonyms {
    users: Hmac<Sha256>,
    decisions: Hmac<Sha256>,
}

impl Pseudonyms {
    /// With a secret key of any length; 32 random bytes are right.
    pub fn new(key: &[u8]) -> Self {
        let users = keyed(key);
        // A user identifier is UTF-8 and never holds 0xff, so no user's HMAC is this key.
        let mut derive = users.clone();
        derive.update(b"\xfffairway decision id, 1");
        let decisions = keyed(&derive.finalize().into_bytes());
        Self { users, decisions }
    }

    /// With the key in the file at `path` (hex digits). If there is none, a new key is written, readable by the owner
    /// alone (mode 0600).
    ///
    /// # Errors
    /// [`Error::KeyFile`] if it cannot be read or written, [`Error::KeyFormat`] if it holds no key.
    pub fn load_or_create(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::KeyFile { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match create(path) {
                    // Somebody else was quicker: theirs is the key.
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(failed(error));
                    }
                    _ => {}
                }
                fs::read_to_string(path).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
        match hex::decode(text.trim()) {
            Ok(key) if key.len() >= KEY_BYTES_MIN => Ok(Self::new(&key)),
            _ => Err(Error::KeyFormat { path: path.to_owned() }),
        }
    }

    /// The pseudonym of a user.
    pub fn key(&self, user: &str) -> UserKey {
        let mut mac = self.users.clone();
        mac.update(user.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        UserKey(key)
    }

    /// The first 8 bytes of the HMAC that signs a decision's identifier.
    pub(crate) fn sign_decision(&self, content: &[u8]) -> [u8; 8] {
        let mut mac = self.decisions.clone();
        mac.update(content);
        let mut tag = [0; 8];
        tag.copy_from_slice(&mac.finalize().into_bytes()[..8]);
        tag
    }

    /// Whether `tag` signs `content`; takes the same time whatever is wrong.
    pub(crate) fn signed_decision(&self, content: &[u8], tag: &[u8; 8]) -> bool {
        let mut mac = self.decisions.clone();
        mac.update(content);
        mac.verify_truncated_left(tag).is_ok()
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn create(path: &Path) -> io::Result<()> {
    let key: [u8; KEY_BYTES] = rand::random();
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(hex::encode(key).as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_hmac_sha256_of_the_identifier() {
        // RFC 4231, test case 2.
        let key = Pseudonyms::new(b"Jefe").key("what do ya want for nothing?");
        assert_eq!(key.hex(), "5bdcc146bf60754e6a042426089575c7");
        assert_eq!(key.cell(), 0x5b);
        assert_eq!(UserKey::from_hex(&key.hex()), Some(key));
        assert_eq!(UserKey::from_hex("5bdc"), None);
    }

    #[test]
    fn another_key_gives_another_user() {
        assert_ne!(Pseudonyms::new(b"a").key("ann"), Pseudonyms::new(b"b").key("ann"));
    }

    #[test]
    fn a_key_file_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.key");
        let first = Pseudonyms::load_or_create(&path).unwrap().key("ann");
        assert_eq!(Pseudonyms::load_or_create(&path).unwrap().key("ann"), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "not a key").unwrap();
        let error = Pseudonyms::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("users.key") && error.contains("32 hex digits"), "{error}");
        let nowhere = dir.path().join("no/such/users.key");
        assert!(matches!(Pseudonyms::load_or_create(&nowhere), Err(Error::KeyFile { .. })));
    }
}
