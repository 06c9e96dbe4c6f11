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
struct Stripe(Mutex<Vec<Kept>>);

/// An instance, boxed since it is large and moves twice with every decision.
pub(super) struct Kept {
    pub(super) instance: Box<Instance>,
    /// The one tenant it may serve; none if it has served nobody, or may serve all.
    pub(super) tenant: Option<Box<str>>,
}

impl Warm {
    /// A set that keeps at most `per_core` instances for each core.
    pub(super) fn new(per_core: usize) -> Self {
        let stripes = thread::available_parallelism().map_or(1, usize::from);
        Self { stripes: (0..stripes).map(|_| Stripe(Mutex::new(Vec::new()))).collect(), per_stripe: per_core }
    }

    /// A warm instance, the one that served last on this thread if it can be had.
    pub(super) fn take(&self) -> Option<Kept> {
        self.find(Vec::pop)
    }

    /// A warm instance that served this tenant, or nobody yet.
    pub(super) fn take_for(&self, tenant: &str) -> Option<Kept> {
        let served = |kept: &Kept| kept.tenant.as_deref() == Some(tenant);
        let of = |instances: &mut Vec<Kept>| instances.iter().rposition(served).map(|at| instances.remove(at));
        let unused = |instances: &mut Vec<Kept>| {
            let at = instances.iter().position(|kept| kept.tenant.is_none())?;
            Some(instances.remove(at))
        };
        self.find(of).or_else(|| self.find(unused))
    }

    fn find(&self, take: impl Fn(&mut Vec<Kept>) -> Option<Kept>) -> Option<Kept> {
        let own = self.own();
        let (before, from_own) = self.stripes.split_at(own);
        from_own.iter().chain(before).find_map(|stripe| match stripe.0.try_lock() {
            Ok(mut instances) => take(&mut instances),
            Err(TryLockError::Poisoned(poisoned)) => take(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
    }

    /// Keeps an instance; if enough are kept, in place of the one that waited longest where each serves a tenant of its own, and otherwise not.
    pub(super) fn keep(&self, kept: Kept) {
        let Some(stripe) = self.stripes.get(self.own()) else { return };
        let mut instances = stripe.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = if instances.len() < self.per_stripe {
            instances.push(kept);
            None
        } else if kept.tenant.is_some() && !instances.is_empty() {
            let oldest = instances.remove(0);
            instances.push(kept);
            Some(oldest)
        } else {
            Some(kept)
        };
        // Unmapping takes a while: not under the lock.
        drop(instances);
        drop(ended);
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
