//! The file: its keys, its accounts, its mistakes.

use super::*;

#[track_caller]
fn refuses(file: &str, hints: &[&str]) {
    refuses_file(Some(file), "", hints);
}

#[test]
fn the_built_in_file_says_what_an_empty_one_means() {
    for file in [Some(DEFAULT), Some("")] {
        assert_eq!(load(file, "").map_err(|error| error.to_string()), Ok(loads("")));
    }
}

#[test]
fn the_sample_shows_every_key() {
    // What is commented out without a space is a key.
    let all: String = DEFAULT
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)))
        .collect();
    let all = all.replace('…', &"x".repeat(32));
    let config = load(Some(&all), "").unwrap();
    assert!(matches!(config.store, StoreConfig::Redis(_)), "{:?}", config.store);
    assert_eq!((config.default_tier.as_deref(), config.callers.token.is_some()), (Some("free"), true));
    // serde lists the keys of a table when it meets one it does not know.
    for table in [
        "",
        "log.",
        "store.",
        "redis.",
        "decision.",
        "headers.",
        "callers.",
        "receipts.",
        "policies.",
        "signing.",
        "admin.",
        "registry.",
        "key_source.",
    ] {
        let error = load(Some(&format!("{table}xyzzy_xyzzy = 1")), "").unwrap_err().to_string();
        let (_, keys) = error.split_once("there are ").expect(&error);
        for key in keys.split(", ").map(|key| key.trim_matches('`')) {
            let mentioned =
                all.lines().any(|line| line.trim_start_matches('[').trim_start_matches('[').starts_with(key));
            assert!(mentioned, "the sample does not show `{table}{key}`");
        }
    }
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    refuses(
        "\n  listn = '127.0.0.1:1'",
        &["failed to read etc/tollgate.toml: line 2, column 3: unknown key `listn`; did you mean `listen`?"],
    );
    refuses("[tiers.free]\npolcy = 'tiered'", &["line 2, column 1: unknown key `polcy`; did you mean `policy`?"]);
    refuses("[tires.free]", &["did you mean `tiers`?"]);
    refuses("[log]\nlevel = 'wran'", &["line 2, column 9: `wran` is none of", "did you mean `warn`?"]);
    refuses("[tiers.free]\nconfig = {}", &["line 1, column 1: missing field `policy`"]);
    refuses("[decision]\ndeadline_ms = 'ten'", &["line 2, column 15: invalid type: string \"ten\""]);
    refuses(
        "[decision]\ndeadline_ms = 0",
        &["`decision.deadline_ms` in etc/tollgate.toml: 0 is not from 1 to 60000 milliseconds"],
    );
    refuses("listen = 'here'", &["`listen` in etc/tollgate.toml: `here` is not an IP address"]);
    refuses("é = 1 2", &["line 1, column"]);
}

#[test]
fn no_mistake_in_a_file_tells_a_secret() {
    for file in [
        "[redis]\npasword = 'hunter2'",
        "[redis]\npassword = hunter2",
        "[redis]\npassword = 'hunter2",
        "[redis]\npassword = 'hunter2' 'hunter2'",
        "[redis]\npassword = ['hunter2']",
        "[redis]\npassword = { x = 'hunter2' }",
        "[redis]\nurl = 'redis://:hunter2@h:port'",
        "[redis]\nurl = 'redis://:hunter2'",
        "[[keys]]\nkey = 'hunter2'\nid = 'hunter2'\ntenant = 't'",
        "[[keys]]\nkey = 'hunter2'\nid = 'hunter2-of-mine'\ntenant = 't'",
        "[[keys]]\nkey = \"hunter2\\u0000\"\nid = 'me'\ntenant = 't'",
        "[[keys]]\nsha256 = 'hunter2'\nid = 'me'\ntenant = 't'",
        "[callers]\ntoken = 'hunter2 hunter2'",
        "[callers]\ntoken = \"hunter2",
    ] {
        let error = load(Some(file), "").expect_err(file);
        assert!(!format!("{error} {error:#} {error:?}").contains("hunter2"), "{file}: {error}");
    }
    for number in ["4815162342", "48151623.42", "99999999999999999999999", "4815-16-23", "true"] {
        let error = load(Some(&format!("[redis]\npassword = {number}")), "").expect_err(number);
        assert!(!error.to_string().contains(number), "{error}");
    }
}

#[test]
fn the_file_can_be_wrong_and_the_environment_too() {
    refuses_file(
        Some("listn = 1"),
        "TOLLGATE_LISTN=1",
        &["2 problems", "did you mean `listen`?", "did you mean `TOLLGATE_LISTEN`?"],
    );
}

#[test]
fn own_accounts_leave_no_demo_keys() {
    let config = load(Some("[[keys]]\nkey = 'mine'\nid = 'me'\ntenant = 't'\ntier = 'free'"), "").unwrap();
    assert_eq!((config.tiers.len(), config.tenants.len(), config.keys.len()), (4, 0, 1));
    let config = load(Some("[tiers.gold]\npolicy = 'tiered'"), "").unwrap();
    assert_eq!((config.tiers.len(), config.tenants.len(), config.keys.len()), (1, 0, 0));
    assert_eq!(load(Some("[log]"), "").unwrap().keys.len(), 3);
}

#[test]
fn a_policy_is_built_in_or_a_file_beside_the_configuration() {
    let file = "[tiers.a]\npolicy = 'mine.wasm'\n[tiers.b]\npolicy = '/opt/p/mine'\n\
        [tiers.c]\npolicy = 'tiered'\non_store_fault = 'deny'";
    let config = load(Some(file), "").unwrap();
    assert_eq!(config.tiers["a"].policy, PolicySource::File("etc/mine.wasm".into()));
    assert_eq!(config.tiers["b"].policy, PolicySource::File("/opt/p/mine".into()));
    assert_eq!(config.tiers["c"].policy, PolicySource::BuiltIn("tiered".into()));
    assert_eq!(config.tiers["c"].on_store_fault, OnStoreFault::Deny.into());
    assert_eq!(config.tiers["c"].on_policy_fault, None);
    refuses("[tiers.a]\npolicy = 'no such'", &["`tiers.a.policy` in etc/tollgate.toml: `no such` is neither"]);
}

#[test]
fn a_broken_store_is_answered_limit_by_limit() {
    let tier = |rule: &str| load(Some(&format!("[tiers.a]\npolicy = 'p'\non_store_fault = {rule}")), "");
    let rules = |rule: &str| tier(rule).unwrap().tiers["a"].on_store_fault.clone();
    assert_eq!(rules("'local'"), OnStoreFault::Local.into());
    let table = rules("{ minute = 'local', day = 'deny', '*' = 'allow' }");
    assert_eq!((table.general, table.limits["minute"]), (Some(OnStoreFault::Allow), OnStoreFault::Local));
    assert_eq!(rules("{ minute = 'local' }").general, None, "the general rule is for the others");
    refuses("[tiers.a]\npolicy = 'p'\non_store_fault = 'locl'", &["`locl` is none of", "did you mean `local`?"]);
    refuses("[tiers.a]\npolicy = 'p'\non_store_fault = { 'a b' = 'deny' }", &["limit id `a b` is neither"]);
    refuses("[tiers.a]\npolicy = 'p'\non_store_fault = { minute = 'no' }", &["`no` is none of"]);
    refuses("[tiers.a]\npolicy = 'p'\non_policy_fault = 'local'", &["`local` is none of `allow`, `deny`"]);
    refuses("[store]\nhosts = 0", &["`store.hosts` in etc/tollgate.toml: 0 is not from 1 to 10000 hosts"]);
}

#[test]
fn a_tier_is_counted_exactly_unless_it_says_otherwise() {
    let tier = |line: &str| load(Some(&format!("[tiers.a]\npolicy = 'p'\n{line}")), "");
    let precision = |line: &str| tier(line).unwrap().tiers["a"].precision.clone();
    assert_eq!(precision(""), PerLimit::default());
    assert_eq!(precision("precision = 'leased'"), Precision::Leased.into());
    assert_eq!(precision("precision = { day = 'leased' }").limits["day"], Precision::Leased);
    refuses("[tiers.a]\npolicy = 'p'\nprecision = 'lease'", &["`lease` is none of", "did you mean `leased`?"]);
}

#[test]
fn a_tiers_configuration_becomes_json() {
    let file =
        "[tiers.a]\npolicy = 'p'\n[tiers.a.config]\nt = 'x'\ni = -1\nf = 1.5\nb = true\nl = [1, 'a', { k = [] }]";
    let expected = serde_json::json!({"t": "x", "i": -1, "f": 1.5, "b": true, "l": [1, "a", {"k": []}]});
    assert_eq!(load(Some(file), "").unwrap().tiers["a"].config, expected);
    let text = load(Some("[tiers.a]\npolicy = 'p'\nconfig = '4/m'"), "").unwrap();
    assert_eq!(text.tiers["a"].config, serde_json::json!("4/m"), "a policy may be configured by less than a table");
    refuses("[tiers.a]\npolicy = 'p'\nconfig.x = inf", &["`tiers.a.config` in etc/tollgate.toml: JSON"]);
    refuses("[tiers.a]\npolicy = 'p'\nconfig.x = 2026-01-01", &["write it in quotes"]);
}

#[test]
fn a_key_is_given_raw_or_by_its_digest() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let file = format!("[[keys]]\nsha256 = '{}'\nid = 'a'\ntenant = 't'\ntier = 'free'", hex.to_uppercase());
    assert_eq!(load(Some(&file), "").unwrap().keys[0].key, KeyDigest::of("abc"));
    let twice = format!("{file}\n[[keys]]\nkey = 'abc'\nid = 'b'\ntenant = 't'\ntier = 'free'");
    refuses(&twice, &["`keys[1]` in etc/tollgate.toml: the same key stands twice"]);
    let key = |fields: &str| format!("[[keys]]\nid = 'a'\ntenant = 't'\ntier = 'free'\n{fields}");
    refuses(&key(""), &["neither `key` nor `sha256`"]);
    refuses(&key("key = 'x'\nsha256 = 'y'"), &["both `key` and `sha256`"]);
    refuses(&key("sha256 = 'abc'"), &["64 hexadecimal digits"]);
    refuses(&key("key = ''"), &["not 1 to 512 bytes"]);
    refuses(&key("key = 'a'"), &["its `id` repeats the key"]);
}

#[test]
fn names_must_fit_into_keys_of_counters() {
    refuses("[tiers.'a b']\npolicy = 'p'", &["`tiers.a b` in etc/tollgate.toml: its name is not 1 to 64 of"]);
    refuses("[tenants.'{a}']\ntier = 'free'", &["tenant `{a}` is not 1 to 64 bytes without braces"]);
    refuses("[tenants.'a}']\ntier = 'free'", &["tenant `a}` is not"]);
    refuses("[tenants.\"a\\u0000\"]\ntier = 'free'", &["tenant `a\\0` is not"]);
    refuses(&format!("[tenants.{}]\ntier = 'free'", "a".repeat(65)), &["is not 1 to 64 bytes"]);
    let key = |tenant: &str, id: &str| format!("[[keys]]\nkey = 'k9'\ntier = 'free'\ntenant = {tenant}\nid = {id}");
    refuses(&key("''", "'me'"), &["`keys[0]` in etc/tollgate.toml: tenant `` is not"]);
    refuses(&key("'t'", "\"a\\nb\""), &["`keys[0]` in etc/tollgate.toml: id `a\\nb` is not 1 to 128 bytes"]);
    refuses(&key("'t'", &format!("'{}'", "a".repeat(129))), &["1 to 128 bytes"]);
}

#[test]
fn every_tier_that_is_named_exists() {
    refuses(
        "default_tier = 'fre'",
        &["`default_tier` in etc/tollgate.toml: there is no tier `fre`; did you mean `free`?"],
    );
    refuses(
        "[tenants.t]\ntier = 'bsic'",
        &["`tenants.t.tier` in etc/tollgate.toml: there is no tier `bsic`; did you mean `basic`?"],
    );
    let key = "[[keys]]\nkey = 'k9'\nid = 'me'\ntenant = 't'\n";
    refuses(
        &format!("{key}tier = 'prro'"),
        &["`keys[0].tier` in etc/tollgate.toml: there is no tier `prro`; did you mean `pro`?"],
    );
    refuses(
        key,
        &["`keys[0]` in etc/tollgate.toml: no tier: give it a `tier`, or one to tenant `t`, or a `default_tier`"],
    );
    assert!(load(Some(&format!("default_tier = 'pro'\n{key}")), "").is_ok());
    assert!(load(Some(&format!("[tenants.t]\ntier = 'pro'\n{key}")), "").is_ok());
}

#[test]
fn a_tier_says_whom_an_instance_serves() {
    for (text, isolation) in [
        ("", None),
        ("isolation = \"tenant\"", Some(Isolation::Tenant)),
        ("isolation = \"fresh\"", Some(Isolation::Fresh)),
        ("isolation = \"shared\"", Some(Isolation::Shared)),
    ] {
        let config = load(Some(&format!("[tiers.a]\npolicy = \"tiered\"\n{text}")), "").unwrap();
        assert_eq!(config.tiers["a"].isolation, isolation);
    }
    refuses_file(Some("[tiers.a]\npolicy = \"tiered\"\nisolation = \"none\""), "", &["line 3", "`tenant`", "`fresh`"]);
}
