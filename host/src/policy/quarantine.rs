//! A policy that uses up what it has again and again is not asked for a while: each time costs the neighbours what it may cost at most.
//!
//! A guest that spins is ended after its time, and until then keeps a thread that others wait for. So a tenant for whom a policy spun twice
//! within ten seconds is shut out from it, and all tenants are where it spun for four of them: then the fault lies with the policy, not with
//! what one tenant asks. After a second one decision is tried; each that fails makes the next wait twice as long, up to a minute.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Bounds;
use super::guest_time::ticks;

/// Who is shut out from one policy. Times are ticks of the engine.
pub(super) struct Quarantine {
    /// Whether somebody is: while nobody is, a decision costs one look at this.
    shuts_out: AtomicBool,
    hasher: RandomState,
    wards: Mutex<Wards>,
}

/// Leave to ask the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leave {
    /// It is the one decision by which a tenant's ward, or the policy's, may end.
    tries: [bool; 2],
}

struct Wards {
    /// Tenants, by a hash: those that share a ward share their fate.
    tenants: Box<[Ward; Bounds::WARDS]>,
    policy: Ward,
}

#[derive(Clone, Copy, Default)]
struct Ward {
    strikes: u32,
    struck: u64,
    /// Until when it is shut; 0 if it is not.
    until: u64,
    /// For how long it was shut the last time.
    spell: u64,
}

const FORGOTTEN: u64 = ticks(Bounds::QUARANTINE_MEMORY);
const FIRST_SPELL: u64 = ticks(Bounds::QUARANTINE_FIRST);
const LONGEST_SPELL: u64 = ticks(Bounds::QUARANTINE_LONGEST);
/// How long one that is tried may take before another is.
const TRIAL: u64 = 100;

impl Quarantine {
    pub(super) fn new() -> Self {
        let wards = Wards { tenants: Box::new([Ward::default(); Bounds::WARDS]), policy: Ward::default() };
        Self { shuts_out: AtomicBool::new(false), hasher: RandomState::new(), wards: Mutex::new(wards) }
    }

    /// Lets a decision for `tenant` through, or answers for how many ticks it is shut out.
    pub(super) fn enter(&self, tenant: &str, now: u64) -> Result<Leave, u64> {
        if !self.shuts_out.load(Ordering::Relaxed) {
            return Ok(Leave::default());
        }
        let place = self.place(tenant);
        let mut wards = self.wards.lock().unwrap_or_else(PoisonError::into_inner);
        let Wards { tenants, policy } = &mut *wards;
        let Some(ward) = tenants.get_mut(place) else { return Ok(Leave::default()) };
        // The tenant's first: whoever is shut out may not be the one by whom the policy is tried.
        Ok(Leave { tries: [ward.enter(now)?, policy.enter(now)?] })
    }

    /// Takes note that the decision with this leave used up what it had.
    pub(super) fn strike(&self, tenant: &str, leave: Leave, now: u64) {
        let place = self.place(tenant);
        let mut wards = self.wards.lock().unwrap_or_else(PoisonError::into_inner);
        let Wards { tenants, policy } = &mut *wards;
        let Some(ward) = tenants.get_mut(place) else { return };
        let [tries_tenant, tries_policy] = leave.tries;
        ward.strike(tries_tenant, now);
        if ward.strikes >= Bounds::STRIKES {
            ward.shut(now);
        }
        policy.strike(tries_policy, now);
        if tenants.iter().filter(|ward| ward.is_suspect(now)).count() >= Bounds::STRUCK_WARDS {
            policy.shut(now);
        }
        self.shuts_out.store(true, Ordering::Relaxed);
    }

    /// Takes note that it did not. What was tried by it is over.
    pub(super) fn pass(&self, tenant: &str, leave: Leave) {
        if leave == Leave::default() {
            return;
        }
        let place = self.place(tenant);
        let mut wards = self.wards.lock().unwrap_or_else(PoisonError::into_inner);
        let Wards { tenants, policy } = &mut *wards;
        let [tries_tenant, tries_policy] = leave.tries;
        if let (true, Some(ward)) = (tries_tenant, tenants.get_mut(place)) {
            *ward = Ward::default();
        }
        if tries_policy {
            *policy = Ward::default();
        }
        let is_shut = |ward: &Ward| ward.until > 0;
        self.shuts_out.store(is_shut(policy) || tenants.iter().any(is_shut), Ordering::Relaxed);
    }

    fn place(&self, tenant: &str) -> usize {
        usize::try_from(self.hasher.hash_one(tenant) % Bounds::WARDS as u64).unwrap_or(0)
    }
}

impl Ward {
    /// Lets one in, or answers for how long it is shut. Whether this one is tried.
    fn enter(&mut self, now: u64) -> Result<bool, u64> {
        match self.until {
            0 => Ok(false),
            until if now < until => Err(until - now),
            _ => {
                self.until = now + TRIAL;
                Ok(true)
            }
        }
    }

    fn strike(&mut self, is_tried: bool, now: u64) {
        if self.until == 0 && now > self.struck.saturating_add(FORGOTTEN) {
            *self = Self::default();
        }
        self.struck = now;
        self.strikes = self.strikes.saturating_add(1);
        if is_tried {
            self.spell = (self.spell * 2).min(LONGEST_SPELL);
            self.until = now + self.spell;
        }
    }

    /// Shuts it, unless it is shut.
    fn shut(&mut self, now: u64) {
        if self.until == 0 {
            self.spell = FIRST_SPELL;
            self.until = now + self.spell;
        }
    }

    /// Whether it was struck of late and is not shut: what a tenant of its own is shut out for counts no more against the policy.
    fn is_suspect(&self, now: u64) -> bool {
        self.until == 0 && self.strikes > 0 && now <= self.struck.saturating_add(FORGOTTEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tenants that share no ward, so that each test says what it means.
    fn tenants(quarantine: &Quarantine, count: usize) -> Vec<String> {
        let mut tenants: Vec<String> = Vec::new();
        for number in 0.. {
            let tenant = format!("tenant-{number}");
            if tenants.iter().all(|other| quarantine.place(other) != quarantine.place(&tenant)) {
                tenants.push(tenant);
            }
            if tenants.len() == count {
                break;
            }
        }
        tenants
    }

    fn strikes(quarantine: &Quarantine, tenant: &str, now: u64) {
        let leave = quarantine.enter(tenant, now).expect("it is let in");
        quarantine.strike(tenant, leave, now);
    }

    #[test]
    fn who_strikes_twice_is_shut_out_and_nobody_else() {
        let quarantine = Quarantine::new();
        let [bad, good] = [0, 1].map(|at| tenants(&quarantine, 2)[at].clone());
        strikes(&quarantine, &bad, 10);
        strikes(&quarantine, &bad, 5_000);
        assert_eq!(quarantine.enter(&bad, 5_100), Err(900));
        assert_eq!(quarantine.enter(&good, 5_100), Ok(Leave::default()));
    }

    #[test]
    fn a_strike_is_forgotten_after_ten_seconds() {
        let quarantine = Quarantine::new();
        strikes(&quarantine, "acme", 10);
        strikes(&quarantine, "acme", 10_011);
        assert_eq!(quarantine.enter("acme", 10_012), Ok(Leave::default()));
        strikes(&quarantine, "acme", 10_013);
        assert_eq!(quarantine.enter("acme", 10_014), Err(999));
    }

    #[test]
    fn one_is_tried_at_a_time_and_waits_double_each_time() {
        let quarantine = Quarantine::new();
        strikes(&quarantine, "acme", 0);
        strikes(&quarantine, "acme", 0);
        let mut now = 1_000;
        for spell in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            let tried = quarantine.enter("acme", now).expect("one is tried");
            assert_eq!(quarantine.enter("acme", now), Err(TRIAL), "and no other meanwhile");
            quarantine.strike("acme", tried, now + 10);
            assert_eq!(quarantine.enter("acme", now + 10), Err(spell));
            now += 10 + spell;
        }
        let tried = quarantine.enter("acme", now).expect("one is tried");
        quarantine.pass("acme", tried);
        assert_eq!(quarantine.enter("acme", now), Ok(Leave::default()));
        assert!(!quarantine.shuts_out.load(Ordering::Relaxed));
    }

    #[test]
    fn one_that_was_given_up_while_it_was_tried_leaves_room_for_another() {
        let quarantine = Quarantine::new();
        strikes(&quarantine, "acme", 0);
        strikes(&quarantine, "acme", 0);
        assert!(quarantine.enter("acme", 1_000).is_ok());
        assert!(quarantine.enter("acme", 1_000 + TRIAL).is_ok());
    }

    #[test]
    fn a_policy_that_strikes_for_four_tenants_is_asked_by_none() {
        let quarantine = Quarantine::new();
        let tenants = tenants(&quarantine, 5);
        for tenant in tenants.iter().take(3) {
            strikes(&quarantine, tenant, 0);
        }
        assert_eq!(quarantine.enter(&tenants[4], 1), Ok(Leave::default()));
        strikes(&quarantine, &tenants[3], 1);
        assert_eq!(quarantine.enter(&tenants[4], 2), Err(999));
        // The fifth did nothing: the policy is tried by it, and is as before.
        let tried = quarantine.enter(&tenants[4], 1_001).expect("one is tried");
        quarantine.pass(&tenants[4], tried);
        assert_eq!(quarantine.enter(&tenants[0], 1_002), Ok(Leave::default()));
    }

    #[test]
    fn tenants_that_are_shut_out_do_not_shut_out_the_others() {
        let quarantine = Quarantine::new();
        let tenants = tenants(&quarantine, 5);
        for tenant in tenants.iter().take(4) {
            strikes(&quarantine, tenant, 0);
            if quarantine.enter(tenant, 0).is_ok() {
                strikes(&quarantine, tenant, 0);
            }
        }
        assert_eq!(quarantine.enter(&tenants[4], 1), Ok(Leave::default()));
    }
}
