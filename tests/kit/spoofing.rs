//! Clients that say they are somebody else, asked about at `/v1/auth`: twenty ways, and none of them gives a client limits of its own choice.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};
use reqwest::Client;

use crate::Server;

/// One way to lie.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is tried.
    pub name: &'static str,
    from: From,
    fields: &'static [(&'static str, &'static str)],
    /// For whom it must count.
    counts_for: &'static str,
}

/// Who connects to Tollgate.
#[derive(Clone, Copy, Debug)]
enum From {
    Proxy,
    Stranger,
}

/// The proxies that are trusted: whoever calls from 127.0.0.1, and some that stand before it.
const PROXIES: &str = "127.0.0.1, 10.0.0.0/8, 2001:db8:f::/48";
const PROXY: &str = "127.0.0.1";
const STRANGER: &str = "127.0.0.2";
const CLIENT: &str = "203.0.113.9";
const FORWARDED_FOR: &str = "x-forwarded-for";

const TIERS: &str = r#"
default_tier = "all"
[tiers.all]
policy = "tiered"
config.limits = [{ id = "all", limit = "1000000/300d" }]
"#;

const fn stranger(name: &'static str, fields: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, from: From::Stranger, fields, counts_for: STRANGER }
}

const fn behind(name: &'static str, fields: &'static [(&'static str, &'static str)], counts_for: &'static str) -> Case {
    Case { name, from: From::Proxy, fields, counts_for }
}

/// Every way.
pub const CASES: [Case; 20] = [
    stranger("who is no proxy names another address", &[(FORWARDED_FOR, "1.1.1.1")]),
    stranger("who is no proxy names a proxy", &[(FORWARDED_FOR, "1.1.1.1, 10.0.0.1")]),
    stranger("who is no proxy writes Forwarded", &[("forwarded", "for=1.1.1.1")]),
    stranger("who is no proxy writes X-Real-IP", &[("x-real-ip", "1.1.1.1")]),
    stranger(
        "who is no proxy writes what clouds write",
        &[("cf-connecting-ip", "1.1.1.1"), ("true-client-ip", "1.1.1.1"), ("x-client-ip", "1.1.1.1")],
    ),
    behind("an address before the client's own", &[(FORWARDED_FOR, "1.1.1.1, 203.0.113.9")], CLIENT),
    behind("a trusted address before the client's own", &[(FORWARDED_FOR, "1.1.1.1, 10.0.0.9, 203.0.113.9")], CLIENT),
    behind("the loopback before the client's own", &[(FORWARDED_FOR, "127.0.0.1, ::1, 203.0.113.9")], CLIENT),
    behind(
        "a field of the client's beside the proxy's",
        &[(FORWARDED_FOR, "1.1.1.1"), (FORWARDED_FOR, CLIENT)],
        CLIENT,
    ),
    behind("Forwarded beside it", &[("forwarded", "for=1.1.1.1"), (FORWARDED_FOR, CLIENT)], CLIENT),
    behind("X-Real-IP beside it", &[("x-real-ip", "1.1.1.1"), (FORWARDED_FOR, CLIENT)], CLIENT),
    behind("the same through two proxies", &[(FORWARDED_FOR, "1.1.1.1, 203.0.113.9, 10.0.0.2")], CLIENT),
    behind("a word instead of an address", &[(FORWARDED_FOR, "1.1.1.1, unknown")], PROXY),
    behind("nothing instead of an address", &[(FORWARDED_FOR, "1.1.1.1, ")], PROXY),
    behind("an address with leading zeros", &[(FORWARDED_FOR, "1.1.1.1, 0313.0.113.9")], PROXY),
    behind("a number that is none of an address", &[(FORWARDED_FOR, "1.1.1.1, 203.0.113.999")], PROXY),
    behind("another port", &[(FORWARDED_FOR, "203.0.113.9:4711")], CLIENT),
    behind("an IPv4 address written as IPv6", &[(FORWARDED_FOR, "::ffff:203.0.113.9")], CLIENT),
    behind("another address of the same IPv6 network", &[(FORWARDED_FOR, "2001:db8:1:2:3:4:5:6")], "2001:db8:1:2::1"),
    behind("a row of proxies longer than any", &[(FORWARDED_FOR, "1.1.1.1"), (FORWARDED_FOR, ROW)], "10.0.0.2"),
];

const ROW: &str = "10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, \
                   10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, \
                   10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2, 10.0.0.2";

/// Tries every way on a server of its own, and tells which ones gave somebody the limits of somebody else.
///
/// # Errors
///
/// Fails if the server does not start or does not answer.
pub async fn failures() -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("tollgate.toml");
    std::fs::write(&config, TIERS)?;
    let config = config.to_str().context("a folder for tests is text")?;
    let server = Server::start([
        ("TOLLGATE_CONFIG", config),
        ("TOLLGATE_TRUSTED_PROXIES", PROXIES),
        ("TOLLGATE_CALLER_TOKEN", "so-the-loopback-alone-says-nothing"),
    ])?;
    let (proxy, stranger) = (client([127, 0, 0, 1])?, client([127, 0, 0, 2])?);
    let mut failures = String::new();
    for Case { name, from, fields, counts_for } in CASES {
        let honest = left(&server, &proxy, &[(FORWARDED_FOR, counts_for)]).await?;
        let liar = match from {
            From::Proxy => &proxy,
            From::Stranger => &stranger,
        };
        let lied = left(&server, liar, fields).await?;
        if lied + 1 != honest {
            writeln!(failures, "{name}: {counts_for} had {honest} left, and the liar has {lied}")?;
        }
    }
    Ok(failures.lines().map(str::to_owned).collect())
}

fn client(address: [u8; 4]) -> Result<Client> {
    Ok(Client::builder().local_address(IpAddr::V4(Ipv4Addr::from(address))).build()?)
}

/// What is left to whoever this is, once it has been counted.
async fn left(server: &Server, client: &Client, fields: &[(&str, &str)]) -> Result<u64> {
    let asked = fields
        .iter()
        .fold(client.get(format!("{}/v1/auth", server.url)), |asked, (name, value)| asked.header(*name, *value));
    let answer = asked.send().await?.error_for_status()?;
    let state = answer.headers().get("ratelimit").context("an answer tells what is left")?.to_str()?;
    let left = state.split("r=").nth(1).and_then(|rest| rest.split(';').next());
    Ok(left.with_context(|| format!("`{state}` tells what is left"))?.parse()?)
}
