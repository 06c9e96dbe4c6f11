//! Certificates and keys, read once; and the port that answers in plain.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use redis::{ClientTlsConfig, RedisResult, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Refusal;
use crate::config::{Address, ClientCertificate, Tls};
use crate::error::{Error, ErrorKind, Result};

/// Reads the files that `tls` names, and sees that they hold what they should.
///
/// # Errors
///
/// Fails with [`ErrorKind::Config`], and names the variable and the path.
pub(super) fn certificates(tls: &Tls) -> Result<TlsCertificates> {
    // Taken already if the application has chosen one for itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root_cert = tls.ca.as_deref().map(authorities).transpose()?;
    let client_tls = tls.client.as_ref().map(client).transpose()?;
    Ok(TlsCertificates { client_tls, root_cert })
}

fn authorities(path: &Path) -> Result<Vec<u8>> {
    let pem = Pem::read("REDIS_CA_CERT", path)?;
    let mut store = RootCertStore::empty();
    for certificate in pem.certificates()? {
        store
            .add(certificate)
            .map_err(|error| pem.problem("holds a certificate that is no authority's").because(error))?;
    }
    Ok(pem.text)
}

fn client(files: &ClientCertificate) -> Result<ClientTlsConfig> {
    let certificate = Pem::read("REDIS_CLIENT_CERT", &files.certificate)?;
    let key = Pem::read("REDIS_CLIENT_KEY", &files.key)?;
    let secret = PrivateKeyDer::from_pem_slice(&key.text)
        // Not its cause, which might repeat a part of the key.
        .map_err(|_| key.problem("holds no private key that is open; a key with a passphrase cannot be read"))?;
    ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(certificate.certificates()?, secret)
        .map_err(|error| key.problem("holds no key for the certificate in REDIS_CLIENT_CERT").because(error))?;
    Ok(ClientTlsConfig { client_cert: certificate.text, client_key: key.text })
}

/// A file of certificates or keys, and the variable that names it.
struct Pem<'a> {
    variable: &'static str,
    path: &'a Path,
    text: Vec<u8>,
}

impl<'a> Pem<'a> {
    fn read(variable: &'static str, path: &'a Path) -> Result<Self> {
        let none = Self { variable, path, text: Vec::new() };
        match std::fs::read(path) {
            Ok(text) => Ok(Self { text, ..none }),
            Err(error) => Err(none.problem("cannot be read").because(error)),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<_, _>>()
            .map_err(|error| self.problem("is no PEM file").because(error))?;
        if found.is_empty() {
            return Err(self.problem("holds no certificate between `-----BEGIN CERTIFICATE-----` and its end"));
        }
        Ok(found)
    }

    fn problem(&self, what: &str) -> Error {
        let Self { variable, path, .. } = self;
        Error::new(ErrorKind::Config, format!("failed to read {variable}: `{}` {what}", path.display()))
    }
}

/// How long a server may be silent before we ask whether it speaks TLS at all.
const PATIENCE: Duration = Duration::from_millis(300);

/// Waits for a connection by TLS, unless the port turns out to speak plainly: such a server waits in silence for the rest of what is no
/// command to it, and would be waited for in turn.
pub(super) async fn unless_plain<T>(
    address: &Address,
    opening: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let mut opening = pin!(opening);
    if let Ok(opened) = timeout(PATIENCE, &mut opening).await {
        return opened;
    }
    match timeout(PATIENCE, answers_plainly(address)).await {
        Ok(Ok(true)) => Err(Refusal::PlainPort.into()),
        _ => opening.await,
    }
}

async fn answers_plainly(address: &Address) -> std::io::Result<bool> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    let ping = b"PING\r\n";
    stream.writable().await?;
    if stream.try_write(ping)? != ping.len() {
        return Ok(false);
    }
    stream.readable().await?;
    let mut first = [0];
    stream.try_read(&mut first)?;
    // `+PONG`, or an error such as `-NOAUTH`; what speaks TLS answers with an alert.
    Ok(matches!(first, [b'+' | b'-']))
}
