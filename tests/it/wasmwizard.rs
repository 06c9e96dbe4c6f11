//! The server that runs its users' modules, as they meet it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tollgate_tests::Example;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/examples/wasmwizard");
const PRIMES: &str = include_str!("../../host/examples/wasmwizard/primes.wat");

struct Wizard {
    example: Example,
    client: Client,
}

impl Wizard {
    fn start() -> Result<Self> {
        Ok(Self { example: Example::start("wasmwizard")?, client: Client::new() })
    }

    async fn run(&self, key: &str, module: impl Into<Vec<u8>>, input: i64) -> Result<Response> {
        let url = format!("{}/run?input={input}", self.example.url);
        Ok(self.client.post(url).header("x-api-key", key).body(module.into()).send().await?)
    }
}

/// What remains of a limit, as an answer says.
fn remaining(response: &Response, limit: &str) -> Result<u64> {
    let told = response.headers().get("ratelimit").context("no RateLimit")?.to_str()?;
    let state = told.split(", ").find_map(|state| state.strip_prefix(&format!("\"{limit}\";r=")));
    Ok(state.with_context(|| format!("no {limit} in {told}"))?.split(';').next().context("a number")?.parse()?)
}

#[tokio::test]
async fn time_that_was_reserved_and_not_used_is_given_back() -> Result<()> {
    let wizard = Wizard::start()?;
    let mut spent = 0;
    for place in 0..5 {
        let answer = wizard.run("demo-free", PRIMES, 100).await?;
        assert_eq!(answer.status(), StatusCode::OK, "the one slot is free again");
        // There may be more, if a minute ended meanwhile.
        assert!((9 - place..=9).contains(&remaining(&answer, "requests")?));
        // Of what was there, 200 ms are reserved while it runs.
        assert!((1_000 - spent - 200..=800).contains(&remaining(&answer, "compute-ms")?));
        let told: Value = answer.json().await?;
        assert_eq!((told["result"].as_i64(), told["tier"].as_str()), (Some(25), Some("free")));
        spent += told["spent_ms"].as_u64().context("a time")?;
    }
    assert!(spent < 200, "it took {spent} ms: more than one reservation");
    Ok(())
}

#[tokio::test]
async fn a_module_that_never_ends_is_ended_and_paid_for_and_harms_no_other_tier() -> Result<()> {
    let wizard = Wizard::start()?;
    let spins = r#"(module (func (export "run") (param i64) (result i64) (loop $again (br $again)) (i64.const 0)))"#;
    let mut left = Vec::new();
    for _ in 0..3 {
        let (spun, honest) = tokio::join!(wizard.run("demo-free", spins, 0), wizard.run("demo-pro", PRIMES, 100));
        let (spun, honest) = (spun?, honest?);
        assert_eq!(spun.status(), StatusCode::UNPROCESSABLE_ENTITY);
        left.push(remaining(&spun, "compute-ms")?);
        assert!(spun.text().await?.contains("interrupt"));
        assert_eq!(honest.status(), StatusCode::OK);
    }
    // One minute may end meanwhile, and not two.
    assert!(left.windows(2).any(|pair| pair[0] == pair[1] + 200), "nothing is given back: {left:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_module_is_refused_and_says_why() -> Result<()> {
    let wizard = Wizard::start()?;
    let imports = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#;
    let grows = r#"(module (memory 1000) (func (export "run") (param i64) (result i64) (i64.const 0)))"#;
    for (module, words) in [("nonsense", "expected `(`"), (imports, "fd_write"), (grows, "memory"), ("(module)", "run")]
    {
        let answer = wizard.run("demo-basic", module, 0).await?;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{module}");
        let told = answer.text().await?;
        assert!(told.contains(words), "{module}: {told}");
    }
    assert_eq!(wizard.run("demo-pro", vec![b' '; 65 * 1024], 0).await?.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(wizard.run("guessed", PRIMES, 0).await?.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn the_load_script_shows_three_tiers_under_pressure() -> Result<()> {
    let wizard = Wizard::start()?;
    let url = wizard.example.url.clone();
    let script =
        tokio::task::spawn_blocking(move || Command::new(format!("{FOLDER}/load.sh")).args([&url, "70"]).output());
    let told = String::from_utf8(tokio::time::timeout(Duration::from_secs(60), script).await???.stdout)?;
    let row = |tier: &str| -> Result<Vec<u64>> {
        let line = told.lines().find(|line| line.starts_with(tier)).with_context(|| told.clone())?;
        Ok(line.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect())
    };
    let [free, basic, pro] = [row("free")?, row("basic")?, row("pro")?];
    let [asked, ran, refused, other] = free[..4] else { panic!("{told}") };
    assert!(asked == 70 && (1..=10).contains(&ran) && ran + refused == asked && other == 0, "{told}");
    assert!((ran + 1..=60).contains(&basic[1]), "{told}");
    assert!(pro[1] == 70, "{told}");
    Ok(())
}
