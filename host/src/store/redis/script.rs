//! The script that takes a list: what it is told and what it answers.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, ParsingError, Value};

use crate::counter::{Algorithm, Item, Mode, State};
use crate::store::plan::Plan;
use crate::time::{Timestamp, micros};

/// The script.
pub(super) const TEXT: &str = include_str!("charge.lua");

/// What a list is charged by.
pub(super) struct Terms {
    /// The time; none for the server's.
    pub(super) now: Option<Timestamp>,
    /// How much longer than it counts a counter is kept.
    pub(super) grace: Duration,
}

/// The call of the script, known to the server by `EVALSHA` and its hash, or given by `EVAL` and its text.
pub(super) fn call(verb: &str, script: &str, plan: &Plan<'_>, terms: &Terms) -> Cmd {
    let mut cmd = redis::cmd(verb);
    cmd.arg(script).arg(plan.keys.len()).arg(&plan.keys);
    match terms.now {
        Some(now) => cmd.arg(now.as_micros()),
        None => cmd.arg(""),
    };
    cmd.arg(micros(terms.grace) / 1_000);
    for item in &plan.items {
        add(&mut cmd, item);
    }
    cmd
}

fn add(cmd: &mut Cmd, item: &Item) {
    let rule = &item.rule;
    let kind = match rule.algorithm {
        Algorithm::FixedWindow => "f",
        Algorithm::SlidingWindow => "s",
        Algorithm::TokenBucket => "b",
    };
    let mode = match item.mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
        Mode::Peek => "peek",
    };
    // A cost that can never fit need not be exact, only too large; so it cannot be too large for a double.
    cmd.arg(kind).arg(mode).arg(item.slot + 1);
    if rule.algorithm == Algorithm::TokenBucket {
        let refill = |tokens: u64| {
            let parts = u128::from(tokens) * u128::from(rule.window_us);
            (narrow(parts / u128::from(rule.max)), narrow(parts % u128::from(rule.max)))
        };
        let (cost_us, cost_part) = refill(item.cost.min(rule.burst + 1));
        let (capacity_us, capacity_part) = refill(rule.burst);
        cmd.arg(cost_us).arg(rule.window_us).arg(rule.max).arg(cost_part).arg(capacity_us).arg(capacity_part);
    } else {
        cmd.arg(item.cost.min(rule.max + 1)).arg(rule.window_us).arg(rule.max);
    }
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// What the script answers.
pub(super) struct Answer {
    /// When the list was charged.
    pub(super) now_us: u64,
    /// Whether it was admitted.
    pub(super) admitted: bool,
    /// The texts of the counters before, in the order of the plan's keys.
    pub(super) held: Vec<Option<String>>,
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (now_us, admitted, held) = redis::from_redis_value(value)?;
        Ok(Self { now_us, admitted, held })
    }
}

impl Answer {
    /// What the counters were before; none if one of them cannot be read.
    pub(super) fn states(&self, plan: &Plan<'_>) -> Option<Vec<Option<State>>> {
        let mut states = vec![None; plan.keys.len()];
        for item in &plan.items {
            // A text that is there and cannot be read is no unused counter.
            *states.get_mut(item.slot)? = match self.held.get(item.slot)? {
                Some(text) => Some(State::parse(item.rule.algorithm, text)?),
                None => None,
            };
        }
        Some(states)
    }
}
