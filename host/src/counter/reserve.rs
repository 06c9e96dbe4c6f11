//! What was taken from a bucket for the time being, and how much of it comes back.
//!
//! A bucket that is asked to give something back cannot know where in its past that lies: whether it has refilled since, and who was let in
//! because of it. So it keeps two bounds of what is missing. The one counts every charge at its full cost, when it was made. The other
//! counts what is reserved as if nothing of it had refilled yet, and a charge that is settled at its actual cost from then on. Either is at
//! least what would be missing had every charge cost its actual cost from the start; so the lesser is, too.
//!
//! What is never settled must not stay reserved for ever. Reservations of about one time make a generation; when the last of it is over, all
//! that is left of it counts as settled. A charge is found again by the moment at which its generation began: one whose generation is over,
//! or whose bucket was full meanwhile, gives nothing back.

use super::bucket::Bucket;

/// What is kept of a [`State::TokenBucket`](super::State::TokenBucket) from which something is reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// When the bucket would be full again without all that is reserved: the whole microseconds.
    pub settled_us: u64,
    /// The rest, as so many parts of `max`.
    pub settled_part: u64,
    /// One or two generations of reservations, the older first.
    pub generations: Vec<Generation>,
}

/// Reservations of about one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// When it began: its name.
    pub since_us: u64,
    /// When the last of them is settled by itself.
    pub until_us: u64,
    /// How long all of them together take to refill: the whole microseconds.
    pub refill_us: u64,
    /// The rest, as so many parts of `max`.
    pub refill_part: u64,
}

/// What is reserved of a bucket while it is counted, in parts.
pub(super) struct Reserve {
    /// What would be missing without all that is reserved.
    pub(super) settled: u128,
    generations: Vec<Open>,
}

/// A generation while it is counted.
pub(super) struct Open {
    since_us: u64,
    until_us: u64,
    pub(super) parts: u128,
}

impl Reserved {
    /// The most generations: the one that takes reservations, and the one before, of which the last may still be open.
    pub(super) const GENERATIONS: usize = 2;

    /// What is reserved still; none if that is nothing, or if the bucket is full.
    pub(super) fn read(&self, bucket: &Bucket) -> Option<Reserve> {
        if bucket.missing == 0 {
            return None;
        }
        let mut settled = bucket.missing_until(self.settled_us, self.settled_part);
        let mut generations = Vec::with_capacity(Self::GENERATIONS);
        for &Generation { since_us, until_us, refill_us, refill_part } in &self.generations {
            let parts = bucket.refill(refill_us, refill_part);
            if until_us >= bucket.now_us {
                generations.push(Open { since_us, until_us, parts });
            } else {
                settled += parts;
            }
        }
        let settled = settled.min(bucket.missing);
        (!generations.is_empty()).then_some(Reserve { settled, generations })
    }
}

impl Reserve {
    /// Nothing reserved yet, with so many parts missing.
    pub(super) fn new(settled: u128) -> Self {
        Self { settled, generations: Vec::new() }
    }

    /// Reserves so many parts for so long. A generation takes reservations for as long as the first of them is open.
    pub(super) fn hold(&mut self, parts: u128, now_us: u64, hold_us: u64) {
        let until_us = now_us.saturating_add(hold_us);
        let has_room = self.generations.len() < Reserved::GENERATIONS;
        match self.generations.last_mut() {
            Some(newest) if !has_room || now_us < newest.since_us.saturating_add(hold_us) => {
                newest.until_us = newest.until_us.max(until_us);
                newest.parts += parts;
            }
            _ => self.generations.push(Open { since_us: now_us, until_us, parts }),
        }
    }

    /// The name of the generation that takes reservations.
    pub(super) fn newest(&self) -> u64 {
        self.generations.last().map_or(0, |generation| generation.since_us)
    }

    /// The generation of this name, if it is not over.
    pub(super) fn generation(&mut self, since_us: u64) -> Option<&mut Open> {
        self.generations.iter_mut().find(|generation| generation.since_us == since_us)
    }

    /// All that is reserved.
    pub(super) fn parts(&self) -> u128 {
        self.generations.iter().map(|generation| generation.parts).sum()
    }

    pub(super) fn state(&self, bucket: &Bucket) -> Reserved {
        let (wait_us, settled_part) = bucket.refills_in(self.settled);
        let generations = self.generations.iter().map(|&Open { since_us, until_us, parts }| {
            let (refill_us, refill_part) = bucket.refills_in(parts);
            Generation { since_us, until_us, refill_us, refill_part }
        });
        let settled_us = bucket.now_us.saturating_add(wait_us);
        Reserved { settled_us, settled_part, generations: generations.collect() }
    }
}
