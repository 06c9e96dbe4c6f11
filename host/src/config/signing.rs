//! Who vouches for policies.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::file::SigningKeySection;
use crate::error::{Error, ErrorKind};
use crate::model::is_name;

/// Who vouches for policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningConfig {
    /// Whether a policy that does not come with the host needs a signature.
    pub required: bool,
    /// The keys whose signatures count.
    pub keys: Vec<SigningKeyConfig>,
}

/// A key whose signatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyConfig {
    /// What errors and logs call it.
    pub name: String,
    /// The key.
    pub public_key: PublicKey,
    /// The tiers whose policies it may sign; none means all.
    pub tiers: Option<Vec<String>>,
    /// Whether its signatures count no more.
    pub revoked: bool,
}

/// The public half of an Ed25519 key.
///
/// # Example
///
/// ```
/// use tollgate::config::PublicKey;
///
/// let key: PublicKey = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".parse()?;
/// assert_eq!(Ok(key), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".parse().map_err(|_| ()));
/// # Ok::<(), tollgate::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    /// Reads 64 hexadecimal digits, or the same bytes in base64, as `tollgate policy keygen` prints them.
    fn from_str(text: &str) -> Result<Self, Error> {
        let base64 = || STANDARD.decode(text).ok()?.try_into().ok();
        from_hex(text).or_else(base64).map(Self).ok_or_else(|| {
            // Not the text: somebody may have pasted the private half.
            let message = "it is no public key: give 32 bytes in base64 (44 characters, ending in `=`) or in hexadecimal (64 digits), \
                           as `tollgate policy keygen` prints them";
            Error::new(ErrorKind::Config, message)
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.try_into().ok()
}

/// Reads one key of the file, which has those of `others` already.
pub(super) fn key(section: SigningKeySection, others: &[SigningKeyConfig]) -> Result<SigningKeyConfig, String> {
    let SigningKeySection { name, public_key, tiers, revoked } = section;
    if !is_name(&name) {
        return Err("its `name` is not 1 to 64 of A-Z a-z 0-9 . _ -".to_owned());
    }
    let public_key: PublicKey =
        public_key.parse().map_err(|error: Error| format!("its `public_key` will not do: {}", error.message()))?;
    if let Some(other) = others.iter().find(|other| other.name == name || other.public_key == public_key) {
        return Err(format!("its name or its key is that of `{}` too: keep one of the two", other.name));
    }
    if tiers.as_ref().is_some_and(Vec::is_empty) {
        return Err("its `tiers` are none: leave them away if it may sign for all, or say `revoked = true`".to_owned());
    }
    Ok(SigningKeyConfig { name, public_key, tiers, revoked })
}
