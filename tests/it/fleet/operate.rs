//! What an operator does, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tollgate::ErrorKind;
use tollgate::fleet::{RosterDocument, Upload};
use tollgate::policy::{PrivateKey, Signature, built_in, sha256};
use tollgate::store::{Documents, RedisDocuments};
use tollgate::{Request, Source};
use tollgate_tests::RedisServer;

use super::{alone, asked, host, push, roster};

#[tokio::test]
async fn what_does_not_fit_changes_nothing_and_says_why() -> Result<()> {
    let fleet = host(&alone(), "a").await?;
    let good = fleet.propose(roster("tiered", "10/day"), "alice", "").await?.revision;
    let active = fleet.activate(good, "alice", "", None).await?;
    for (policy, limit, kind, told) in [
        ("teired", "1/day", ErrorKind::Config, "tier `free`: no built-in policy is called `teired`"),
        ("sha256:abc", "1/day", ErrorKind::NotFound, "the registry has no policy sha256:abc"),
        ("tiered", "1/fortnight", ErrorKind::Policy, "tier `free`: failed to configure policy `tiered`"),
    ] {
        let refused = fleet.propose(roster(policy, limit), "alice", "").await.expect_err(told);
        assert_eq!(refused.kind(), kind, "{refused}");
        assert!(refused.to_string().contains(told), "{refused}");
    }
    let refused = fleet.activate(99, "alice", "", None).await.expect_err("there is none");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    let other = fleet.propose(roster("tiered", "20/day"), "alice", "").await?.revision;
    let refused = fleet.activate(other, "alice", "", Some(active.generation + 1)).await.expect_err("another is active");
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    assert_eq!(asked(fleet.gate(), "alice").await?, (active.generation, 10));
    assert_eq!(fleet.registry().active().await?, Some(active));
    Ok(())
}

#[tokio::test]
async fn a_roster_with_a_field_that_nobody_knows_is_refused() {
    let refused = RosterDocument::parse(br#"{"tiers": {"free": {"policy": "tiered", "confg": {}}}}"#).unwrap_err();
    assert!(refused.to_string().contains("unknown field `confg`"), "{refused}");
}

#[tokio::test]
async fn a_tenant_may_have_a_policy_of_its_own() -> Result<()> {
    let fleet = host(&alone(), "a").await?;
    let limit = |limit: &str| json!({"policy": "tiered", "config": {"limits": [{"id": "only", "limit": limit}]}});
    let document = json!({
        "tiers": {"free": limit("10/day"), "pro": limit("100/day")},
        "tenants": {"acme": {"tier": "free", "override": limit("50/day")}, "globex": {"tier": "pro"}},
        "default_tier": "free",
    });
    let revision = fleet.propose(RosterDocument::parse(document.to_string().as_bytes())?, "alice", "").await?;
    fleet.activate(revision.revision, "alice", "", None).await?;
    for (tenant, tier, name, max) in [
        ("acme", None, "free", 50),
        ("acme", Some("free"), "free", 50),
        ("acme", Some("pro"), "pro", 100),
        ("globex", None, "pro", 100),
        ("initech", None, "free", 10),
    ] {
        let mut request = Request::new(tenant, "alice")?;
        if let Some(tier) = tier {
            request = request.with_tier(tier)?;
        }
        let decision = fleet.gate().decide(&request).await;
        assert_eq!((&*decision.tier, decision.limits[0].limit.max()), (name, max), "{tenant} {tier:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_in_use_is_not_removed() -> Result<()> {
    let fleet = host(&alone(), "a").await?;
    let policy = push(&fleet).await?;
    let digest = policy.trim_start_matches("sha256:");
    let first = fleet.propose(roster(&policy, "10/day"), "alice", "").await?.revision;
    let other = fleet.propose(roster("tiered", "10/day"), "alice", "").await?.revision;
    for revision in [first, other] {
        fleet.activate(revision, "alice", "", None).await?;
        let refused = fleet.remove(digest, "alice").await.expect_err("it may be gone back to");
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    }
    let third = fleet.propose(roster("tiered", "11/day"), "alice", "").await?.revision;
    fleet.activate(third, "alice", "", None).await?;
    fleet.remove(digest, "alice").await?;
    assert_eq!(fleet.remove(digest, "alice").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fleet.registry().policies().await?, []);
    Ok(())
}

#[tokio::test]
async fn every_act_is_in_the_audit_log_also_what_was_refused() -> Result<()> {
    let fleet = host(&alone(), "a").await?;
    let policy = push(&fleet).await?;
    let revision = fleet.propose(roster(&policy, "10/day"), "bob", "").await?.revision;
    fleet.activate(revision, "carol", "", None).await?;
    fleet.activate(9, "mallory", "", None).await.unwrap_err();
    fleet.roll_back("dave", "").await?;
    let lines = fleet.registry().notes(100).await?;
    let told: Vec<_> =
        lines.iter().map(|line| (line.by.as_str(), line.action.as_str(), line.result == "done")).collect();
    assert_eq!(
        told,
        [
            ("alice", "policy.push", true),
            ("bob", "roster.propose", true),
            ("carol", "roster.activate", true),
            ("mallory", "roster.activate", false),
            ("dave", "roster.rollback", true),
        ]
    );
    assert!(lines[3].result.contains("no roster has the revision 9"), "{:?}", lines[3]);
    Ok(())
}

#[tokio::test]
async fn an_explanation_tells_what_would_be_and_takes_nothing() -> Result<()> {
    let fleet = host(&alone(), "a").await?;
    let revision = fleet.propose(roster("tiered", "2/day"), "alice", "").await?.revision;
    fleet.activate(revision, "alice", "", None).await?;
    let request = Request::new("acme", "alice")?;
    let allowed = async || fleet.gate().explain(&request).await.map(|told| (told.is_allowed(), told.source));
    for taken in 0..4 {
        assert_eq!(allowed().await, Some((taken < 2, Source::Policy)), "after {taken}");
        assert_eq!(allowed().await, Some((taken < 2, Source::Policy)), "asked again");
        assert_eq!(fleet.gate().decide(&request).await.is_allowed(), taken < 2);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_two_hosts_add_at_the_same_moment_are_all_kept() -> Result<()> {
    let redis = RedisServer::start()?;
    let share = async || -> Result<Arc<dyn Documents>> {
        let shared = RedisDocuments::connect(&redis.target(), "ratelimit", Duration::from_secs(5)).await?;
        Ok(Arc::new(shared) as Arc<dyn Documents>)
    };
    let hosts = [host(&share().await?, "a").await?, host(&share().await?, "b").await?];
    let component = built_in("tiered")?;
    let sign = || -> Result<String> {
        let key = PrivateKey::from_pem(&PrivateKey::generate()?)?;
        Ok(key.sign(&sha256(component)).to_string())
    };
    let add = |host: usize, signature: String| {
        let upload = Upload { component: component.to_vec(), signatures: vec![signature], ..Upload::default() };
        let host = hosts[host].clone();
        tokio::spawn(async move { host.push(upload, "alice").await })
    };
    let mut signatures = (0..Signature::MOST).map(|_| sign()).collect::<Result<Vec<_>>>()?;
    let adding: Vec<_> = signatures.iter().enumerate().map(|(at, signature)| add(at % 2, signature.clone())).collect();
    let mut digest = String::new();
    for added in adding {
        digest = added.await??.digest;
    }
    signatures.sort_unstable();
    assert_eq!(hosts[0].registry().policy(&digest).await?.signatures, signatures);
    let refused = add(1, sign()?).await?.expect_err("it is one too many");
    assert_eq!((refused.kind(), refused.to_string().contains("at most 16")), (ErrorKind::Conflict, true), "{refused}");
    assert_eq!(hosts[1].registry().policy(&digest).await?.signatures, signatures);
    Ok(())
}
