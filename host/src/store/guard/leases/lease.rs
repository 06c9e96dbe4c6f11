//! What this host holds of one counter.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::counter::{Algorithm, Outcome};
use crate::model::Limit;
use crate::time::{Timestamp, micros};

/// For how long a share is meant to last.
const SLOT: Duration = Duration::from_millis(50);
/// How long a share of a window may be held. Then it is given back.
const LIFE: Duration = Duration::from_secs(1);
/// How long a share of a bucket may be held, if it has not melted before.
const BUCKET_LIFE: Duration = Duration::from_secs(10);
/// In how long a bucket has to refill a share, which is never given back: whoever drew beneath another would make it melt later than it does.
const REFILL: Duration = Duration::from_secs(1);
/// How long a counter is not charged until its shares are given back.
const IDLE: Duration = Duration::from_millis(200);

/// A counter that this host holds shares of.
#[derive(Debug)]
pub(super) struct Lease {
    limit: Limit,
    parcels: VecDeque<Parcel>,
    /// Whether a share is being drawn.
    drawing: bool,
    demand: Demand,
    /// What the store told last, and when it was asked.
    told: Option<(Outcome, Timestamp)>,
}

/// A share that was drawn, or what is left of it.
#[derive(Clone, Debug)]
pub(in super::super) struct Parcel {
    /// Which draw it was, of all that this host made.
    pub(in super::super) number: u64,
    pub(in super::super) left: u64,
    /// What the store told when it was drawn.
    pub(in super::super) told: Outcome,
    asked: Timestamp,
    /// Whether it is of a bucket.
    pub(in super::super) melts: bool,
    /// When it can be spent no more.
    ends: Timestamp,
}

/// What is spent of a share.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Spent {
    pub(in super::super) outcome: Outcome,
    pub(in super::super) number: u64,
}

/// How much is asked for in the time that a share is meant to last.
#[derive(Clone, Copy, Debug)]
struct Demand {
    since: Timestamp,
    latest: Timestamp,
    units: u64,
    before: u64,
}

impl Demand {
    fn add(&mut self, units: u64, now: Timestamp) {
        let age = now.since(self.since);
        if age >= SLOT {
            self.before = if age < SLOT * 2 { self.units } else { 0 };
            (self.units, self.since) = (0, now);
        }
        self.units = self.units.saturating_add(units);
        self.latest = now;
    }

    fn units(&self) -> u64 {
        self.units.max(self.before)
    }
}

impl Parcel {
    /// A share of a limit, drawn by a charge that was asked for at `asked`. Its times count from then, by this host's clock: so it ends here
    /// no later than in the store.
    pub(in super::super) fn new(number: u64, units: u64, limit: &Limit, told: Outcome, asked: Timestamp) -> Self {
        let ends = match limit.algorithm() {
            Algorithm::TokenBucket => told.reset_after.min(BUCKET_LIFE),
            // As if unused when the next window is over, too.
            Algorithm::SlidingWindow => told.reset_after.saturating_sub(limit.window()),
            _ => told.reset_after,
        };
        let melts = limit.algorithm() == Algorithm::TokenBucket;
        Self { number, left: units, told, asked, melts, ends: asked.plus(ends) }
    }

    /// How much of it can be spent or given back.
    ///
    /// What a bucket refills, it refills from the bottom: under a share lies what was missing before it was drawn, and when that is refilled,
    /// the share itself melts. So a bucket and all shares of it together never hold more than the bucket.
    pub(in super::super) fn usable(&self, limit: &Limit, now: Timestamp) -> u64 {
        if now >= self.ends {
            return 0;
        }
        if !self.melts {
            return self.left;
        }
        // Its time is rounded up.
        let missing = self.told.reset_after.saturating_sub(now.since(self.asked) + Duration::from_micros(1));
        units_in(limit, missing).min(self.left)
    }

    /// Whether it is to be given back, and not to be spent any more.
    fn is_old(&self, now: Timestamp) -> bool {
        !self.melts && now.since(self.asked) >= LIFE
    }
}

impl Lease {
    /// A counter of which nothing is held, and of which `units` are asked for.
    pub(super) fn new(limit: Limit, units: u64, now: Timestamp) -> Self {
        let demand = Demand { since: now, latest: now, units, before: 0 };
        Self { limit, parcels: VecDeque::new(), drawing: false, demand, told: None }
    }

    pub(super) fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Spends `cost` of one share, if one has so much.
    pub(super) fn spend(&mut self, cost: u64, now: Timestamp) -> Option<Spent> {
        self.demand.add(cost, now);
        let limit = &self.limit;
        let parcel = self.parcels.iter_mut().find(|parcel| !parcel.is_old(now) && parcel.usable(limit, now) >= cost)?;
        parcel.left = parcel.usable(limit, now) - cost;
        let (number, mark_us) = (parcel.number, parcel.told.mark_us);
        let (told, asked) = self.told?;
        let outcome = Outcome {
            allowed: true,
            remaining: told.remaining.saturating_add(self.held(now)),
            reset_after: told.reset_after.saturating_sub(now.since(asked)),
            retry_after: None,
            mark_us,
        };
        Some(Spent { outcome, number })
    }

    /// Gives back what was spent of a share, since the list was refused elsewhere. Whether the share is still here.
    pub(super) fn unspend(&mut self, cost: u64, number: u64) -> bool {
        let parcel = self.parcels.iter_mut().find(|parcel| parcel.number == number);
        parcel.map(|parcel| parcel.left += cost).is_some()
    }

    /// How much to draw now, if anything: before the shares are empty, and as much as is asked for in the time of a share, but no more than leaves
    /// as much for each of the others and three times that for all. From a bucket that is nearly full more is drawn, so that it does not melt at once. Where that is less than two units, nothing is drawn: every charge asks.
    pub(super) fn wants(&mut self, hosts: NonZeroU32, now: Timestamp) -> Option<u64> {
        let (told, _) = self.told.filter(|_| !self.drawing)?;
        let wanted = self.demand.units();
        let most = (told.remaining / (4 * u64::from(hosts.get()))).min(self.refilled());
        let share = wanted.max(self.lasting(now)).min(most);
        if wanted < 2 || share < 2 || self.held(now).saturating_mul(2) >= share {
            return None;
        }
        self.drawing = true;
        Some(share)
    }

    /// The most that is worth drawing, since what is not spent of a bucket's share is lost until it is refilled.
    fn refilled(&self) -> u64 {
        if self.limit.algorithm() == Algorithm::TokenBucket { units_in(&self.limit, REFILL) } else { u64::MAX }
    }

    /// How much to draw from a bucket so that so much is missing that it takes the time of a share to refill.
    fn lasting(&self, now: Timestamp) -> u64 {
        if self.limit.algorithm() != Algorithm::TokenBucket {
            return 0;
        }
        let refills_in =
            self.told.map(|(told, asked)| told.reset_after.saturating_sub(now.since(asked))).unwrap_or_default();
        units_in(&self.limit, SLOT.saturating_sub(refills_in))
    }

    /// Takes note of what the store told of the counter.
    pub(super) fn told(&mut self, outcome: Outcome, asked: Timestamp) {
        if self.told.is_none_or(|(_, before)| before <= asked) {
            self.told = Some((outcome, asked));
        }
    }

    /// Ends a draw, with a share if it had one.
    pub(super) fn drawn(&mut self, parcel: Option<Parcel>) {
        self.drawing = false;
        self.parcels.extend(parcel);
    }

    /// Takes out the shares that nobody is going to spend in time.
    pub(super) fn idle(&mut self, now: Timestamp) -> Vec<Parcel> {
        let (idle, limit) = (now.since(self.demand.latest) >= IDLE, &self.limit);
        let over = |parcel: &Parcel| parcel.is_old(now) || (idle && !parcel.melts) || parcel.usable(limit, now) == 0;
        let (over, others): (Vec<Parcel>, Vec<Parcel>) = self.parcels.drain(..).partition(over);
        self.parcels = others.into();
        over
    }

    /// Takes out all shares.
    pub(super) fn all(&mut self) -> Vec<Parcel> {
        self.parcels.drain(..).collect()
    }

    /// Whether it holds and expects nothing.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.parcels.is_empty() && !self.drawing && now.since(self.demand.latest) >= LIFE
    }

    /// How much of its shares can be spent.
    pub(super) fn held(&self, now: Timestamp) -> u64 {
        self.parcels.iter().filter(|parcel| !parcel.is_old(now)).map(|parcel| parcel.usable(&self.limit, now)).sum()
    }
}

/// How much a bucket refills in so much time.
fn units_in(limit: &Limit, time: Duration) -> u64 {
    let units = u128::from(micros(time)) * u128::from(limit.max()) / u128::from(micros(limit.window()).max(1));
    u64::try_from(units).unwrap_or(u64::MAX)
}
