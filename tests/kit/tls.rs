//! Certificates of one's own, for the loopback.

use std::path::{Path, PathBuf};

use tollgate::config::{ClientCertificate, Tls};

/// What a server shows that speaks TLS, and whether it wants to be shown something.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsSetting {
    /// The server's certificate.
    pub shows: Certificate,
    /// Whether it lets in only those who show a certificate of [`authority`].
    pub asks: bool,
}

/// A server's certificate, signed by [`authority`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// For `localhost`, 127.0.0.1 and ::1.
    #[default]
    Server,
    /// For another host.
    Elsewhere,
    /// For `localhost`, until some years ago.
    Expired,
}

impl Certificate {
    pub(crate) fn files(self) -> (PathBuf, PathBuf) {
        let name = match self {
            Self::Server => "server",
            Self::Elsewhere => "elsewhere",
            Self::Expired => "expired",
        };
        (file(&format!("{name}.pem")), file(&format!("{name}.key")))
    }
}

/// The certificate of the authority that signed all others.
#[must_use]
pub fn authority() -> PathBuf {
    file("authority.pem")
}

/// The certificate of an authority that signed none.
#[must_use]
pub fn stranger() -> PathBuf {
    file("stranger.pem")
}

/// A client's certificate, signed by [`authority`].
#[must_use]
pub fn client() -> ClientCertificate {
    ClientCertificate { certificate: file("client.pem"), key: file("client.key") }
}

/// What lets a client in anywhere.
#[must_use]
pub fn trusting() -> Tls {
    Tls { ca: Some(authority()), client: Some(client()) }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kit/certificates").join(name)
}
