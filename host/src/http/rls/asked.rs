//! What a request asks: for each descriptor its limit, and what of it the policy is to charge.

use std::collections::HashSet;
use std::sync::Arc;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;

use super::rule::{Enforcement, Rate, Rule, Unit};
use super::rules::{DescriptorRules, Met, counter_key, digest};
use crate::model::Request;

/// What a request asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// One for each descriptor, in order.
    pub(super) descriptors: Vec<Descriptor>,
    /// What the policy is to charge, as attributes of the request.
    pub(super) attributes: Vec<(Box<str>, String)>,
    /// Whom it is for, as far as a tenant's budget of subjects goes: all counters together.
    pub(super) subject: String,
}

/// What becomes of a descriptor.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Descriptor {
    /// No rule is about it, or the rule of another descriptor stands in its place.
    Free,
    /// A rule lets it do as it likes.
    Unlimited,
    /// Its limit lets nothing pass, and it asks for something if `asks`.
    Barred { rule: Arc<Rule>, unit: Unit, asks: bool },
    /// It is charged: the counter at `at` of those of the request.
    Counted { rule: Arc<Rule>, unit: Unit, per_unit: u32, at: usize },
}

/// The most descriptors of a request.
pub(super) const MOST_DESCRIPTORS: usize = 64;
/// The most entries of a descriptor.
const MOST_ENTRIES: usize = 32;
/// The most descriptors of a request that are counted: what one decision charges.
pub(super) const MOST_COUNTED: usize = 8;

impl Asked {
    /// Finds the rule of each descriptor. The problem of a request that makes no sense says what is accepted.
    pub(super) fn read(request: &RateLimitRequest, rules: &DescriptorRules) -> Result<Self, String> {
        check(request)?;
        let found: Vec<Option<Found>> = request
            .descriptors
            .iter()
            .map(|descriptor| Found::of(request, descriptor, rules))
            .collect::<Result<_, String>>()?;
        let rules: Vec<Arc<Rule>> = found.iter().flatten().map(|found| Arc::clone(&found.met.rule)).collect();
        let replaced: HashSet<&str> = rules.iter().flat_map(|rule| rule.replaces.iter().map(|name| &**name)).collect();
        // Nothing replaces the empty name.
        let stays = |found: &Found| found.met.rule.rate == Rate::Unlimited || !replaced.contains(&*found.met.rule.name);
        Self::settle(found.into_iter().map(|found| found.filter(&stays)).collect())
    }

    fn settle(found: Vec<Option<Found>>) -> Result<Self, String> {
        let quotas = found.iter().flatten().filter(|found| found.met.rule.enforcement == Enforcement::Quota).count();
        let refuses = |enforcement| match enforcement {
            Enforcement::Enforce => true,
            // The only quota of a request refuses it when it is used up.
            Enforcement::Quota => quotas == 1,
            Enforcement::Shadow => false,
        };
        let is_barred = found.iter().flatten().any(|found| found.is_barred() && refuses(found.met.rule.enforcement));
        let mut asked =
            Self { descriptors: Vec::with_capacity(found.len()), attributes: Vec::new(), subject: String::new() };
        for found in found {
            let descriptor = asked.descriptor(found, |enforcement| match enforcement {
                // Another limit refuses the request already.
                _ if is_barred => "peek",
                enforcement if refuses(enforcement) => "enforce",
                _ => "shadow",
            });
            asked.descriptors.push(descriptor);
        }
        match asked.attributes.len() {
            counted if counted > MOST_COUNTED => Err(format!(
                "{counted} descriptors have limits; at most {MOST_COUNTED} of a request may, since all are taken at once"
            )),
            _ => Ok(asked),
        }
    }

    fn descriptor(&mut self, found: Option<Found>, mode: impl Fn(Enforcement) -> &'static str) -> Descriptor {
        let Some(found) = found else { return Descriptor::Free };
        let asks = found.cost > 0;
        let Found { met: Met { rule, key }, cost } = found;
        match rule.rate {
            Rate::Unlimited => Descriptor::Unlimited,
            Rate::Per(0, unit) => Descriptor::Barred { rule, unit, asks },
            Rate::Per(per_unit, unit) => {
                let mode = mode(rule.enforcement);
                let attribute = format!("{mode} {cost} {per_unit},{} {key}", unit.seconds());
                self.join(&key);
                let at = self.attributes.len();
                self.attributes.push((rule.id.clone(), attribute));
                Descriptor::Counted { rule, unit, per_unit, at }
            }
        }
    }

    fn join(&mut self, key: &str) {
        if !self.subject.is_empty() {
            self.subject.push(' ');
        }
        self.subject.push_str(key);
        if self.subject.len() > Request::MAX_SUBJECT_BYTES {
            self.subject = digest(&self.subject);
        }
    }
}

/// The rule of a descriptor, and what it is asked for.
struct Found {
    met: Met,
    cost: u64,
}

impl Found {
    fn of(
        request: &RateLimitRequest,
        descriptor: &RateLimitDescriptor,
        rules: &DescriptorRules,
    ) -> Result<Option<Self>, String> {
        let entries = || descriptor.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str()));
        let given = descriptor.limit.filter(|_| rules.has_domain(&request.domain));
        let met = match given {
            None => rules.meet(&request.domain, entries()),
            Some(limit) => {
                let unit = Unit::numbered(limit.unit).ok_or_else(|| {
                    format!("a descriptor's `limit` has the unit {}, which is none that is counted", limit.unit)
                })?;
                let path: Vec<&str> = entries().map(|(key, _)| key).collect();
                let rule = Rule::given(limit.requests_per_unit, unit, &path);
                Some(Met { rule: Arc::new(rule), key: counter_key(entries()) })
            }
        };
        let Some(met) = met else { return Ok(None) };
        let cost = match descriptor.hits_addend {
            Some(cost) => cost.value,
            None => u64::from(request.hits_addend).max(1),
        };
        if descriptor.is_negative_hits {
            return Err("a descriptor has negative hits; what was taken cannot be given back here".to_owned());
        }
        if cost > Request::MAX_COST {
            return Err(format!("`hits_addend` is {cost}; give at most {}", Request::MAX_COST));
        }
        Ok(Some(Self { met, cost }))
    }

    /// Whether it asks for something where nothing is to be had.
    fn is_barred(&self) -> bool {
        matches!(self.met.rule.rate, Rate::Per(0, _)) && self.cost > 0
    }
}

fn check(request: &RateLimitRequest) -> Result<(), String> {
    let descriptors = request.descriptors.len();
    if request.domain.is_empty() {
        return Err("`domain` is empty; name one".to_owned());
    }
    if !(1..=MOST_DESCRIPTORS).contains(&descriptors) {
        return Err(format!("there are {descriptors} descriptors; give 1 to {MOST_DESCRIPTORS}"));
    }
    let too_many = request
        .descriptors
        .iter()
        .map(|descriptor| descriptor.entries.len())
        .find(|entries| !(1..=MOST_ENTRIES).contains(entries));
    match too_many {
        Some(entries) => Err(format!("a descriptor has {entries} entries; give 1 to {MOST_ENTRIES}")),
        None => Ok(()),
    }
}
