//! How many subjects a tenant may bring: a flood of new ones makes no flood of counters.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::Request;
use crate::time::Timestamp;

/// A budget of subjects for each tenant, within a minute.
///
/// It remembers of each subject 8 bytes of a keyed hash, in tables that are at least half as large again: at most 3 MB for a tenant with the
/// whole budget of 100,000, and nothing of a tenant that was quiet for a minute.
#[derive(Debug)]
pub(super) struct Subjects {
    most: usize,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

const SHARDS: usize = 16;
/// Who was seen in this half minute or the last is known.
const HALF: Duration = Duration::from_secs(30);
/// The subject of all for whom there is no room.
const OVERFLOW: &str = "~overflow";

#[derive(Debug, Default)]
struct Shard {
    /// Which half minute since the epoch the young belong to.
    half: u64,
    young: HashMap<Box<str>, Seen>,
    old: HashMap<Box<str>, Seen>,
}

/// Who was seen of a tenant in half a minute.
#[derive(Debug, Default)]
struct Seen {
    subjects: HashSet<u64>,
    has_overflown: bool,
}

impl Subjects {
    pub(super) fn new(most: usize) -> Self {
        Self { most, hasher: RandomState::new(), shards: Default::default() }
    }

    /// The request as it is decided: with its own subject if that is known or there is room for it, and otherwise with the one that all
    /// others share. So limits hold still, if more coarsely.
    pub(super) fn within<'a>(&self, request: &Request<'a>, now: Timestamp) -> Request<'a> {
        let shard = usize::try_from(self.hasher.hash_one(request.tenant()) % SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(shard) else { return *request };
        let subject = self.hasher.hash_one(request.subject());
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.turn(now);
        match shard.see(request.tenant(), subject, self.most) {
            Room::Found => *request,
            Room::Lacking { was_told } => {
                drop(shard);
                if !was_told {
                    let most = self.most;
                    tracing::warn!(
                        tenant = request.tenant(),
                        "more than {most} subjects within a minute: those that are new share the counters of `{OVERFLOW}`"
                    );
                }
                request.sharing(OVERFLOW)
            }
        }
    }
}

/// Whether there is room for a subject.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Found,
    /// There is none; `was_told` if that was told within the last minute.
    Lacking {
        was_told: bool,
    },
}

impl Shard {
    /// Forgets who was not seen for long. A clock that goes back forgets nobody.
    fn turn(&mut self, now: Timestamp) {
        let half = now.as_millis() / u64::try_from(HALF.as_millis()).unwrap_or(u64::MAX);
        if half <= self.half {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if half > self.half + 1 {
            self.old = HashMap::new();
        }
        self.half = half;
    }

    fn see(&mut self, tenant: &str, subject: u64, most: usize) -> Room {
        if !self.young.contains_key(tenant) {
            self.young.insert(tenant.into(), Seen::default());
        }
        let (Some(young), old) = (self.young.get_mut(tenant), self.old.get_mut(tenant)) else { return Room::Found };
        if young.subjects.contains(&subject) {
            return Room::Found;
        }
        let (mut known, mut others, mut overflown) = (false, 0, false);
        if let Some(old) = old {
            known = old.subjects.remove(&subject);
            (others, overflown) = (old.subjects.len(), old.has_overflown);
        }
        if known || young.subjects.len() + others < most {
            young.subjects.insert(subject);
            return Room::Found;
        }
        let was_told = overflown || young.has_overflown;
        young.has_overflown |= !was_told;
        Room::Lacking { was_told }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided_as(subjects: &Subjects, tenant: &str, subject: &str, second: u64) -> String {
        let request = Request::new(tenant, subject).unwrap().with_route("/x").unwrap();
        let within = subjects.within(&request, Timestamp::from_micros(second * 1_000_000));
        assert_eq!((within.tenant(), within.route()), (tenant, "/x"));
        within.subject().to_owned()
    }

    #[test]
    fn a_flood_of_subjects_shares_one_and_disturbs_no_known_one_nor_another_tenant() {
        let subjects = Subjects::new(3);
        for known in ["a", "b", "c", "a"] {
            assert_eq!(decided_as(&subjects, "acme", known, 1), known);
        }
        for number in 0..100 {
            assert_eq!(decided_as(&subjects, "acme", &format!("new-{number}"), 2), "~overflow");
        }
        for known in ["a", "b", "c"] {
            assert_eq!(decided_as(&subjects, "acme", known, 31), known, "it is known from the half before");
        }
        assert_eq!(decided_as(&subjects, "globex", "d", 31), "d");
        assert_eq!(decided_as(&subjects, "acme", "d", 59), "~overflow");
    }

    #[test]
    fn who_is_quiet_for_a_minute_makes_room() {
        let subjects = Subjects::new(2);
        for known in ["a", "b"] {
            assert_eq!(decided_as(&subjects, "acme", known, 29), known);
        }
        assert_eq!(decided_as(&subjects, "acme", "a", 59), "a");
        assert_eq!(decided_as(&subjects, "acme", "c", 59), "~overflow", "b was seen half a minute ago");
        assert_eq!(decided_as(&subjects, "acme", "c", 60), "c", "b was forgotten");
        assert_eq!(decided_as(&subjects, "acme", "d", 3), "~overflow", "a clock that goes back forgets nobody");
        assert_eq!(decided_as(&subjects, "acme", "d", 121), "d");
    }

    #[test]
    fn that_there_is_no_room_is_told_about_once_a_minute() {
        let (mut shard, mut told) = (Shard::default(), Vec::new());
        for second in 0..180 {
            shard.turn(Timestamp::from_micros(second * 1_000_000));
            shard.see("acme", 0, 1);
            if shard.see("acme", 1 + second, 1) == (Room::Lacking { was_told: false }) {
                told.push(second);
            }
        }
        assert_eq!(told, [0, 60, 120]);
    }

    #[test]
    fn memory_of_a_tenant_is_bounded_and_given_back() {
        let subjects = Subjects::new(1_000);
        for number in 0..100_000 {
            let second = number / 1_000;
            decided_as(&subjects, "acme", &number.to_string(), second);
        }
        let held = |subjects: &Subjects| -> usize {
            let of_half = |half: &HashMap<Box<str>, Seen>| half.values().map(|seen| seen.subjects.len()).sum::<usize>();
            subjects
                .shards
                .iter()
                .map(|shard| shard.lock().unwrap())
                .map(|shard| of_half(&shard.young) + of_half(&shard.old))
                .sum()
        };
        assert!(held(&subjects) <= 1_000, "{}", held(&subjects));
        for _ in 0..2 {
            subjects.shards.iter().for_each(|shard| shard.lock().unwrap().turn(Timestamp::from_micros(1_000_000_000)));
        }
        assert_eq!(held(&subjects), 0);
    }
}
