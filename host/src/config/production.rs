//! What production demands beyond what development accepts.

use super::findings::Findings;
use super::{KeyDigest, RedisTarget, Secret, SentinelLogin, Topology};

/// How long a password or token must be at least.
const SECRET_CHARS: usize = 16;

/// Passwords that stand in tutorials and samples; the short ones are refused for their length.
const KNOWN_PASSWORDS: [&str; 9] = [
    "change-this-password",
    "your_redis_password",
    "your_local_password",
    "your_access_key",
    "your-secure-password",
    "your-strong-password",
    "your-elasticache-auth-token",
    "your-generated-password-here",
    "your-super-secure-password",
];

/// The API keys of the built-in configuration, which everyone knows.
pub const DEMO_KEYS: [&str; 3] = ["demo-free", "demo-basic", "demo-pro"];

/// What is said of production that takes unsigned policies.
pub(super) const UNSIGNED: &str =
    "policies from files need no signature: whoever can write one decides who passes (TOLLGATE_REQUIRE_SIGNATURES)";

/// Complains that no Redis is used. A malformed address was complained about before.
pub(super) fn refuse_memory(findings: &mut Findings) {
    if findings.blames(&["REDIS_URL", "REDIS_HOST", "REDIS_PORT", "redis.url"]) {
        return;
    }
    let text = "production counts in Redis, and none is used: set REDIS_URL (and leave REDIS_ENABLED and RATE_LIMIT_MODE unset), \
         or set TOLLGATE_ENV=development to count in memory";
    findings.problem("REDIS_URL", text);
}

/// Complains about a Redis that anyone may enter.
pub(super) fn check_redis(target: &RedisTarget, findings: &mut Findings) {
    let Some(password) = &target.password else {
        let text = "production needs a Redis with a password: set `requirepass` in Redis and REDIS_PASSWORD here, at least 16 \
             characters (for example from `openssl rand -base64 32`)";
        findings.problem("REDIS_PASSWORD", text);
        return;
    };
    check_secret("REDIS_PASSWORD", password, findings);
    if let Topology::Sentinel { login: SentinelLogin { password: Some(password), .. }, .. } = &target.topology {
        check_secret("REDIS_SENTINEL_PASSWORD", password, findings);
    }
}

/// Complains about a weak token of trusted callers.
pub(super) fn check_token(token: &Secret, findings: &mut Findings) {
    check_secret("TOLLGATE_CALLER_TOKEN", token, findings);
}

/// Complains about a weak token of the admin API.
pub(super) fn check_admin_token(name: &str, token: &Secret, findings: &mut Findings) {
    check_secret(&format!("the admin token `{name}`"), token, findings);
}

/// Complains about a weak password of the listener that speaks as Redis does.
pub(super) fn check_resp_password(password: &Secret, findings: &mut Findings) {
    check_secret("TOLLGATE_RESP_PASSWORD", password, findings);
}

fn check_secret(place: &str, secret: &Secret, findings: &mut Findings) {
    let text = secret.reveal();
    if text.chars().count() < SECRET_CHARS {
        let way_out = "take one from `openssl rand -base64 32`";
        findings.problem(
            place,
            format!("it is shorter than the {SECRET_CHARS} characters that production demands: {way_out}"),
        );
    } else if KNOWN_PASSWORDS.contains(&text.to_ascii_lowercase().as_str()) || is_monotonous(text) {
        findings.problem(place, "it is a well-known sample, not a secret: take one from `openssl rand -base64 32`");
    }
}

/// Whether a text is one character over and over.
fn is_monotonous(text: &str) -> bool {
    text.chars().zip(text.chars().skip(1)).all(|(one, next)| one == next)
}

/// Complains about keys that everyone can read in the sources.
pub(super) fn refuse_demo_keys<'a>(keys: impl IntoIterator<Item = &'a KeyDigest>, findings: &mut Findings) {
    let found = demo_keys(keys);
    if found > 0 {
        let text = format!(
            "{found} demo keys, which everyone knows, would open production: give your own in `[[keys]]` of a configuration \
             file (TOLLGATE_CONFIG)"
        );
        findings.problem("keys", text);
    }
}

/// How many of the keys everyone can read in the sources.
pub(super) fn demo_keys<'a>(keys: impl IntoIterator<Item = &'a KeyDigest>) -> usize {
    let demo = DEMO_KEYS.map(KeyDigest::of);
    keys.into_iter().filter(|key| demo.contains(key)).count()
}
