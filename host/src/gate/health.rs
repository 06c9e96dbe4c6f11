//! Whether a policy fails again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::Timestamp;

/// Tells a storm of faults: in ten seconds, at least twenty decisions that the policy could not make, and half of all.
///
/// Costs a read of one flag while there are no faults.
#[derive(Debug, Default)]
pub(super) struct Health {
    suspect: AtomicBool,
    tally: Mutex<Tally>,
}

/// What happened since the first fault.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    began: Timestamp,
    decisions: u32,
    faults: u32,
}

const WINDOW: Duration = Duration::from_secs(10);
const LEAST_FAULTS: u32 = 20;

impl Health {
    /// Takes note of a decision that the policy made.
    pub(super) fn note_decision(&self, now: Timestamp) {
        if !self.suspect.load(Ordering::Relaxed) {
            return;
        }
        self.with(|tally| {
            tally.decisions += 1;
            if now.since(tally.began) > WINDOW {
                self.suspect.store(false, Ordering::Relaxed);
            }
        });
    }

    /// Takes note of a decision that it could not make. How many faults there were, if that is a storm.
    pub(super) fn note_fault(&self, now: Timestamp) -> Option<u32> {
        self.with(|tally| {
            if !self.suspect.swap(true, Ordering::Relaxed) || now.since(tally.began) > WINDOW {
                *tally = Tally { began: now, ..Tally::default() };
            }
            tally.decisions += 1;
            tally.faults += 1;
            (tally.faults >= LEAST_FAULTS && tally.faults * 2 >= tally.decisions).then_some(tally.faults)
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Tally) -> T) -> T {
        // It holds only numbers, each of which is sound by itself.
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Clock as _, ManualClock};

    /// Makes decisions, `x` for a fault and `.` for none, so far apart. Which fault makes the storm.
    fn check(decisions: &str, apart: Duration, storm: Option<usize>) {
        let (clock, health) = (ManualClock::at(Timestamp::from_micros(1)), Health::default());
        let mut found = None;
        for (at, decision) in decisions.chars().enumerate() {
            match decision {
                'x' if health.note_fault(clock.now()).is_some() => found = found.or(Some(at)),
                'x' => {}
                _ => health.note_decision(clock.now()),
            }
            clock.advance(apart);
        }
        assert_eq!(found, storm, "{decisions}");
    }

    #[test]
    fn twenty_faults_are_a_storm_if_they_are_half_of_all_and_close() {
        let ms = Duration::from_millis;
        check(&"x".repeat(19), ms(1), None);
        check(&"x".repeat(20), ms(1), Some(19));
        check(&"x.".repeat(20), ms(1), Some(38));
        check(&"x..".repeat(40), ms(1), None);
        check(&"x".repeat(40), ms(1_000), None);
        // What went well before the first fault does not outweigh it.
        check(&(".".repeat(100) + &"x".repeat(20)), ms(1), Some(119));
    }
}
