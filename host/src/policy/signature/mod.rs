//! Who vouches for a component: an Ed25519 signature over its digest, by a key that may sign for the tier.

mod private_key;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};

pub use private_key::PrivateKey;

use super::load::sha256;
use super::refusal::{Refusal, Stage};
use crate::config::{PublicKey, SigningConfig, SigningKeyConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::built_in::is_built_in;

/// What is signed begins so: a signature for anything else is none for a policy.
const PREFIX: &[u8] = b"tollgate-policy-v1\0";
/// What is signed for the component of this SHA-256.
fn message(digest: &[u8; 32]) -> Vec<u8> {
    [PREFIX, digest].concat()
}

/// One signature of a component, and the key that it says it is by.
///
/// As a text it is the key and the signature in base64, with a colon between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The public half of the key.
    pub key: PublicKey,
    /// The signature.
    pub bytes: [u8; 64],
}

impl Signature {
    /// The most signatures of one component.
    pub const MOST: usize = 16;

    /// Reads the signatures of a `.sig` file: one a line, 16 at most.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Policy`] and the number of the line that is none.
    pub fn read_all(text: &str) -> Result<Vec<Self>> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let signatures: Vec<Self> = lines
            .map(|(index, line)| {
                line.trim().parse().map_err(|error: Error| {
                    Error::new(error.kind(), format!("line {}: {}", index + 1, error.message()))
                })
            })
            .collect::<Result<_>>()?;
        if signatures.len() > Self::MOST {
            let message = format!("there are {} signatures; at most {}", signatures.len(), Self::MOST);
            return Err(Error::new(ErrorKind::Policy, message));
        }
        Ok(signatures)
    }

    /// Reads the `.sig` file beside a component, as [`path_beside`](Self::path_beside) calls it. Without one there are no signatures.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] if it cannot be read, and as [`read_all`](Self::read_all) does.
    pub fn beside(component: &Path) -> Result<Vec<Self>> {
        let path = Self::path_beside(component);
        match fs::read_to_string(&path) {
            Ok(text) => Self::read_all(&text)
                .map_err(|error| Error::new(error.kind(), format!("{}, {}", path.display(), error.message()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => {
                Err(Error::new(ErrorKind::Config, format!("failed to read {}", path.display())).because(error))
            }
        }
    }

    /// Where the signatures of the component in this file stand: `mine.wasm.sig` beside `mine.wasm`.
    #[must_use]
    pub fn path_beside(component: &Path) -> PathBuf {
        let mut path = component.as_os_str().to_owned();
        path.push(".sig");
        path.into()
    }

    /// Whether it is a signature of the component of this SHA-256 by its key.
    #[must_use]
    pub fn is_of(&self, digest: &[u8; 32]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key.as_bytes()).verify(&message(digest), &self.bytes).is_ok()
    }
}

impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (key, signature) = text.split_once(':')?;
            Some(Self { key: key.parse().ok()?, bytes: STANDARD.decode(signature).ok()?.try_into().ok()? })
        };
        read().ok_or_else(|| {
            let message = "it is no signature: `tollgate policy sign` writes a public key and a signature in base64, with a colon between them";
            Error::new(ErrorKind::Policy, message)
        })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, STANDARD.encode(self.bytes))
    }
}

/// The keys whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    required: bool,
    keys: Vec<SigningKeyConfig>,
}

impl Keyring {
    /// The keys of a configuration. The default one has none, and asks for no signature.
    #[must_use]
    pub fn new(config: &SigningConfig) -> Self {
        Self { required: config.required, keys: config.keys.clone() }
    }

    /// Finds one of `signatures` that vouches for the component of this SHA-256 in `tier`, and answers the name of its key.
    ///
    /// # Errors
    ///
    /// Fails with what is wrong with the one that came furthest: whoever reads it learns what is left to do, in whatever order they stand.
    pub fn verify(&self, digest: &[u8; 32], tier: &str, signatures: &[Signature]) -> Result<&str, SignatureError> {
        let mut wrong = SignatureError::Missing;
        for signature in signatures.iter().take(Signature::MOST) {
            match self.verify_one(digest, tier, signature) {
                Ok(name) => return Ok(name),
                Err(error) if error.checks_passed() > wrong.checks_passed() => wrong = error,
                Err(_) => {}
            }
        }
        Err(wrong)
    }

    fn verify_one(&self, digest: &[u8; 32], tier: &str, signature: &Signature) -> Result<&str, SignatureError> {
        let Some(key) = self.keys.iter().find(|key| key.public_key == signature.key) else {
            return Err(SignatureError::UnknownKey(signature.key));
        };
        let name = || key.name.clone();
        if key.revoked {
            return Err(SignatureError::Revoked(name()));
        }
        if let Some(tiers) = key.tiers.as_ref().filter(|tiers| !tiers.iter().any(|own| own == tier)) {
            return Err(SignatureError::OtherTier { key: name(), tier: tier.to_owned(), tiers: tiers.clone() });
        }
        if signature.is_of(digest) { Ok(&key.name) } else { Err(SignatureError::Wrong(name())) }
    }

    /// Whether the component `bytes`, which errors call `name`, may decide for `tier`: it comes with the host, is signed, or need not be.
    ///
    /// # Errors
    ///
    /// Fails at [`Stage::Signature`], as [`verify`](Self::verify) does.
    pub fn admit(&self, name: &str, tier: &str, bytes: &[u8], signatures: &[Signature]) -> Result<(), Refusal> {
        if !self.required || is_built_in(bytes) {
            return Ok(());
        }
        let verified = self.verify(&sha256(bytes), tier, signatures);
        verified.map(drop).map_err(|error| Refusal::new(name, Stage::Signature, error.to_string()))
    }
}

/// Why no signature vouches for a component.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is none.
    Missing,
    /// It is by a key that is not on the ring.
    UnknownKey(PublicKey),
    /// It is by a key of this name, whose signatures count no more.
    Revoked(String),
    /// It is by a key that may not sign for the tier.
    OtherTier {
        /// The key's name.
        key: String,
        /// The tier.
        tier: String,
        /// The tiers that it may sign for.
        tiers: Vec<String>,
    },
    /// It is by a key of this name, and of other bytes than these.
    Wrong(String),
}

impl SignatureError {
    /// How many of the checks of a signature were passed, in the order in which they are made.
    fn checks_passed(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::UnknownKey(_) => 1,
            Self::Revoked(_) => 2,
            Self::OtherTier { .. } => 3,
            Self::Wrong(_) => 4,
        }
    }
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "it is not signed: `tollgate policy sign` writes its .sig file, or say `signing.required = false` to do without",
            ),
            Self::UnknownKey(key) => write!(f, "it is signed by the key {key}, which is not among `signing.keys`"),
            Self::Revoked(key) => write!(f, "it is signed by the key `{key}`, which is revoked: sign it with another"),
            Self::OtherTier { key, tier, tiers } => write!(
                f,
                "it is signed by the key `{key}`, which may sign for {} and not for the tier `{}`",
                tiers.join(", "),
                tier.escape_debug()
            ),
            Self::Wrong(key) => write!(
                f,
                "its signature by the key `{key}` is not of these bytes: they were changed, or another file was signed"
            ),
        }
    }
}

impl std::error::Error for SignatureError {}
