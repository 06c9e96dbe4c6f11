//! Every environment name that Tollgate knows, in one table; and the only place that reads the process environment.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};

/// One environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What may stand in it, with the unit.
    pub form: &'static str,
    /// What holds if it is not set; empty if nothing does.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// Variables that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// The variables, the important ones first.
    pub variables: &'static [Variable],
}

const fn variable(name: &'static str, form: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, form, default, meaning }
}

/// Every variable that Tollgate knows, in groups. docs/configuration.md shows this table; a test keeps the two alike.
pub const VARIABLES: &[Group] = &[
    Group {
        title: "The program",
        variables: &[
            variable(
                "TOLLGATE_ENV",
                "`development` or `production`",
                "development",
                "Production refuses to start without a Redis that has a strong password.",
            ),
            variable(
                "NODE_ENV",
                "any",
                "",
                "`production` switches production on, unless `TOLLGATE_ENV` is set. It never switches it off.",
            ),
            variable(
                "TOLLGATE_CONFIG",
                "path",
                "",
                "The configuration file. Without one the built-in tiers and demo keys stand.",
            ),
            variable("TOLLGATE_LISTEN", "IP address and port", "127.0.0.1:8787", "Where the program listens."),
            variable("LOG_LEVEL", "`error`, `warn`, `info`, `debug` or `trace`", "info", "How much is logged."),
            variable("TOLLGATE_LOG_FORMAT", "`text` or `json`", "text", "How a line of the log is written."),
        ],
    },
    Group {
        title: "Decisions",
        variables: &[
            variable(
                "TOLLGATE_DEADLINE_MS",
                "milliseconds, 1 to 60000",
                "50",
                "How long one decision may take. Then a fault rule answers.",
            ),
            variable(
                "TOLLGATE_ON_STORE_FAULT",
                "`allow`, `deny` or `local`",
                "allow",
                "The answer when the counters cannot be reached. `local` counts in this process, with this host's share of each limit.",
            ),
            variable("TOLLGATE_ON_POLICY_FAULT", "`allow` or `deny`", "deny", "The answer when a policy fails."),
            variable(
                "TOLLGATE_SUBJECTS_PER_TENANT",
                "1 to 1000000000",
                "100000",
                "How many subjects of a tenant have counters of their own within a minute. Those beyond that are new share the counters of `~overflow`, so a flood of subjects makes no flood of counters.",
            ),
            variable(
                "TOLLGATE_X_RATELIMIT",
                "`true` or `false`",
                "false",
                "Whether answers also carry the older `X-RateLimit-*` headers.",
            ),
            variable(
                "TOLLGATE_SOURCE_HEADER",
                "`true` or `false`",
                "false",
                "Whether answers carry `Tollgate-Source`: who gave the verdict, and the fault if there was one.",
            ),
            variable(
                "TOLLGATE_CALLER_TOKEN",
                "secret; in production at least 16 characters",
                "",
                "Who shows it may name tenant, tier and subject directly. Without it everybody may where the program listens on a loopback address, and nobody elsewhere.",
            ),
            variable(
                "TOLLGATE_TRUSTED_PROXIES",
                "IP addresses and networks, with commas between them",
                "",
                "Gateways that may ask `/v1/auth` and say in `X-Forwarded-For` who called them. Whoever shows `TOLLGATE_CALLER_TOKEN` may, too.",
            ),
            variable(
                "TOLLGATE_RECEIPT_KEY",
                "secret; at least 32 bytes",
                "",
                "Seals receipts. Servers with the same key settle one another's. Without it each process draws a key of its own, and its receipts end with it.",
            ),
        ],
    },
    Group {
        title: "API keys that a service knows",
        variables: &[
            variable(
                "TOLLGATE_KEY_SOURCE_URL",
                "URL of HTTP",
                "",
                "Who is asked for the holder of an API key that the configuration does not list.",
            ),
            variable("TOLLGATE_KEY_SOURCE_TOKEN", "secret", "", "The bearer token that it is shown."),
            variable(
                "TOLLGATE_KEY_SECRET",
                "secret; at least 32 bytes",
                "",
                "Hashes API keys in Redis, where servers with the same secret share what they know of keys. Without it each looks keys up by itself.",
            ),
            variable(
                "ENABLE_REDIS_CACHE",
                "`true` or `false`",
                "",
                "`false`: what is known of API keys is not shared in Redis, though there is a secret. It moves no counters.",
            ),
            variable(
                "REDIS_DEFAULT_TTL",
                "seconds, 1 to 604800",
                "3600",
                "How long what is known of an API key is kept, in Redis and in the process.",
            ),
        ],
    },
    Group {
        title: "Policies",
        variables: &[
            variable(
                "TOLLGATE_CACHE_DIR",
                "path",
                "",
                "A folder for the machine code of compiled policies, which nobody else may write: made if it is missing. Without it each start compiles them anew.",
            ),
            variable(
                "TOLLGATE_REQUIRE_SIGNATURES",
                "`true` or `false`",
                "",
                "Whether a policy from a file needs a signature by one of `signing.keys`. If not set, `true` in production and `false` in development.",
            ),
        ],
    },
    Group {
        title: "The admin API and the fleet",
        variables: &[
            variable(
                "TOLLGATE_ADMIN_LISTEN",
                "IP address and port, or `off`",
                "127.0.0.1:8788",
                "Where the admin API listens. In development it is left out, with a notice, if that very address is taken.",
            ),
            variable(
                "TOLLGATE_ADMIN_TOKENS",
                "`name:scope:secret`, one a line or with commas between them; the scope is `read`, `operate` or `admin`; in production at least 16 characters",
                "",
                "Who may use the admin API. Without a token one is drawn at start and printed, in development on a loopback address; elsewhere there is no admin API.",
            ),
            variable(
                "TOLLGATE_ADMIN_TOKENS_FILE",
                "path",
                "",
                "A file that holds what `TOLLGATE_ADMIN_TOKENS` would, so that it stands in no environment.",
            ),
            variable(
                "TOLLGATE_REGISTRY_DIR",
                "path",
                "",
                "Where policies and rosters are kept when counters are in memory. Without it they end with the process. When counters are in Redis, they are there.",
            ),
            variable(
                "TOLLGATE_INSTANCE",
                "1 to 128 of `A-Z a-z 0-9 . _ -`",
                "",
                "The name of this process in the fleet, which no other may have; if not set, the host's, with the process id and something random.",
            ),
            variable(
                "TOLLGATE_ADMIN_URL",
                "URL",
                "http://127.0.0.1:8788",
                "Which server the commands of the operator ask: `policy push`, `roster`, `tenants`, `fleet`, `tail`, `explain`, `audit`.",
            ),
            variable("TOLLGATE_ADMIN_TOKEN", "secret", "", "The token that they show."),
        ],
    },
    Group {
        title: "Commands of redis-cell",
        variables: &[
            variable(
                "TOLLGATE_RESP_LISTEN",
                "IP address and port, or `off`",
                "off",
                "Where `CL.THROTTLE` is answered as redis-cell does, by the tier `throttle`, which is the built-in policy of that name if the configuration has none.",
            ),
            variable(
                "TOLLGATE_RESP_PASSWORD",
                "secret; in production at least 16 characters",
                "",
                "What `AUTH` there has to show. Without it everybody may, and only a loopback address is taken.",
            ),
        ],
    },
    Group {
        title: "Envoy's rate limit service",
        variables: &[
            variable(
                "TOLLGATE_GRPC_LISTEN",
                "IP address and port, or `off`",
                "off",
                "Where Envoy's rate limit service listens, with gRPC's health and reflection. It asks nobody for a token.",
            ),
            variable(
                "TOLLGATE_RLS_CONFIG",
                "path of a file or a folder",
                "",
                "Its limits, in the YAML of envoyproxy/ratelimit: one file, or every `*.yaml` of a folder. They are read again when they change.",
            ),
        ],
    },
    Group {
        title: "Counters",
        variables: &[
            variable(
                "RATE_LIMIT_MODE",
                "`redis` or `memory`",
                "",
                "Where counters live; if not set, in Redis as soon as its address is known.",
            ),
            variable("TOLLGATE_MAX_COUNTERS", "1 to 1000000000", "1000000", "How many counters memory holds at most."),
            variable(
                "TOLLGATE_HOSTS",
                "1 to 10000",
                "1",
                "How many hosts share the Redis: while it fails, a limit of `local` is divided by this number, and so are the shares of a leased one.",
            ),
            variable(
                "TOLLGATE_REFUSAL_MEMORY",
                "`true` or `false`",
                "true",
                "Whether what Redis refused is refused again without asking it, for a second at most.",
            ),
            variable(
                "TOLLGATE_KEY_PREFIX",
                "1 to 64 of `A-Z a-z 0-9 . _ - : /`",
                "ratelimit",
                "What every counter's key in Redis begins with (`cfkanban:ratelimit` for an ACL of `~cfkanban:*`).",
            ),
        ],
    },
    Group {
        title: "Redis",
        variables: &[
            variable(
                "REDIS_ENABLED",
                "`true` or `false`",
                "",
                "`false` keeps counters in memory though an address is known; `true` demands an address.",
            ),
            variable("REDIS_URL", "Redis URL, as above", "", "Where Redis is."),
            variable(
                "REDIS_HOST",
                "host name or address",
                "",
                "Where Redis is, if there is no `REDIS_URL`. Both may stand if they agree.",
            ),
            variable("REDIS_PORT", "1 to 65535", "6379", "The port at `REDIS_HOST`."),
            variable(
                "REDIS_PASSWORD",
                "secret; in production at least 16 characters",
                "",
                "The password, as it is: without escapes.",
            ),
            variable("REDIS_TLS", "`true` or `false`", "false", "`true` makes `redis://` mean TLS."),
            variable(
                "REDIS_CA_CERT",
                "path of a PEM file",
                "",
                "The authorities that vouch for servers and sentinels, instead of those that the web trusts.",
            ),
            variable(
                "REDIS_CLIENT_CERT",
                "path of a PEM file",
                "",
                "What a server is shown that asks for a certificate: ours, and the chain above it.",
            ),
            variable("REDIS_CLIENT_KEY", "path of a PEM file", "", "The key of `REDIS_CLIENT_CERT`."),
            variable(
                "REDIS_SENTINEL_USERNAME",
                "ACL user",
                "",
                "The user at the sentinels, if they have one. The user of `REDIS_URL` is for the servers.",
            ),
            variable(
                "REDIS_SENTINEL_PASSWORD",
                "secret; in production at least 16 characters",
                "",
                "The password at the sentinels, if they ask for one. `REDIS_PASSWORD` is for the servers.",
            ),
            variable(
                "REDIS_TIMEOUT",
                "milliseconds, 1 to 600000",
                "5000",
                "How long connecting may take. A decision has its own deadline.",
            ),
            variable(
                "TOLLGATE_WITHOUT_SCRIPTS",
                "`allow` or `refuse`",
                "",
                "Where the user of Redis may call no script: `allow` counts windows by plain commands, never over a limit but with fewer guarantees, and says which at start; `refuse` does not start. If not set, `refuse` in production and `allow` in development.",
            ),
        ],
    },
    Group {
        title: "Classes of routes",
        variables: &[
            variable(
                "RATE_LIMIT_GENERAL",
                "`count,seconds`",
                "",
                "The class `general` in every tier of the policy `route-classes`, which has 120,60.",
            ),
            variable("RATE_LIMIT_AUTH", "`count,seconds`", "", "The class `auth`, which has 30,60."),
            variable("RATE_LIMIT_SENSITIVE", "`count,seconds`", "", "The class `sensitive`, which has 10,60."),
            variable("RATE_LIMIT_ADMIN", "`count,seconds`", "", "The class `admin`, which has 300,60."),
            variable("RATE_LIMIT_MFA", "`count,seconds`", "", "The class `mfa`, which has 5,60."),
            variable("RATE_LIMIT_FINANCIAL", "`count,seconds`", "", "The class `financial`, which has 20,60."),
        ],
    },
    Group {
        title: "Known, and without effect",
        variables: &[
            variable(
                "UPSTASH_REDIS_REST_URL",
                "any",
                "",
                "Upstash over REST, which Tollgate does not speak: set `REDIS_URL`.",
            ),
            variable("UPSTASH_REDIS_REST_TOKEN", "any", "", "The token that goes with it."),
        ],
    },
];

/// The variables of [`VARIABLES`], without their groups.
pub fn variables() -> impl Iterator<Item = &'static Variable> {
    VARIABLES.iter().flat_map(|group| group.variables)
}

/// Whether a variable of this name is Tollgate's business: known, or with a prefix of ours, where it may be a misspelling.
fn is_ours(name: &str) -> bool {
    ["TOLLGATE_", "RATE_LIMIT_", "REDIS_"].iter().any(|prefix| name.starts_with(prefix))
        || variables().any(|variable| variable.name == name)
}

/// The variables of this process that are Tollgate's business, to give to [`Config::load`](super::Config::load).
///
/// # Errors
///
/// Fails with [`ErrorKind::Config`] if the value of one of them is not Unicode.
#[expect(clippy::disallowed_methods, reason = "this is the place that everything else goes through")]
pub fn process() -> Result<Vec<(String, String)>> {
    // `env::vars` would panic at a foreign variable that is not Unicode.
    ours(env::vars_os())
}

fn ours(all: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>> {
    all.filter_map(|(name, value)| Some((name.into_string().ok().filter(|name| is_ours(name))?, value)))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(Error::new(ErrorKind::Config, format!("failed to read {name}: its value is not Unicode"))),
        })
        .collect()
}

/// The value of the variable `name`, if it is set and not empty.
#[must_use]
pub fn value<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// Where the configuration file is, if the environment says so.
#[must_use]
pub fn config_path(env: &[(String, String)]) -> Option<PathBuf> {
    value(env, "TOLLGATE_CONFIG").map(PathBuf::from)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn check(name: &[u8], value: &[u8]) -> Result<Vec<(String, String)>> {
        ours([(OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()))].into_iter())
    }

    #[test]
    fn only_what_is_ours_is_read_and_no_foreign_bytes_disturb() {
        assert_eq!(check(b"LOG_LEVEL", b"info").unwrap(), [("LOG_LEVEL".into(), "info".into())]);
        assert_eq!(check(b"TOLLGATE_LISTN", b"x").unwrap().len(), 1);
        assert_eq!(check(b"LC_ALL", b"\xff").unwrap(), []);
        assert_eq!(check(b"\xff", b"\xff").unwrap(), []);
        let error = check(b"REDIS_PASSWORD", b"hunter2\xff").unwrap_err().to_string();
        assert_eq!(error, "failed to read REDIS_PASSWORD: its value is not Unicode");
    }

    #[test]
    fn the_environment_may_name_the_file() {
        let env = |path: &str| [("TOLLGATE_CONFIG".to_owned(), path.to_owned())];
        assert_eq!(config_path(&env("etc/t.toml")), Some(PathBuf::from("etc/t.toml")));
        assert_eq!(config_path(&env("")), None);
    }
}
