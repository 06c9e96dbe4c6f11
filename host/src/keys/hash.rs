//! What is kept of a key: a keyed hash, which says nothing to whoever lacks the secret; and entries that nobody else can have written.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{KeyHolder, draw};
use crate::time::Timestamp;

/// The HMAC-SHA256 of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyHash([u8; 32]);

/// Hashes keys, and seals what is shared of them.
pub(super) struct Hasher {
    of_keys: Hmac<Sha256>,
    of_entries: Hmac<Sha256>,
    name: String,
}

/// What the source said of a key, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) holder: KeyHolder,
    /// When the source was asked.
    pub(super) asked: Timestamp,
    /// Until when it holds.
    pub(super) until: Timestamp,
}

/// The same as it is written.
#[derive(Serialize, Deserialize)]
struct Body {
    tenant: String,
    subject: String,
    tier: Option<String>,
    asked_us: u64,
    until_us: u64,
}

const LEAST_SECRET_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
/// The longest entry, in bytes: of the longest names, each character escaped.
const LONGEST: usize = 4 * 1024;

impl Hasher {
    /// One with this secret, or with one that is drawn now.
    pub(super) fn new(secret: Option<&Secret>) -> Result<Self> {
        let drawn: [u8; LEAST_SECRET_BYTES];
        let secret = match secret {
            Some(secret) => secret.reveal().as_bytes(),
            None => {
                drawn = draw()?;
                &drawn
            }
        };
        if secret.len() < LEAST_SECRET_BYTES {
            let message =
                format!("a key secret of {} bytes is too short: give at least {LEAST_SECRET_BYTES}", secret.len());
            return Err(Error::new(ErrorKind::Config, message));
        }
        // One secret, two purposes: what was made for one says nothing for the other.
        let purpose = |purpose: &[u8]| {
            Hmac::new_from_slice(secret).expect("a secret of any length will do").chain_update(purpose)
        };
        let name = KeyHash(purpose(b"tollgate name\0").finalize().into_bytes().into()).to_string();
        Ok(Self { of_keys: purpose(b"tollgate key\0"), of_entries: purpose(b"tollgate entry\0"), name })
    }

    /// Tells hosts whether they hash alike, and nothing of the secret.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn hash(&self, key: &str) -> KeyHash {
        KeyHash(self.of_keys.clone().chain_update(key).finalize().into_bytes().into())
    }

    /// What was said, as nobody without the secret could have written it for this key.
    pub(super) fn seal(&self, hash: &KeyHash, said: &Said) -> Vec<u8> {
        let KeyHolder { tenant, subject, tier } = said.holder.clone();
        let (asked_us, until_us) = (said.asked.as_micros(), said.until.as_micros());
        let body = Body { tenant, subject, tier, asked_us, until_us };
        let mut sealed = serde_json::to_vec(&body).unwrap_or_default();
        sealed.extend_from_slice(&self.mac(hash, &sealed).finalize().into_bytes());
        sealed
    }

    /// What was sealed for this key; none if it was not, or for another, or was changed.
    pub(super) fn open(&self, hash: &KeyHash, sealed: &[u8]) -> Option<Said> {
        let end = sealed.len().checked_sub(MAC_BYTES).filter(|_| sealed.len() <= LONGEST)?;
        let (body, mac) = sealed.split_at_checked(end)?;
        self.mac(hash, body).verify_slice(mac).ok()?;
        let Body { tenant, subject, tier, asked_us, until_us } = serde_json::from_slice(body).ok()?;
        let (asked, until) = (Timestamp::from_micros(asked_us), Timestamp::from_micros(until_us));
        Some(Said { holder: KeyHolder { tenant, subject, tier }, asked, until })
    }

    fn mac(&self, hash: &KeyHash, body: &[u8]) -> Hmac<Sha256> {
        self.of_entries.clone().chain_update(hash.0).chain_update(body)
    }
}

impl KeyHash {
    /// All of it, in hexadecimal.
    pub(super) fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what [`to_hex`](Self::to_hex) wrote.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        rest.is_empty().then_some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for KeyHash {
    /// Writes `key:` and the first eight digits, enough to tell keys apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "key:{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self}…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(secret: char) -> Hasher {
        Hasher::new(Some(&Secret::new(secret.to_string().repeat(32)))).unwrap()
    }

    #[test]
    fn an_entry_is_believed_only_as_it_was_sealed_and_only_for_its_key() {
        let hasher_a = hasher('a');
        let (mine, other) = (hasher_a.hash("mine"), hasher_a.hash("other"));
        let holder = KeyHolder { tenant: "acme".into(), subject: "key-1".into(), tier: Some("free".into()) };
        let said = Said { holder, asked: Timestamp::from_micros(1), until: Timestamp::from_micros(9) };
        let sealed = hasher_a.seal(&mine, &said);
        assert_eq!(hasher_a.open(&mine, &sealed), Some(said));
        assert_eq!(hasher_a.open(&other, &sealed), None, "moved to another key");
        assert_eq!(hasher('b').open(&mine, &sealed), None, "another secret");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(hasher_a.open(&mine, &changed), None, "byte {at}");
            assert_eq!(hasher_a.open(&mine, &sealed[..at]), None, "cut to {at}");
        }
    }

    #[test]
    fn a_hash_tells_nothing_of_the_key_without_the_secret() {
        assert_ne!(hasher('a').hash("mine"), hasher('b').hash("mine"));
        assert!(Hasher::new(Some(&Secret::new("short"))).is_err());
    }
}
