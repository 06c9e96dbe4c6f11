//! Policies, rosters, tiers and tenants, changed while decisions are made.

use super::*;

#[tokio::test]
async fn a_policy_that_is_pushed_and_activated_decides() -> Result<()> {
    let admin = Admin::start([])?;
    let component = guest("mine");
    let pushed = admin.push(component.clone()).await?;
    assert_eq!((pushed.status, pushed.body["name"].as_str()), (201, Some("mine")), "{}", pushed.body);
    assert_eq!(admin.push(component.clone()).await?.status, 200, "it is there already");
    let digest = pushed.body["digest"].as_str().unwrap();
    assert_eq!(admin.get(&format!("policies/sha256:{digest}")).await?["by"], "ada");
    assert_eq!(admin.get("policies").await?.as_array().map(Vec::len), Some(1));
    let back = admin.ask(RITA, "GET", &format!("policies/{digest}/component"), &Value::Null).await?;
    assert!(back.headers["content-type"] == "application/wasm" && back.bytes == component);

    assert_eq!(admin.decide("acme", "free").await?["policy"]["name"], "tiered");
    let tier = json!({ "policy": format!("sha256:{digest}") });
    let active = admin.done("PUT", "tiers/free?note=ticket%2017", &tier).await?;
    assert_eq!((active["by"].as_str(), active["note"].as_str()), (Some("oscar"), Some("ticket 17")), "{active}");
    let decision = admin.decide("acme", "free").await?;
    assert_eq!((&decision["policy"]["digest"], &decision["generation"]), (&json!(digest), &active["generation"]));
    assert_eq!(left(&decision), 999);

    let removed = admin.ask(ADA, "DELETE", &format!("policies/{digest}"), &Value::Null).await?;
    assert_eq!(removed.status, 409, "{}", removed.body);
    admin.done("POST", "roster/rollback", &json!({ "note": "no" })).await?;
    assert_eq!(admin.decide("acme", "free").await?["policy"]["name"], "tiered");
    // Back and forth: now neither the active roster needs it nor the one before.
    admin.done("PUT", "tenants/acme", &json!({ "tier": "pro" })).await?;
    assert_eq!(admin.ask(ADA, "DELETE", &format!("policies/{digest}"), &Value::Null).await?.status, 204);
    assert_eq!(admin.ask(RITA, "GET", &format!("policies/{digest}"), &Value::Null).await?.status, 404);
    let audit = admin.ask(ADA, "GET", "audit", &Value::Null).await?.body;
    let actions: Vec<(&str, &str)> = audit
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["by"].as_str().unwrap(), line["action"].as_str().unwrap()))
        .collect();
    for done in
        [("ada", "policy.push"), ("oscar", "roster.activate"), ("oscar", "roster.rollback"), ("ada", "policy.remove")]
    {
        assert!(actions.contains(&done), "{done:?}: {actions:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_has_its_status_and_replaces_nothing() -> Result<()> {
    let admin = Admin::start([])?;
    admin.done("PUT", "tiers/gold", &tiered("9/day")).await?;
    let before = admin.get("roster").await?;
    let free = |more: Value| {
        let mut tier = tiered("9/day");
        tier.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tier
    };
    let roster = |tier: Value| json!({ "roster": { "tiers": { "free": tier } } });
    let absent = format!("policies/{}", "0".repeat(64));
    let cases: [(&str, &str, Value, u16, &str); 22] = [
        ("GET", &absent, Value::Null, 404, "has no policy"),
        ("GET", "policies/x", Value::Null, 404, "is no digest"),
        ("GET", "roster/revisions/99", Value::Null, 404, "no roster has the revision 99"),
        ("GET", "roster/revisions/x", Value::Null, 404, "has a number"),
        ("GET", "roster/diff?from=x", Value::Null, 422, "`from` is not a whole number"),
        ("GET", "roster/diff?form=1", Value::Null, 422, "`form` is no parameter"),
        ("GET", "decisions?verdict=maybe", Value::Null, 422, "`verdict`"),
        ("GET", "nowhere", Value::Null, 404, "openapi.json"),
        ("PATCH", "roster", Value::Null, 405, "openapi.json"),
        ("POST", "roster/activate", json!({ "revision": 99 }), 404, "no roster has"),
        ("POST", "roster/activate", json!({ "revision": 1, "expected_generation": 7 }), 409, "generation 2 is active"),
        ("POST", "roster/activate", json!({ "revision": "one" }), 422, "`revision`"),
        ("POST", "roster/activate", json!({ "revision": 1, "now": true }), 422, "now"),
        (
            "POST",
            "roster/revisions",
            roster(json!({ "policy": format!("sha256:{}", "0".repeat(64)) })),
            404,
            "has no policy",
        ),
        ("POST", "roster/revisions", roster(json!({ "policy": "teired" })), 422, "teired"),
        (
            "POST",
            "roster/revisions",
            roster(json!({ "policy": "tiered", "config": {} })),
            422,
            "missing field `limits`",
        ),
        ("PUT", "tiers/free", free(json!({ "trial": { "policy": "tiered", "canary_percent": 100 } })), 422, "1 to 99"),
        ("PUT", "tiers/fr%20ee", tiered("9/day"), 422, "fr ee"),
        ("PUT", "tenants/acme", json!({ "tier": "platinum" }), 422, "platinum"),
        ("DELETE", "tenants/nobody", Value::Null, 404, "no tenant `nobody`"),
        ("POST", "explain", json!({ "tenant": "a{b}", "subject": "x" }), 422, "`tenant`"),
        ("POST", "explain", json!({ "tenant": "nobody" }), 404, "no tier decides"),
    ];
    for (method, path, body, status, told) in cases {
        let reply = admin.ask(OSCAR, method, path, &body).await?;
        assert_eq!(reply.status, status, "{method} {path} {body}: {}", reply.body);
        assert_eq!(reply.headers["content-type"], "application/problem+json", "{method} {path}");
        assert!(reply.body["detail"].as_str().unwrap().contains(told), "{method} {path} {body}: {}", reply.body);
    }
    assert_eq!(admin.get("roster").await?, before);
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_no_policy_is_refused_by_what_is_wrong_with_it() -> Result<()> {
    let admin = Admin::start([])?;
    let wasm = "application/wasm";
    for (kind, body, status, told) in [
        ("application/json", guest("mine"), 415, "application/wasm"),
        (wasm, b"not a component".to_vec(), 422, "failed to load policy"),
        (wasm, vec![0; 1024 * 1024 + 1], 422, "1048576"),
        (wasm, vec![0; 2 * 1024 * 1024], 413, "the body is over"),
    ] {
        let reply = admin.send(ADA, "POST", "policies", kind, body).await?;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert!(reply.body["detail"].as_str().unwrap().contains(told), "{}", reply.body);
    }
    let json = "application/json";
    let malformed = admin.send(OSCAR, "POST", "roster/revisions", json, b"{".to_vec()).await?;
    assert_eq!(malformed.status, 400, "{}", malformed.body);
    let huge = admin.send(OSCAR, "POST", "roster/revisions", json, vec![b' '; 1024 * 1024 + 1]).await?;
    assert_eq!(huge.status, 413, "{}", huge.body);
    assert_eq!(admin.get("policies").await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn rosters_are_proposed_compared_activated_and_remembered() -> Result<()> {
    let admin = Admin::start([])?;
    let mut roster = admin.get("roster").await?["roster"].take();
    roster["tiers"]["free"]["config"]["limits"][1]["limit"] = json!("2000/day");
    let proposed = admin.done("POST", "roster/revisions", &json!({ "roster": roster, "note": "more" })).await?;
    assert_eq!((proposed["revision"].as_u64(), admin.get("roster").await?["generation"].as_u64()), (Some(1), Some(1)));
    let difference =
        json!([{ "path": "/tiers/free/config/limits/1/limit", "before": "1000/day", "after": "2000/day" }]);
    assert_eq!(admin.get("roster/diff?from=0&to=1").await?, difference);
    let wanted = json!({ "revision": 1, "expected_generation": 1, "note": "now" });
    assert_eq!(admin.done("POST", "roster/activate", &wanted).await?["generation"], 2);
    assert_eq!(admin.get("roster/diff").await?, difference, "what the last activation changed");
    let active = admin.get("roster").await?;
    assert_eq!((&active["revision"], &active["activation"]["by"]), (&json!(1), &json!("oscar")));
    assert_eq!(active["roster"], roster);
    assert_eq!(admin.get("roster/revisions/1").await?["note"], "more");
    assert_eq!(admin.get("roster/revisions").await?.as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn tiers_and_tenants_are_changed_one_by_one() -> Result<()> {
    let admin = Admin::start([])?;
    admin.done("PUT", "tiers/gold", &tiered("5/day")).await?;
    admin.done("PUT", "tenants/acme", &json!({ "tier": "gold" })).await?;
    admin.done("PUT", "tenants/globex", &json!({ "tier": "gold", "override": tiered("8/day") })).await?;
    assert_eq!(admin.get("tiers").await?["tiers"]["gold"]["config"], tiered("5/day")["config"]);
    assert_eq!(admin.get("tenants").await?["tenants"]["acme"], json!({ "tier": "gold" }));
    let explained = async |tenant: &str| {
        let reply = admin.ask(RITA, "POST", "explain", &json!({ "tenant": tenant })).await?;
        Ok::<_, anyhow::Error>(left(&reply.body))
    };
    assert_eq!((explained("acme").await?, explained("globex").await?), (4, 7));
    admin.done("DELETE", "tenants/globex", &Value::Null).await?;
    assert_eq!(admin.get("tenants").await?["tenants"].get("globex"), None);
    Ok(())
}

#[tokio::test]
async fn explaining_takes_nothing() -> Result<()> {
    let admin = Admin::start([])?;
    admin.done("PUT", "tiers/gold", &tiered("5/day")).await?;
    assert_eq!(left(&admin.decide("acme", "gold").await?), 4);
    for _ in 0..20 {
        let question = json!({ "tenant": "acme", "subject": "alice", "tier": "gold", "cost": 2 });
        let reply = admin.ask(RITA, "POST", "explain", &question).await?;
        assert_eq!((reply.status, reply.body["verdict"].as_str()), (200, Some("allow")), "{}", reply.body);
        assert_eq!(reply.body["policy"]["digest"].as_str().map(str::len), Some(64));
    }
    assert_eq!(left(&admin.decide("acme", "gold").await?), 3);
    let too_much = json!({ "tenant": "acme", "subject": "alice", "tier": "gold", "cost": 4 });
    let refused = admin.ask(RITA, "POST", "explain", &too_much).await?.body;
    assert_eq!((&refused["verdict"], &refused["limits"][0]["remaining"]), (&json!("deny"), &json!(3)), "{refused}");
    assert!(refused["limits"][0]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_shadow_is_tried_beside_the_tier_and_takes_nothing() -> Result<()> {
    let admin = Admin::start([])?;
    let mut tier = tiered("5/day");
    tier["trial"] = json!({ "policy": "tiered", "config": tiered("2/day")["config"] });
    admin.done("PUT", "tiers/gold", &tier).await?;
    for expected in [4, 3, 2, 1] {
        assert_eq!(left(&admin.decide("acme", "gold").await?), expected);
    }
    let shadows = admin.get("shadows").await?;
    assert_eq!(shadows[0]["tier"], "gold");
    let flips = json!({ "decided": 4, "stricter": 2, "looser": 0, "faults": 0 });
    assert_eq!((&shadows[0]["total"], &shadows[0]["tenants"]["acme"]), (&flips, &flips), "{shadows}");
    assert_eq!(shadows[0]["samples"][0]["shadow"], "deny", "{shadows}");
    Ok(())
}

#[tokio::test]
async fn cases_and_signatures_stay_with_a_policy() -> Result<()> {
    let admin = Admin::start([])?;
    let pushed = admin.push(guest("mine")).await?.body;
    let place = format!("policies/{}", pushed["digest"].as_str().unwrap());
    let extra = json!({ "config": {}, "text": "" });
    let put = admin.ask(ADA, "PUT", &format!("{place}/cases"), &extra).await?;
    assert_eq!((put.status, &put.body["cases"]), (200, &json!({ "config": "{}", "text": "" })), "{}", put.body);
    assert_eq!(admin.get(&place).await?["cases"]["config"], "{}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_the_same_time_none_is_lost() -> Result<()> {
    let admin = Admin::start([])?;
    let changes: Vec<_> = (0..16)
        .map(|number| {
            let url = format!("{}/admin/v1/tiers/gold-{number}", admin.url);
            let asked = admin.client.put(url).bearer_auth(OSCAR).body(tiered("9/day").to_string());
            tokio::spawn(async move { anyhow::Ok((number, asked.send().await?.status().as_u16())) })
        })
        .collect();
    let mut done = Vec::new();
    for change in changes {
        match change.await?? {
            (number, 200) => done.push(format!("gold-{number}")),
            (_, status) => assert_eq!(status, 409),
        }
    }
    let tiers = admin.get("tiers").await?;
    assert!(!done.is_empty() && done.iter().all(|tier| tiers["tiers"].get(tier).is_some()), "{done:?}: {tiers}");
    assert_eq!(
        tiers["tiers"].as_object().map(serde_json::Map::len),
        Some(4 + done.len()),
        "and what was refused changed nothing"
    );
    Ok(())
}
