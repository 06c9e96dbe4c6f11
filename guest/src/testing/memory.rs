//! Counters in memory, with a clock that is moved by hand.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use super::{Scenario, whole_ms};
use crate::counter::{Item, Outcome, State, charge_all};
use crate::{Algorithm, Charge, Counters, Fault};

/// Fresh counters of one tenant, whose clock stands at [`Scenario::BASE_MS`].
#[must_use]
pub fn counters() -> MemoryCounters {
    MemoryCounters {
        now_us: Cell::new(Scenario::BASE_MS * 1_000),
        states: RefCell::default(),
        fault: RefCell::default(),
    }
}

/// Counters of one tenant that answer as the host's do.
#[derive(Debug)]
pub struct MemoryCounters {
    now_us: Cell<u64>,
    states: RefCell<HashMap<Name, State>>,
    fault: RefCell<Option<Fault>>,
}

/// What tells one counter of a tenant from another: the limit's id, how it counts, and the key.
type Name = (String, Algorithm, String);

impl MemoryCounters {
    /// The clock, in milliseconds since the Unix epoch: what the host says as [`Request::now_ms`](crate::Request::now_ms).
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_us.get() / 1_000
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.now_us.set(self.now_us.get().saturating_add(micros));
    }

    /// Sets the clock to a moment that is not before the present one.
    pub(super) fn advance_to(&self, now_ms: u64) {
        self.now_us.set(self.now_us.get().max(now_ms.saturating_mul(1_000)));
    }

    /// Makes every charge from now on fail with `fault`, or none of them.
    pub fn fail(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.borrow_mut() = fault.into();
    }
}

impl Counters for MemoryCounters {
    fn charge_all(&self, charges: &[Charge<'_>]) -> Result<Vec<Outcome>, Fault> {
        if let Some(fault) = self.fault.borrow().clone() {
            return Err(fault);
        }
        let mut names: Vec<Name> = Vec::new();
        let mut items = Vec::with_capacity(charges.len());
        for charge in charges {
            check_key(charge.key)?;
            let rule = *charge.limit.rule();
            let name = (charge.limit.id().to_owned(), rule.algorithm, charge.key.to_owned());
            let slot = names.iter().position(|earlier| *earlier == name).unwrap_or(names.len());
            if slot == names.len() {
                names.push(name);
            }
            items.push(Item { rule, cost: charge.cost, mode: charge.mode, slot });
        }
        let mut stored = self.states.borrow_mut();
        let mut states: Vec<Option<State>> = names.iter().map(|name| stored.get(name).copied()).collect();
        let (_, outcomes) = charge_all(&items, &mut states, self.now_us.get());
        stored.extend(names.into_iter().zip(states).filter_map(|(name, state)| state.map(|state| (name, state))));
        Ok(outcomes.into_iter().map(to_whole_ms).collect())
    }
}

/// An outcome as the host tells it to a component.
fn to_whole_ms(outcome: Outcome) -> Outcome {
    Outcome { reset_after: whole_ms(outcome.reset_after), retry_after: outcome.retry_after.map(whole_ms), ..outcome }
}

/// Refuses the keys that the host refuses.
fn check_key(key: &str) -> Result<(), Fault> {
    if key.len() > 128 || key.chars().any(char::is_control) {
        return Err(Fault::Invalid(format!(
            "key `{}` is not 0 to 128 bytes without control characters",
            key.escape_debug()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limit;

    fn limit(text: &str) -> Limit {
        Limit::parse("limit", text).unwrap()
    }

    #[test]
    fn a_refused_list_takes_nothing() {
        let (wide, narrow) = (Limit::parse("wide", "10/m").unwrap(), Limit::parse("narrow", "1/m").unwrap());
        let counters = counters();
        assert!(counters.charge(&[narrow.charge("a", 1)]).unwrap().admitted());
        assert!(!counters.charge(&[wide.charge("a", 4), narrow.charge("a", 1)]).unwrap().admitted());
        assert_eq!(counters.charge(&[wide.charge("a", 0)]).unwrap().at(0).unwrap().remaining, 10);
    }

    #[test]
    fn neither_a_shadow_nor_a_peek_refuses_the_list() {
        let (counters, wide, narrow) = (counters(), limit("10/m"), Limit::parse("narrow", "1/m").unwrap());
        for charge in [narrow.charge("a", 2).shadow(), narrow.charge("a", 2).peek()] {
            let outcomes = counters.charge(&[wide.charge("a", 1), charge]).unwrap();
            assert!(outcomes.admitted() && !outcomes.at(1).unwrap().allowed, "{charge:?}");
        }
        assert_eq!(counters.charge(&[wide.charge("a", 0)]).unwrap().at(0).unwrap().remaining, 8);
    }

    #[test]
    fn each_key_limit_and_algorithm_has_its_own_counter() {
        let counters = counters();
        for (text, key) in [("1/m", "a"), ("1/m", "b"), ("1/m sliding", "a"), ("1/m burst 1", "a")] {
            assert!(counters.charge(&[limit(text).charge(key, 1)]).unwrap().admitted(), "{text} {key}");
            assert!(!counters.charge(&[limit(text).charge(key, 1)]).unwrap().admitted(), "{text} {key}");
        }
    }

    #[test]
    fn times_are_whole_milliseconds_rounded_up() {
        let (counters, limit) = (counters(), limit("3/s burst 1"));
        counters.charge(&[limit.charge("a", 1)]).unwrap();
        let refused = counters.charge(&[limit.charge("a", 1)]).unwrap();
        assert_eq!(refused.at(0).unwrap().retry_after, Some(Duration::from_millis(334)));
    }

    #[test]
    fn a_fault_is_answered_until_it_is_lifted() {
        let (counters, limit) = (counters(), limit("1/m"));
        counters.fail(Fault::Timeout);
        assert_eq!(counters.charge(&[limit.charge("a", 1)]), Err(Fault::Timeout));
        counters.fail(None);
        assert!(counters.charge(&[limit.charge("a", 1)]).unwrap().admitted());
    }

    #[test]
    fn keys_that_the_host_refuses_are_refused() {
        let (counters, limit) = (counters(), limit("1/m"));
        for key in ["a\nb", &"x".repeat(129)] {
            assert!(matches!(counters.charge(&[limit.charge(key, 1)]), Err(Fault::Invalid(_))));
        }
    }
}
