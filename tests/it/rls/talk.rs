//! A conversation with the service, in text: `@TIME [xTIMES] DESCRIPTORS -> OVERALL: STATUS & STATUS`.
//!
//! A descriptor is `key=value,key=value`, and may end in `+HITS` or `!LIMIT/unit` (its own limit). A status is `ok` or `over`, and where there is a limit
//! what remains of it and how long until it is reset: `ok 4 of 5/day 86400s`.

use std::path::Path;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
use tollgate::http::HeaderOptions;
use tollgate::http::rls::{DescriptorRules, ENVOY_TIER, RateLimitServer, RateLimitService};
use tollgate::store::{Memory, Store};
use tollgate::{ManualClock, TierPlan, Timestamp, Tollgate};
use tonic::Status;

/// A midnight in UTC, with which a week and a month of 30 days begin as well: the first such after 2023.
const BASE_S: u64 = 210 * 86_400 * 94;

/// A service over memory, with a clock of its own.
pub(crate) struct Talk {
    clock: ManualClock,
    client: RateLimitServiceClient<RateLimitServer>,
    domain: String,
}

impl Talk {
    /// The service that has the limits of this file.
    pub(crate) async fn with(yaml: &str) -> Self {
        let clock = ManualClock::at(Timestamp::from_micros(BASE_S * 1_000_000));
        let tier = TierPlan::built_in("descriptors", "{}");
        Self::new(clock.clone(), Memory::new(clock), Some(tier), yaml).await
    }

    /// The same over this store, decided by this tier, or by none.
    pub(crate) async fn over(store: impl Store, tier: Option<TierPlan>, yaml: &str) -> Self {
        Self::new(ManualClock::at(Timestamp::from_micros(BASE_S * 1_000_000)), store, tier, yaml).await
    }

    async fn new(clock: ManualClock, store: impl Store, tier: Option<TierPlan>, yaml: &str) -> Self {
        let builder = Tollgate::builder().store(store).clock(clock.clone()).deadline(Duration::from_secs(5));
        // A gate has one tier at least.
        let builder = builder.tier("other", TierPlan::built_in("descriptors", "{}"));
        let gate = match tier {
            Some(tier) => builder.tier(ENVOY_TIER, tier).build(),
            None => builder.build(),
        };
        let rules = DescriptorRules::parse([(Path::new("example.yaml"), yaml)]).unwrap();
        let domain = rules.domains().next().unwrap().to_owned();
        let options = HeaderOptions { x_ratelimit: true, ..HeaderOptions::default() };
        let service = RateLimitService::new(gate.await.unwrap(), rules, options);
        Self { clock, client: RateLimitServiceClient::new(service.into_server()), domain }
    }

    /// Holds the conversation, line by line.
    pub(crate) async fn check(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (question, expected) = line.split_once(" -> ").unwrap_or_else(|| panic!("no answer: {line}"));
            let (question, times) = self.question(question);
            let mut told = String::new();
            for _ in 0..times {
                told = self
                    .ask(question.clone())
                    .await
                    .map_or_else(|status| status.message().to_owned(), |told| text(&told));
            }
            assert_eq!(told, expected.trim(), "{line}");
        }
    }

    pub(crate) async fn ask(&mut self, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        self.client.should_rate_limit(request).await.map(tonic::Response::into_inner)
    }

    /// Sets the clock, and answers the question and how often it is asked.
    pub(crate) fn question(&self, text: &str) -> (RateLimitRequest, usize) {
        let (at, rest) = text.split_once(' ').unwrap();
        let at: u64 = at.strip_prefix('@').and_then(|at| at.strip_suffix('s')).unwrap().parse().unwrap();
        self.clock.set(Timestamp::from_micros((BASE_S + at) * 1_000_000));
        let (times, rest) = match rest.split_once(' ') {
            Some((times, after)) if times.starts_with('x') => (times[1..].parse().unwrap(), after),
            _ => (1, rest),
        };
        let descriptors = rest.split(" & ").map(descriptor).collect();
        (RateLimitRequest { domain: self.domain.clone(), descriptors, hits_addend: 0 }, times)
    }
}

fn descriptor(text: &str) -> RateLimitDescriptor {
    let (text, limit) = text.split_once('!').map_or((text, None), |(text, limit)| (text, Some(own_limit(limit))));
    let (text, hits) = text.split_once('+').map_or((text, None), |(text, hits)| (text, Some(hits.parse().unwrap())));
    let entry = |entry: &str| {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        Entry { key: key.to_owned(), value: value.to_owned() }
    };
    RateLimitDescriptor {
        entries: text.split(',').map(entry).collect(),
        limit,
        hits_addend: hits.map(|value| UInt64Value { value }),
        is_negative_hits: false,
    }
}

fn own_limit(text: &str) -> RateLimitOverride {
    let (requests, unit) = text.split_once('/').unwrap();
    let unit = Unit::from_str_name(&unit.to_uppercase()).unwrap();
    RateLimitOverride { requests_per_unit: requests.parse().unwrap(), unit: unit as i32 }
}

fn text(response: &RateLimitResponse) -> String {
    let statuses: Vec<String> = response.statuses.iter().map(status).collect();
    format!("{}: {}", code(response.overall_code), statuses.join(" & "))
}

fn code(code: i32) -> &'static str {
    match Code::try_from(code) {
        Ok(Code::Ok) => "ok",
        Ok(Code::OverLimit) => "over",
        other => panic!("the code {other:?}"),
    }
}

fn status(status: &DescriptorStatus) -> String {
    let code = code(status.code);
    let Some(limit) = &status.current_limit else {
        assert_eq!(status.duration_until_reset, None);
        return match status.limit_remaining {
            0 => code.to_owned(),
            u32::MAX => format!("{code} unlimited"),
            other => panic!("{other} remain of no limit"),
        };
    };
    let unit = Unit::try_from(limit.unit).unwrap().as_str_name().to_lowercase();
    let reset = status.duration_until_reset.unwrap();
    assert_eq!(reset.nanos, 0);
    format!("{code} {} of {}/{unit} {}s", status.limit_remaining, limit.requests_per_unit, reset.seconds)
}
