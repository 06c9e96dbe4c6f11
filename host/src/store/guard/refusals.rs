//! The memory of refusals: what was refused a moment ago is refused again without asking.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::bounded::Bounded;
use crate::counter::{Algorithm, Mode, Outcome, State, apply};
use crate::model::{Charge, Limit};
use crate::time::{Timestamp, micros};

/// How long a refusal is remembered at most: so late this host notices what another gives back.
const LONGEST: Duration = Duration::from_secs(1);
const SHARDS: usize = 16;
const PER_SHARD: usize = 4_096;

/// Lists that were refused, each until the first of its full limits may have room again.
///
/// A full limit frees only with time: other charges fill it more, so a list that was refused is refused until then, whoever asks. Only two things
/// free it earlier: what somebody gives back, and somebody who deletes the counter. This host forgets a refusal when it gives something
/// back itself; what others give back it notices when the refusal is over, after [`LONGEST`] at most.
///
/// Only the very same list is answered, and only one that enforces every charge by an algorithm of which the above is true. Its time counts from
/// before it was asked, by this host's clock, so that it never outlasts the store's refusal. Waits are told as they are by then; what remains, as if
/// nothing had been charged since.
#[derive(Debug)]
pub(super) struct Refusals {
    shards: Box<[Mutex<Bounded<Refusal>>]>,
    hasher: RandomState,
    /// When the last of them is over, in microseconds: most lists need look no further.
    latest_us: AtomicU64,
}

/// A list that was refused, by the key of the first limit that refused it.
#[derive(Debug)]
struct Refusal {
    charges: Box<[Charge]>,
    outcomes: Box<[Outcome]>,
    asked: Timestamp,
    until: Timestamp,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Bounded::new(PER_SHARD))).collect(),
            hasher: RandomState::default(),
            latest_us: AtomicU64::new(0),
        }
    }

    /// The outcomes of a list that is known to be refused still.
    pub(super) fn answer(&self, charges: &[Charge], now: Timestamp) -> Option<Vec<Outcome>> {
        if now.as_micros() >= self.latest_us.load(Ordering::Relaxed) {
            return None;
        }
        charges.iter().find_map(|charge| {
            let shard = self.shard(&charge.key);
            let refusal =
                shard.get(&charge.key).filter(|refusal| refusal.until > now && *refusal.charges == *charges)?;
            let age = now.since(refusal.asked);
            let aged =
                charges.iter().zip(&refusal.outcomes).map(|(charge, outcome)| aged(&charge.limit, *outcome, age));
            Some(aged.collect())
        })
    }

    /// Remembers a list that was asked for at `asked`, if it was refused.
    pub(super) fn note(&self, charges: &[Charge], outcomes: &[Outcome], asked: Timestamp) {
        let full = || charges.iter().zip(outcomes).filter(|(_, outcome)| !outcome.allowed);
        let Some((first, _)) = full().next() else { return };
        if !charges.iter().all(only_time_frees) {
            return;
        }
        // What costs more than a limit can give never fits, but what remains of the limit is another when that is as if unused.
        let frees = full().map(|(_, outcome)| outcome.retry_after.unwrap_or(outcome.reset_after)).min();
        let until = asked.plus(frees.unwrap_or_default().min(LONGEST));
        let refusal = Refusal { charges: charges.into(), outcomes: outcomes.into(), asked, until };
        self.shard(&first.key).put(&first.key, refusal);
        self.latest_us.fetch_max(until.as_micros(), Ordering::Relaxed);
    }

    /// Forgets what was refused by this counter.
    pub(super) fn forget(&self, key: &str) {
        self.shard(key).remove(key);
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Bounded<Refusal>> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        lock(self.shards.get(at).expect("an index modulo the number of shards"))
    }
}

/// Each entry is written in one step, so a thread that panicked left none by half.
fn lock(shard: &Mutex<Bounded<Refusal>>) -> MutexGuard<'_, Bounded<Refusal>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a limit, once full, stays so until its time, whatever is charged.
fn only_time_frees(charge: &Charge) -> bool {
    let algorithm = charge.limit.algorithm();
    // Where charges are held, a settlement frees, too.
    charge.mode == Mode::Enforce
        && charge.limit.rule().hold_us == 0
        && matches!(algorithm, Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::TokenBucket)
}

/// The outcome as it is so much later, if nothing was charged meanwhile. Of a sliding window, what remains is as it was, and may be more.
fn aged(limit: &Limit, outcome: Outcome, age: Duration) -> Outcome {
    let reset_after = outcome.reset_after.saturating_sub(age);
    let remaining = match limit.algorithm() {
        Algorithm::TokenBucket => {
            let state = State::TokenBucket { tat_us: micros(reset_after), part: 0, reserve: None };
            apply(limit.rule(), Some(state), 0, 0).1.remaining
        }
        _ => outcome.remaining,
    };
    Outcome {
        remaining,
        reset_after,
        retry_after: outcome.retry_after.map(|retry_after| retry_after.saturating_sub(age)),
        ..outcome
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::counter::{Item, charge_all};
    use crate::model::Quota;

    const ORIGIN_US: u64 = 1_700_000_000_000_000;

    /// A charge of this cost, so many microseconds later, which looks into the memory or not.
    type Step = (u64, u64, bool);

    fn charge(algorithm: Algorithm, max: u64, window_us: u64, cost: u64) -> Charge {
        let quota = Quota { max, window: Duration::from_micros(window_us), burst: max };
        let limit = Limit::new("test", algorithm, quota).unwrap();
        Charge { key: "key".to_owned(), limit, cost, mode: Mode::Enforce, holder: 0 }
    }

    /// Charges one counter in turn. What is remembered must be what the arithmetic says; but if something was taken since, only that it is refused.
    fn check(algorithm: Algorithm, max: u64, window_us: u64, steps: &[Step]) -> Result<u64, TestCaseError> {
        let refusals = Refusals::new();
        let (mut states, mut now_us, mut answered, mut taken) = ([None], ORIGIN_US, 0, false);
        for (cost, wait_us, looks) in steps {
            now_us += wait_us;
            let charge = charge(algorithm, max, window_us, *cost);
            let item = Item { rule: *charge.limit.rule(), cost: *cost, mode: Mode::Enforce, slot: 0, holder: 0 };
            let (admitted, outcomes) = charge_all(&[item], &mut states, now_us);
            let list = std::slice::from_ref(&charge);
            let now = Timestamp::from_micros(now_us);
            if !looks {
                taken |= admitted;
                continue;
            }
            let Some(remembered) = refusals.answer(list, now) else {
                refusals.note(list, &outcomes, now);
                taken = admitted;
                continue;
            };
            answered += 1;
            let (told, exact) = (remembered[0], outcomes[0]);
            prop_assert!(!exact.allowed, "refused what has room: {charge:?}");
            if !taken {
                prop_assert_eq!((told.retry_after, told.reset_after), (exact.retry_after, exact.reset_after));
            }
            if !taken && algorithm != Algorithm::SlidingWindow {
                prop_assert_eq!(told.remaining, exact.remaining);
            }
        }
        Ok(answered)
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_the_arithmetic_says(
            algorithm in prop_oneof![
                Just(Algorithm::FixedWindow), Just(Algorithm::SlidingWindow), Just(Algorithm::TokenBucket)
            ],
            max in 1..20_u64,
            // Windows that are whole microseconds for each token, so that a bucket's state needs no fraction; none is under a millisecond.
            token_us in 1_000_u64..200_000,
            steps in prop::collection::vec((0..4_u64, 0..300_000_u64, prop::bool::weighted(0.8)), 1..60),
        ) {
            check(algorithm, max, max * token_us, &steps)?;
        }
    }

    #[test]
    fn a_refusal_is_remembered_until_it_is_over() {
        for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket] {
            let steps = [vec![(1, 0, true); 3], vec![(1, 1_000, true); 400]].concat();
            let answered = check(algorithm, 3, 300_000, &steps).unwrap();
            assert!((380..=399).contains(&answered), "{algorithm}: {answered} of 400");
        }
        // A day is asked for once a second.
        let steps = [vec![(1, 0, true); 3], vec![(1, 10_000, true); 1_000]].concat();
        assert_eq!(check(Algorithm::FixedWindow, 3, 86_400_000_000, &steps).unwrap(), 990);
    }

    #[test]
    fn only_the_same_list_is_answered() {
        let refusals = Refusals::new();
        let one = charge(Algorithm::FixedWindow, 3, 1_000_000, 1);
        let other = Charge { key: "other".to_owned(), ..one.clone() };
        let now = Timestamp::from_micros(ORIGIN_US);
        let outcome = |allowed| Outcome {
            allowed,
            remaining: 0,
            reset_after: LONGEST,
            retry_after: Some(LONGEST).filter(|_| !allowed),
            mark_us: 0,
        };
        let list = [one.clone(), other.clone()];
        refusals.note(&list, &[outcome(true), outcome(false)], now);
        assert!(refusals.answer(&list, now).is_some());
        assert!(refusals.answer(&[other.clone(), one.clone()], now).is_none());
        assert!(refusals.answer(std::slice::from_ref(&other), now).is_none());
        assert!(refusals.answer(&[one.clone(), Charge { cost: 2, ..other.clone() }], now).is_none());
        refusals.forget("other");
        assert!(refusals.answer(&list, now).is_none());
        let shadow = [Charge { mode: Mode::Shadow, ..one.clone() }, other.clone()];
        refusals.note(&shadow, &[outcome(false), outcome(false)], now);
        assert!(refusals.answer(&shadow, now).is_none(), "a shadow may be freed by others, and says so");
        refusals.note(&list, &[outcome(true), outcome(true)], now);
        assert!(refusals.answer(&list, now).is_none());
    }

    #[test]
    fn of_several_full_limits_the_first_to_free_ends_it() {
        let refusals = Refusals::new();
        let list =
            ["a", "b"].map(|key| Charge { key: key.to_owned(), ..charge(Algorithm::FixedWindow, 3, 1_000_000, 1) });
        let full = |wait_ms| {
            let wait = Duration::from_millis(wait_ms);
            Outcome { allowed: false, remaining: 0, reset_after: wait, retry_after: Some(wait), mark_us: 0 }
        };
        refusals.note(&list, &[full(900), full(300)], Timestamp::from_micros(ORIGIN_US));
        assert!(refusals.answer(&list, Timestamp::from_micros(ORIGIN_US + 299_999)).is_some());
        assert!(refusals.answer(&list, Timestamp::from_micros(ORIGIN_US + 300_000)).is_none());
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let refusals = Refusals::new();
        let outcome =
            Outcome { allowed: false, remaining: 0, reset_after: LONGEST, retry_after: Some(LONGEST), mark_us: 0 };
        for number in 0..100_000 {
            let list = [Charge { key: number.to_string(), ..charge(Algorithm::FixedWindow, 3, 1_000_000, 1) }];
            refusals.note(&list, &[outcome], Timestamp::from_micros(ORIGIN_US));
        }
        assert_eq!(refusals.len(), SHARDS * PER_SHARD);
    }
}
