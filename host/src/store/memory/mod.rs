//! Counters in the memory of this process.

mod settle;
mod shard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use self::settle::Note;
use self::shard::{Entry, Shard};
use super::plan::{Plan, item};
use super::{GRACE, List, Outcomes, Reply, Store};
use crate::counter::{Item, Outcome, State, charge_all};
use crate::model::{Charge, Settled, Settlement};
use crate::time::{Clock, micros};

/// Counters in the memory of this process: exact, fast, and gone when it ends.
///
/// It holds at most as many counters as it is told, 1,000,000 by default, at about 130 bytes each with a key of 44. A counter that is as if unused
/// goes when others come; if the store is full of counters in use, a new one displaces, of 16 it looks at, the one that would be unused soonest,
/// and one of its own tenant rather than another's. So a flood of new subjects displaces hardly any counters but those of its tenant.
///
/// Beside them it holds at most as many notes: of receipts that are settled, and of answers to lists that may be asked for again.
///
/// Many threads may charge at once: a counter is behind one of 64 locks, a list takes its locks in one order, and no lock is held while
/// anything waits.
pub struct Memory {
    clock: Box<dyn Clock>,
    hasher: SeedableRandomState,
    shards: Box<[Mutex<Shard<State>>]>,
    /// What lists and settlements leave behind. The lock of a note is taken before those of counters.
    notes: Box<[Mutex<Shard<Note>>]>,
}

/// Where a counter or a note is.
#[derive(Clone, Copy)]
struct Place {
    shard: usize,
    hash: u64,
}

impl Memory {
    /// How many counters a store holds that is told nothing else.
    pub const DEFAULT_CAPACITY: usize = 1_000_000;

    const SHARDS: usize = 64;
    // Below, a shard could be full while the others are empty.
    const LEAST_SHARDED_CAPACITY: usize = 256 * Self::SHARDS;

    /// An empty store that takes its time from `clock`.
    #[must_use]
    pub fn new(clock: impl Clock + 'static) -> Self {
        Self::with_capacity(clock, Self::DEFAULT_CAPACITY)
    }

    /// An empty store that never holds more than `max_counters`, and at least one.
    #[must_use]
    pub fn with_capacity(clock: impl Clock + 'static, max_counters: usize) -> Self {
        let shards = if max_counters < Self::LEAST_SHARDED_CAPACITY { 1 } else { Self::SHARDS };
        // Keys hold what callers send: whoever could foretell the hashes could slow every lookup.
        let seed = RandomState::new().hash_one(shards);
        Self {
            clock: Box::new(clock),
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            shards: (0..shards).map(|_| Mutex::new(Shard::new(max_counters / shards))).collect(),
            notes: (0..shards).map(|_| Mutex::new(Shard::new(max_counters / shards))).collect(),
        }
    }

    /// How many counters it holds, those included that are as if unused and not yet gone.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take_now(&self, charges: &[Charge], now_us: u64) -> Outcomes {
        match charges {
            [charge] => Ok(self.charge_one(charge, now_us)),
            charges => self.charge_list(charges, now_us),
        }
    }

    fn charge_one(&self, charge: &Charge, now_us: u64) -> Vec<Outcome> {
        let place = self.place(&charge.key);
        let items = [item(charge, 0)];
        let mut shard = lock(own(&self.shards, place));
        let known = shard.find(place.hash, &charge.key);
        let mut states = [known.as_ref().map(|entry| entry.value.clone())];
        let (_, outcomes) = charge_all(&items, &mut states, now_us);
        if let [Some(state)] = states {
            let entry = counter(state, &items, 0, now_us);
            match known {
                Some(known) => *known = entry,
                None => shard.put(place.hash, &charge.key, entry, now_us),
            }
        }
        outcomes
    }

    fn charge_list(&self, charges: &[Charge], now_us: u64) -> Outcomes {
        let Plan { keys, items } = Plan::new(charges)?;
        let counters: Vec<(&str, Place)> = keys.iter().map(|key| (*key, self.place(key))).collect();
        let mut locked = self.lock_all(&counters);
        let mut states: Vec<Option<State>> = counters.iter().map(|(key, place)| locked.state(*place, key)).collect();
        let (_, outcomes) = charge_all(&items, &mut states, now_us);
        for (slot, ((key, place), state)) in counters.iter().zip(states).enumerate() {
            if let (Some(state), Some(shard)) = (state, locked.shard(*place)) {
                shard.put(place.hash, key, counter(state, &items, slot, now_us), now_us);
            }
        }
        Ok(outcomes)
    }

    fn place(&self, key: &str) -> Place {
        let hash = self.hasher.hash_one(key);
        // A map finds its bucket by the low bits of the hash and tells neighbours apart by the highest seven: these are neither.
        Place { shard: (hash >> 32) as usize % self.shards.len(), hash }
    }

    /// Locks the shards of a list in ascending order, so that no two lists wait for each other.
    fn lock_all(&self, counters: &[(&str, Place)]) -> Locked<'_> {
        let mut wanted: Vec<usize> = counters.iter().map(|(_, place)| place.shard).collect();
        wanted.sort_unstable();
        wanted.dedup();
        Locked(wanted.into_iter().filter_map(|index| Some((index, lock(self.shards.get(index)?)))).collect())
    }
}

impl Store for Memory {
    fn take<'a>(&'a self, list: List<'a>) -> Reply<'a> {
        let now_us = self.clock.now().as_micros();
        Reply::Ready(match list.once {
            None => self.take_now(list.charges, now_us),
            Some(key) => self.charge_once(key, list.charges, now_us),
        })
    }

    fn settle<'a>(&'a self, settlement: &'a Settlement, _within: Duration) -> Reply<'a, Settled> {
        Reply::Ready(self.settle_at(settlement, self.clock.now().as_micros()))
    }

    fn is_local(&self) -> bool {
        true
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("clock", &self.clock).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The locked shards of a list, ascending.
struct Locked<'a>(Vec<(usize, MutexGuard<'a, Shard<State>>)>);

impl Locked<'_> {
    fn state(&mut self, place: Place, key: &str) -> Option<State> {
        self.shard(place)?.find(place.hash, key).map(|entry| entry.value.clone())
    }

    fn shard(&mut self, place: Place) -> Option<&mut Shard<State>> {
        let at = self.0.binary_search_by_key(&place.shard, |(index, _)| *index).ok()?;
        self.0.get_mut(at).map(|(_, shard)| &mut **shard)
    }
}

fn own<V>(shards: &[Mutex<Shard<V>>], place: Place) -> &Mutex<Shard<V>> {
    shards.get(place.shard).expect("a place is made modulo the number of shards")
}

/// A thread that panicked while it held the lock left whole entries: each is written in one step.
fn lock<V>(shard: &Mutex<Shard<V>>) -> MutexGuard<'_, Shard<V>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A charged counter, to be kept until nobody misses it, even by a clock that goes back a little.
fn counter(state: State, items: &[Item], slot: usize, now_us: u64) -> Entry<State> {
    let rules = items.iter().filter(|item| item.slot == slot).map(|item| &item.rule);
    let ends_us = rules.map(|rule| state.ends_us(rule, now_us)).max().unwrap_or(now_us);
    Entry { value: state, expires_us: ends_us.saturating_add(micros(GRACE)) }
}
