//! Decisions as they are made.

use reqwest::Response;

use super::*;

async fn watch(admin: &Admin, query: &str) -> Result<Response> {
    Ok(admin.client.get(format!("{}/admin/v1/decisions{query}", admin.url)).bearer_auth(RITA).send().await?)
}

/// The next event of this stream.
async fn next(stream: &mut Response) -> Result<Value> {
    let mut text = String::new();
    loop {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(20), stream.chunk()).await?;
        text.push_str(&String::from_utf8(
            chunk.context("the stream ended")?.map(|bytes| bytes.to_vec()).unwrap_or_default(),
        )?);
        if let Some((_, data)) = text.split_once("data: ").filter(|(_, data)| data.contains("\n\n")) {
            return Ok(serde_json::from_str(data.lines().next().unwrap())?);
        }
    }
}

#[tokio::test]
async fn a_decision_is_seen_by_whoever_asked_for_such() -> Result<()> {
    let admin = Admin::start([])?;
    admin.done("PUT", "tiers/gold", &tiered("1/day")).await?;
    let mut all = watch(&admin, "").await?;
    assert_eq!((all.status().as_u16(), &all.headers()["content-type"]), (200, &"text/event-stream".parse()?));
    let mut denied = watch(&admin, "?tenant=acme&subject=alice&verdict=deny").await?;
    for tenant in ["globex", "globex", "acme", "acme"] {
        admin.decide(tenant, "gold").await?;
    }
    let first = next(&mut all).await?;
    assert_eq!(
        (&first["tenant"], &first["subject"], &first["verdict"]),
        (&json!("globex"), &json!("alice"), &json!("allow"))
    );
    assert!(first["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{first}");
    let found = next(&mut denied).await?;
    assert_eq!(
        (&found["tenant"], &found["verdict"], &found["policy"]["name"]),
        (&json!("acme"), &json!("deny"), &json!("tiered"))
    );
    Ok(())
}

#[tokio::test]
async fn sixteen_may_watch_and_the_next_when_one_has_gone() -> Result<()> {
    let admin = Admin::start([])?;
    let mut watching = Vec::new();
    for _ in 0..16 {
        watching.push(watch(&admin, "").await?);
    }
    assert_eq!(watch(&admin, "").await?.status().as_u16(), 503);
    watching.pop();
    let began = std::time::Instant::now();
    // It is noticed when something is to be said.
    loop {
        admin.decide("acme", "free").await?;
        if watch(&admin, "").await?.status().as_u16() == 200 {
            break;
        }
        assert!(began.elapsed().as_secs() < 20, "the place did not become free");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_tail_ends_when_the_server_stops() -> Result<()> {
    let admin = Admin::start([])?;
    let mut stream = watch(&admin, "").await?;
    admin.server.signal("TERM")?;
    let began = std::time::Instant::now();
    while stream.chunk().await?.is_some() {}
    assert!(admin.server.wait()?.0.success());
    assert!(began.elapsed().as_secs() < 8, "nobody waits for a stream that has no end: {:?}", began.elapsed());
    Ok(())
}
