//! What a decision holds: settled, given back, extended, and shown to nobody who could change it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tollgate::config::Secret;
use tollgate::store::{Memory, Redis, RedisOptions, RedisTime};
use tollgate::{
    Builder, Clock as _, Decision, ErrorKind, Extension, ManualClock, Receipt, Request, Settled, Source, TierPlan,
    Timestamp, Tollgate,
};
use tollgate_tests::RedisServer;

const MINUTE: Duration = Duration::from_secs(60);
const KEY: &str = "0123456789abcdef0123456789abcdef";

const LIMITS: &str = r#"{"limits": [
    {"id": "jobs", "limit": "2 at once for 30s"},
    {"id": "tokens", "limit": "100/h burst 100", "hold_seconds": 60}
], "costs": {"/double": 2}}"#;

/// A gate over each kind of store, and the clock of both.
struct Bench {
    clock: ManualClock,
    gates: [Tollgate; 2],
    _server: RedisServer,
}

impl Bench {
    async fn new(limits: &str) -> Result<Self> {
        let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
        let server = RedisServer::start()?;
        let options = RedisOptions { time: RedisTime::Given(Arc::new(clock.clone())), ..RedisOptions::default() };
        let redis = Redis::connect(&server.target(), options).await?;
        let over_memory = Tollgate::builder().store(Memory::new(clock.clone()));
        let built = async |builder: Builder| {
            let builder = builder.clock(clock.clone()).deadline(Duration::from_secs(5)).receipt_key(Secret::new(KEY));
            builder.tier("tier", TierPlan::built_in("tiered", limits)).default_tier("tier").build().await
        };
        let gates = [built(over_memory).await?, built(Tollgate::builder().store(redis)).await?];
        Ok(Self { clock, gates, _server: server })
    }
}

async fn decide(gate: &Tollgate, route: &str, cost: u64) -> Result<Decision> {
    let decision = gate.decide(&Request::new("acme", "alice")?.with_route(route)?.with_cost(cost)?).await;
    anyhow::ensure!(decision.source == Source::Policy, "{decision:?}");
    Ok(decision)
}

async fn receipt(gate: &Tollgate, route: &str, cost: u64) -> Result<Receipt> {
    decide(gate, route, cost).await?.receipt.context("it holds nothing")
}

/// What is left of slots and tokens.
async fn left(gate: &Tollgate) -> Result<[u64; 2]> {
    // Of a list that can never pass everything is left.
    let decision = decide(gate, "", 1_000).await?;
    Ok([decision.limits[0].outcome.remaining, decision.limits[1].outcome.remaining])
}

#[tokio::test]
async fn what_a_request_really_cost_is_settled_once_and_the_rest_is_given_back() -> Result<()> {
    let bench = Bench::new(LIMITS).await?;
    for gate in &bench.gates {
        let receipt = receipt(gate, "", 40).await?;
        assert_eq!(left(gate).await?, [1, 60]);
        assert_eq!(gate.settle(&receipt, 10).await?, Settled::Done);
        assert_eq!(left(gate).await?, [2, 90]);
        assert_eq!(gate.settle(&receipt, 0).await?, Settled::Already);
        assert_eq!(gate.refund(&receipt).await?, Settled::Already);
        assert_eq!(gate.extend(&receipt).await?, Extension::Settled);
        assert_eq!(left(gate).await?, [2, 90]);
    }
    Ok(())
}

#[tokio::test]
async fn each_charge_keeps_its_share_of_the_actual_cost_and_never_more_than_it_took() -> Result<()> {
    let bench = Bench::new(LIMITS).await?;
    for gate in &bench.gates {
        // Each costs two tokens.
        let third = receipt(gate, "/double", 9).await?;
        assert_eq!(gate.settle(&third, 3).await?, Settled::Done);
        assert_eq!(left(gate).await?, [2, 94]);
        let more = receipt(gate, "/double", 2).await?;
        assert_eq!(gate.settle(&more, 1_000).await?, Settled::Done);
        assert_eq!(left(gate).await?, [2, 90]);
        assert_eq!(gate.refund(&receipt(gate, "/double", 45).await?).await?, Settled::Done);
        assert_eq!(left(gate).await?, [2, 90]);
    }
    Ok(())
}

#[tokio::test]
async fn a_receipt_settles_by_itself_when_its_time_is_over() -> Result<()> {
    let bench = Bench::new(LIMITS).await?;
    for gate in &bench.gates {
        let receipt = receipt(gate, "", 40).await?;
        assert_eq!(receipt.until(), bench.clock.now().plus(Duration::from_secs(30)), "the first of what it holds");
        bench.clock.advance(Duration::from_micros(30_000_001));
        assert_eq!(gate.settle(&receipt, 0).await?, Settled::Late);
        assert_eq!(gate.extend(&receipt).await?, Extension::Late);
        assert_eq!(left(gate).await?, [2, 60], "the slot is free, the tokens are spent");
    }
    Ok(())
}

#[tokio::test]
async fn a_receipt_that_is_extended_keeps_its_slot_and_can_be_settled_later() -> Result<()> {
    let bench = Bench::new(LIMITS).await?;
    for gate in &bench.gates {
        let first = receipt(gate, "", 40).await?;
        let mut last = first.clone();
        for _ in 0..5 {
            bench.clock.advance(Duration::from_secs(20));
            let Extension::Extended(extended) = gate.extend(&last).await? else { anyhow::bail!("not extended") };
            last = extended;
        }
        assert_eq!(left(gate).await?, [1, 62], "some refilled");
        assert_eq!(gate.settle(&first, 10).await?, Settled::Done, "whoever lost the last may have the first still");
        assert_eq!(gate.settle(&last, 10).await?, Settled::Already);
        // What stays counts from now on.
        assert_eq!(left(gate).await?, [2, 90]);
    }
    Ok(())
}

#[tokio::test]
async fn amounts_are_held_for_a_day_at_most_and_slots_for_as_long_as_somebody_cares() -> Result<()> {
    let slots = r#"{"limits": [{"id": "jobs", "limit": "2 at once for 8h"}]}"#;
    let tokens = r#"{"limits": [{"id": "tokens", "limit": "100/day", "hold_seconds": 28800}]}"#;
    for (limits, times) in [(slots, 21), (tokens, 4)] {
        let bench = Bench::new(limits).await?;
        for gate in &bench.gates {
            let mut receipt = receipt(gate, "", 1).await?;
            let mut extended = 0;
            while let Extension::Extended(longer) = gate.extend(&receipt).await? {
                receipt = longer;
                extended += 1;
                if extended > 20 {
                    break;
                }
                bench.clock.advance(MINUTE * 60 * 7);
            }
            assert_eq!(extended, times, "{limits}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_asked_again_is_charged_once_and_has_one_receipt() -> Result<()> {
    let bench = Bench::new(LIMITS).await?;
    for gate in &bench.gates {
        let request = Request::new("acme", "alice")?.with_cost(40)?.with_once("token-1")?;
        let first = gate.decide(&request).await;
        bench.clock.advance(Duration::from_secs(10));
        let second = gate.decide(&request).await;
        assert_eq!(first.limits, second.limits);
        assert_eq!(left(gate).await?, [1, 60]);
        let (first, second) = (first.receipt.context("none")?, second.receipt.context("none")?);
        assert_eq!(gate.settle(&second, 0).await?, Settled::Done);
        assert_eq!(gate.settle(&first, 0).await?, Settled::Already);
        assert_eq!(left(gate).await?, [2, 100]);
        let other = gate.decide(&request.with_once("token-2")?).await;
        assert_eq!(other.limits[1].outcome.remaining, 60);
        gate.refund(&other.receipt.context("none")?).await?;
        bench.clock.advance(MINUTE * 11);
        assert_ne!(gate.settle(&first, 0).await?, Settled::Done);
    }
    Ok(())
}

#[tokio::test]
async fn only_who_has_the_key_opens_a_receipt() -> Result<()> {
    let bench = Bench::new(LIMITS).await?;
    let [gate, other] = &bench.gates;
    let receipt = receipt(gate, "", 40).await?;
    let sealed = gate.seal(&receipt);
    assert_eq!(gate.unseal(&sealed)?, receipt);
    assert_eq!(other.unseal(&sealed)?, receipt, "the same key and prefix");
    assert!(sealed.len() < 400 && sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let tier = || TierPlan::built_in("tiered", LIMITS);
    let drawn = Tollgate::builder().tier("tier", tier()).build().await?;
    let elsewhere =
        Tollgate::builder().tier("tier", tier()).receipt_key(Secret::new(KEY)).key_prefix("other").build().await?;
    for stranger in [&drawn, &elsewhere] {
        assert_eq!(stranger.unseal(&sealed).unwrap_err().kind(), ErrorKind::Request);
    }
    let short = Tollgate::builder().tier("tier", tier()).receipt_key(Secret::new("short")).build().await;
    assert_eq!(short.unwrap_err().to_string(), "a receipt key of 5 bytes is too short: give at least 32");
    Ok(())
}

#[tokio::test]
async fn no_change_to_a_sealed_receipt_goes_unnoticed() -> Result<()> {
    let bench = Bench::new(LIMITS).await?;
    let [gate, _] = &bench.gates;
    let sealed = gate.seal(&receipt(gate, "", 40).await?);
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for at in 0..sealed.len() {
        for turn in [1, 16, 63] {
            let mut changed = sealed.clone().into_bytes();
            let letter = LETTERS.iter().position(|letter| *letter == changed[at]).unwrap();
            changed[at] = LETTERS[(letter + turn) % 64];
            assert!(gate.unseal(&String::from_utf8(changed)?).is_err(), "{at} {turn}");
        }
        assert!(gate.unseal(&sealed[..at]).is_err() && gate.unseal(&sealed[at + 1..]).is_err(), "{at}");
    }
    for text in ["", "=", "é", &"A".repeat(100_000), &format!("{sealed}A"), &format!(" {sealed}")] {
        assert!(gate.unseal(text).is_err());
    }
    Ok(())
}

#[tokio::test]
async fn a_decision_that_holds_nothing_has_no_receipt() -> Result<()> {
    let bench = Bench::new(r#"{"limits": [{"id": "tokens", "limit": "100/h burst 100"}]}"#).await?;
    for gate in &bench.gates {
        assert_eq!(decide(gate, "", 40).await?.receipt, None);
        assert_eq!(decide(gate, "", 400).await?.receipt, None);
    }
    Ok(())
}
