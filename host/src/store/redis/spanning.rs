//! Lists whose keys lie in several slots of a cluster, such as a limit of all tenants beside one of the tenant's own.
//!
//! No script reaches over two slots. So each slot's share of the list is taken whole or not at all, all at the same time, and if one share is
//! refused, the others are given back. Taken before it is confirmed, so that no limit ever admits more than it should; the price is that
//! until the shares are given back, at most a moment after the deadline, another list may be refused that would have passed. If this
//! host dies in between, its shares stay taken until their windows end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::cluster::slot;
use super::{Inner, List};
use crate::counter::{Mode, Outcome};
use crate::model::{Action, Charge, Fault, FaultKind, Held, Settlement};
use crate::store::Outcomes;
use crate::time::Timestamp;

/// How long giving back may take once the list was answered.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);

/// The part of a list that lies in one slot, with the place of each charge in the list.
struct Share {
    places: Vec<usize>,
    charges: Vec<Charge>,
}

/// The shares of a list, by slot; none if it has only one.
fn shares(charges: &[Charge], hold: Duration) -> Option<Vec<Share>> {
    let mut shares: BTreeMap<u16, Share> = BTreeMap::new();
    let first = slot(&charges.first()?.key);
    if charges.iter().all(|charge| slot(&charge.key) == first) {
        return None;
    }
    for (place, charge) in charges.iter().enumerate() {
        let share =
            shares.entry(slot(&charge.key)).or_insert_with(|| Share { places: Vec::new(), charges: Vec::new() });
        share.places.push(place);
        let limit = charge.limit.clone().held_for(hold);
        share.charges.push(Charge { limit, ..charge.clone() });
    }
    Some(shares.into_values().collect())
}

/// Takes a list that spans slots; none if it does not.
pub(super) async fn take(inner: &Arc<Inner>, list: List<'_>) -> Option<Outcomes> {
    // Long enough to be given back in, since a bucket gives back only what is held.
    let shares = shares(list.charges, list.within + GIVEN_BACK_WITHIN * 2)?;
    Some(take_shares(inner, list, shares).await)
}

async fn take_shares(inner: &Arc<Inner>, list: List<'_>, shares: Vec<Share>) -> Outcomes {
    if list.once.is_some() {
        let message = "a list that spans slots of a cluster cannot be remembered; ask without a token";
        return Err(Fault::new(FaultKind::Invalid, message));
    }
    let until = Instant::now() + list.within;
    let taken = join_all(shares.iter().map(|share| inner.take_until(&share.charges, None, until))).await;
    let refuses = |share: &Share, outcomes: &[Outcome]| {
        share.charges.iter().zip(outcomes).any(|(charge, outcome)| charge.mode == Mode::Enforce && !outcome.allowed)
    };
    let admits = |(share, taken): (&Share, &Outcomes)| taken.as_ref().is_ok_and(|outcomes| !refuses(share, outcomes));
    if shares.iter().zip(&taken).all(admits) {
        return in_order(list.charges.len(), &shares, taken);
    }
    let back: Vec<Settlement> = shares
        .iter()
        .zip(&taken)
        .filter(|pair| admits(*pair))
        .filter_map(|(share, taken)| given_back(share, taken.as_ref().ok()?))
        .collect();
    // Whoever asked may stop waiting: what was taken for nothing is given back all the same.
    let giving = tokio::spawn(give_back(Arc::clone(inner), back));
    if taken.iter().all(Result::is_ok) {
        // What is told of a refused list is what is left without it.
        let _ = tokio::time::timeout_at(until, giving).await;
        let untouched = join_all(shares.iter().map(|share| look(inner, share, until))).await;
        let told = taken.into_iter().zip(untouched).map(|(taken, untouched)| as_refused(taken?, untouched?)).collect();
        return in_order(list.charges.len(), &shares, told);
    }
    Err(taken.into_iter().find_map(Result::err).expect("not all are well"))
}

/// What takes back all that a share took.
fn given_back(share: &Share, outcomes: &[Outcome]) -> Option<Settlement> {
    let took =
        |(charge, outcome): &(&Charge, &Outcome)| outcome.allowed && charge.mode != Mode::Peek && charge.cost > 0;
    let held: Vec<Held> = share.charges.iter().zip(outcomes).filter(took).map(held).collect();
    let none = Timestamp::default();
    (!held.is_empty()).then_some(Settlement {
        marker: None,
        until: none,
        remembered_us: 0,
        action: Action::Settle,
        held,
    })
}

fn held((charge, outcome): (&Charge, &Outcome)) -> Held {
    let (key, limit) = (charge.key.clone(), charge.limit.clone());
    Held { key, limit, taken: charge.cost, unused: charge.cost, mark_us: outcome.mark_us, holder: charge.holder }
}

async fn give_back(inner: Arc<Inner>, settlements: Vec<Settlement>) {
    let until = Instant::now() + GIVEN_BACK_WITHIN;
    let given = join_all(settlements.iter().map(|settlement| inner.settle_until(settlement, until))).await;
    for fault in given.into_iter().filter_map(Result::err) {
        tracing::warn!("a refused list could not be given back, and stays taken until its windows end: {fault}");
    }
}

/// What is left of the counters of a share.
async fn look(inner: &Arc<Inner>, share: &Share, until: Instant) -> Outcomes {
    let looks: Vec<Charge> = share.charges.iter().map(|charge| Charge { cost: 0, ..charge.clone() }).collect();
    inner.take_until(&looks, None, until).await
}

fn as_refused(attempts: Vec<Outcome>, untouched: Vec<Outcome>) -> Outcomes {
    let told = |(attempt, untouched): (Outcome, Outcome)| {
        let retry_after = if attempt.allowed { None } else { attempt.retry_after };
        Outcome { allowed: attempt.allowed, retry_after, ..untouched }
    };
    Ok(attempts.into_iter().zip(untouched).map(told).collect())
}

/// Puts the outcomes of the shares where their charges stand in the list.
fn in_order(charges: usize, shares: &[Share], outcomes: Vec<Outcomes>) -> Outcomes {
    let mut placed: Vec<Option<Outcome>> = vec![None; charges];
    for (share, outcomes) in shares.iter().zip(outcomes) {
        for (place, outcome) in share.places.iter().zip(outcomes?) {
            if let Some(at) = placed.get_mut(*place) {
                *at = Some(outcome);
            }
        }
    }
    Ok(placed.into_iter().flatten().collect())
}
