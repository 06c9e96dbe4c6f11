//! Who vouches for policies, and where their machine code is kept.

use super::*;

const KEY: &str = "x26mE3z1Vo0v+abzV8TI5W/9F+C7B+15CLv8wT1EMZg=";
const PRODUCTION: &str = "TOLLGATE_ENV=production\nREDIS_URL=redis://:0123456789abcdefXY@here\n";
const OWN: &str = "[[keys]]\nkey = 'mine'\nid = 'me'\ntenant = 't'\ntier = 'free'\n";

fn keys(text: &str) -> Result<Vec<SigningKeyConfig>> {
    Ok(load(Some(&format!("[signing]\nkeys = [{text}]")), "")?.signing.keys)
}

#[track_caller]
fn refused(text: &str, hint: &str) {
    let error = keys(text).expect_err(text).to_string();
    assert!(error.contains(hint), "{error}");
}

#[test]
fn production_wants_signatures_unless_it_is_told_otherwise() {
    let config = |file: &str, env: &str| load(Some(&format!("{file}\n{OWN}")), env).unwrap();
    let required = |file: &str, env: &str| config(file, env).signing.required;
    assert!(!required("", ""));
    assert!(required("", PRODUCTION));
    assert!(required("signing.required = true", ""));
    assert!(!required("signing.required = false", PRODUCTION));
    assert!(required("signing.required = false", &format!("{PRODUCTION}TOLLGATE_REQUIRE_SIGNATURES=true")));
    let told = |file: &str| config(file, PRODUCTION).notices.iter().any(|notice| notice.contains("need no signature"));
    assert!(told("signing.required = false") && !told(""));
}

#[test]
fn a_key_is_read_with_its_tiers() {
    let hex = "c76ea6137cf5568d2ff9a6f357c4c8e56ffd17e0bb07ed7908bbfcc13d443198";
    let read = keys(&format!(
        "{{ name = 'release', public_key = '{KEY}' }}, \
         {{ name = 'night', public_key = '{}', tiers = ['pro'], revoked = true }}",
        "ab".repeat(32)
    ))
    .unwrap();
    assert_eq!(read[0].public_key, hex.parse().unwrap());
    assert_eq!((read[0].tiers.as_ref(), read[0].revoked), (None, false));
    assert_eq!((read[1].tiers.as_deref(), read[1].revoked), (Some(&["pro".to_owned()][..]), true));
}

#[test]
fn a_key_that_will_not_do_is_refused_and_not_repeated() {
    let key = |name: &str, key: &str, more: &str| format!("{{ name = '{name}', public_key = '{key}'{more} }}");
    refused(&key("a b", KEY, ""), "`signing.keys[0]` in etc/tollgate.toml: its `name` is not 1 to 64 of");
    refused(&key("a", "hunter2", ""), "it is no public key: give 32 bytes in base64");
    refused(&key("a", &"0".repeat(63), ""), "it is no public key");
    refused(&key("a", KEY, ", tiers = []"), "its `tiers` are none");
    refused(&key("a", KEY, ", tires = []"), "did you mean `tiers`?");
    refused(
        &format!("{}, {}", key("a", KEY, ""), key("b", KEY, "")),
        "`signing.keys[1]` in etc/tollgate.toml: its name",
    );
    let error = keys(&key("a", "hunter2", "")).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn the_cache_lies_beside_the_file_that_names_it() {
    let folder = |file: Option<&str>, env: &str| load(file, env).unwrap().policies.cache_dir;
    assert_eq!(folder(None, ""), None);
    assert_eq!(folder(Some("policies.cache_dir = 'cache'"), ""), Some("etc/cache".into()));
    assert_eq!(folder(Some("policies.cache_dir = 'cache'"), "TOLLGATE_CACHE_DIR=/v"), Some("/v".into()));
}
