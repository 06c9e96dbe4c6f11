//! The configuration as an operator meets it: variables and a file in, a `Config` or an explanation out.

mod admin;
mod docs;
mod envoy;
mod file;
mod key_source;
mod redis;
mod signing;

use std::path::Path;

use super::*;

const SECRET: &str = "hunter2hunter2hunter2";

/// Loads a file and variables written as `NAME=value`, one a line.
fn load(file: Option<&str>, env: &str) -> Result<Config> {
    let env =
        env.lines().filter_map(|line| line.trim().split_once('=')).map(|(name, value)| (name.into(), value.into()));
    Config::load(file.map(|text| ConfigFile { path: Path::new("etc/tollgate.toml"), text }), env)
}

fn loads(env: &str) -> Config {
    load(None, env).unwrap_or_else(|error| panic!("{env}: {error}"))
}

/// Loads variables that must be refused with a text that holds all of `hints`, and no secret.
#[track_caller]
fn refuses(env: &str, hints: &[&str]) {
    refuses_file(None, env, hints);
}

#[track_caller]
fn refuses_file(file: Option<&str>, env: &str, hints: &[&str]) {
    let error = load(file, env).expect_err(env).to_string();
    for hint in hints {
        assert!(error.contains(hint), "no `{hint}` in: {error}");
    }
    assert!(!error.contains("hunter2"), "a secret shows: {error}");
}

/// Loads variables, of which a notice must hold `hint`.
#[track_caller]
fn notices(env: &str, hint: &str) {
    let notices = loads(env).notices;
    assert!(notices.iter().any(|notice| notice.contains(hint)), "no `{hint}` in {notices:?}");
}

#[test]
fn nothing_at_all_is_a_working_development_setup() {
    let config = loads("");
    assert_eq!(config.environment, Environment::Development);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(config.store, StoreConfig::Memory { max_counters: 1_000_000 });
    assert_eq!(config.key_prefix, "ratelimit");
    assert_eq!(config.decision.deadline, Duration::from_millis(50));
    assert_eq!((config.decision.on_store_fault, config.decision.on_policy_fault), (OnStoreFault::Allow, OnFault::Deny));
    assert_eq!(config.tiers.keys().collect::<Vec<_>>(), ["basic", "classes", "free", "pro"]);
    let limits = r#"{"limits":[{"id":"second","limit":"1/s burst 10"},{"id":"day","limit":"1000/day"}]}"#;
    assert_eq!(config.tiers["free"].config, serde_json::from_str::<serde_json::Value>(limits).unwrap());
    assert_eq!(config.tiers["free"].policy, PolicySource::BuiltIn("tiered".into()));
    assert_eq!(config.tenants["tenant-pro"].tier, "pro");
    let keys: Vec<_> = config.keys.iter().map(|key| key.key).collect();
    assert_eq!(keys, DEMO_KEYS.map(KeyDigest::of));
    assert_eq!((config.keys[0].tenant.as_str(), config.keys[0].id.as_str()), ("tenant-free", "key-free"));
    assert!(config.notices.iter().any(|notice| notice.contains("counters live in memory")), "{:?}", config.notices);
}

/// One value for each variable, which must change the configuration or leave a notice.
const EXAMPLES: &str = "\
    TOLLGATE_ENV=production
    NODE_ENV=production
    TOLLGATE_LISTEN=0.0.0.0:80
    LOG_LEVEL=debug
    TOLLGATE_LOG_FORMAT=json
    TOLLGATE_DEADLINE_MS=20
    TOLLGATE_ON_STORE_FAULT=deny
    TOLLGATE_ON_POLICY_FAULT=allow
    TOLLGATE_SUBJECTS_PER_TENANT=5
    TOLLGATE_X_RATELIMIT=true
    TOLLGATE_SOURCE_HEADER=true
    TOLLGATE_CALLER_TOKEN=hunter2hunter2hunter2
    TOLLGATE_RECEIPT_KEY=hunter2hunter2hunter2hunter2hunter2
    TOLLGATE_CACHE_DIR=/var/cache/tollgate
    TOLLGATE_REQUIRE_SIGNATURES=true
    RATE_LIMIT_MODE=memory
    TOLLGATE_MAX_COUNTERS=5
    TOLLGATE_HOSTS=3
    TOLLGATE_REFUSAL_MEMORY=off
    TOLLGATE_KEY_PREFIX=cfkanban:ratelimit
    REDIS_ENABLED=false
    REDIS_URL=redis://elsewhere
    REDIS_HOST=elsewhere
    REDIS_PORT=6390
    REDIS_PASSWORD=hunter2hunter2hunter3
    REDIS_TLS=true
    REDIS_CA_CERT=/ca.pem
    REDIS_CLIENT_CERT=/client.pem
    REDIS_CLIENT_KEY=/other.key
    REDIS_SENTINEL_USERNAME=tollgate
    REDIS_SENTINEL_PASSWORD=hunter2hunter2hunter4
    REDIS_TIMEOUT=100
    TOLLGATE_WITHOUT_SCRIPTS=refuse
    TOLLGATE_ADMIN_LISTEN=127.0.0.1:9
    TOLLGATE_ADMIN_TOKENS=alice:read:hunter2hunter2hunter5
    TOLLGATE_TRUSTED_PROXIES=10.0.0.0/8, ::1
    TOLLGATE_RESP_LISTEN=127.0.0.1:6380
    TOLLGATE_RESP_PASSWORD=hunter2hunter2hunter6
    TOLLGATE_GRPC_LISTEN=127.0.0.1:8
    TOLLGATE_RLS_CONFIG=/limits
    TOLLGATE_REGISTRY_DIR=/registry
    TOLLGATE_KEY_SOURCE_URL=https://accounts.example/keys
    TOLLGATE_KEY_SOURCE_TOKEN=hunter2hunter2hunter6
    TOLLGATE_KEY_SECRET=hunter2hunter2hunter2hunter2hunter7
    TOLLGATE_INSTANCE=eu-1
    RATE_LIMIT_GENERAL=1,2
    RATE_LIMIT_AUTH=1,2
    RATE_LIMIT_SENSITIVE=1,2
    RATE_LIMIT_ADMIN=1,2
    RATE_LIMIT_MFA=1,2
    RATE_LIMIT_FINANCIAL=1,2
    ENABLE_REDIS_CACHE=true
    REDIS_DEFAULT_TTL=60
    UPSTASH_REDIS_REST_URL=https://x.upstash.io
    UPSTASH_REDIS_REST_TOKEN=hunter2";

/// A setup in which the variable of this line is the only one of its kind.
fn background(line: &str) -> &'static str {
    match line.split_once('=') {
        Some(("REDIS_URL" | "REDIS_HOST" | "UPSTASH_REDIS_REST_URL", _)) => "",
        Some(("REDIS_PORT", _)) => "REDIS_HOST=here",
        Some(("REDIS_CLIENT_CERT", _)) => {
            "REDIS_URL=rediss://here\nREDIS_CLIENT_KEY=/client.key\nREDIS_CLIENT_CERT=/other.pem"
        }
        Some(("REDIS_CLIENT_KEY", _)) => {
            "REDIS_URL=rediss://here\nREDIS_CLIENT_CERT=/client.pem\nREDIS_CLIENT_KEY=/client.key"
        }
        Some(("REDIS_SENTINEL_USERNAME" | "REDIS_SENTINEL_PASSWORD", _)) => {
            "REDIS_URL=redis://mymaster?sentinel=here\nREDIS_SENTINEL_PASSWORD=hunter2hunter2"
        }
        Some(("TOLLGATE_GRPC_LISTEN" | "TOLLGATE_RLS_CONFIG", _)) => {
            "TOLLGATE_GRPC_LISTEN=127.0.0.1:9\nTOLLGATE_RLS_CONFIG=/others"
        }
        Some(("TOLLGATE_MAX_COUNTERS", _)) => "REDIS_ENABLED=false",
        _ => "REDIS_URL=redis://:hunter2hunter2hunter2@here",
    }
}

#[test]
fn every_variable_changes_something() {
    let file = "[[keys]]\nkey = 'mine'\nid = 'me'\ntenant = 't'\ntier = 'free'";
    let shown = |env: &str| format!("{:#?}", load(Some(file), env).unwrap_or_else(|error| panic!("{env}: {error}")));
    for variable in env::variables().map(|variable| variable.name) {
        // Paths and the operator's are for the program; the token and the password only show that they are there.
        let elsewhere = [
            "TOLLGATE_CONFIG",
            "TOLLGATE_ADMIN_TOKENS_FILE",
            "TOLLGATE_ADMIN_URL",
            "TOLLGATE_ADMIN_TOKEN",
            "TOLLGATE_RESP_PASSWORD",
            "REDIS_PASSWORD",
            "REDIS_SENTINEL_PASSWORD",
            "UPSTASH_REDIS_REST_TOKEN",
        ];
        if elsewhere.contains(&variable) {
            continue;
        }
        let line = EXAMPLES.lines().find(|line| line.trim().split('=').next() == Some(variable)).expect(variable);
        let before = background(line.trim());
        assert_ne!(shown(before), shown(&format!("{before}\n{line}")), "{variable} changes nothing");
    }
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let redis = "REDIS_HOST=here\nREDIS_PASSWORD=hunter2";
    for variable in env::variables().filter(|variable| !variable.default.is_empty()) {
        let said = format!("{redis}\n{}={}", variable.name, variable.default);
        assert!(loads(&said) == loads(redis), "{} is not {} by default", variable.name, variable.default);
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "listen = '127.0.0.1:1'\n[log]\nlevel = 'warn'\n[redis]\nurl = 'redis://file'\ntimeout_ms = 7";
    let config = load(Some(file), "TOLLGATE_LISTEN=127.0.0.1:2\nREDIS_HOST=env").unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.log.level, LogLevel::Warn);
    assert_eq!(config.log.format, LogFormat::Text);
    let StoreConfig::Redis(redis) = config.store else { panic!("{:?}", config.store) };
    assert_eq!((redis.target.to_string().as_str(), redis.connect_timeout.as_millis()), ("redis://env:6379", 7));
}

#[test]
fn an_empty_variable_is_not_set() {
    assert!(loads("REDIS_URL=\nREDIS_PASSWORD=\nTOLLGATE_LISTEN=\nRATE_LIMIT_AUTH=\nLOG_LEVEL=\r") == loads(""));
}

#[test]
fn node_env_switches_production_on_and_never_off() {
    refuses("NODE_ENV=production", &["production counts in Redis"]);
    assert_eq!(loads("NODE_ENV=production\nTOLLGATE_ENV=development").environment, Environment::Development);
    assert_eq!(loads("NODE_ENV=test").environment, Environment::Development);
    notices("NODE_ENV=prod", "NODE_ENV is `prod`, which is not `production`");
    refuses_file(Some("environment = 'production'"), "NODE_ENV=development", &["production counts in Redis"]);
    refuses("TOLLGATE_ENV=prodction", &["failed to read TOLLGATE_ENV: `prodction`", "did you mean `production`?"]);
}

#[test]
fn a_misspelt_variable_is_refused_with_the_one_that_was_meant() {
    refuses("TOLLGATE_LISTN=127.0.0.1:1", &["failed to read TOLLGATE_LISTN", "did you mean `TOLLGATE_LISTEN`?"]);
    refuses("RATE_LIMIT_ATUH=1,1", &["did you mean `RATE_LIMIT_AUTH`?"]);
    refuses("TOLLGATE_REDIS_URL=redis://:hunter2@h", &["did you mean `REDIS_URL`?"]);
    refuses("TOLLGATE_XYZZY=1", &["Tollgate knows no such variable"]);
    notices("REDIS_ULR=redis://:hunter2@h", "REDIS_ULR is not read by Tollgate; did you mean `REDIS_URL`?");
    assert!(loads("SOMETHING_ELSE=1\nPATH=/bin") == loads(""));
}

#[test]
fn what_kubernetes_injects_for_services_is_no_mistake() {
    let injected = "TOLLGATE_SERVICE_HOST=10.0.0.1\nTOLLGATE_SERVICE_PORT=8787\nTOLLGATE_SERVICE_PORT_HTTP=8787\n\
        TOLLGATE_PORT=tcp://10.0.0.1:8787\nTOLLGATE_PORT_8787_TCP=tcp://10.0.0.1:8787\nTOLLGATE_PORT_8787_TCP_ADDR=10.0.0.1\n\
        REDIS_PORT=tcp://10.0.0.2:6379\nREDIS_SERVICE_HOST=10.0.0.2\nREDIS_PORT_6379_TCP_PROTO=tcp";
    assert!(loads(injected) == loads(""));
}

#[test]
fn a_malformed_value_says_what_was_expected() {
    refuses(
        "RATE_LIMIT_AUTH=30;60",
        &["failed to read RATE_LIMIT_AUTH: `30;60` is not `count,seconds` (for example `30,60`)"],
    );
    refuses("RATE_LIMIT_AUTH=0,60", &["0 is not from 1 to 1000000000 requests"]);
    refuses("RATE_LIMIT_AUTH=1,99999999", &["99999999 is not from 1 to 31622400 seconds"]);
    refuses(
        "TOLLGATE_LISTEN=8787",
        &["TOLLGATE_LISTEN: `8787` is not an IP address and a port (for example `127.0.0.1:8787`"],
    );
    refuses("TOLLGATE_DEADLINE_MS=50ms", &["`50ms` is not a whole number"]);
    refuses("TOLLGATE_DEADLINE_MS=0", &["0 is not from 1 to 60000 milliseconds"]);
    refuses("TOLLGATE_ON_STORE_FAULT=alow", &["`alow` is none of `allow`, `deny`, `local`; did you mean `allow`?"]);
    refuses("TOLLGATE_X_RATELIMIT=maybe", &["`maybe` is not `true` or `false`"]);
    refuses("TOLLGATE_KEY_PREFIX=ratelimit:", &["leave it away"]);
    for wrong in ["10.0.0/8", "10.0.0.0/33", "::/129", "gateway", "10.0.0.1,", "10.0.0.0/"] {
        refuses(&format!("TOLLGATE_TRUSTED_PROXIES={wrong}"), &["is neither an address nor a network"]);
    }
    refuses("TOLLGATE_KEY_PREFIX={a}", &["`{a}` is not 1 to 64 of"]);
    refuses("TOLLGATE_CALLER_TOKEN=hunter2 hunter2", &["visible ASCII"]);
    refuses("LOG_LEVEL=verbose", &["none of `error`, `warn`, `info`, `debug`, `trace`"]);
    refuses("REDIS_TIMEOUT=0", &["0 is not from 1 to 600000 milliseconds"]);
    refuses("REDIS_PORT=70000\nREDIS_HOST=h", &["70000 is not from 1 to 65535"]);
    refuses("TOLLGATE_MAX_COUNTERS=0", &["0 is not from 1 to"]);
}

#[test]
fn rates_of_classes_reach_every_tier_of_that_policy() {
    let config = loads("RATE_LIMIT_AUTH=30, 60\nRATE_LIMIT_MFA=2,1");
    assert_eq!(config.tiers["classes"].config, serde_json::json!({"classes": {"auth": "30,60", "mfa": "2,1"}}));
    assert_eq!(config.tiers["free"], loads("").tiers["free"]);
    let file = "[tiers.mine]\npolicy = 'route-classes'\nconfig.classes = { auth = '1,1', admin = '9,9' }";
    let config = load(Some(file), "RATE_LIMIT_AUTH=30,60").unwrap();
    assert_eq!(config.tiers["mine"].config, serde_json::json!({"classes": {"auth": "30,60", "admin": "9,9"}}));
    refuses_file(
        Some("[tiers.mine]\npolicy = 'route-classes'\nconfig.classes = 1"),
        "RATE_LIMIT_AUTH=30,60",
        &["tiers.mine.config.classes"],
    );
    let unused = load(Some("[tiers.mine]\npolicy = 'tiered'"), "RATE_LIMIT_AUTH=30,60").unwrap();
    assert!(unused.notices.iter().any(|notice| notice.contains("nothing is changed by RATE_LIMIT_AUTH")));
}

#[test]
fn production_tells_every_problem_at_once() {
    let env = "NODE_ENV=production\nREDIS_URL=redis://host:port\n\
        TOLLGATE_CALLER_TOKEN=hunter2\nLOG_LEVEL=loud\nRATE_LIMIT_ATUH=1,1";
    refuses(
        env,
        &[
            "5 problems",
            "\n- RATE_LIMIT_ATUH",
            "\n- LOG_LEVEL",
            "\n- REDIS_URL: its port",
            "\n- TOLLGATE_CALLER_TOKEN",
            "\n- keys: 3 demo keys",
        ],
    );
}

#[test]
fn no_secret_shows_in_a_configuration() {
    let file = format!("[[keys]]\nkey = '{SECRET}'\nid = 'me'\ntenant = 't'\ntier = 'free'");
    let env = format!("REDIS_URL=redis://{SECRET}:{SECRET}@h\nREDIS_PASSWORD={SECRET}\nTOLLGATE_CALLER_TOKEN={SECRET}");
    let config = load(Some(&file), &env).unwrap();
    assert_eq!(config.callers.token.as_ref().map(Secret::reveal), Some(SECRET));
    assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
}
