//! What outlasts a list: the answer to one that may be asked for again, and what became of a receipt.

use super::shard::{Entry, Shard};
use super::{GRACE, List, Locked, Memory, Outcomes, Place, lock, own};
use crate::counter::{Algorithm, GiveBack, Mode, Outcome, State, give_back, renew};
use crate::model::{Action, Charge, Fault, FaultKind, Held, Settled, Settlement};
use crate::time::micros;

/// What is remembered beside the counters.
#[derive(Debug)]
pub(super) enum Note {
    /// The answer to an admitted list.
    Answered(Box<[Outcome]>),
    /// The receipt is open for longer than it says itself.
    OpenUntil(u64),
    /// The receipt is settled.
    Settled,
}

impl Memory {
    /// Charges a list, unless it was admitted before: then answers what was answered then.
    pub(super) fn charge_once(&self, key: &str, charges: &[Charge], now_us: u64) -> Outcomes {
        let place = self.place(key);
        let mut notes = lock(own(&self.notes, place));
        match alive(&mut notes, place, key, now_us) {
            None => {}
            Some(Note::Answered(outcomes)) if outcomes.len() == charges.len() => return Ok(outcomes.to_vec()),
            Some(_) => {
                let message = format!("`{}` was given to another list before", key.escape_debug());
                return Err(Fault::new(FaultKind::Invalid, message));
            }
        }
        let outcomes = self.take_now(charges, now_us)?;
        let is_refused = |(charge, outcome): (&Charge, &Outcome)| charge.mode == Mode::Enforce && !outcome.allowed;
        if !charges.iter().zip(&outcomes).any(is_refused) {
            let expires_us = now_us.saturating_add(micros(List::ONCE_LIFE));
            let answered = Note::Answered(outcomes.as_slice().into());
            notes.put(place.hash, key, Entry { value: answered, expires_us }, now_us);
        }
        Ok(outcomes)
    }

    pub(super) fn settle_at(&self, settlement: &Settlement, now_us: u64) -> Result<Settled, Fault> {
        let Some(marker) = &settlement.marker else { return self.settle_unmarked(settlement, now_us) };
        let place = self.place(marker);
        let mut notes = lock(own(&self.notes, place));
        let said_us = settlement.until.as_micros();
        let until_us = match alive(&mut notes, place, marker, now_us) {
            None => said_us,
            Some(Note::OpenUntil(until_us)) => said_us.max(*until_us),
            Some(Note::Settled) => return Ok(Settled::Already),
            Some(Note::Answered(_)) => {
                let message = format!("`{}` marks no receipt", marker.escape_debug());
                return Err(Fault::new(FaultKind::Invalid, message));
            }
        };
        if now_us > until_us {
            return Ok(Settled::Late);
        }
        let counters: Vec<(&str, Place)> =
            settlement.held.iter().map(|held| (held.key.as_str(), self.place(&held.key))).collect();
        let mut locked = self.lock_all(&counters);
        let (note, until_us) = match settlement.action {
            Action::Settle => {
                locked.give_all_back(settlement, &counters, now_us);
                (Note::Settled, until_us)
            }
            Action::Renew { until } => {
                let until_us = until_us.max(until.as_micros());
                let all = || settlement.held.iter().zip(&counters);
                let renewed: Vec<Option<State>> =
                    all().map(|(held, (_, place))| locked.renewed(*place, held, now_us)).collect();
                if all().zip(&renewed).any(|((held, _), state)| holds_slots(held) && state.is_none()) {
                    return Ok(Settled::Late);
                }
                for ((held, (_, place)), state) in all().zip(renewed) {
                    if let Some(state) = state {
                        locked.keep(*place, held, Some(state), now_us);
                    }
                }
                (Note::OpenUntil(until_us), until_us)
            }
        };
        let expires_us = until_us.saturating_add(micros(GRACE)).saturating_add(settlement.remembered_us);
        notes.put(place.hash, marker, Entry { value: note, expires_us }, now_us);
        Ok(Settled::Done)
    }
}

impl Memory {
    fn settle_unmarked(&self, settlement: &Settlement, now_us: u64) -> Result<Settled, Fault> {
        if settlement.action != Action::Settle {
            return Err(Fault::new(FaultKind::Invalid, Settlement::UNMARKED_RENEWAL));
        }
        let counters: Vec<(&str, Place)> =
            settlement.held.iter().map(|held| (held.key.as_str(), self.place(&held.key))).collect();
        self.lock_all(&counters).give_all_back(settlement, &counters, now_us);
        Ok(Settled::Done)
    }
}

impl Locked<'_> {
    fn give_all_back(&mut self, settlement: &Settlement, counters: &[(&str, Place)], now_us: u64) {
        for (held, (_, place)) in settlement.held.iter().zip(counters) {
            self.give_back(*place, held, now_us);
        }
    }

    fn give_back(&mut self, place: Place, held: &Held, now_us: u64) {
        if let Some(state) = self.state(place, &held.key) {
            let state = give_back(held.limit.rule(), Some(state), &of(held), now_us);
            self.keep(place, held, state, now_us);
        }
    }

    fn renewed(&mut self, place: Place, held: &Held, now_us: u64) -> Option<State> {
        let state = self.state(place, &held.key);
        renew(held.limit.rule(), state, &of(held), now_us)
    }

    /// Keeps a counter that is there, for no less long than before.
    fn keep(&mut self, place: Place, held: &Held, state: Option<State>, now_us: u64) {
        let Some(shard) = self.shard(place) else { return };
        let Some(state) = state else { return shard.remove(place.hash, &held.key) };
        if let Some(entry) = shard.find(place.hash, &held.key) {
            let ends_us = state.ends_us(held.limit.rule(), now_us).saturating_add(micros(GRACE));
            *entry = Entry { value: state, expires_us: entry.expires_us.max(ends_us) };
        }
    }
}

fn of(held: &Held) -> GiveBack {
    GiveBack { taken: held.taken, amount: held.unused, mark_us: held.mark_us, holder: held.holder }
}

fn holds_slots(held: &Held) -> bool {
    held.limit.algorithm() == Algorithm::Concurrency
}

/// The note under a key, unless its time is over.
fn alive<'n>(notes: &'n mut Shard<Note>, place: Place, key: &str, now_us: u64) -> Option<&'n mut Note> {
    notes.find(place.hash, key).filter(|entry| entry.expires_us > now_us).map(|entry| &mut entry.value)
}
