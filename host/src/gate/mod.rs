//! The decision: which tier, which policy, and what to answer if one of them cannot.
//!
//! [`Tollgate::decide`] is the only function with the ifs of a decision. It always answers: a fault is answered by the rule that the
//! tier declares for it, and the answer says so.

mod activation;
mod assembly;
mod counters;
mod explain;
mod faults;
mod health;
mod keys;
mod meters;
mod plan;
mod receipts;
mod roster;
mod seal;
mod subjects;
mod trial;
mod watchers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

pub use activation::{Active, Prepared, Storm};
pub use assembly::Builder;
pub use keys::{ApiKeys, KeyHolder};
pub use plan::{Code, Plan, TierPlan, TrialMode, TrialPlan};
pub use receipts::Extension;

pub use trial::{Flip, Flips, ShadowReport};
pub use watchers::{Seen, Watching};

use crate::counter::{Algorithm, Mode};
use crate::model::{
    Charge, Decision, Fault, KeySpace, Limit, OnStoreFault, PolicyFaultKind, Quota, Request, Source, Verdict,
};
use crate::policy::{Answer, Engine, PolicyFault, Ruling, Subject};
use crate::store::StoreStats;
use crate::time::{Clock, Timestamp};
use counters::Counters;
use faults::FaultLog;
use roster::{Roster, Tier};
use seal::Sealer;
pub(crate) use seal::draw;
use subjects::Subjects;
use trial::{Shadow, Trial};
use watchers::Watchers;

/// Decides requests. Clones are the same gate: one store, one engine, one roster.
///
/// # Example
///
/// ```
/// use tollgate::{Request, SystemClock, TierPlan, Tollgate, store::Memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gate = Tollgate::builder()
///     .store(Memory::new(SystemClock::new()))
///     .tier("free", TierPlan::built_in("tiered", r#"{"limits": [{"id": "day", "limit": "2/day"}]}"#))
///     .tenant("acme", "free")
///     .build()
///     .await?;
///
/// let request = Request::new("acme", "alice")?;
/// assert!(gate.decide(&request).await.is_allowed());
/// assert!(gate.decide(&request).await.is_allowed());
/// let refused = gate.decide(&request).await;
/// assert!(!refused.is_allowed());
/// assert_eq!(refused.binding().map(|charged| charged.limit.id()), Some("day"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tollgate(Arc<Inner>);

struct Inner {
    engine: Engine,
    store: Counters,
    clock: Arc<dyn Clock>,
    prefix: Box<str>,
    deadline: Duration,
    sealer: Sealer,
    roster: ArcSwap<Roster>,
    replacing: tokio::sync::Mutex<()>,
    faults: FaultLog,
    subjects: Subjects,
    storms: watch::Sender<Option<Storm>>,
    watchers: Watchers,
}

impl Tollgate {
    /// A gate to be built: give it a store and tiers.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Decides one request.
    ///
    /// Always answers, within the deadline plus the time of one policy call. While the store answers, what passes never exceeds a limit.
    /// Subjects beyond [`Builder::subjects_per_tenant`] share one counter.
    /// Dropping the future gives up the answer; what the policy charged until then stays charged.
    pub async fn decide(&self, request: &Request<'_>) -> Decision {
        let roster = self.0.roster.load_full();
        let Some(tier) = roster.tier_of(request) else {
            return self.without_tier(&roster, request);
        };
        let tier = tier.serving(request.tenant());
        let now = self.0.clock.now();
        let counted = self.0.subjects.within(request, now);
        let subject = self.subject(tier, &counted, now);
        let decision = match &tier.trial {
            Some(Trial::Shadow(shadow)) => self.decide_beside(shadow, &roster, tier, &subject).await,
            _ => self.decide_by(&roster, tier, &subject).await,
        };
        match decision.source {
            Source::PolicyFault(kind) => self.note_fault(&roster, tier, now, kind),
            _ => tier.health.note_decision(now),
        }
        tier.meters.note(&decision, now, || self.0.clock.now());
        self.0.watchers.tell(now, request, &decision);
        decision
    }

    /// What the policy of a tier is asked.
    fn subject<'a>(&'a self, tier: &'a Tier, request: &'a Request<'a>, now: Timestamp) -> Subject<'a> {
        Subject { request, prefix: &self.0.prefix, space: &tier.space, now, deadline: self.0.deadline }
    }

    async fn decide_by(&self, roster: &Roster, tier: &Tier, subject: &Subject<'_>) -> Decision {
        let mut answer = tier.policy.decide(subject).await;
        let holding = answer.as_mut().ok().and_then(|answer| answer.holding.take());
        let mut decision = self.concluded(roster, tier, answer);
        if let Some(holding) = holding {
            let receipt = receipts::receipt(subject, holding);
            if decision.is_allowed() {
                decision.receipt = Some(receipt);
            } else {
                // Nobody is told of it, so nobody would end it. It ends by itself where this fails.
                let _ = self.refund(&receipt).await;
            }
        }
        decision
    }

    /// Decides, and asks the shadow a moment before, so that its charges leave before those that count: it sees the counters as they were.
    async fn decide_beside(&self, shadow: &Shadow, roster: &Roster, tier: &Tier, subject: &Subject<'_>) -> Decision {
        let (told, decision) = tokio::join!(biased; shadow.decide(subject), self.decide_by(roster, tier, subject));
        shadow.note(subject.now, subject.request, decision.verdict, &told);
        decision
    }

    fn concluded(&self, roster: &Roster, tier: &Tier, answer: std::result::Result<Answer, PolicyFault>) -> Decision {
        let mut decision = Decision {
            verdict: Verdict::Deny,
            reason: String::new(),
            source: Source::Policy,
            limits: Vec::new(),
            attributes: Vec::new(),
            receipt: None,
            tier: Arc::clone(&tier.name),
            policy: Some(Arc::clone(tier.policy.id())),
            generation: roster.generation,
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => return self.policy_fault(decision, tier, &fault),
        };
        decision.limits = answer.charged;
        match (answer.ruling, answer.misuse, answer.store_fault) {
            (Ok(ruling), _, _) => self.ruled(decision, ruling, answer.in_spite_of.as_ref()),
            (Err(_), Some(misuse), _) => self.policy_fault(decision, tier, &misuse),
            (Err(_), None, Some(fault)) => self.store_fault(decision, tier, &fault),
            (Err(fault), None, None) => self.policy_fault(decision, tier, &fault),
        }
    }

    fn ruled(&self, decision: Decision, ruling: Ruling, in_spite_of: Option<&Fault>) -> Decision {
        let Ruling { verdict, reason, attributes } = ruling;
        let mut decision = Decision { verdict, reason, attributes, ..decision };
        if let Some(fault) = in_spite_of {
            decision.source = Source::Local(fault.kind);
            self.0.faults.tell(self.0.clock.now(), &decision, &fault.message);
        }
        decision
    }

    fn policy_fault(&self, mut decision: Decision, tier: &Tier, fault: &PolicyFault) -> Decision {
        decision.source = Source::PolicyFault(fault.kind);
        decision.verdict = verdict_of(tier.on_policy_fault);
        "the policy could not decide".clone_into(&mut decision.reason);
        self.0.faults.tell(self.0.clock.now(), &decision, &fault.message);
        decision
    }

    fn store_fault(&self, mut decision: Decision, tier: &Tier, fault: &Fault) -> Decision {
        decision.source = Source::StoreFault(fault.kind);
        decision.verdict = verdict_of(tier.on_store_fault);
        "the counters could not be charged".clone_into(&mut decision.reason);
        self.0.faults.tell(self.0.clock.now(), &decision, &fault.message);
        decision
    }

    fn without_tier(&self, roster: &Roster, request: &Request<'_>) -> Decision {
        let decision = Decision {
            verdict: verdict_of(roster.on_missing),
            reason: "no tier is set for this tenant".to_owned(),
            source: Source::PolicyFault(PolicyFaultKind::Missing),
            limits: Vec::new(),
            attributes: Vec::new(),
            receipt: None,
            tier: "".into(),
            policy: None,
            generation: roster.generation,
        };
        let message = format!("tenant `{}`, tier `{}`", request.tenant(), request.tier().unwrap_or(""));
        self.0.faults.tell(self.0.clock.now(), &decision, &message);
        decision
    }

    /// The names of the tiers, in order.
    #[must_use]
    pub fn tiers(&self) -> Vec<String> {
        self.0.roster.load().tier_names()
    }

    /// Whether a request of this tenant, naming this tier if any, has a policy to decide it.
    #[must_use]
    pub fn has_tier(&self, request: &Request<'_>) -> bool {
        self.0.roster.load().tier_of(request).is_some()
    }

    /// Whether the counters are shared with other processes, as they are in Redis and not in memory.
    #[must_use]
    pub fn has_shared_store(&self) -> bool {
        !self.0.store.store().is_local()
    }

    /// How the shared store fares, and what answered in its place; none if the counters are in this process.
    #[must_use]
    pub fn store_stats(&self) -> Option<StoreStats> {
        self.0.store.stats()
    }

    /// Gives back to the shared store what this host drew of leased limits and did not spend: before it stops, so that others can have it at once.
    pub async fn give_back(&self) {
        if let Counters::Shared(guard) = &self.0.store {
            guard.give_back().await;
        }
    }

    /// How long the store takes to answer, asked without taking anything.
    ///
    /// # Errors
    ///
    /// Fails with the store's [`Fault`], as a decision would.
    pub async fn store_latency(&self) -> std::result::Result<Duration, Fault> {
        let quota = Quota { max: 1, window: Duration::from_secs(1), burst: 1 };
        let limit = Limit::new("probe", Algorithm::FixedWindow, quota).expect("the numbers are in range");
        let key = KeySpace::new(&self.0.prefix, "tollgate", "probe").key(&limit, "");
        let probe = [Charge { key, limit, cost: 1, mode: Mode::Peek, holder: 0 }];
        let asked = self.0.clock.now();
        self.0.store.store().charge(&probe, self.0.deadline).outcomes().await?;
        Ok(self.0.clock.now().since(asked))
    }
}

impl fmt::Debug for Tollgate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tollgate")
            .field("store", &self.0.store)
            .field("roster", &self.0.roster.load())
            .finish_non_exhaustive()
    }
}

fn verdict_of(rule: impl Into<OnStoreFault>) -> Verdict {
    match rule.into() {
        OnStoreFault::Allow => Verdict::Allow,
        // What should have been counted here and could not be, since no limit was told, is not let pass uncounted.
        OnStoreFault::Deny | OnStoreFault::Local => Verdict::Deny,
    }
}
