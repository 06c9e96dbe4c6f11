//! Leases: a share of a limit, drawn in advance and spent without asking.

mod lease;

use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use self::lease::Lease;
pub(super) use self::lease::{Parcel, Spent};
use super::bounded::Bounded;
use crate::counter::{Algorithm, Mode, Outcome};
use crate::model::{Charge, Limit, Precision, PrecisionRules};
use crate::time::Timestamp;

const SHARDS: usize = 16;
const PER_SHARD: usize = 1_024;

/// The shares that this host holds, by counter.
#[derive(Debug)]
pub(super) struct Leases {
    shards: Box<[Mutex<Bounded<Lease>>]>,
    hasher: RandomState,
    hosts: NonZeroU32,
}

/// What of a list was spent from shares, and what is to be drawn for the next ones.
#[derive(Debug, Default)]
pub(super) struct Spending {
    /// For each charge, what was spent; none where the store must be asked.
    pub(super) spent: Vec<Option<Spent>>,
    pub(super) draws: Vec<Draw>,
    /// Shares whose place was needed, or whose limit has changed.
    pub(super) returns: Vec<Return>,
}

/// A share to draw.
#[derive(Debug)]
pub(super) struct Draw {
    pub(super) key: String,
    pub(super) limit: Limit,
    pub(super) units: u64,
}

/// A share to give back.
#[derive(Debug)]
pub(super) struct Return {
    pub(super) key: String,
    pub(super) limit: Limit,
    pub(super) parcel: Parcel,
}

impl Spending {
    /// The outcomes, if the shares had all of it.
    pub(super) fn outcomes(&self) -> Option<Vec<Outcome>> {
        self.spent.iter().map(|spent| spent.map(|spent| spent.outcome)).collect()
    }
}

impl Leases {
    pub(super) fn new(hosts: NonZeroU32) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Bounded::new(PER_SHARD))).collect(),
            hasher: RandomState::default(),
            hosts,
        }
    }

    /// Spends from shares whatever they have of the list. None where the list has nothing to do with shares.
    pub(super) fn spend(&self, charges: &[Charge], rules: &PrecisionRules, now: Timestamp) -> Option<Spending> {
        let leased = |charge: &Charge| rules.of(charge.limit.id()) == Precision::Leased && is_leasable(charge);
        // Charges on one counter see one another, so they are told by one who sees them all.
        if !charges.iter().any(leased) || repeats(charges) {
            return None;
        }
        let mut spending = Spending::default();
        for charge in charges {
            let spent = if leased(charge) { self.spend_one(charge, now, &mut spending) } else { None };
            spending.spent.push(spent);
        }
        Some(spending)
    }

    fn spend_one(&self, charge: &Charge, now: Timestamp, spending: &mut Spending) -> Option<Spent> {
        let mut shard = self.shard(&charge.key);
        if let Some(lease) = shard.get_mut(&charge.key).filter(|lease| *lease.limit() == charge.limit) {
            let spent = lease.spend(charge.cost, now);
            if let Some(units) = lease.wants(self.hosts, now) {
                spending.draws.push(Draw { key: charge.key.clone(), limit: charge.limit.clone(), units });
            }
            return spent;
        }
        let changed = shard.remove(&charge.key).map(|lease| (charge.key.as_str().into(), lease));
        let displaced = shard.put(&charge.key, Lease::new(charge.limit.clone(), charge.cost, now));
        let gone = changed.into_iter().chain(displaced);
        spending.returns.extend(gone.flat_map(|(key, mut lease)| returns(&key, &mut lease, Lease::all)));
        None
    }

    /// Gives back to its share what was spent for a list that was not admitted. Whether the share is still here.
    pub(super) fn unspend(&self, charge: &Charge, spent: Spent) -> bool {
        self.shard(&charge.key).get_mut(&charge.key).is_some_and(|lease| lease.unspend(charge.cost, spent.number))
    }

    /// Takes note of what the store told of a counter.
    pub(super) fn told(&self, key: &str, outcome: Outcome, asked: Timestamp) {
        if let Some(lease) = self.shard(key).get_mut(key) {
            lease.told(outcome, asked);
        }
    }

    /// Ends a draw. A share that came for a lease that is gone is to be given back.
    pub(super) fn drawn(&self, draw: &Draw, parcel: Option<Parcel>) -> Option<Return> {
        let mut shard = self.shard(&draw.key);
        match shard.get_mut(&draw.key).filter(|lease| *lease.limit() == draw.limit) {
            Some(lease) => {
                lease.drawn(parcel);
                None
            }
            None => parcel.map(|parcel| Return { key: draw.key.clone(), limit: draw.limit.clone(), parcel }),
        }
    }

    /// Takes out the shares that nobody is going to spend in time, and forgets counters that nobody charges.
    pub(super) fn sweep(&self, now: Timestamp) -> Vec<Return> {
        self.collect(|lease| (lease.idle(now), !lease.is_over(now)))
    }

    /// Takes out all shares.
    pub(super) fn take_all(&self) -> Vec<Return> {
        self.collect(|lease| (lease.all(), true))
    }

    /// Counters that are watched for shares.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// How much can be spent of all shares.
    pub(super) fn held(&self, now: Timestamp) -> u64 {
        self.shards.iter().map(|shard| lock(shard).values().map(|lease| lease.held(now)).sum::<u64>()).sum()
    }

    fn collect(&self, mut take: impl FnMut(&mut Lease) -> (Vec<Parcel>, bool)) -> Vec<Return> {
        let mut found = Vec::new();
        for shard in &self.shards {
            lock(shard).retain(|key, lease| {
                let mut keep = true;
                found.extend(returns(key, lease, |lease| {
                    let (parcels, stays) = take(lease);
                    keep = stays;
                    parcels
                }));
                keep
            });
        }
        found
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Bounded<Lease>> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        lock(self.shards.get(at).expect("an index modulo the number of shards"))
    }
}

fn returns(key: &str, lease: &mut Lease, take: impl FnOnce(&mut Lease) -> Vec<Parcel>) -> Vec<Return> {
    let parcels = take(lease);
    let limit = lease.limit();
    parcels.into_iter().map(|parcel| Return { key: key.to_owned(), limit: limit.clone(), parcel }).collect()
}

/// Whether a charge can be spent from a share: where a unit taken is a unit spent, whoever spends it.
fn is_leasable(charge: &Charge) -> bool {
    let algorithm = charge.limit.algorithm();
    charge.mode == Mode::Enforce
        && charge.cost > 0
        && matches!(algorithm, Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::TokenBucket)
}

/// Whether two charges of a list, which is short, are on one counter.
fn repeats(charges: &[Charge]) -> bool {
    charges.iter().enumerate().any(|(at, charge)| charges.iter().skip(at + 1).any(|other| other.key == charge.key))
}

/// A share is written in one step, so a thread that panicked left none by half.
fn lock(shard: &Mutex<Bounded<Lease>>) -> MutexGuard<'_, Bounded<Lease>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
