//! The admin API: where it listens, and whom it lets do what.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::file::TokenSection;
use super::findings::Findings;
use super::stated::Stated;
use super::{Environment, KeyDigest, Secret, forms, production};
use crate::model::is_name;

/// The admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where it listens; none if it is off.
    pub listen: Option<SocketAddr>,
    /// Whether an address that cannot be had is an error: not in development, if it is the usual one.
    pub required: bool,
    /// Whom it lets do what. If there is none, one is drawn at start.
    pub tokens: Vec<AdminToken>,
}

/// Somebody whom the admin API knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// The name, as it stands in the audit log.
    pub name: String,
    /// What its holder may do.
    pub scope: Scope,
    /// The digest of the token, which itself is kept nowhere.
    pub digest: KeyDigest,
}

/// What the holder of a token may do; each scope includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Looks at everything but the audit log.
    Read,
    /// Changes rosters, tiers and tenants, and activates them.
    Operate,
    /// Brings policies and takes them away, and reads the audit log.
    Admin,
}

impl Scope {
    /// The name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// A token as it was stated: with its text, if that was given and not its digest.
#[derive(Clone)]
pub(super) struct StatedToken {
    token: AdminToken,
    text: Option<Secret>,
}

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8788);
const MOST_TOKENS: usize = 100;

/// What one place states of the admin API.
#[derive(Default)]
pub(super) struct AdminLayer {
    /// None inside: off.
    pub(super) listen: Option<Stated<Option<SocketAddr>>>,
    pub(super) tokens: Option<Stated<Vec<StatedToken>>>,
}

impl AdminLayer {
    pub(super) fn over(self, below: Self) -> Self {
        Self { listen: self.listen.or(below.listen), tokens: self.tokens.or(below.tokens) }
    }
}

/// An address and a port, or `off`.
pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    forms::socket(text).map(Some).map_err(|problem| format!("{problem}, nor `off`"))
}

/// Tokens as `name:scope:secret`, one a line or with commas between them. The error repeats nothing that could be a secret.
pub(super) fn tokens(text: &str) -> Result<Vec<StatedToken>, String> {
    let entries = text.split(['\n', ',']).map(str::trim).filter(|entry| !entry.is_empty() && !entry.starts_with('#'));
    let tokens: Result<Vec<StatedToken>, String> =
        entries.enumerate().map(|(index, entry)| token(index + 1, entry)).collect();
    checked(tokens?)
}

fn token(number: usize, entry: &str) -> Result<StatedToken, String> {
    let wrong = |problem: &str| format!("token {number} {problem}");
    let mut parts = entry.splitn(3, ':');
    let (Some(name), Some(scope), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong("is not `name:scope:secret` (for example `alice:operate:…`)"));
    };
    let scope = forms::choice(scope).map_err(|_| wrong("has another scope than `read`, `operate` or `admin`"))?;
    let secret =
        forms::token(Secret::new(secret)).map_err(|problem| wrong(&format!("has a secret of which {problem}")))?;
    named(name, scope, KeyDigest::of(secret.reveal()), Some(secret)).map_err(|problem| wrong(&problem))
}

/// The tokens of a file's `[[admin.tokens]]`.
pub(super) fn tokens_of(sections: Vec<TokenSection>) -> Result<Vec<StatedToken>, String> {
    let tokens: Result<Vec<StatedToken>, String> = sections.into_iter().map(token_of).collect();
    checked(tokens?)
}

fn token_of(section: TokenSection) -> Result<StatedToken, String> {
    let TokenSection { name, scope, sha256, token } = section;
    let wrong = |problem: &str| format!("token `{}` {problem}", name.escape_debug());
    let (digest, text) = match (sha256, token) {
        (Some(hex), None) => {
            (KeyDigest::from_hex(&hex).ok_or_else(|| wrong("has a `sha256` that is not 64 hexadecimal digits"))?, None)
        }
        (None, Some(text)) => {
            let text = forms::token(text).map_err(|problem| wrong(&format!("will not do: {problem}")))?;
            (KeyDigest::of(text.reveal()), Some(text))
        }
        (Some(_), Some(_)) => return Err(wrong("has both `sha256` and `token`: keep one")),
        (None, None) => return Err(wrong("has neither `sha256` nor `token`")),
    };
    named(&name, scope, digest, text).map_err(|problem| wrong(&problem))
}

fn named(name: &str, scope: Scope, digest: KeyDigest, text: Option<Secret>) -> Result<StatedToken, String> {
    if !is_name(name) {
        return Err("has a name that is not 1 to 64 of A-Z a-z 0-9 . _ -".to_owned());
    }
    Ok(StatedToken { token: AdminToken { name: name.to_owned(), scope, digest }, text })
}

fn checked(tokens: Vec<StatedToken>) -> Result<Vec<StatedToken>, String> {
    if tokens.len() > MOST_TOKENS {
        return Err(format!("there are {} tokens; at most {MOST_TOKENS}", tokens.len()));
    }
    for (index, StatedToken { token, .. }) in tokens.iter().enumerate() {
        let mut before = tokens.iter().take(index).map(|other| &other.token);
        if before.any(|other| other.name == token.name || other.digest == token.digest) {
            return Err(format!("token `{}` has the name or the secret of another", token.name));
        }
    }
    Ok(tokens)
}

/// Decides whether there is an admin API.
pub(super) fn settle(layer: AdminLayer, environment: Environment, findings: &mut Findings) -> AdminConfig {
    let stated = layer.listen.map_or(Some(LISTEN), |stated| stated.value);
    // In development two servers are soon started side by side, and the second can do without.
    let required = environment == Environment::Production || stated != Some(LISTEN);
    let tokens = layer.tokens.map(|stated| stated.value).unwrap_or_default();
    if environment == Environment::Production {
        let texts = tokens.iter().filter_map(|token| Some((&token.token.name, token.text.as_ref()?)));
        texts.for_each(|(name, text)| production::check_admin_token(name, text, findings));
    }
    let tokens: Vec<AdminToken> = tokens.into_iter().map(|stated| stated.token).collect();
    let draws = environment == Environment::Development && stated.is_none_or(|address| address.ip().is_loopback());
    let listen = stated.filter(|_| draws || !tokens.is_empty());
    if stated.is_some() && listen.is_none() {
        findings.notice(
            "there is no admin API, since nobody could use it: give tokens by TOLLGATE_ADMIN_TOKENS, or set TOLLGATE_ADMIN_LISTEN=off",
        );
    }
    AdminConfig { listen, required, tokens }
}
