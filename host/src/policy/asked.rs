//! What a guest asks for, checked and turned into charges on keys of its tenant.

use std::sync::Arc;
use std::time::Duration;

use super::contract;
use crate::counter::{Algorithm, HELD_AT_MOST_US, Mode, Rule};
use crate::model::{Calendars, ChangeRules, Charge, Fault, FaultKind, KeySpace, Limit};
use crate::store::List;
use crate::time::micros;

/// A list that a guest asks for, as a store takes it.
pub(super) struct Wanted {
    pub(super) charges: Vec<Charge>,
    /// Which charges are held, and for how long.
    pub(super) holds: Vec<(usize, Duration)>,
    /// The key by which it may be asked for again.
    once: Option<String>,
}

impl Wanted {
    pub(super) fn new(length: usize, once: Option<String>) -> Self {
        Self { charges: Vec::with_capacity(length), holds: Vec::new(), once }
    }

    pub(super) fn add(&mut self, (charge, hold): (Charge, Option<Duration>)) {
        self.holds.extend(hold.map(|hold| (self.charges.len(), hold)));
        self.charges.push(charge);
    }

    /// What the store is given, with the time that it may take.
    pub(super) fn list(&self, within: Duration) -> List<'_> {
        List { charges: &self.charges, within, once: self.once.as_deref(), fault: None }
    }
}

/// Whether what is asked for is held, and so needs a name.
pub(super) fn is_held(charge: &contract::Charge) -> bool {
    charge.hold_ms.is_some() || matches!(charge.limit.algorithm, contract::Algorithm::Concurrency)
}

/// Checks what guests ask for.
pub(super) struct Checks {
    pub(super) keys: KeySpace,
    pub(super) calendars: Calendars,
    /// When the decision began.
    pub(super) now_us: u64,
    on_change: Arc<ChangeRules>,
}

impl Checks {
    pub(super) fn new(on_change: Arc<ChangeRules>) -> Self {
        Self { keys: KeySpace::new("", "", ""), calendars: Calendars::default(), now_us: 0, on_change }
    }

    /// The charge as a store takes it, in the name of `holder`, and for how long it is held, if it is; or why it makes no sense.
    pub(super) fn check(
        &mut self,
        charge: &contract::Charge,
        holder: u64,
    ) -> Result<(Charge, Option<Duration>), Fault> {
        let contract::Charge { limit, key, cost, mode, hold_ms } = charge;
        let hold = hold_ms.map(hold).transpose()?;
        let hold_us = hold.map_or(0, micros);
        let rule = Rule { hold_us, on_change: self.on_change.of(&limit.id), ..self.rule(limit)? };
        let limit = Limit::with_rule(limit.id.as_str(), rule).map_err(|error| invalid(error.to_string()))?;
        if key.len() > KeySpace::MAX_SUFFIX_BYTES {
            return Err(invalid(format!("key: {} bytes; at most {}", key.len(), KeySpace::MAX_SUFFIX_BYTES)));
        }
        if key.contains(char::is_control) {
            return Err(invalid("key: holds a control character".to_owned()));
        }
        let lease = (rule.algorithm == Algorithm::Concurrency).then_some(limit.window());
        let hold = lease.into_iter().chain(hold).min();
        Ok((Charge { key: self.keys.key(&limit, key), limit, cost: *cost, mode: charge_mode(mode)?, holder }, hold))
    }

    fn rule(&mut self, limit: &contract::Limit) -> Result<Rule, Fault> {
        let rule = Rule {
            max: limit.max,
            window_us: limit.window_ms.saturating_mul(1_000),
            burst: limit.burst,
            ..Rule::of(Algorithm::FixedWindow)
        };
        let of = |algorithm| Rule { algorithm, ..rule };
        Ok(match &limit.algorithm {
            contract::Algorithm::FixedWindow => rule,
            contract::Algorithm::SlidingWindow => of(Algorithm::SlidingWindow),
            contract::Algorithm::TokenBucket => of(Algorithm::TokenBucket),
            contract::Algorithm::Concurrency => of(Algorithm::Concurrency),
            contract::Algorithm::Calendar(text) => {
                let period =
                    self.calendars.period(text, self.now_us).map_err(|problem| invalid(shortened(&problem)))?;
                Rule { window_us: period.end_us - period.start_us, period: Some(period), ..of(Algorithm::Calendar) }
            }
            contract::Algorithm::Other(name) => match name.strip_prefix("delay ").map(str::parse::<u64>) {
                Some(Ok(ms)) => Rule { longest_wait_us: ms.saturating_mul(1_000), ..of(Algorithm::Delay) },
                _ => return Err(unknown("algorithm", name)),
            },
        })
    }
}

fn hold(ms: u64) -> Result<Duration, Fault> {
    let longest_ms = HELD_AT_MOST_US / 1_000;
    if (1..=longest_ms).contains(&ms) {
        return Ok(Duration::from_millis(ms));
    }
    Err(invalid(format!("hold-ms: {ms} is not 1 to {longest_ms}")))
}

fn charge_mode(mode: &contract::Mode) -> Result<Mode, Fault> {
    match mode {
        contract::Mode::Enforce => Ok(Mode::Enforce),
        contract::Mode::Shadow => Ok(Mode::Shadow),
        contract::Mode::Peek => Ok(Mode::Peek),
        contract::Mode::Other(name) => Err(unknown("mode", name)),
    }
}

fn unknown(field: &str, name: &str) -> Fault {
    let name: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    invalid(format!("{field}: this host does not know `{name}`"))
}

/// A guest's own words, cut to what a line holds.
fn shortened(text: &str) -> String {
    text.chars().take(256).collect()
}

fn invalid(message: String) -> Fault {
    Fault::new(FaultKind::Invalid, message)
}
