//! What stands beside the address of Redis because no URL has a place for it: certificates, and how sentinels let us in.

use std::path::PathBuf;

use super::findings::Findings;
use super::stated::Stated;
use super::{ClientCertificate, RedisTarget, Secret, SentinelLogin, Topology};

/// The part of a layer about servers that ask for more than a password.
#[derive(Default)]
pub(super) struct BesideUrl {
    pub(super) ca_cert: Option<Stated<PathBuf>>,
    pub(super) client_cert: Option<Stated<PathBuf>>,
    pub(super) client_key: Option<Stated<PathBuf>>,
    pub(super) sentinel_username: Option<Stated<String>>,
    pub(super) sentinel_password: Option<Stated<Secret>>,
}

impl BesideUrl {
    /// This layer, and where it states nothing, the one below.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            ca_cert: self.ca_cert.or(below.ca_cert),
            client_cert: self.client_cert.or(below.client_cert),
            client_key: self.client_key.or(below.client_key),
            sentinel_username: self.sentinel_username.or(below.sentinel_username),
            sentinel_password: self.sentinel_password.or(below.sentinel_password),
        }
    }

    /// Gives it all to `target`, and says what changes nothing there.
    pub(super) fn fill(self, target: &mut RedisTarget, findings: &mut Findings) {
        let Self { ca_cert, client_cert, client_key, sentinel_username, sentinel_password } = self;
        let client = client(client_cert, client_key, findings);
        match &mut target.tls {
            Some(tls) => {
                tls.ca = ca_cert.map(|stated| stated.value);
                tls.client = client.map(|stated| stated.value);
            }
            None => {
                for place in [ca_cert.map(|stated| stated.place), client.map(|stated| stated.place)].iter().flatten() {
                    let way_out = "write `rediss://` or set REDIS_TLS=true";
                    findings.notice(format!("{place} changes nothing without TLS, which is not used: {way_out}"));
                }
            }
        }
        login(target, sentinel_username, sentinel_password, findings);
    }
}

fn client(
    certificate: Option<Stated<PathBuf>>,
    key: Option<Stated<PathBuf>>,
    findings: &mut Findings,
) -> Option<Stated<ClientCertificate>> {
    match (certificate, key) {
        (Some(Stated { value: certificate, place }), Some(key)) => {
            Some(Stated { value: ClientCertificate { certificate, key: key.value }, place })
        }
        (Some(certificate), None) => {
            findings.problem(certificate.place, "a certificate without its key proves nothing: set REDIS_CLIENT_KEY");
            None
        }
        (None, Some(key)) => {
            findings.problem(key.place, "it is a key without its certificate: set REDIS_CLIENT_CERT");
            None
        }
        (None, None) => None,
    }
}

fn login(
    target: &mut RedisTarget,
    username: Option<Stated<String>>,
    password: Option<Stated<Secret>>,
    findings: &mut Findings,
) {
    if let (Some(username), None) = (&username, &password) {
        findings.problem(&username.place, "it is a user without a password: set REDIS_SENTINEL_PASSWORD");
    }
    if let Topology::Sentinel { login, .. } = &mut target.topology {
        let (username, password) = (username.map(|stated| stated.value), password.map(|stated| stated.value));
        *login = SentinelLogin { username, password };
    } else if let Some(place) = password.map(|stated| stated.place) {
        let text = format!("{place} changes nothing, since the address of Redis names no sentinels");
        findings.notice(text);
    }
}
