//! The source of API keys.

use std::time::Duration;

use super::*;

const URL: &str = "TOLLGATE_KEY_SOURCE_URL=https://accounts.example/keys";
const LONG: &str = "a-secret-of-the-fleet-that-is-long-enough";

fn source(file: Option<&str>, env: &str) -> KeySourceConfig {
    load(file, env).unwrap().key_source.unwrap()
}

#[test]
fn a_source_needs_nothing_but_its_address() {
    assert_eq!(loads("").key_source, None);
    let expected = KeySourceConfig {
        url: "https://accounts.example/keys".to_owned(),
        token: None,
        shown_as: ShownAs::Digest,
        timeout: Duration::from_secs(2),
        ttl: Duration::from_secs(3600),
        secret: None,
    };
    assert_eq!(source(None, URL), expected);
    assert_eq!(source(Some("[key_source]\nurl = 'https://accounts.example/keys'"), ""), expected);
    let file = "[key_source]\nurl = 'http://h'\nshown_as = 'key'\ntimeout_ms = 7\nttl_seconds = 60";
    let KeySourceConfig { shown_as, timeout, ttl, .. } = source(Some(file), "REDIS_DEFAULT_TTL=9");
    assert_eq!((shown_as, timeout, ttl), (ShownAs::Key, Duration::from_millis(7), Duration::from_secs(9)));
}

#[test]
fn what_is_known_is_shared_under_a_secret_unless_the_switch_is_off() {
    let secret = format!("{URL}\nREDIS_URL=redis://h\nTOLLGATE_KEY_SECRET={LONG}");
    assert_eq!(source(None, &secret).secret, Some(Secret::new(LONG)));
    assert_eq!(source(None, &format!("{secret}\nENABLE_REDIS_CACHE=true")).secret, Some(Secret::new(LONG)));
    assert_eq!(source(None, &format!("{secret}\nENABLE_REDIS_CACHE=false")).secret, None);
    notices(&format!("{URL}\nREDIS_URL=redis://h"), "give all of them one TOLLGATE_KEY_SECRET");
    notices(&format!("{URL}\nENABLE_REDIS_CACHE=true"), "can be shared only in Redis");
    notices("TOLLGATE_KEY_SOURCE_TOKEN=hunter2", "there is no `key_source.url`: it changes nothing");
    let shown = format!("{:?}", source(None, &format!("{secret}\nTOLLGATE_KEY_SOURCE_TOKEN=hunter2hunter2")));
    assert!(!shown.contains("hunter2") && !shown.contains(LONG), "{shown}");
}

#[test]
fn an_address_that_is_none_or_tells_a_secret_is_refused_without_repeating_it() {
    for url in [
        "accounts.example",
        "ftp://h",
        "https://",
        "https:///keys",
        "http://hunter2@h/",
        "https://a:hunter2@h",
        "https://h/a b",
    ] {
        let error = load(None, &format!("TOLLGATE_KEY_SOURCE_URL={url}")).unwrap_err().to_string();
        assert!(error.starts_with("failed to read TOLLGATE_KEY_SOURCE_URL: it "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    refuses(&format!("{URL}\nTOLLGATE_KEY_SECRET=short"), &["TOLLGATE_KEY_SECRET: it has 5 bytes; give at least 32"]);
    refuses(&format!("{URL}\nREDIS_DEFAULT_TTL=0"), &["REDIS_DEFAULT_TTL: 0 is not from 1 to 604800 seconds"]);
    refuses(&format!("{URL}\nENABLE_REDIS_CACHE=maybe"), &["ENABLE_REDIS_CACHE: `maybe` is not `true` or `false`"]);
}
