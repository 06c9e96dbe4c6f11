//! A real Envoy before a real upstream, which asks Tollgate: `tests/run-envoy`.

#![expect(clippy::disallowed_methods, reason = "a real Envoy is a matter of real time")]

mod house;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use house::House;

#[tokio::main]
async fn main() -> Result<()> {
    let house = House::start().await?;
    say(&house.version()?)?;
    clients_are_told_their_limits_and_refused_beyond(&house).await?;
    a_request_costs_what_its_field_says(&house).await?;
    one_descriptor_that_is_over_refuses_the_request(&house).await?;
    envoy_sees_whether_tollgate_is_well(&house).await?;
    requests_pass_while_nobody_answers(house).await
}

/// Tells what has been tried.
fn say(line: &str) -> Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn field<'a>(response: &'a Response, name: &str) -> Result<&'a str> {
    Ok(response.headers().get(name).with_context(|| format!("no {name}: {response:?}"))?.to_str()?)
}

async fn clients_are_told_their_limits_and_refused_beyond(house: &House) -> Result<()> {
    for left in (0..10).rev() {
        let response = house.get("/", &[("x-api-key", "k1")]).await?;
        ensure!(response.status() == StatusCode::OK, "{response:?}");
        ensure!(field(&response, "ratelimit-policy")? == r#""remote_address";q=100;w=1, "per_key";q=10;w=86400"#);
        ensure!(field(&response, "ratelimit")?.contains(&format!(r#""per_key";r={left};t="#)), "{response:?}");
        ensure!(response.text().await? == "upstream");
    }
    let response = house.get("/", &[("x-api-key", "k1")]).await?;
    ensure!(response.status() == StatusCode::TOO_MANY_REQUESTS, "{response:?}");
    ensure!(field(&response, "x-envoy-ratelimited")? == "true");
    ensure!(field(&response, "content-type")? == "application/problem+json");
    ensure!(field(&response, "retry-after")?.parse::<u32>()? <= 86_400);
    let problem: Value = response.json().await?;
    ensure!(problem.get("violated-policies") == Some(&serde_json::json!(["per_key"])), "{problem}");
    for _ in 0..15 {
        let response = house.get("/", &[("x-api-key", "of-a-good-customer")]).await?;
        ensure!(response.status() == StatusCode::OK, "{response:?}");
    }
    say("passed: clients are told their limits, and refused beyond, with our fields and our body")
}

async fn a_request_costs_what_its_field_says(house: &House) -> Result<()> {
    let report = async |cost: &str| -> Result<StatusCode> {
        Ok(house.get("/reports/a", &[("x-api-key", "k2"), ("x-cost", cost)]).await?.status())
    };
    ensure!(report("4").await? == StatusCode::OK);
    ensure!(report("4").await? == StatusCode::OK);
    ensure!(report("4").await? == StatusCode::TOO_MANY_REQUESTS);
    ensure!(report("2").await? == StatusCode::OK, "what was refused took nothing");
    ensure!(report("1").await? == StatusCode::TOO_MANY_REQUESTS);
    say("passed: a request costs what its field says, and what is refused costs nothing")
}

async fn one_descriptor_that_is_over_refuses_the_request(house: &House) -> Result<()> {
    let spoofed = [("x-api-key", "k1"), ("x-forwarded-for", "10.1.2.3")];
    ensure!(house.get("/", &spoofed).await?.status() == StatusCode::TOO_MANY_REQUESTS);
    ensure!(house.get("/", &[("x-api-key", "k3")]).await?.status() == StatusCode::OK);
    say("passed: one limit that is used up refuses, whatever the others say")
}

async fn envoy_sees_whether_tollgate_is_well(house: &House) -> Result<()> {
    house.until("clusters", |text| text.contains("tollgate::") && text.contains("::health_flags::healthy")).await?;
    house
        .until("stats?filter=cluster.tollgate.health_check", |text| {
            stat(text, "cluster.tollgate.health_check.success").is_some_and(|count| count > 0)
        })
        .await?;
    say("passed: Envoy asks for our health, and believes the answer")
}

async fn requests_pass_while_nobody_answers(mut house: House) -> Result<()> {
    house.stop_tollgate()?;
    for _ in 0..5 {
        let response = house.get("/", &[("x-api-key", "k1")]).await?;
        ensure!(response.status() == StatusCode::OK, "{response:?}");
        ensure!(response.headers().get("ratelimit").is_none());
    }
    house
        .until("stats?filter=ratelimit", |text| {
            text.lines().any(|line| line.contains("failure_mode_allowed: ") && !line.ends_with(": 0"))
        })
        .await?;
    say("passed: requests pass while nobody answers")
}

/// A number of Envoy's.
fn stat(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
}
