//! The gate as an embedder meets it: tiers, replacement under load, and counters that nobody shares.

mod change;
mod receipts;
mod replace;
mod subjects;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tollgate::store::Memory;
use tollgate::{
    Decision, ManualClock, OnFault, Plan, PolicyFaultKind, Request, Source, TierPlan, Timestamp, Tollgate, Verdict,
};

/// How long a decision may take: a busy machine changes no answer.
const SOON: Duration = Duration::from_secs(5);

/// A tier of one limit, such as `100/day`.
fn tier(limit: &str) -> TierPlan {
    tier_of(&[("only", limit)])
}

/// A tier of several limits, by id.
fn tier_of(limits: &[(&str, &str)]) -> TierPlan {
    let limits: Vec<String> =
        limits.iter().map(|(id, limit)| format!(r#"{{"id": "{id}", "limit": "{limit}"}}"#)).collect();
    TierPlan::built_in("tiered", format!(r#"{{"limits": [{}]}}"#, limits.join(", ")))
}

fn plan<'a>(tiers: impl IntoIterator<Item = (&'a str, TierPlan)>) -> Plan {
    let tiers = tiers.into_iter().map(|(name, tier)| (name.to_owned(), tier)).collect();
    Plan { tiers, ..Plan::default() }
}

/// A gate over memory whose time stands still, so that nothing is refilled.
async fn gate(plan: Plan) -> Result<Tollgate> {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
    let builder = Tollgate::builder().store(Memory::new(clock.clone())).clock(clock).deadline(SOON);
    Ok(builder.plan(plan).build().await?)
}

/// What the last limit of a decision has left.
fn left(decision: &Decision) -> u64 {
    decision.limits.last().unwrap_or_else(|| panic!("nothing was charged: {decision:?}")).outcome.remaining
}

#[tokio::test]
async fn a_request_names_its_tier_or_has_its_tenants_or_the_default_one() -> Result<()> {
    let tiers = || plan([("named", tier("1/day")), ("own", tier("2/day")), ("default", tier("3/day"))]);
    let tenants = || [("acme".to_owned(), "own".to_owned())].into();
    let with_default = gate(Plan { tenants: tenants(), default_tier: Some("default".to_owned()), ..tiers() }).await?;
    let without = gate(Plan { tenants: tenants(), ..tiers() }).await?;
    for (gate, tenant, named, tier) in [
        (&with_default, "acme", Some("named"), Some("named")),
        (&with_default, "acme", None, Some("own")),
        (&with_default, "globex", Some("named"), Some("named")),
        (&with_default, "globex", None, Some("default")),
        // Whoever names a tier that is not there gets no other instead.
        (&with_default, "acme", Some("gold"), None),
        (&without, "acme", None, Some("own")),
        (&without, "globex", None, None),
    ] {
        let mut request = Request::new(tenant, "alice")?;
        if let Some(named) = named {
            request = request.with_tier(named)?;
        }
        let decision = gate.decide(&request).await;
        assert_eq!(&*decision.tier, tier.unwrap_or(""), "{tenant} {named:?}");
        assert_eq!(gate.has_tier(&request), tier.is_some(), "{tenant} {named:?}");
        assert_eq!((decision.policy.is_some(), decision.generation), (tier.is_some(), 1), "{tenant} {named:?}");
    }
    assert_eq!(with_default.tiers(), ["default", "named", "own"]);
    Ok(())
}

#[tokio::test]
async fn a_request_without_a_tier_is_answered_by_the_rule_for_it() -> Result<()> {
    for (rule, verdict) in [(OnFault::Allow, Verdict::Allow), (OnFault::Deny, Verdict::Deny)] {
        let gate = gate(Plan { on_missing_tier: rule, ..plan([("free", tier("1/day"))]) }).await?;
        let decision = gate.decide(&Request::new("acme", "alice")?).await;
        assert_eq!((decision.verdict, decision.source), (verdict, Source::PolicyFault(PolicyFaultKind::Missing)));
        assert_eq!((decision.reason.as_str(), decision.limits.len()), ("no tier is set for this tenant", 0));
    }
    Ok(())
}

#[tokio::test]
async fn nobody_shares_a_counter_with_anybody_else() -> Result<()> {
    let by = |whom: &str| {
        let config = format!(r#"{{"limits": [{{"id": "only", "limit": "1/day", "by": "{whom}"}}]}}"#);
        TierPlan::built_in("tiered", config)
    };
    let long = "é".repeat(64);
    let subjects = ["alice", "Alice", "a:b", "a", ":", "{alice}", "}:x", "*", "?", "[a]", " ", "é", "e\u{301}", &long];
    let tenants = ["acme", "acme:x", "*", "a b", "é", "ratelimit"];
    let gate = gate(plan([("subject", by("subject")), ("tenant", by("tenant"))])).await?;
    for tenant in tenants {
        for subject in subjects {
            let request = Request::new(tenant, subject)?.with_tier("subject")?;
            let verdicts = [gate.decide(&request).await.verdict, gate.decide(&request).await.verdict];
            assert_eq!(verdicts, [Verdict::Allow, Verdict::Deny], "{tenant} {subject}");
        }
    }
    let mut passed = BTreeSet::new();
    for tenant in tenants {
        for subject in subjects {
            let decision = gate.decide(&Request::new(tenant, subject)?.with_tier("tenant")?).await;
            passed.extend(decision.is_allowed().then_some((tenant, subject)));
        }
    }
    assert_eq!(passed, tenants.map(|tenant| (tenant, subjects[0])).into(), "all subjects of a tenant share its limit");
    Ok(())
}

#[tokio::test]
async fn eight_threads_are_admitted_exactly_to_the_limit() -> Result<()> {
    const THREADS: u64 = 8;
    const EACH: u64 = 250;
    const MAX: u64 = 1_000;
    for limits in [
        &[("fixed", "1000/day")][..],
        &[("sliding", "1000/day sliding")],
        &[("bucket", "1000/day burst 1000")],
        &[("wide", "1000000/day"), ("bucket", "1000/day burst 1000"), ("sliding", "2000/day sliding")],
    ] {
        let plan = plan([("only", tier_of(limits))]);
        let gate = gate(Plan { default_tier: Some("only".to_owned()), ..plan }).await?;
        let ask = || -> Result<u64> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let mut admitted = 0;
            for _ in 0..EACH {
                let decision = runtime.block_on(gate.decide(&Request::new("acme", "alice")?));
                assert_eq!(decision.source, Source::Policy, "{decision:?}");
                admitted += u64::from(decision.is_allowed());
            }
            Ok(admitted)
        };
        let admitted = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panicked")).sum::<Result<u64>>()
        })?;
        assert_eq!(admitted, MAX, "{limits:?}: {} asked", THREADS * EACH);
    }
    Ok(())
}
