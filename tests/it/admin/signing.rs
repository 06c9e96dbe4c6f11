//! Policies that must be signed, on their way through the registry.

use tollgate::policy::{PrivateKey, Signature, sha256};

use super::*;

/// A key, and its public half as the configuration writes it.
fn key() -> (PrivateKey, String) {
    let private = PrivateKey::from_pem(&PrivateKey::generate().unwrap()).unwrap();
    let public = private.public_key().to_string();
    (private, public)
}

#[tokio::test]
async fn only_what_is_signed_by_a_key_of_the_tier_is_activated() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("tollgate.toml");
    let [(release, release_public), (revoked, revoked_public), (stranger, _)] = [key(), key(), key()];
    std::fs::write(
        &config,
        format!(
            "[signing]\nrequired = true\nkeys = [\n  {{ name = \"release\", public_key = \"{release_public}\", tiers = [\"free\"] }},\n  \
             {{ name = \"old\", public_key = \"{revoked_public}\", revoked = true }},\n]\n"
        ),
    )?;
    let admin = Admin::start([("TOLLGATE_CONFIG", config.to_str().unwrap())])?;
    let component = guest("mine");
    let digest = sha256(&component);
    let name = admin.push(component).await?.body["digest"].as_str().unwrap().to_owned();
    let tier = json!({ "policy": format!("sha256:{name}") });
    let sign = async |key: &PrivateKey| -> Result<u16> {
        let signature: Signature = key.sign(&digest);
        let body = json!({ "signature": signature.to_string() });
        Ok(admin.ask(ADA, "POST", &format!("policies/{name}/signatures"), &body).await?.status)
    };
    let before = admin.get("roster").await?;
    let refused = async |place: &str, words: &str| -> Result<()> {
        let reply = admin.ask(OSCAR, "PUT", place, &tier).await?;
        let told = reply.body["detail"].as_str().unwrap_or_default();
        assert!(
            reply.status == 422 && told.contains("at `signature`") && told.contains(words),
            "{words}: {}",
            reply.body
        );
        Ok(())
    };
    refused("tiers/free", "signature").await?;
    assert_eq!(sign(&stranger).await?, 200);
    refused("tiers/free", "not among").await?;
    assert_eq!(sign(&revoked).await?, 200);
    refused("tiers/free", "revoked").await?;
    assert_eq!(admin.get("roster").await?, before, "what was refused changed nothing");
    assert_eq!(sign(&release).await?, 200);
    admin.done("PUT", "tiers/free", &tier).await?;
    assert_eq!(admin.decide("acme", "free").await?["policy"]["digest"].as_str(), Some(name.as_str()));
    refused("tiers/pro", "free").await?;
    let nonsense = json!({ "signature": "nonsense" });
    assert_eq!(admin.ask(ADA, "POST", &format!("policies/{name}/signatures"), &nonsense).await?.status, 422);
    Ok(())
}

#[tokio::test]
async fn what_fails_its_golden_cases_is_not_activated() -> Result<()> {
    let admin = Admin::start([])?;
    let component = tollgate::policy::built_in("tiered")?.to_vec();
    // Other bytes than the built-in one's, so that it is a policy of the registry.
    let component = crate::policy::renamed_section(&component);
    let name = admin.push(component).await?.body["digest"].as_str().unwrap().to_owned();
    let tier =
        json!({ "policy": format!("sha256:{name}"), "config": { "limits": [{ "id": "day", "limit": "5/day" }] } });
    let cases = |expected: &str| {
        let config = json!({ "limits": [{ "id": "day", "limit": "1/day" }] });
        json!({ "config": config, "text": format!("policy tiered\n@0s alice -> allow\n@1s alice -> {expected}\n") })
    };
    let put = async |cases: Value| {
        let reply = admin.ask(ADA, "PUT", &format!("policies/{name}/cases"), &cases).await?;
        anyhow::Ok(reply.status)
    };
    assert_eq!(put(cases("allow")).await?, 200);
    let refused = admin.ask(OSCAR, "PUT", "tiers/free", &tier).await?;
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.body["detail"].as_str().unwrap_or_default().contains("at `cases`"), "{}", refused.body);
    assert_eq!(put(cases("deny")).await?, 200);
    admin.done("PUT", "tiers/free", &tier).await?;
    assert_eq!(admin.decide("acme", "free").await?["policy"]["digest"].as_str(), Some(name.as_str()));
    Ok(())
}
