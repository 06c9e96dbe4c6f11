//! A policy that uses up what it has again and again is not asked for a while: each time costs the neighbours what it may cost at most.
//!
//! A guest that spins is ended after its time, and until then keeps a thread that others wait for. So a tenant for whom a policy spun twice
//! within ten seconds is shut out from it, and all tenants are where it spun for four of them: then the fault lies with the policy, not with
//! what one tenant asks. After a second one decision is tried; each that fails makes the next wait twice as long, up to a minute. One that was not
//! done in time on a machine that had no time for it proves nothing: another is tried after as long as before.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Bounds;
use super::guest_time::ticks;

/// Who is shut out from one policy. Times are ticks of the engine.
pub(super) struct Quarantine {
    /// Whether anybody is remembered: while nobody is, a decision costs one look at this.
    remembers: AtomicBool,
    hasher: RandomState,
    wards: Mutex<Wards>,
}

/// Leave to ask the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leave {
    /// It is the one decision by which the tenant is tried.
    tries_tenant: bool,
    /// It is the one by which the policy is.
    tries_policy: bool,
}

/// How a policy came through a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Conduct {
    /// It did not use up what it had.
    #[default]
    Sound,
    /// It was not done in time, and the machine may be to blame.
    Doubtful,
    /// It used up its time or its memory.
    UsedUp,
}

#[derive(Default)]
struct Wards {
    /// The tenants that are remembered, by a hash of their names; at most [`Bounds::WARDS`].
    tenants: Vec<(u64, Ward)>,
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
        Self { remembers: AtomicBool::new(false), hasher: RandomState::new(), wards: Mutex::default() }
    }

    /// Lets a decision for `tenant` through, or answers for how many ticks it is shut out.
    pub(super) fn enter(&self, tenant: &str, now: u64) -> Result<Leave, u64> {
        if !self.remembers.load(Ordering::Relaxed) {
            return Ok(Leave::default());
        }
        let mut wards = self.wards();
        wards.forget(now);
        self.remembers.store(!wards.is_empty(), Ordering::Relaxed);
        // The tenant's first: whoever is shut out may not be the one by whom the policy is tried.
        let tries_tenant = wards.of(self.hasher.hash_one(tenant)).map_or(Ok(false), |ward| ward.enter(now))?;
        Ok(Leave { tries_tenant, tries_policy: wards.policy.enter(now)? })
    }

    /// Takes note of how the decision with this leave went.
    pub(super) fn leave(&self, tenant: &str, leave: Leave, conduct: Conduct, now: u64) {
        if leave == Leave::default() && conduct != Conduct::UsedUp {
            return;
        }
        let tenant = self.hasher.hash_one(tenant);
        let mut wards = self.wards();
        match conduct {
            Conduct::Sound => wards.acquit(tenant, leave),
            Conduct::Doubtful => wards.adjourn(tenant, leave, now),
            Conduct::UsedUp => wards.strike(tenant, leave, now),
        }
        self.remembers.store(!wards.is_empty(), Ordering::Relaxed);
    }

    fn wards(&self) -> MutexGuard<'_, Wards> {
        self.wards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wards {
    fn is_empty(&self) -> bool {
        self.tenants.is_empty() && self.policy.until == 0
    }

    fn of(&mut self, tenant: u64) -> Option<&mut Ward> {
        self.tenants.iter_mut().find(|(hash, _)| *hash == tenant).map(|(_, ward)| ward)
    }

    fn forget(&mut self, now: u64) {
        self.tenants.retain(|(_, ward)| !ward.is_forgotten(now));
        if self.policy.is_forgotten(now) {
            self.policy = Ward::default();
        }
    }

    /// What was tried is over.
    fn acquit(&mut self, tenant: u64, leave: Leave) {
        if leave.tries_tenant {
            self.tenants.retain(|(hash, _)| *hash != tenant);
        }
        if leave.tries_policy {
            self.policy = Ward::default();
        }
    }

    /// What was tried is tried again after as long as before.
    fn adjourn(&mut self, tenant: u64, leave: Leave, now: u64) {
        if let (true, Some(ward)) = (leave.tries_tenant, self.of(tenant)) {
            ward.until = now + ward.spell;
        }
        if leave.tries_policy {
            self.policy.until = now + self.policy.spell;
        }
    }

    fn strike(&mut self, tenant: u64, leave: Leave, now: u64) {
        self.forget(now);
        if self.of(tenant).is_none() && self.tenants.len() < Bounds::WARDS {
            self.tenants.push((tenant, Ward::default()));
        }
        let ward = self.of(tenant);
        let is_one_too_many = ward.is_none();
        if let Some(ward) = ward {
            ward.strike(leave.tries_tenant, now);
            if ward.strikes >= Bounds::STRIKES {
                ward.shut(now);
            }
        }
        if leave.tries_policy {
            self.policy.strike(true, now);
        }
        // What a tenant of its own is shut out for counts no more against the policy.
        let suspects = self.tenants.iter().filter(|(_, ward)| ward.until == 0).count();
        if suspects >= Bounds::STRUCK_TENANTS || is_one_too_many {
            self.policy.shut(now);
        }
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

    fn is_forgotten(&self, now: u64) -> bool {
        now > self.struck.max(self.until).saturating_add(FORGOTTEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(quarantine: &Quarantine, tenant: &str, now: u64) {
        let leave = quarantine.enter(tenant, now).expect("it is let in");
        quarantine.leave(tenant, leave, Conduct::UsedUp, now);
    }

    #[test]
    fn who_strikes_twice_is_shut_out_and_nobody_else() {
        let quarantine = Quarantine::new();
        strikes(&quarantine, "acme", 10);
        strikes(&quarantine, "acme", 5_000);
        assert_eq!(quarantine.enter("acme", 5_100), Err(900));
        for other in 0..1_000 {
            assert_eq!(quarantine.enter(&format!("globex-{other}"), 5_100), Ok(Leave::default()));
        }
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
            quarantine.leave("acme", tried, Conduct::UsedUp, now + 10);
            assert_eq!(quarantine.enter("acme", now + 10), Err(spell));
            now += 10 + spell;
        }
        let tried = quarantine.enter("acme", now).expect("one is tried");
        quarantine.leave("acme", tried, Conduct::Sound, now);
        assert_eq!(quarantine.enter("acme", now), Ok(Leave::default()));
        assert!(!quarantine.remembers.load(Ordering::Relaxed));
    }

    #[test]
    fn one_that_proved_nothing_is_tried_again_after_as_long() {
        let quarantine = Quarantine::new();
        strikes(&quarantine, "acme", 0);
        strikes(&quarantine, "acme", 0);
        for now in [1_000, 2_000, 3_000] {
            let tried = quarantine.enter("acme", now).expect("one is tried");
            quarantine.leave("acme", tried, Conduct::Doubtful, now);
            assert_eq!(quarantine.enter("acme", now), Err(1_000));
        }
        let quarantine = Quarantine::new();
        (0..9).for_each(|_| quarantine.leave("acme", Leave::default(), Conduct::Doubtful, 0));
        assert_eq!(quarantine.enter("acme", 0), Ok(Leave::default()), "nobody is blamed for the machine");
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
        for tenant in ["a", "b", "c"] {
            strikes(&quarantine, tenant, 0);
        }
        assert_eq!(quarantine.enter("e", 1), Ok(Leave::default()));
        strikes(&quarantine, "d", 1);
        assert_eq!(quarantine.enter("e", 2), Err(999));
        // The fifth did nothing: the policy is tried by it, and is as before.
        let tried = quarantine.enter("e", 1_001).expect("one is tried");
        quarantine.leave("e", tried, Conduct::Sound, 1_001);
        assert_eq!(quarantine.enter("a", 1_002), Ok(Leave::default()));
    }

    #[test]
    fn tenants_that_are_shut_out_do_not_shut_out_the_others() {
        let quarantine = Quarantine::new();
        for tenant in ["a", "b", "c", "d"] {
            strikes(&quarantine, tenant, 0);
            strikes(&quarantine, tenant, 0);
        }
        assert_eq!(quarantine.enter("e", 1), Ok(Leave::default()));
    }

    #[test]
    fn a_policy_is_asked_by_none_when_there_is_no_room_for_another_to_shut_out() {
        let quarantine = Quarantine::new();
        for tenant in 0..Bounds::WARDS {
            strikes(&quarantine, &tenant.to_string(), 0);
            strikes(&quarantine, &tenant.to_string(), 0);
        }
        assert_eq!(quarantine.enter("other", 0), Ok(Leave::default()));
        strikes(&quarantine, "one too many", 0);
        assert_eq!(quarantine.enter("other", 0), Err(1_000));
        assert_eq!(quarantine.enter("other", 11_001), Ok(Leave::default()), "all of it is forgotten");
    }
}
