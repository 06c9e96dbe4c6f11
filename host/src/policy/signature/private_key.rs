//! The half of a key that signs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::{Signature, message};
use crate::config::{PublicKey, Secret};
use crate::error::{Error, ErrorKind, Result};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
const LINE_CHARS: usize = 64;

/// A key that signs policies. It shows itself in no error and no `Debug`.
pub struct PrivateKey(Ed25519KeyPair);

impl PrivateKey {
    /// Draws a new key, as the text of a PEM file.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::System`] if the machine has no randomness.
    pub fn generate() -> Result<Secret> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| Error::new(ErrorKind::System, "failed to draw a key: the machine gives no randomness"))?;
        let text = STANDARD.encode(document.as_ref());
        let mut pem = format!("{BEGIN}\n");
        for (index, char) in text.chars().enumerate() {
            if index > 0 && index % LINE_CHARS == 0 {
                pem.push('\n');
            }
            pem.push(char);
        }
        pem.push_str(&format!("\n{END}\n"));
        Ok(Secret::new(pem))
    }

    /// Reads the text of a PEM file: PKCS#8, as [`generate`](Self::generate) or `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] if it is none, without repeating any of it.
    pub fn from_pem(text: &Secret) -> Result<Self> {
        let wrong = || {
            let message = "it is no Ed25519 key in PKCS#8 (PEM), as `tollgate policy keygen` writes it";
            Error::new(ErrorKind::Config, message)
        };
        let (_, rest) = text.reveal().split_once(BEGIN).ok_or_else(wrong)?;
        let (body, _) = rest.split_once(END).ok_or_else(wrong)?;
        let base64: String = body.split_whitespace().collect();
        let document = STANDARD.decode(base64).map_err(|_| wrong())?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).map(Self).map_err(|_| wrong())
    }

    /// Its public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref().try_into();
        PublicKey::from_bytes(bytes.expect("the public half of an Ed25519 key has 32 bytes"))
    }

    /// Signs the component of this SHA-256.
    #[must_use]
    pub fn sign(&self, digest: &[u8; 32]) -> Signature {
        let bytes = self.0.sign(&message(digest)).as_ref().try_into();
        Signature { key: self.public_key(), bytes: bytes.expect("an Ed25519 signature has 64 bytes") }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public_key())
    }
}
