//! A decision as Envoy reads it.

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus, RateLimit};
use envoy_types::pb::google::protobuf::Duration as EnvoyDuration;

use super::asked::{Asked, Descriptor};
use super::rule::{Enforcement, Rule, Unit};
use crate::counter::Mode;
use crate::http::headers::{HeaderOptions, headers};
use crate::http::refusal::refusal;
use crate::model::{Charged, Decision, Source};
use crate::time::Timestamp;

/// What an answer is written with.
#[derive(Clone, Copy)]
pub(super) struct Desk {
    pub(super) now: Timestamp,
    pub(super) options: HeaderOptions,
}

/// The answer: a status for each descriptor, the code of the whole, and what the client is told.
pub(super) fn answer(domain: &str, asked: &Asked, decision: &Decision, desk: Desk) -> RateLimitResponse {
    let Desk { now, options } = desk;
    // A policy of the operator's own may have charged something else: then its verdict speaks for every descriptor.
    let limits = Some(&decision.limits).filter(|limits| limits.len() == asked.attributes.len());
    let told = |descriptor| Told::of(descriptor, decision, limits.map_or(&[], Vec::as_slice), now);
    let told: Vec<Told> = asked.descriptors.iter().map(told).collect();
    count(domain, &told);
    let is_over = !decision.is_allowed() || refuses(&told);
    let (mut response_headers_to_add, mut raw_body) = (fields(decision, options), Vec::new());
    if is_over {
        let over = told.iter().filter(|told| told.status.code == code(true));
        let violated: Vec<&str> = over.filter_map(|told| Some(&*told.rule?.id)).collect();
        raw_body = body(decision, &violated);
        response_headers_to_add.push(field("content-type", "application/problem+json"));
    }
    RateLimitResponse {
        overall_code: code(is_over),
        statuses: told.into_iter().map(|told| told.status).collect(),
        response_headers_to_add,
        raw_body,
        ..RateLimitResponse::default()
    }
}

/// What one descriptor is told.
struct Told<'a> {
    status: DescriptorStatus,
    rule: Option<&'a Rule>,
    /// Whether its limit had no room.
    lacks: bool,
}

impl<'a> Told<'a> {
    fn of(descriptor: &'a Descriptor, decision: &Decision, limits: &[Charged], now: Timestamp) -> Self {
        match descriptor {
            Descriptor::Free => Self::free(0),
            Descriptor::Unlimited => Self::free(u32::MAX),
            Descriptor::Barred { rule, unit, asks } => {
                let current_limit = Some(limit(rule, 0, *unit));
                let duration_until_reset = Some(until_reset(None, *unit, now));
                let status = DescriptorStatus { current_limit, duration_until_reset, ..DescriptorStatus::default() };
                Self::ruled(rule, *asks, status)
            }
            // By a rule, without a count: nobody knows what remains.
            Descriptor::Counted { rule, at, .. } if limits.len() <= *at && decision.is_allowed() => {
                Self { rule: Some(rule), ..Self::free(0) }
            }
            Descriptor::Counted { rule, unit, per_unit, at } => {
                let charged = limits.get(*at);
                let lacks = charged.is_none_or(|charged| !charged.outcome.allowed);
                let remaining = charged.map_or(0, remaining);
                let status = DescriptorStatus {
                    current_limit: Some(limit(rule, *per_unit, *unit)),
                    limit_remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
                    duration_until_reset: Some(until_reset(charged, *unit, now)),
                    ..DescriptorStatus::default()
                };
                Self::ruled(rule, lacks, status)
            }
        }
    }

    fn free(limit_remaining: u32) -> Self {
        let status = DescriptorStatus { code: code(false), limit_remaining, ..DescriptorStatus::default() };
        Self { status, rule: None, lacks: false }
    }

    fn ruled(rule: &'a Rule, lacks: bool, status: DescriptorStatus) -> Self {
        let status = DescriptorStatus { code: code(lacks && rule.enforcement != Enforcement::Shadow), ..status };
        Self { status, rule: Some(rule), lacks }
    }

    fn is(&self, enforcement: Enforcement) -> bool {
        self.rule.is_some_and(|rule| rule.enforcement == enforcement)
    }
}

/// What is left now. A look tells what would be left if it had taken, which is not what the client has.
fn remaining(charged: &Charged) -> u64 {
    let would_have_taken = charged.mode == Mode::Peek && charged.outcome.allowed;
    charged.outcome.remaining + if would_have_taken { charged.cost } else { 0 }
}

/// Whether a limit refuses the request, or all its quotas are used up.
fn refuses(told: &[Told<'_>]) -> bool {
    let mut quotas = told.iter().filter(|told| told.is(Enforcement::Quota)).peekable();
    let has_quotas = quotas.peek().is_some();
    (has_quotas && quotas.all(|told| told.lacks)) || told.iter().any(|told| told.is(Enforcement::Enforce) && told.lacks)
}

/// Counts what became of each descriptor. Domains and limits are those of the files: strangers make no metrics.
fn count(domain: &str, told: &[Told<'_>]) {
    for Told { rule, lacks, .. } in told {
        let Some(rule) = rule else { continue };
        let outcome = match (lacks, rule.enforcement) {
            (false, _) => "ok",
            (true, Enforcement::Shadow) => "shadow",
            (true, Enforcement::Enforce | Enforcement::Quota) => "over",
        };
        let limit = if rule.is_given { "(given by the request)" } else { &rule.id };
        let labels = [("domain", domain.to_owned()), ("limit", limit.to_owned()), ("outcome", outcome.to_owned())];
        metrics::counter!("tollgate_envoy_descriptors_total", &labels).increment(1);
    }
}

fn code(is_over: bool) -> i32 {
    if is_over { Code::OverLimit as i32 } else { Code::Ok as i32 }
}

fn limit(rule: &Rule, requests_per_unit: u32, unit: Unit) -> RateLimit {
    RateLimit { name: rule.name.to_string(), requests_per_unit, unit: unit.number() }
}

/// Whole seconds, rounded up, until the window ends: as the store counts, or, where nothing was counted, by our clock.
fn until_reset(charged: Option<&Charged>, unit: Unit, now: Timestamp) -> EnvoyDuration {
    const SECOND_US: u64 = 1_000_000;
    let told = charged.map_or(0, |charged| charged.outcome.reset_after.as_micros());
    let left_us = match u64::try_from(told) {
        Ok(0) | Err(_) => {
            let window_us = unit.seconds() * SECOND_US;
            window_us - now.as_micros() % window_us
        }
        Ok(told) => told,
    };
    EnvoyDuration { seconds: i64::try_from(left_us.div_ceil(SECOND_US)).unwrap_or(i64::MAX), nanos: 0 }
}

fn fields(decision: &Decision, options: HeaderOptions) -> Vec<HeaderValue> {
    let fields = headers(decision, options);
    fields.iter().filter_map(|(name, value)| Some(field(name.as_str(), value.to_str().ok()?))).collect()
}

fn field(key: &str, value: &str) -> HeaderValue {
    HeaderValue { key: key.to_owned(), value: value.to_owned(), raw_value: Vec::new() }
}

/// A problem, as `/v1/check` gives it. Envoy answers 429, whoever refused.
fn body(decision: &Decision, violated: &[&str]) -> Vec<u8> {
    // Where the policy allowed, a limit of 0 refused, or quotas.
    let source = if decision.is_allowed() { Source::Policy } else { decision.source };
    let (_, mut problem) = refusal(source, violated, &decision.reason);
    if let Some(members) = problem.as_object_mut() {
        members.insert("status".to_owned(), 429.into());
    }
    problem.to_string().into_bytes()
}
