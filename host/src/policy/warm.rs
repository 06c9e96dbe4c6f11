//! Instances that wait for their next decision.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::thread;

use super::instance::Instance;

/// A bounded set of warm instances, striped so that threads do not wait for one another.
pub(super) struct Warm {
    stripes: Box<[Stripe]>,
    per_stripe: usize,
}

/// A stripe on cache lines of its own.
#[repr(align(128))]
#[expect(clippy::vec_box, reason = "an instance is large, and moves twice with every decision")]
struct Stripe(Mutex<Vec<Box<Instance>>>);

impl Warm {
    /// A set that keeps at most `per_core` instances for each core.
    pub(super) fn new(per_core: usize) -> Self {
        let stripes = thread::available_parallelism().map_or(1, usize::from);
        Self { stripes: (0..stripes).map(|_| Stripe(Mutex::new(Vec::new()))).collect(), per_stripe: per_core }
    }

    /// A warm instance, the one that served last on this thread if it can be had.
    pub(super) fn take(&self) -> Option<Box<Instance>> {
        let own = self.own();
        let (before, from_own) = self.stripes.split_at(own);
        from_own.iter().chain(before).find_map(|stripe| match stripe.0.try_lock() {
            Ok(mut instances) => instances.pop(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().pop(),
            Err(TryLockError::WouldBlock) => None,
        })
    }

    /// Keeps an instance, unless enough are kept.
    pub(super) fn keep(&self, instance: Box<Instance>) {
        let Some(stripe) = self.stripes.get(self.own()) else { return };
        let mut instances = stripe.0.lock().unwrap_or_else(PoisonError::into_inner);
        if instances.len() < self.per_stripe {
            instances.push(instance);
        } else {
            // Unmapping takes a while: not under the lock.
            drop(instances);
            drop(instance);
        }
    }

    /// Ends up to `most` instances, and answers how many it was.
    pub(super) fn give_up(&self, most: usize) -> usize {
        let mut given_up = 0;
        for stripe in &self.stripes {
            let mut instances = stripe.0.lock().unwrap_or_else(PoisonError::into_inner);
            let left = instances.len().saturating_sub(most - given_up);
            let ended = instances.split_off(left);
            drop(instances);
            given_up += ended.len();
        }
        given_up
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.0.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn own(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static THREAD: usize = NEXT.fetch_add(1, Ordering::Relaxed));
        THREAD.with(|thread| thread % self.stripes.len())
    }
}
