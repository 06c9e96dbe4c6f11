//! The admin API in the configuration.

use super::*;

const LONG: &str = "0123456789abcdef0123";

fn admin(file: &str, env: &str) -> AdminConfig {
    load(Some(file), env).unwrap().admin
}

#[test]
fn it_listens_on_the_loopback_unless_told_otherwise() {
    assert_eq!(admin("", ""), AdminConfig { listen: "127.0.0.1:8788".parse().ok(), required: false, tokens: vec![] });
    assert_eq!(admin("", "TOLLGATE_ADMIN_LISTEN=off").listen, None);
    let stated = admin("[admin]\nlisten = \"127.0.0.1:9\"", "");
    assert_eq!((stated.listen, stated.required), ("127.0.0.1:9".parse().ok(), true));
    assert_eq!(admin("[admin]\nlisten = \"127.0.0.1:9\"", "TOLLGATE_ADMIN_LISTEN=OFF").listen, None);
}

#[test]
fn tokens_stand_in_lines_or_between_commas_or_in_the_file() {
    let expected = [("alice", Scope::Operate, "a:b"), ("bob", Scope::Read, "s3")]
        .map(|(name, scope, text)| AdminToken { name: name.to_owned(), scope, digest: KeyDigest::of(text) });
    assert_eq!(admin("", "TOLLGATE_ADMIN_TOKENS=alice:operate:a:b, bob:read:s3,").tokens, expected);
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let file = format!(
        "[[admin.tokens]]\nname = \"carol\"\nscope = \"admin\"\nsha256 = \"{digest}\"\n\
         [[admin.tokens]]\nname = \"dan\"\nscope = \"read\"\ntoken = \"d\""
    );
    let tokens = admin(&file, "").tokens;
    assert_eq!(tokens.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(), ["carol", "dan"]);
    assert_eq!(tokens[0].digest, KeyDigest::of("abc"));
}

#[test]
fn a_token_that_will_not_do_is_told_without_the_token() {
    for (tokens, told) in [
        ("alice:hunter2", "token 1 is not `name:scope:secret`"),
        ("a:read:x,alice:root:hunter2", "token 2 has another scope"),
        ("al ice:read:hunter2", "token 1 has a name that is not"),
        ("alice:read:hunter2 hunter2", "visible ASCII"),
        ("alice:read:x,alice:read:hunter2", "the name or the secret of another"),
        ("alice:read:hunter2,bob:read:hunter2", "the name or the secret of another"),
    ] {
        let error = load(None, &format!("TOLLGATE_ADMIN_TOKENS={tokens}")).unwrap_err().to_string();
        assert!(error.contains(told) && !error.contains("hunter2"), "{tokens}: {error}");
    }
    let both = "[[admin.tokens]]\nname = \"a\"\nscope = \"read\"\ntoken = \"hunter2\"\nsha256 = \"00\"";
    let error = load(Some(both), "").unwrap_err().to_string();
    assert!(error.contains("keep one") && !error.contains("hunter2"), "{error}");
}

#[test]
fn production_wants_long_tokens_and_without_any_there_is_no_admin_api() {
    let production = |more: &str| {
        let file = "[[keys]]\nkey = \"k\"\ntenant = \"acme\"\ntier = \"free\"\nid = \"i\"";
        load(Some(file), &format!("NODE_ENV=production\nREDIS_URL=redis://:{LONG}@h\n{more}"))
    };
    let error = production("TOLLGATE_ADMIN_TOKENS=alice:read:hunter2").unwrap_err().to_string();
    assert!(error.contains("the admin token `alice`") && error.contains("16 characters"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let config = production("").unwrap();
    assert_eq!(config.admin.listen, None);
    assert!(config.notices.iter().any(|notice| notice.contains("TOLLGATE_ADMIN_TOKENS")), "{:?}", config.notices);
    assert!(production(&format!("TOLLGATE_ADMIN_TOKENS=alice:read:{LONG}")).unwrap().admin.listen.is_some());
}

#[test]
fn away_from_the_loopback_no_token_is_drawn() {
    assert_eq!(admin("", "TOLLGATE_ADMIN_LISTEN=0.0.0.0:8788").listen, None);
    assert!(admin("", "TOLLGATE_ADMIN_LISTEN=0.0.0.0:8788\nTOLLGATE_ADMIN_TOKENS=a:read:b").listen.is_some());
}

#[test]
fn the_registry_has_a_place_and_the_process_a_name() {
    let config = load(Some("[registry]\ndirectory = \"kept\""), "TOLLGATE_INSTANCE=eu-1").unwrap();
    assert!(config.registry.directory.is_some_and(|folder| folder.ends_with("kept")));
    assert_eq!(config.registry.instance.as_deref(), Some("eu-1"));
    assert!(load(None, "TOLLGATE_INSTANCE=.x").unwrap_err().to_string().contains("the first of them no dot"));
}
