//! Versions of a policy on trial: beside the active one, or for some tenants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::plan::TrialMode;
use super::roster::Tier;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PolicyId, Request, Verdict};
use crate::policy::{Answer, Policy, PolicyFault, Subject};
use crate::store::Peeking;
use crate::time::Timestamp;

/// A version on trial.
#[derive(Debug)]
pub(super) enum Trial {
    Shadow(Box<Shadow>),
    Canary(Box<Canary>),
}

/// A version that decides beside the active one, and takes nothing.
#[derive(Debug)]
pub(super) struct Shadow {
    policy: Policy,
    space: Box<str>,
    tally: Mutex<Tally>,
}

/// A version that decides for some tenants.
#[derive(Debug)]
pub(super) struct Canary {
    pub(super) tier: Tier,
    percent: u8,
}

/// How the verdicts of a shadow compare with the active version's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flips {
    /// How many requests both decided.
    pub decided: u64,
    /// The shadow refuses what passed.
    pub stricter: u64,
    /// The shadow lets pass what was refused.
    pub looser: u64,
    /// The shadow could not decide.
    pub faults: u64,
}

/// One verdict of a shadow that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flip {
    /// When.
    pub at: Timestamp,
    /// Whose request it was.
    pub tenant: String,
    /// Who asked.
    pub subject: String,
    /// What the active version said.
    pub active: Verdict,
    /// What the shadow said.
    pub shadow: Verdict,
}

/// What is known of a shadow on this host.
#[derive(Clone, Debug)]
pub struct ShadowReport {
    /// The tier.
    pub tier: Arc<str>,
    /// The tenant, if it is one's own tier.
    pub tenant: Option<String>,
    /// The version on trial.
    pub policy: Arc<PolicyId>,
    /// All of it.
    pub total: Flips,
    /// By tenant; those beyond the first 10,000 are together under `~others`.
    pub tenants: BTreeMap<String, Flips>,
    /// The last differences, the newest last.
    pub samples: Vec<Flip>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    total: Flips,
    tenants: BTreeMap<String, Flips>,
    samples: Vec<Flip>,
}

/// How many tenants are told apart.
const TENANTS: usize = 10_000;
const OTHERS: &str = "~others";
/// How many differences are kept.
const SAMPLES: usize = 32;

impl Trial {
    /// The version `tier` in this mode.
    pub(super) fn new(mode: TrialMode, tier: Tier) -> Result<Self> {
        match mode {
            TrialMode::Shadow => {
                let policy = tier.policy.over(Arc::new(Peeking::into(Arc::clone(&tier.store))));
                Ok(Self::Shadow(Box::new(Shadow { policy, space: tier.space, tally: Mutex::default() })))
            }
            TrialMode::Canary(percent) if (1..100).contains(&percent) => {
                Ok(Self::Canary(Box::new(Canary { tier, percent })))
            }
            TrialMode::Canary(percent) => {
                let message = format!("a canary for {percent} of a hundred tenants; 1 to 99 make sense");
                Err(Error::new(ErrorKind::Config, message))
            }
        }
    }

    pub(super) fn policy(&self) -> &Arc<PolicyId> {
        match self {
            Self::Shadow(shadow) => shadow.policy.id(),
            Self::Canary(canary) => canary.tier.policy.id(),
        }
    }

    pub(super) fn mode(&self) -> TrialMode {
        match self {
            Self::Shadow(_) => TrialMode::Shadow,
            Self::Canary(canary) => TrialMode::Canary(canary.percent),
        }
    }
}

impl Canary {
    /// Whether a tenant is among those it decides for: the same tenants on every host.
    pub(super) fn has(&self, tenant: &str) -> bool {
        let [first, second, ..]: [u8; 32] = Sha256::digest(tenant).into();
        u32::from(u16::from_be_bytes([first, second])) * 100 / 65_536 < u32::from(self.percent)
    }
}

impl Shadow {
    /// Asks what it would decide. To be polled before the active version, so that it sees the counters as that one does.
    pub(super) async fn decide(&self, subject: &Subject<'_>) -> std::result::Result<Answer, PolicyFault> {
        self.policy.decide(&Subject { space: &self.space, ..*subject }).await
    }

    /// Takes note of how its verdict compares with what the caller was told.
    pub(super) fn note(
        &self,
        now: Timestamp,
        request: &Request<'_>,
        active: Verdict,
        shadow: &std::result::Result<Answer, PolicyFault>,
    ) {
        let shadow = shadow.as_ref().ok().and_then(|answer| Some(answer.ruling.as_ref().ok()?.verdict));
        let passes = |verdict: Verdict| verdict != Verdict::Deny;
        let flips = Flips {
            decided: 1,
            stricter: u64::from(passes(active) && shadow.is_some_and(|shadow| !passes(shadow))),
            looser: u64::from(!passes(active) && shadow.is_some_and(passes)),
            faults: u64::from(shadow.is_none()),
        };
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.total.add(flips);
        let known = tally.tenants.contains_key(request.tenant()) || tally.tenants.len() < TENANTS;
        let tenant = if known { request.tenant() } else { OTHERS };
        match tally.tenants.get_mut(tenant) {
            Some(known) => known.add(flips),
            None => drop(tally.tenants.insert(tenant.to_owned(), flips)),
        }
        if let Some(shadow) = shadow.filter(|_| flips.stricter + flips.looser > 0) {
            if tally.samples.len() == SAMPLES {
                tally.samples.remove(0);
            }
            let (tenant, subject) = (request.tenant().to_owned(), request.subject().to_owned());
            tally.samples.push(Flip { at: now, tenant, subject, active, shadow });
        }
    }

    pub(super) fn report(&self, tier: &Arc<str>, tenant: Option<&str>) -> ShadowReport {
        let Tally { total, tenants, samples } = self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (tier, tenant, policy) = (Arc::clone(tier), tenant.map(str::to_owned), Arc::clone(self.policy.id()));
        ShadowReport { tier, tenant, policy, total, tenants, samples }
    }
}

impl Flips {
    fn add(&mut self, other: Self) {
        self.decided += other.decided;
        self.stricter += other.stricter;
        self.looser += other.looser;
        self.faults += other.faults;
    }
}
