//! Envoy's rate limit service in the configuration.

use super::*;

#[test]
fn it_is_off_unless_it_has_an_address_and_limits() {
    let load = |file: &str, env: &str| load(Some(file), env);
    assert_eq!(load("", "").unwrap().envoy, None);
    let expected = EnvoyConfig { listen: "127.0.0.1:8081".parse().unwrap(), limits: "limits".into() };
    let both = "TOLLGATE_GRPC_LISTEN=127.0.0.1:8081\nTOLLGATE_RLS_CONFIG=limits";
    assert_eq!(load("", both).unwrap().envoy, Some(expected.clone()));
    assert_eq!(
        load("[envoy]\nlisten = \"127.0.0.1:8081\"", "TOLLGATE_RLS_CONFIG=limits").unwrap().envoy,
        Some(expected)
    );
    assert_eq!(
        load("[envoy]\nlisten = \"127.0.0.1:8081\"\nlimits = \"l\"", "TOLLGATE_GRPC_LISTEN=off").unwrap().envoy,
        None
    );
    for (env, expected) in [
        ("TOLLGATE_GRPC_LISTEN=127.0.0.1:8081", "TOLLGATE_GRPC_LISTEN: there are no limits to answer by"),
        ("TOLLGATE_RLS_CONFIG=limits", "TOLLGATE_RLS_CONFIG: nothing asks for these limits"),
        ("TOLLGATE_GRPC_LISTEN=here\nTOLLGATE_RLS_CONFIG=limits", "TOLLGATE_GRPC_LISTEN: `here` is not"),
    ] {
        let error = load("", env).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn its_tier_is_there_as_soon_as_it_is_and_may_be_the_operators_own() {
    let both = "TOLLGATE_GRPC_LISTEN=127.0.0.1:8081\nTOLLGATE_RLS_CONFIG=limits";
    let built_in = |name: &str| PolicySource::BuiltIn(name.to_owned());
    assert!(!load(None, "").unwrap().tiers.contains_key("envoy"));
    assert_eq!(load(None, both).unwrap().tiers["envoy"].policy, built_in("descriptors"));
    let file = "[tiers.envoy]\npolicy = \"tiered\"\nconfig.limits = [{ id = \"day\", limit = \"1/day\" }]";
    assert_eq!(load(Some(file), both).unwrap().tiers["envoy"].policy, built_in("tiered"));
}

#[test]
fn who_listens_for_everybody_is_warned() {
    notices("TOLLGATE_GRPC_LISTEN=0.0.0.0:8081\nTOLLGATE_RLS_CONFIG=limits", "asks nobody for a token");
}
