//! Receipts and questions that are asked again, over HTTP.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tollgate_tests::Server;

use super::{check, remaining};

#[tokio::test]
async fn a_receipt_is_settled_extended_and_refused_over_http() -> Result<()> {
    let config = r#"
        [tiers.jobs]
        policy = "tiered"
        config.limits = [
            { id = "jobs", limit = "1 at once for 10m" },
            { id = "tokens", limit = "100/h burst 100", hold_seconds = 60 },
        ]
        [tiers.brief]
        policy = "tiered"
        config.limits = [{ id = "brief", limit = "1 at once for 1ms" }]
    "#;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tollgate.toml");
    std::fs::write(&path, config)?;
    let server = Server::start([("TOLLGATE_CONFIG", path.to_str().context("the path is text")?)])?;
    let client = Client::new();
    let question = |tier: &str| json!({ "tenant": "acme", "tier": tier, "cost": 40 });
    let admitted = check(&client, &server, &question("jobs")).await?;
    let receipt = admitted.body["receipt"].as_str().context("there is no receipt")?.to_owned();
    assert!(admitted.body["receipt_until_ms"].is_u64());
    assert_eq!(check(&client, &server, &question("jobs")).await?.status, StatusCode::TOO_MANY_REQUESTS);

    let ask = async |route: &str, body: Value| {
        let sent = client.post(format!("{}/v1/{route}", server.url)).body(body.to_string()).send().await?;
        anyhow::Ok((sent.status(), sent.json::<Value>().await?))
    };
    let (status, extended) = ask("extend", json!({ "receipt": receipt })).await?;
    assert_eq!((status, &extended["extended"]), (StatusCode::OK, &json!(true)));
    let longer = extended["receipt"].as_str().context("there is no new receipt")?;
    let (status, settled) = ask("settle", json!({ "receipt": longer, "cost": 10 })).await?;
    assert_eq!((status, settled), (StatusCode::OK, json!({ "settled": true, "already": false })));
    let (status, settled) = ask("refund", json!({ "receipt": receipt })).await?;
    assert_eq!((status, settled), (StatusCode::OK, json!({ "settled": true, "already": true })));
    assert_eq!(ask("extend", json!({ "receipt": receipt })).await?.0, StatusCode::CONFLICT);
    let next = check(&client, &server, &question("jobs")).await?;
    assert_eq!((next.status, remaining(&next, "tokens")), (StatusCode::OK, 50));

    let brief = check(&client, &server, &question("brief")).await?;
    let late = json!({ "receipt": brief.body["receipt"] });
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(ask("refund", late).await?.0, StatusCode::GONE);

    for (route, body, status) in [
        ("settle", json!({ "receipt": "forged", "cost": 0 }), StatusCode::FORBIDDEN),
        ("settle", json!({ "receipt": receipt.to_ascii_lowercase(), "cost": 0 }), StatusCode::FORBIDDEN),
        ("settle", json!({ "receipt": receipt }), StatusCode::BAD_REQUEST),
        ("settle", json!({ "receipt": receipt, "cost": -1 }), StatusCode::BAD_REQUEST),
        ("settle", json!({ "receipt": receipt, "cost": 1_000_000_001 }), StatusCode::BAD_REQUEST),
        ("refund", json!({ "receipt": receipt, "cost": 1 }), StatusCode::BAD_REQUEST),
        ("extend", json!([]), StatusCode::BAD_REQUEST),
    ] {
        let (answered, problem) = ask(route, body.clone()).await?;
        assert_eq!(answered, status, "{route} {body}: {problem}");
        assert!(!problem.to_string().contains(&receipt), "a receipt is as good as a key");
    }
    Ok(())
}

#[tokio::test]
async fn a_question_with_a_token_is_charged_once() -> Result<()> {
    let server = Server::start([])?;
    let client = Client::new();
    let question = json!({ "api_key": "demo-free", "cost": 3, "once": "job 17" });
    let (first, second) = (check(&client, &server, &question).await?, check(&client, &server, &question).await?);
    assert_eq!((remaining(&first, "day"), remaining(&second, "day")), (997, 997));
    let other = check(&client, &server, &json!({ "api_key": "demo-free", "once": "job 18" })).await?;
    assert_eq!(remaining(&other, "day"), 996);
    let long = check(&client, &server, &json!({ "api_key": "demo-free", "once": "x".repeat(129) })).await?;
    assert_eq!((long.status, &long.body["field"]), (StatusCode::BAD_REQUEST, &json!("once")));
    Ok(())
}
