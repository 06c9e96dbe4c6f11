//! When Redis is used, which, and what production demands of it.

use super::*;

/// The address and the password that these variables amount to; `memory` without Redis.
#[track_caller]
fn check(env: &str, expected: &str) {
    check_file(None, env, expected);
}

#[track_caller]
fn check_file(file: Option<&str>, env: &str, expected: &str) {
    let config = load(file, env).unwrap_or_else(|error| panic!("{env}: {error}"));
    let store = match &config.store {
        StoreConfig::Memory { .. } => "memory".to_owned(),
        StoreConfig::Redis(RedisConfig { target, .. }) => {
            let password = target.password.as_ref().map_or("", Secret::reveal);
            format!("{target} {password}").trim_end().to_owned()
        }
    };
    assert_eq!(store, expected, "{env}");
}

#[test]
fn redis_is_used_as_soon_as_its_address_is_known_unless_switched_off() {
    check("", "memory");
    check("REDIS_URL=redis://h", "redis://h:6379");
    check("REDIS_ENABLED=true\nREDIS_URL=redis://h", "redis://h:6379");
    check("REDIS_ENABLED=false\nREDIS_URL=redis://h", "memory");
    check("RATE_LIMIT_MODE=redis\nREDIS_URL=redis://h", "redis://h:6379");
    check("RATE_LIMIT_MODE=memory\nREDIS_URL=redis://h", "memory");
    check("RATE_LIMIT_MODE=memory\nREDIS_ENABLED=true\nREDIS_URL=redis://h", "memory");
    check_file(Some("[store]\nmode = 'redis'"), "REDIS_ENABLED=false\nREDIS_URL=redis://h", "memory");
    check_file(Some("[store]\nmode = 'memory'"), "RATE_LIMIT_MODE=redis\nREDIS_URL=redis://h", "redis://h:6379");
    notices("RATE_LIMIT_MODE=memory\nREDIS_URL=redis://h", "RATE_LIMIT_MODE is `memory`, so Redis is not used");
    notices("REDIS_ENABLED=true", "REDIS_ENABLED is `true`, but no address of Redis is known: set REDIS_URL");
    notices("RATE_LIMIT_MODE=redis", "RATE_LIMIT_MODE is `redis`, but no address");
    refuses(
        "REDIS_ENABLED=false\nRATE_LIMIT_MODE=redis",
        &["RATE_LIMIT_MODE: it is `redis`, but REDIS_ENABLED is `false`"],
    );
}

#[test]
fn host_and_port_make_an_address() {
    check("REDIS_HOST=localhost\nREDIS_PORT=6390", "redis://localhost:6390");
    check("REDIS_HOST=localhost:6390", "redis://localhost:6390");
    check("REDIS_HOST=::1", "redis://[::1]:6379");
    check("REDIS_HOST=rediss://u:p@h", "rediss://***@h:6379 p");
    check("REDIS_HOST=h\nREDIS_PORT=tcp://10.0.0.2:6379", "redis://h:6379");
    check("REDIS_URL=redis://:p@H:6390\nREDIS_HOST=h\nREDIS_PORT=6390", "redis://***@H:6390 p");
    refuses(
        "REDIS_URL=redis://:hunter2@a\nREDIS_HOST=b",
        &["REDIS_HOST: it names redis://b:6379, but REDIS_URL names redis://***@a:6379"],
    );
    refuses("REDIS_HOST=h:1\nREDIS_PORT=2", &["its port is 1, but REDIS_PORT is 2"]);
    refuses("REDIS_HOST=a b", &["REDIS_HOST: its host may hold only"]);
    notices("REDIS_URL=redis://h\nREDIS_PORT=6390", "REDIS_PORT changes nothing without REDIS_HOST");
}

#[test]
fn the_password_stands_in_one_place_or_the_environment_decides() {
    check("REDIS_URL=redis://h\nREDIS_PASSWORD=p/%41+=", "redis://***@h:6379 p/%41+=");
    check("REDIS_URL=redis://default@h\nREDIS_PASSWORD=p", "redis://***@h:6379 p");
    check("REDIS_URL=redis://:p%2B@h\nREDIS_PASSWORD=p+", "redis://***@h:6379 p+");
    check_file(Some("[redis]\npassword = 'file'"), "REDIS_URL=redis://h", "redis://***@h:6379 file");
    check_file(Some("[redis]\npassword = 'file'"), "REDIS_URL=redis://:env@h", "redis://***@h:6379 env");
    check_file(Some("[redis]\nurl = 'redis://:file@h'"), "REDIS_PASSWORD=env", "redis://***@h:6379 env");
    refuses(
        "REDIS_URL=redis://:hunter2@h\nREDIS_PASSWORD=hunter22",
        &["REDIS_PASSWORD: it differs from the password in REDIS_URL"],
    );
    refuses_file(
        Some("[redis]\nurl = 'redis://:hunter2@h'\npassword = 'hunter22'"),
        "",
        &["`redis.password` in etc/tollgate.toml: it differs"],
    );
    refuses("REDIS_URL=redis://hunter2@h", &["REDIS_URL: it has a user without a password"]);
}

#[test]
fn tls_can_be_switched_on_beside_the_url_and_never_off() {
    check("REDIS_URL=redis://h:6380\nREDIS_TLS=true", "rediss://h:6380");
    check("REDIS_URL=redis://h\nREDIS_TLS=false", "redis://h:6379");
    check("REDIS_URL=rediss://h\nREDIS_TLS=false", "rediss://h:6379");
    check_file(Some("[redis]\ntls = true"), "REDIS_URL=redis://h\nREDIS_TLS=false", "redis://h:6379");
    notices("REDIS_URL=rediss://h\nREDIS_TLS=false", "TLS stays on");
    refuses("REDIS_URL=unix:///s\nREDIS_TLS=true", &["a Unix socket, which has no TLS"]);
    let ocean = "REDIS_URL=redis://default:p@db-redis-nyc1-1.b.db.ondigitalocean.com:25061";
    notices(ocean, "REDIS_URL names DigitalOcean's managed Redis, which speaks TLS");
    notices("REDIS_URL=redis://:p@x.redis.cache.windows.net:6380", "Azure");
    notices("REDIS_URL=redis://default:p@x.upstash.io:6379", "Upstash");
    assert!(loads(&format!("{ocean}\nREDIS_TLS=true")).notices.is_empty());
    assert!(loads("REDIS_URL=redis://:p@x.redis.cache.windows.net:6379").notices.is_empty());
}

fn target(file: Option<&str>, env: &str) -> RedisTarget {
    match load(file, env).unwrap_or_else(|error| panic!("{env}: {error}")).store {
        StoreConfig::Redis(redis) => redis.target,
        StoreConfig::Memory { .. } => panic!("{env}: no Redis"),
    }
}

#[test]
fn certificates_stand_beside_the_url() {
    let env = "REDIS_URL=rediss://h\nREDIS_CA_CERT=/ca.pem\nREDIS_CLIENT_CERT=/c.pem\nREDIS_CLIENT_KEY=/c.key";
    let client = ClientCertificate { certificate: "/c.pem".into(), key: "/c.key".into() };
    assert_eq!(target(None, env).tls, Some(Tls { ca: Some("/ca.pem".into()), client: Some(client.clone()) }));
    assert_eq!(target(None, "REDIS_URL=rediss://h").tls, Some(Tls::default()));
    let file = "[redis]\nca_cert = 'ca.pem'\nclient_cert = '/c.pem'\nclient_key = 'mine/c.key'";
    let client = ClientCertificate { key: "etc/mine/c.key".into(), ..client };
    let tls = target(Some(file), "REDIS_URL=redis://h\nREDIS_TLS=true").tls;
    assert_eq!(tls, Some(Tls { ca: Some("etc/ca.pem".into()), client: Some(client) }), "from where the file is");
    let tls = target(Some(file), "REDIS_URL=rediss://h\nREDIS_CA_CERT=own.pem").tls;
    assert_eq!(tls.and_then(|tls| tls.ca), Some("own.pem".into()), "the environment wins");
    refuses("REDIS_URL=rediss://h\nREDIS_CLIENT_CERT=/c.pem", &["REDIS_CLIENT_CERT: a certificate without its key"]);
    refuses("REDIS_URL=rediss://h\nREDIS_CLIENT_KEY=/c.key", &["REDIS_CLIENT_KEY: it is a key without its cert"]);
    notices("REDIS_URL=redis://h\nREDIS_CA_CERT=/ca.pem", "REDIS_CA_CERT changes nothing without TLS");
}

#[test]
fn sentinels_have_a_login_of_their_own() {
    let login = |target: RedisTarget| match target.topology {
        Topology::Sentinel { login, .. } => {
            (login.username, login.password.map(|password| password.reveal().to_owned()))
        }
        topology => panic!("{topology} has no sentinels"),
    };
    let url = "REDIS_URL=redis://u:p@mymaster?sentinel=s1";
    assert_eq!(login(target(None, url)), (None, None), "that of the servers is none of theirs");
    let env = format!("{url}\nREDIS_SENTINEL_USERNAME=su\nREDIS_SENTINEL_PASSWORD=sp");
    assert_eq!(login(target(None, &env)), (Some("su".to_owned()), Some("sp".to_owned())));
    let file = "[redis]\nsentinel_password = 'sp'";
    assert_eq!(login(target(Some(file), url)), (None, Some("sp".to_owned())));
    refuses(&format!("{url}\nREDIS_SENTINEL_USERNAME=su"), &["REDIS_SENTINEL_USERNAME: it is a user without a pass"]);
    notices("REDIS_URL=redis://h\nREDIS_SENTINEL_PASSWORD=sp", "REDIS_SENTINEL_PASSWORD changes nothing, since");
    let shown = format!("{:?}", target(None, &format!("{url}\nREDIS_SENTINEL_PASSWORD=hunter2")));
    assert!(!shown.contains("hunter2"), "{shown}");
    let strong = format!("REDIS_URL=redis://:{SECRET}@mymaster?sentinel=s1");
    production_refuses(&format!("{strong}\nREDIS_SENTINEL_PASSWORD=hunter2"), "REDIS_SENTINEL_PASSWORD: it is shorter");
}

#[test]
fn a_cache_switch_moves_no_counters() {
    check("ENABLE_REDIS_CACHE=false\nREDIS_HOST=h", "redis://h:6379");
    notices("ENABLE_REDIS_CACHE=true\nREDIS_HOST=h", "ENABLE_REDIS_CACHE is about API keys that a service knows");
    notices("UPSTASH_REDIS_REST_URL=https://x.upstash.io", "set REDIS_URL to Upstash's `rediss://` address");
}

const OWN_KEY: &str = "[[keys]]\nkey = 'mine'\nid = 'me'\ntenant = 't'\ntier = 'free'";

#[track_caller]
fn production_refuses(env: &str, hint: &str) {
    refuses_file(Some(OWN_KEY), &format!("TOLLGATE_ENV=production\n{env}"), &[hint]);
}

#[test]
fn production_demands_a_redis_with_a_strong_password() {
    production_refuses("", "failed to read REDIS_URL: production counts in Redis, and none is used");
    production_refuses("REDIS_ENABLED=true", "production counts in Redis");
    production_refuses("REDIS_ENABLED=false", "production counts in Redis");
    production_refuses("RATE_LIMIT_MODE=memory\nREDIS_URL=redis://h", "production counts in Redis");
    production_refuses("REDIS_URL=redis://h", "REDIS_PASSWORD: production needs a Redis with a password");
    production_refuses("REDIS_URL=redis://h\nREDIS_PASSWORD=redis_password", "shorter than the 16 characters");
    production_refuses("REDIS_URL=redis://:hunter2@h", "shorter than the 16 characters");
    production_refuses("REDIS_URL=redis://h\nREDIS_PASSWORD=fifteen-letters", "shorter than the 16 characters");
    production_refuses("REDIS_URL=redis://h\nREDIS_PASSWORD=your-generated-password-here", "well-known sample");
    production_refuses("REDIS_URL=redis://h\nREDIS_PASSWORD=xxxxxxxxxxxxxxxxxxxx", "well-known sample");
    production_refuses(
        &format!("REDIS_URL=redis://:{SECRET}@h\nTOLLGATE_CALLER_TOKEN=hunter2"),
        "TOLLGATE_CALLER_TOKEN: it is shorter",
    );
    let strong = format!("TOLLGATE_ENV=production\nREDIS_URL=redis://h\nREDIS_PASSWORD={SECRET}");
    check_file(Some(OWN_KEY), &strong, &format!("redis://***@h:6379 {SECRET}"));
    check_file(
        Some(OWN_KEY),
        "TOLLGATE_ENV=production\nREDIS_URL=redis://:sixteen--letters@h",
        "redis://***@h:6379 sixteen--letters",
    );
    refuses(&strong, &["failed to read keys: 3 demo keys, which everyone knows", "`[[keys]]`"]);
}

#[test]
fn a_malformed_address_is_told_once() {
    let error = load(Some(OWN_KEY), "TOLLGATE_ENV=production\nREDIS_URL=localhost").unwrap_err().to_string();
    assert!(error.starts_with("failed to read REDIS_URL: it has no scheme"), "{error}");
    let file = format!("{OWN_KEY}\n[redis]\nurl = 'localhost'");
    let error = load(Some(&file), "TOLLGATE_ENV=production").unwrap_err().to_string();
    assert!(error.starts_with("failed to read `redis.url` in etc/tollgate.toml: it has no scheme"), "{error}");
}

#[test]
fn development_may_fall_back_to_memory_and_production_may_not() {
    let fallback = |config: Config| match config.store {
        StoreConfig::Redis(redis) => redis.memory_fallback,
        StoreConfig::Memory { .. } => panic!("no Redis"),
    };
    assert_eq!(fallback(loads("REDIS_URL=redis://h\nTOLLGATE_MAX_COUNTERS=9")), Some(9));
    let production = format!("TOLLGATE_ENV=production\nREDIS_URL=redis://:{SECRET}@h");
    assert_eq!(fallback(load(Some(OWN_KEY), &production).unwrap()), None);
}
