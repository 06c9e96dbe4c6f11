//! What operators write, and what they are told.

use proptest::prelude::*;

use super::*;
use crate::config::{Secret, SentinelLogin, Tls};

fn read(url: &str) -> RedisTarget {
    url.parse().unwrap_or_else(|error| panic!("`{url}`: {error}"))
}

/// Reads `url` and compares what Tollgate shows of it, the user and the password.
fn check(url: &str, shown: &str, username: &str, password: &str) {
    let target = read(url);
    assert_eq!(target.to_string(), shown, "`{url}`");
    assert_eq!(target.username.as_deref().unwrap_or(""), username, "user of `{url}`");
    assert_eq!(target.password.as_ref().map_or("", Secret::reveal), password, "password of `{url}`");
}

/// Reads `url`, which must fail with a text that holds `hint` and nothing of `hunter2`.
fn refuses(url: &str, hint: &str) {
    let error = url.parse::<RedisTarget>().expect_err(url).to_string();
    assert!(error.contains(hint), "`{url}` says: {error}");
    assert!(!error.contains("hunter2"), "`{url}` tells the password: {error}");
}

#[test]
fn the_forms_of_the_guides_are_read() {
    check("redis://redis-host:6379", "redis://redis-host:6379", "", "");
    check("redis://10.0.0.3", "redis://10.0.0.3:6379", "", "");
    check("redis://:pw@host:6379/", "redis://***@host:6379", "", "pw");
    check("redis://user:pw@host:6379/3", "redis://***@host:6379/3", "user", "pw");
    check("redis://host?db=3", "redis://host:6379/3", "", "");
    check("rediss://host:6380", "rediss://host:6380", "", "");
    check("REDIS://host", "redis://host:6379", "", "");
    check("valkeys://host", "rediss://host:6379", "", "");
    check("redis://my_redis.svc.cluster.local:6379", "redis://my_redis.svc.cluster.local:6379", "", "");
    check("redis://node1:6379,node2,node3:6381", "redis://node1:6379,node2:6379,node3:6381", "", "");
    check("redis://u:p@node1:6379,node2:6379", "redis://***@node1:6379,node2:6379", "u", "p");
    check("redis://u:p@node1:6379,redis://u:p@node2:6379", "redis://***@node1:6379,node2:6379", "u", "p");
    check("redis://mymaster?sentinel=s1:26379,s2", "redis://mymaster?sentinel=s1:26379,s2:26379", "", "");
    check("redis://:p@mymaster/2?sentinel=s1", "redis://***@mymaster/2?sentinel=s1:26379", "", "p");
    check("redis://[::1]:6379", "redis://[::1]:6379", "", "");
    check("redis://:p@[2001:DB8:0::1]", "redis://***@[2001:db8::1]:6379", "", "p");
    check("unix:///run/redis.sock", "unix:///run/redis.sock", "", "");
    check("redis+unix://u:p@/run/my%20redis.sock?db=2", "unix://***@/run/my redis.sock?db=2", "u", "p");
}

#[test]
fn passwords_may_hold_what_generators_make() {
    for raw in ["p/w+d=", "a@b", "a#b?c", "a:b", "100%sure", "a,b", "x y", "pässword", "dG9sbA==/+"] {
        check(&format!("redis://:{raw}@host:6379"), "redis://***@host:6379", "", raw);
    }
    check("redis://:p%40ss%2Fw%25@host", "redis://***@host:6379", "", "p@ss/w%");
}

#[test]
fn each_mistake_has_its_own_answer() {
    refuses("", "it is empty");
    refuses("localhost:6379", "write `redis://localhost:6379`");
    refuses("redis:6379", "write `redis://redis:6379`");
    refuses("cache.example.com", "it has no scheme");
    refuses("user:hunter2@host:6379", "it has no scheme");
    refuses("/run/redis.sock", "unix://");
    refuses("redis//host:6379", "write `redis://`");
    refuses("rediss:/host", "write `rediss://`");
    refuses("http://host:6379", "for TLS");
    refuses("https://eu1-hunter2.upstash.io", "Upstash's REST address");
    refuses("redi://:hunter2@host", "did you mean `redis://`?");
    refuses("postgres://u:hunter2@host", "its scheme is none of");
    refuses("redis://", "it names no host");
    refuses("redis://:hunter2@", "it names no host");
    refuses("redis://:hunter2@:6379", "it names no host");
    refuses("redis://host:port", "its port is not a number from 1 to 65535");
    refuses("redis://host:0", "its port");
    refuses("redis://host:65536", "its port");
    refuses("redis://host:+80", "its port");
    refuses("redis://user:hunter2", "a `@host` is missing");
    refuses("redis://:hunter2:6379", "is a `@` missing");
    refuses("redis://ho$t:6379", "its host may hold only");
    refuses("redis://::1", "write `[::1]`");
    refuses("redis://[::1", "no `]`");
    refuses("redis://[nonsense]:1", "no IPv6 address");
    refuses("redis://[::1]6379", "something other than a port");
    refuses("redis://:hunter2@host/zero", "its database is not a number");
    refuses("redis://host/1?db=2", "two databases");
    refuses("redis://:hunter2@host#x", "write `%23`");
    refuses("redis://host?sentinal=s1", "did you mean `sentinel=`?");
    refuses("redis://host?ssl_cert_reqs=none", "`db=` and `sentinel=`");
    refuses("redis://mymaster:6379?sentinel=s1", "without a port");
    refuses("redis://a,b?sentinel=s1", "one master's name");
    refuses("redis://mymaster?sentinel=s1,", "a comma too many");
    refuses("redis://mymaster?sentinel=u:hunter2@s1:26379", "before the master's name");
    refuses("redis://a:1,,b:2", "a comma too many");
    refuses("redis://a:1,b:2/3", "only database 0");
    refuses("redis://u:hunter2@a,u:hunter2x@b", "different credentials");
    refuses("redis://a:6379,u:hunter2@b:6379", "behind the first host");
    refuses("redis://:hunter2%20%zz@host", "write `%25`");
    refuses("redis://:hunter2%ff@host", "not UTF-8");
    refuses("redis://:${REDIS_PASSWORD}@host", "nothing has filled in");
    refuses("unix://run/redis.sock", "does not begin with `/`");
    refuses("unix:///run/redis.sock?sentinel=s1", "no sentinels");
}

#[test]
fn credentials_show_nowhere() {
    let target = read("redis://hunter2:hunter2@host/1");
    for shown in [target.to_string(), format!("{target:?}"), format!("{:?}", target.password)] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// The target as a URL that hides nothing and escapes whatever could be misread.
fn write(target: &RedisTarget) -> String {
    let escape =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let username = target.username.as_deref().map(escape).unwrap_or_default();
    let password = target.password.as_ref().map(|password| escape(password.reveal())).unwrap_or_default();
    target.to_string().replacen("***@", &format!("{username}:{password}@"), 1)
}

fn any_target() -> impl Strategy<Value = RedisTarget> {
    let address =
        ("[a-z][a-z0-9.-]{0,12}|[0-9a-f]{1,4}::1", 1..=u16::MAX).prop_map(|(host, port)| Address { host, port });
    let list = prop::collection::vec(address.clone(), 2..4);
    let topology = prop_oneof![
        address.prop_map(Topology::Single),
        list.clone().prop_map(Topology::Cluster),
        ("[a-z_-]{1,9}", list).prop_map(|(master, sentinels)| Topology::Sentinel {
            master,
            sentinels,
            login: SentinelLogin::default()
        }),
        "/[a-z][a-z/.]{0,9}".prop_map(|path| Topology::Unix(path.into())),
    ];
    let secret = prop::option::of("\\PC{1,12}");
    (topology, secret.clone(), secret, 0..20u32, any::<bool>()).prop_map(
        |(topology, username, password, database, tls)| {
            let database = if matches!(topology, Topology::Cluster(_)) { 0 } else { database };
            let tls = (tls && !matches!(topology, Topology::Unix(_))).then(Tls::default);
            RedisTarget { topology: canonical(topology), username, password: password.map(Secret::new), database, tls }
        },
    )
}

/// IPv6 addresses in their one spelling.
fn canonical(topology: Topology) -> Topology {
    let address = |Address { host, port }| {
        let ip = host.parse::<std::net::Ipv6Addr>();
        Address { host: ip.map(|ip| ip.to_string()).unwrap_or(host), port }
    };
    match topology {
        Topology::Single(one) => Topology::Single(address(one)),
        Topology::Cluster(nodes) => Topology::Cluster(nodes.into_iter().map(address).collect()),
        Topology::Sentinel { master, sentinels, login } => {
            Topology::Sentinel { master, sentinels: sentinels.into_iter().map(address).collect(), login }
        }
        unix @ Topology::Unix(_) => unix,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(target in any_target()) {
        let url = write(&target);
        prop_assert!(url.parse::<RedisTarget>().unwrap() == target, "{url}");
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*|(redis|rediss|unix|redis\\+unix)://[a-z0-9:@/?#%,=&\\[\\]é]*") {
        let _ = text.parse::<RedisTarget>();
    }

    #[test]
    fn a_raw_password_is_read_as_it_is(password in "[A-Za-z0-9/+=@#?:!*_-]{1,40}") {
        let target = read(&format!("redis://:{password}@host:6379"));
        prop_assert_eq!(target.password.as_ref().map(Secret::reveal), Some(password.as_str()));
        prop_assert_eq!(target.to_string(), "redis://***@host:6379");
    }
}
