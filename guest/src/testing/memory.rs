//! Counters in memory, with a clock that is moved by hand.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use super::Scenario;
use super::calendar::Calendars;
use super::scenario::whole_ms;
use crate::counter::{HELD_AT_MOST_US, Item, Outcome, Rule, State, charge_all};
use crate::{Charge, Counters, Fault};

/// Fresh counters of one tenant, whose clock stands at [`Scenario::BASE_MS`].
#[must_use]
pub fn counters() -> MemoryCounters {
    MemoryCounters {
        now_us: Cell::new(Scenario::BASE_MS * 1_000),
        states: RefCell::default(),
        calendars: RefCell::default(),
        lists: Cell::default(),
        fault: RefCell::default(),
    }
}

/// Counters of one tenant that answer as the host's do.
#[derive(Debug)]
pub struct MemoryCounters {
    now_us: Cell<u64>,
    states: RefCell<HashMap<Name, State>>,
    calendars: RefCell<Calendars>,
    /// How many lists were charged: each holds its own slots.
    lists: Cell<u64>,
    fault: RefCell<Option<Fault>>,
}

/// What tells one counter of a tenant from another: the limit's id, how it is kept, and the key.
type Name = (String, &'static str, String);

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

    /// The rule of a charge, held or not, in the present period of its calendar if it has one.
    fn rule(&self, charge: &Charge<'_>) -> Result<Rule, Fault> {
        let rule = charge.limit.rule();
        let period = rule.calendar.map(|text| self.calendars.borrow_mut().period(text, self.now_us.get())).transpose();
        let hold_us = charge.hold.map_or(0, |hold| u64::try_from(hold.as_micros()).unwrap_or(u64::MAX));
        period.map(|period| Rule { hold_us, ..rule.counted(period) }).map_err(Fault::Invalid)
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
        self.lists.update(|lists| lists + 1);
        let mut names: Vec<Name> = Vec::new();
        let mut items = Vec::with_capacity(charges.len());
        for charge in charges {
            check_key(charge.key)?;
            check_hold(charge.hold)?;
            let rule = self.rule(charge)?;
            let name = (charge.limit.id().to_owned(), rule.algorithm.key_tag(), charge.key.to_owned());
            let slot = names.iter().position(|earlier| *earlier == name).unwrap_or(names.len());
            if slot == names.len() {
                names.push(name);
            }
            items.push(Item { rule, cost: charge.cost, mode: charge.mode, slot, holder: self.lists.get() });
        }
        let mut stored = self.states.borrow_mut();
        let mut states: Vec<Option<State>> = names.iter().map(|name| stored.get(name).cloned()).collect();
        let (_, outcomes) = charge_all(&items, &mut states, self.now_us.get());
        stored.extend(names.into_iter().zip(states).filter_map(|(name, state)| state.map(|state| (name, state))));
        Ok(outcomes.into_iter().map(to_whole_ms).collect())
    }
}

/// An outcome as the host tells it to a component.
fn to_whole_ms(outcome: Outcome) -> Outcome {
    Outcome { reset_after: whole_ms(outcome.reset_after), retry_after: outcome.retry_after.map(whole_ms), ..outcome }
}

/// Refuses what the host takes no reservation for.
fn check_hold(hold: Option<Duration>) -> Result<(), Fault> {
    let longest = Duration::from_micros(HELD_AT_MOST_US);
    match hold {
        Some(hold) if !(Duration::from_millis(1)..=longest).contains(&hold) => {
            Err(Fault::Invalid(format!("a hold of {hold:?} is not 1ms to 24h")))
        }
        _ => Ok(()),
    }
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
    fn a_bucket_that_lets_wait_is_the_bucket_still() {
        let counters = counters();
        assert!(counters.charge(&[limit("1/s burst 2").charge("a", 2)]).unwrap().admitted());
        let waits = limit("1/s burst 2 delay 5s");
        let outcomes = counters.charge(&[waits.charge("a", 3)]).unwrap();
        assert_eq!((outcomes.admitted(), outcomes.wait()), (true, Some(Duration::from_secs(3))));
        let refused = counters.charge(&[waits.charge("a", 3)]).unwrap();
        assert_eq!((refused.admitted(), refused.wait()), (false, None));
        let shadowed = counters.charge(&[waits.charge("a", 1).shadow()]).unwrap();
        assert_eq!((shadowed.wait(), shadowed.at(0).unwrap().allowed), (None, true));
    }

    #[test]
    fn each_list_holds_slots_of_its_own_until_their_lease_ends() {
        let (counters, limit) = (counters(), limit("2 at once for 30s"));
        let list = [limit.charge("a", 1)];
        assert!([(); 2].iter().all(|()| counters.charge(&list).unwrap().admitted()));
        assert!(!counters.charge(&list).unwrap().admitted());
        counters.advance(Duration::from_secs(30));
        assert!(counters.charge(&list).unwrap().admitted());
    }

    #[test]
    fn a_calendar_period_is_as_long_as_it_is() {
        // It is 1 o'clock on 22 December 2011 in Berlin.
        let (counters, limit) = (counters(), limit("2/calendar-month Europe/Berlin"));
        let outcomes = counters.charge(&[limit.charge("a", 2)]).unwrap();
        assert_eq!(outcomes.at(0).unwrap().reset_after, Duration::from_secs(((10 * 24) - 1) * 3_600));
        counters.advance(Duration::from_secs(((10 * 24) - 1) * 3_600));
        assert!(counters.charge(&[limit.charge("a", 2)]).unwrap().admitted());
        let nowhere = Limit::parse("limit", "2/calendar-day Mars/Base").unwrap();
        assert!(matches!(counters.charge(&[nowhere.charge("a", 1)]), Err(Fault::Invalid(_))));
    }

    #[test]
    fn a_hold_is_at_most_a_day() {
        let (counters, limit) = (counters(), limit("1/m"));
        for hold in [Duration::ZERO, Duration::from_secs(86_401)] {
            assert!(matches!(counters.charge(&[limit.charge("a", 1).hold(hold)]), Err(Fault::Invalid(_))));
        }
        assert!(counters.charge(&[limit.charge("a", 1).hold(Duration::from_secs(60))]).unwrap().admitted());
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
