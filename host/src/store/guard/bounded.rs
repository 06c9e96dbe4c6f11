//! A map that never grows past its bound.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

/// A map by key that holds no more than it may: a new entry displaces one of the oldest.
#[derive(Debug)]
pub(super) struct Bounded<V> {
    entries: IndexMap<Box<str>, V, RandomState>,
    capacity: usize,
    cursor: usize,
}

impl<V> Bounded<V> {
    /// An empty map that never holds more than `capacity` entries, and at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: IndexMap::with_hasher(RandomState::default()), capacity: capacity.max(1), cursor: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<V> {
        self.entries.swap_remove(key)
    }

    /// Takes any entry out.
    pub(super) fn pop(&mut self) -> Option<(Box<str>, V)> {
        self.entries.pop()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values()
    }

    /// Keeps the entries of which `keeps` says so.
    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&str, &mut V) -> bool) {
        self.entries.retain(|key, value| keeps(key, value));
    }

    /// Keeps `value`. Answers what had to go for it, of another key.
    pub(super) fn put(&mut self, key: &str, value: V) -> Option<(Box<str>, V)> {
        if let Some(known) = self.entries.get_mut(key) {
            *known = value;
            return None;
        }
        let displaced = if self.entries.len() < self.capacity { None } else { self.displace() };
        self.entries.insert(key.into(), value);
        displaced
    }

    fn displace(&mut self) -> Option<(Box<str>, V)> {
        // The newest entry moves into the gap, and the cursor goes on: so it comes round to the entries in about the order in which they came.
        let at = self.cursor % self.entries.len().max(1);
        self.cursor = at + 1;
        self.entries.swap_remove_index(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_entry_displaces_an_old_one_and_never_itself() {
        let mut map = Bounded::new(3);
        let displaced: Vec<_> = (0..9).map(|number| map.put(&number.to_string(), number)).collect();
        assert_eq!(map.len(), 3);
        assert_eq!(displaced.iter().flatten().count(), 6, "{displaced:?}");
        assert_eq!(map.get("8"), Some(&8));
        assert_eq!(map.put("8", 80), None, "it takes its own place");
    }
}
