//! Look-ups under way: one for a key, however many ask for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::hash::KeyHash;
use super::{Found, KeyFault};

/// The look-ups under way.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<KeyHash, watch::Receiver<Option<Found>>>>>);

/// How one takes part in a look-up.
pub(super) enum Part {
    /// Makes it, and tells the others.
    Lead(Lead, Follow),
    /// Waits for its end.
    Follow(Follow),
}

pub(super) struct Follow(watch::Receiver<Option<Found>>);

/// Whoever makes a look-up. Dropped, the look-up is over, whatever became of it.
pub(super) struct Lead {
    flights: Flights,
    hash: KeyHash,
    told: watch::Sender<Option<Found>>,
}

/// The most look-ups that are under way or wait for their turn.
pub(super) const MOST: usize = 1024;

impl Flights {
    fn all(&self) -> MutexGuard<'_, HashMap<KeyHash, watch::Receiver<Option<Found>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part in the look-up of a key; none if there are too many.
    pub(super) fn join(&self, hash: KeyHash) -> Option<Part> {
        let mut all = self.all();
        let is_full = all.len() >= MOST;
        match all.entry(hash) {
            Entry::Occupied(known) => Some(Part::Follow(Follow(known.get().clone()))),
            Entry::Vacant(_) if is_full => None,
            Entry::Vacant(free) => {
                let (told, hears) = watch::channel(None);
                free.insert(hears.clone());
                Some(Part::Lead(Lead { flights: self.clone(), hash, told }, Follow(hears)))
            }
        }
    }
}

impl Lead {
    /// Tells everybody.
    pub(super) fn tell(self, found: Found) {
        self.told.send_replace(Some(found));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.all().remove(&self.hash);
    }
}

impl Follow {
    pub(super) async fn end(mut self) -> Found {
        match self.0.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or(Err(KeyFault::Source)),
            // Whoever made it is gone without a word.
            Err(_) => Err(KeyFault::Source),
        }
    }
}
