//! What a request may say, and what it is answered.

use std::time::Duration;

use anyhow::Result;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use serde_json::{Value, json};
use tollgate::store::{List, Reply, Store};
use tollgate::{Fault, FaultKind, OnFault, Settled, Settlement, TierPlan};
use tonic::Code;

use super::talk::Talk;

const LIMITS: &str = "
    domain: edge
    descriptors:
      - { key: minute, rate_limit: { unit: minute, requests_per_unit: 10 } }
      - { key: hour, rate_limit: { unit: HOUR, requests_per_unit: 20 } }
      - { key: week, rate_limit: { unit: week, requests_per_unit: 30 } }
      - { key: month, rate_limit: { unit: month, requests_per_unit: 40 } }
      - { key: year, rate_limit: { unit: year, requests_per_unit: 50 } }
      - { key: soft, shadow_mode: true, rate_limit: { unit: minute, requests_per_unit: 1 } }
      - { key: gone, shadow_mode: true, rate_limit: { unit: minute, requests_per_unit: 0 } }
      - { key: one, quota_mode: true, rate_limit: { unit: minute, requests_per_unit: 1 } }
      - { key: two, quota_mode: true, rate_limit: { unit: minute, requests_per_unit: 2 } }
      - { key: none, quota_mode: true, rate_limit: { unit: minute, requests_per_unit: 0 } }
      - { key: named, rate_limit: { name: per_name, unit: minute, requests_per_unit: 5 } }";

#[tokio::test]
async fn a_unit_is_a_window_since_the_epoch() {
    let mut talk = Talk::with(LIMITS).await;
    talk.check(
        "
        @7s minute=a -> ok: ok 9 of 10/minute 53s
        @61s hour=a -> ok: ok 19 of 20/hour 3539s
        @86400s week=a -> ok: ok 29 of 30/week 518400s
        @86400s month=a -> ok: ok 39 of 40/month 2505600s
        @86400s year=a -> ok: ok 49 of 50/year 28857600s",
    )
    .await;
}

#[tokio::test]
async fn hits_are_of_the_descriptor_or_of_the_request_or_one() -> Result<()> {
    let mut talk = Talk::with(LIMITS).await;
    talk.check(
        "
        @0s minute=a+4 -> ok: ok 6 of 10/minute 60s
        @0s minute=a+7 -> over: over 6 of 10/minute 60s
        @0s minute=a+0 -> ok: ok 6 of 10/minute 60s
        @0s minute=b+0 -> ok: ok 10 of 10/minute 60s
        @0s minute=c+11 -> over: over 10 of 10/minute 60s
        @0s minute=d+1000000000 -> over: over 10 of 10/minute 60s
        @0s minute=d+1000000001 -> `hits_addend` is 1000000001; give at most 1000000000",
    )
    .await;
    let (mut request, _) = talk.question("@0s minute=a & minute=a+1");
    request.hits_addend = 3;
    let left: Vec<u32> = talk.ask(request).await?.statuses.iter().map(|status| status.limit_remaining).collect();
    assert_eq!(left, [3, 2], "three by the request, one by the descriptor itself");
    Ok(())
}

#[tokio::test]
async fn a_request_may_bring_its_own_limit_and_the_counter_goes_on() {
    let mut talk = Talk::with(LIMITS).await;
    talk.check(
        "
        @0s x4 minute=a -> ok: ok 6 of 10/minute 60s
        @0s minute=a!100/minute -> ok: ok 95 of 100/minute 60s
        @0s minute=a -> ok: ok 4 of 10/minute 60s
        @0s minute=b & minute=b!100/minute -> ok: ok 9 of 10/minute 60s & ok 98 of 100/minute 60s
        @0s minute=a!0/minute -> over: over 0 of 0/minute 60s
        @0s unknown=a!2/day -> ok: ok 1 of 2/day 86400s
        @0s unknown=a,and=b!2/day -> ok: ok 1 of 2/day 86400s
        @0s =a!2/day -> ok: ok 1 of 2/day 86400s
        @0s ü=a!2/day -> ok: ok 1 of 2/day 86400s
        @0s unknown=b!4000000000/day -> ok: ok 999999999 of 1000000000/day 86400s
        @0s minute=a!5/unknown -> a descriptor's `limit` has the unit 0, which is none that is counted",
    )
    .await;
}

#[tokio::test]
async fn a_shadow_says_ok_even_where_nothing_is_to_be_had() {
    let mut talk = Talk::with(LIMITS).await;
    talk.check(
        "
        @0s x3 soft=a -> ok: ok 0 of 1/minute 60s
        @0s gone=a -> ok: ok 0 of 0/minute 60s
        @0s soft=a & minute=a -> ok: ok 0 of 1/minute 60s & ok 9 of 10/minute 60s",
    )
    .await;
}

#[tokio::test]
async fn quotas_refuse_when_all_of_them_are_used_up() {
    let mut talk = Talk::with(LIMITS).await;
    talk.check(
        "
        @0s one=a & two=a & minute=a -> ok: ok 0 of 1/minute 60s & ok 1 of 2/minute 60s & ok 9 of 10/minute 60s
        @0s one=a & two=a & minute=a -> ok: over 0 of 1/minute 60s & ok 0 of 2/minute 60s & ok 8 of 10/minute 60s
        @0s one=a & two=a -> over: over 0 of 1/minute 60s & over 0 of 2/minute 60s
        @0s one=a & minute=a -> over: over 0 of 1/minute 60s & ok 8 of 10/minute 60s
        @0s minute=a -> ok: ok 7 of 10/minute 60s
        @0s none=a & minute=a -> over: over 0 of 0/minute 60s & ok 7 of 10/minute 60s
        @0s none=a & two=b & minute=a -> ok: over 0 of 0/minute 60s & ok 1 of 2/minute 60s & ok 6 of 10/minute 60s",
    )
    .await;
}

#[tokio::test]
async fn a_refused_request_takes_nothing_from_any_counter() {
    let mut talk = Talk::with(LIMITS).await;
    talk.check(
        "
        @0s x10 minute=a & hour=a -> ok: ok 0 of 10/minute 60s & ok 10 of 20/hour 3600s
        @1s x50 minute=a & hour=a -> over: over 0 of 10/minute 59s & ok 10 of 20/hour 3599s
        @60s x10 minute=a & hour=a -> ok: ok 0 of 10/minute 60s & ok 0 of 20/hour 3540s",
    )
    .await;
}

#[tokio::test]
async fn entries_that_read_alike_have_counters_of_their_own() -> Result<()> {
    let limit = "rate_limit: { unit: day, requests_per_unit: 9 }";
    let below = format!("descriptors: [{{ key: c, {limit} }}]");
    let mut talk = Talk::with(&format!("{{ domain: edge, descriptors: [{{ key: a, {limit}, {below} }}] }}")).await;
    let long = |tail: &str| format!("{}{tail}", "x".repeat(5_000));
    let entries: [&[(&str, &str)]; 8] = [
        &[("a", "b;c=d")],
        &[("a", "b"), ("c", "d")],
        &[("a", "b%3Bc%3Dd")],
        &[("a", "")],
        &[("a", "\u{0}\n\u{85}")],
        &[("a", "%00")],
        &[("a", &long("1"))],
        &[("a", &long("2"))],
    ];
    for entries in entries {
        let entry = |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
        let descriptor = RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..Default::default() };
        let request = RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
        assert_eq!(talk.ask(request).await?.statuses[0].limit_remaining, 8, "{entries:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_an_invalid_argument() {
    let mut talk = Talk::with(LIMITS).await;
    let (good, _) = talk.question("@0s minute=a");
    let descriptor = good.descriptors[0].clone();
    let many = |count: usize| vec![descriptor.clone(); count];
    let entries =
        |count: usize| vec![RateLimitDescriptor { entries: vec![Entry::default(); count], ..descriptor.clone() }];
    for (request, expected) in [
        (RateLimitRequest { domain: String::new(), ..good.clone() }, "`domain` is empty; name one"),
        (RateLimitRequest { descriptors: Vec::new(), ..good.clone() }, "there are 0 descriptors; give 1 to 64"),
        (RateLimitRequest { descriptors: many(65), ..good.clone() }, "there are 65 descriptors; give 1 to 64"),
        (
            RateLimitRequest { descriptors: many(9), ..good.clone() },
            "9 descriptors have limits; at most 8 of a request may, since all are taken at once",
        ),
        (RateLimitRequest { descriptors: entries(0), ..good.clone() }, "a descriptor has 0 entries; give 1 to 32"),
        (RateLimitRequest { descriptors: entries(33), ..good.clone() }, "a descriptor has 33 entries; give 1 to 32"),
        (
            RateLimitRequest {
                descriptors: vec![RateLimitDescriptor { is_negative_hits: true, ..descriptor.clone() }],
                ..good.clone()
            },
            "a descriptor has negative hits; what was taken cannot be given back here",
        ),
    ] {
        let status = talk.ask(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, expected));
    }
    talk.check("@0s minute=a -> ok: ok 9 of 10/minute 60s").await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_not_read() {
    let mut talk = Talk::with(LIMITS).await;
    let (request, _) = talk.question(&format!("@0s minute={}", "x".repeat(70_000)));
    assert_eq!(talk.ask(request).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_domain_that_nobody_knows_is_ok() -> Result<()> {
    let mut talk = Talk::with(LIMITS).await;
    for domain in ["other", "{edge}", "EDGE"] {
        let (mut request, _) = talk.question("@0s minute=a & minute=a!1/day");
        domain.clone_into(&mut request.domain);
        let told = talk.ask(request).await?;
        assert_eq!((told.overall_code, told.statuses.len()), (1, 2));
        assert!(told.statuses.iter().all(|status| status.code == 1 && status.current_limit.is_none()));
    }
    Ok(())
}

#[tokio::test]
async fn the_client_is_told_its_limits_and_why_it_is_refused() -> Result<()> {
    let mut talk = Talk::with(LIMITS).await;
    let (request, _) = talk.question("@7s named=a+5 & hour=a");
    let told = talk.ask(request.clone()).await?;
    assert_eq!(told.statuses[0].current_limit.as_ref().map(|limit| limit.name.as_str()), Some("per_name"));
    assert_eq!(
        fields(&told),
        json!({
            "ratelimit-policy": r#""per_name";q=5;w=60, "hour";q=20;w=3600"#,
            "ratelimit": r#""per_name";r=0;t=53, "hour";r=19;t=3593"#,
            "x-ratelimit-limit": "5", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "53",
        })
    );
    assert_eq!(told.raw_body, b"");
    let told = talk.ask(request).await?;
    assert_eq!(
        fields(&told),
        json!({
            "ratelimit-policy": r#""per_name";q=5;w=60, "hour";q=20;w=3600"#,
            "ratelimit": r#""per_name";r=0;t=53, "hour";r=19;t=3593"#,
            "x-ratelimit-limit": "5", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "53",
            "retry-after": "53", "content-type": "application/problem+json",
        })
    );
    assert_eq!(
        serde_json::from_slice::<Value>(&told.raw_body)?,
        json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Quota exceeded", "status": 429, "violated-policies": ["per_name"],
            "detail": "limit `per_name` has 0 left and 5 was asked",
        })
    );
    Ok(())
}

fn fields(told: &RateLimitResponse) -> Value {
    let fields = told.response_headers_to_add.iter();
    fields.map(|field| (field.key.clone(), Value::from(field.value.as_str()))).collect::<serde_json::Map<_, _>>().into()
}

/// A store that never answers anything useful.
#[derive(Debug)]
struct Broken;

impl Store for Broken {
    fn take<'a>(&'a self, _: List<'a>) -> Reply<'a> {
        Reply::Ready(Err(Fault::new(FaultKind::Unavailable, "it is broken")))
    }

    fn settle<'a>(&'a self, _: &'a Settlement, _: Duration) -> Reply<'a, Settled> {
        Reply::Ready(Err(Fault::new(FaultKind::Unavailable, "it is broken")))
    }
}

#[tokio::test]
async fn a_broken_store_is_answered_by_the_rule_of_the_tier() -> Result<()> {
    let tier = |rule: OnFault| TierPlan { on_store_fault: rule.into(), ..TierPlan::built_in("descriptors", "{}") };
    let question = "@1s minute=a & soft=a & other=a";
    let mut allows = Talk::over(Broken, Some(tier(OnFault::Allow)), LIMITS).await;
    allows.check(&format!("{question} -> ok: ok & ok & ok")).await;
    let mut denies = Talk::over(Broken, Some(tier(OnFault::Deny)), LIMITS).await;
    denies.check(&format!("{question} -> over: over 0 of 10/minute 59s & ok 0 of 1/minute 59s & ok")).await;
    let (request, _) = denies.question(question);
    let body: Value = serde_json::from_slice(&denies.ask(request).await?.raw_body)?;
    assert_eq!(body["type"], "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity");
    Ok(())
}

#[tokio::test]
async fn without_its_tier_the_service_is_unavailable() {
    let mut talk = Talk::over(Broken, None, LIMITS).await;
    let (request, _) = talk.question("@0s minute=a");
    let status = talk.ask(request).await.unwrap_err();
    let expected = "no tier is called `envoy`; add one with the policy `descriptors` to the active roster";
    assert_eq!((status.code(), status.message()), (Code::Unavailable, expected));
    talk.check("@0s other=a -> ok: ok").await;
}
