//! Lists whose keys lie in several slots of a cluster.

use std::sync::Arc;

use anyhow::Result;
use tollgate::store::{List, Redis, RedisOptions, Store};
use tollgate::{Algorithm, Charge, Fault, FaultKind};
use tollgate_tests::RedisCluster;

use super::{ALGORITHMS, SOON, YEAR, charge, limit};

const TENANTS: usize = 6;
const OF_TENANT: u64 = 4;
const OF_ALL: u64 = 15;

/// A limit of the tenant's own beside one that all tenants share.
fn list(algorithm: Algorithm, tenant: usize) -> [Charge; 2] {
    [
        charge(&format!("span:{{t{tenant}}}:{algorithm}"), &limit(algorithm, OF_TENANT, YEAR)),
        charge(&format!("span:{{all}}:{algorithm}"), &limit(algorithm, OF_ALL, YEAR)),
    ]
}

/// What is left of each counter of a list, which is not charged.
async fn left(store: &Redis, list: &[Charge]) -> Result<Vec<u64>, Fault> {
    let looks: Vec<Charge> = list.iter().map(|charge| Charge { cost: 0, ..charge.clone() }).collect();
    Ok(store.charge(&looks, SOON).outcomes().await?.iter().map(|outcome| outcome.remaining).collect())
}

async fn is_admitted(store: &Redis, list: &[Charge]) -> Result<bool, Fault> {
    Ok(store.charge(list, SOON).outcomes().await?.iter().all(|outcome| outcome.allowed))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_limit_admits_too_many_and_a_refused_list_leaves_nothing_taken() -> Result<()> {
    let cluster = RedisCluster::start(3, 0)?;
    let slots = [cluster.slot("{t0}")?, cluster.slot("{t1}")?, cluster.slot("{all}")?];
    assert!(slots[0] != slots[2] && slots[1] != slots[2], "{slots:?}");
    let mut hosts = Vec::new();
    for _ in 0..2 {
        hosts.push(Arc::new(Redis::connect(&cluster.target(), RedisOptions::default()).await?));
    }
    for algorithm in ALGORITHMS {
        let tasks: Vec<_> = (0..48)
            .map(|task| {
                let (host, tenant) = (Arc::clone(&hosts[task % 2]), task % TENANTS);
                tokio::spawn(
                    async move { Ok::<_, Fault>((tenant, is_admitted(&host, &list(algorithm, tenant)).await?)) },
                )
            })
            .collect();
        let mut admitted = [0; TENANTS];
        for task in tasks {
            let (tenant, passes) = task.await??;
            admitted[tenant] += u64::from(passes);
        }
        // Lists that were under way together may have refused one another; one after another they fill what is left.
        for tenant in (0..TENANTS).cycle().take(TENANTS * 4) {
            admitted[tenant] += u64::from(is_admitted(&hosts[0], &list(algorithm, tenant)).await?);
        }
        assert_eq!(admitted.iter().sum::<u64>(), OF_ALL, "{algorithm}: {admitted:?}");
        for (tenant, admitted) in admitted.into_iter().enumerate() {
            assert_eq!(left(&hosts[1], &list(algorithm, tenant)).await?, [OF_TENANT - admitted, 0], "{algorithm}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_list_is_told_what_is_left_without_it() -> Result<()> {
    let cluster = RedisCluster::start(3, 0)?;
    let store = Redis::connect(&cluster.target(), RedisOptions::default()).await?;
    for algorithm in ALGORITHMS {
        let mut list = list(algorithm, 0);
        list[1].cost = OF_ALL + 1;
        let outcomes = store.charge(&list, SOON).outcomes().await?;
        let told: Vec<_> =
            outcomes.iter().map(|outcome| (outcome.allowed, outcome.remaining, outcome.retry_after)).collect();
        assert_eq!(told, [(true, OF_TENANT, None), (false, OF_ALL, None)], "{algorithm}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_is_refused_since_no_slot_could_remember_the_whole() -> Result<()> {
    let cluster = RedisCluster::start(3, 0)?;
    let store = Redis::connect(&cluster.target(), RedisOptions::default()).await?;
    let charges = list(Algorithm::FixedWindow, 0);
    let asked = store.take(List { charges: &charges, within: SOON, once: Some("span:{t0}:once"), fault: None });
    let fault = asked.outcomes().await.expect_err("it is refused");
    assert_eq!(fault.kind, FaultKind::Invalid, "{fault}");
    assert_eq!(left(&store, &charges).await?, [OF_TENANT, OF_ALL]);
    Ok(())
}
