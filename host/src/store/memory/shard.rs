//! One part of what is kept, behind one lock.

use indexmap::IndexMap;
use indexmap::map::raw_entry_v1::{RawEntryApiV1, RawEntryMut};

/// How many entries each insertion looks at, to drop those that are as if unused.
const SWEPT_PER_INSERT: usize = 2;
/// How many entries are compared when one must go.
const EXAMINED_PER_EVICTION: usize = 16;

/// What is kept under a key.
#[derive(Debug)]
pub(super) struct Entry<V> {
    pub(super) value: V,
    /// From when on nobody misses it, and the entry may go.
    pub(super) expires_us: u64,
}

/// A bounded map. The keys come with their hash, so that it is computed once.
#[derive(Debug)]
pub(super) struct Shard<V> {
    entries: IndexMap<Box<str>, Entry<V>, ()>,
    capacity: usize,
    cursor: usize,
}

impl<V> Shard<V> {
    /// An empty shard that never holds more than `capacity` entries, and at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: IndexMap::with_hasher(()), capacity: capacity.max(1), cursor: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn find(&mut self, hash: u64, key: &str) -> Option<&mut Entry<V>> {
        match self.entries.raw_entry_mut_v1().from_key_hashed_nocheck(hash, key) {
            RawEntryMut::Occupied(entry) => Some(entry.into_mut()),
            RawEntryMut::Vacant(_) => None,
        }
    }

    /// Keeps an entry. A new one sweeps a little first, and evicts one where the shard is full.
    pub(super) fn put(&mut self, hash: u64, key: &str, entry: Entry<V>, now_us: u64) {
        if let Some(known) = self.find(hash, key) {
            *known = entry;
            return;
        }
        self.sweep(now_us);
        if self.entries.len() >= self.capacity {
            self.evict(key);
        }
        if let RawEntryMut::Vacant(place) = self.entries.raw_entry_mut_v1().from_key_hashed_nocheck(hash, key) {
            place.insert_hashed_nocheck(hash, key.into(), entry);
        }
    }

    /// Drops what is kept under the key.
    pub(super) fn remove(&mut self, hash: u64, key: &str) {
        if let RawEntryMut::Occupied(entry) = self.entries.raw_entry_mut_v1().from_key_hashed_nocheck(hash, key) {
            entry.swap_remove();
        }
    }

    fn sweep(&mut self, now_us: u64) {
        for _ in 0..SWEPT_PER_INSERT {
            match self.entries.get_index(self.cursor) {
                // The last entry moves here, and is looked at next.
                Some((_, entry)) if entry.expires_us <= now_us => drop(self.entries.swap_remove_index(self.cursor)),
                Some(_) => self.cursor += 1,
                None => self.cursor = 0,
            }
        }
    }

    /// Drops the entry that is soonest as if unused, of those next to the cursor: one of the tenant for whom `key` is, if there is one. So whoever
    /// floods the store with counters that last long displaces his own.
    fn evict(&mut self, key: &str) {
        let tenant = key.split_once('}').map_or(key, |(tenant, _)| tenant);
        let is_own = |key: &str| key.strip_prefix(tenant).is_some_and(|rest| rest.starts_with('}'));
        let count = self.entries.len();
        let near = (self.cursor..self.cursor + EXAMINED_PER_EVICTION.min(count)).map(|index| index % count.max(1));
        let soonest = near
            .min_by_key(|index| self.entries.get_index(*index).map(|(key, entry)| (!is_own(key), entry.expires_us)));
        if let Some(index) = soonest {
            self.entries.swap_remove_index(index);
            self.cursor += 1;
        }
    }
}
