//! A cluster.

use anyhow::{Result, ensure};
use tollgate_tests::{RedisCluster, RedisServer};

/// What the tests of clusters rest on: servers that replace a master, give slots away, and forget nothing of it.
#[test]
fn the_kits_cluster_does_what_a_cluster_does() -> Result<()> {
    let mut cluster = RedisCluster::start(3, 1)?;
    let slot = cluster.slot("{acme}")?;
    let from = cluster.owner(slot)?;
    let to = (from + 1) % 3;
    let set =
        |server: &RedisServer, key: &str| server.run::<()>(&["SET", key, "1"]).map_err(|error| format!("{error:#}"));
    set(cluster.node(from)?, "{acme}:here").expect("it has the slot");
    let moved = set(cluster.node(to)?, "{acme}:here").expect_err("it has not");
    assert!(moved.contains("Moved") && moved.contains(&cluster.node(from)?.port().to_string()), "{moved}");
    cluster.begin_migration(slot, from, to)?;
    let asks = set(cluster.node(from)?, "{acme}:new").expect_err("it takes nothing new");
    assert!(asks.contains("Ask") && asks.contains(&cluster.node(to)?.port().to_string()), "{asks}");
    cluster.move_keys(slot, from, to)?;
    cluster.end_migration(slot, from, to)?;
    ensure!(cluster.node(to)?.run::<usize>(&["EXISTS", "{acme}:here"])? == 1, "the key has not come along");
    let replica = cluster.replica(0)?;
    cluster.failover(replica)?;
    let killed = cluster.replica(1).and_then(|replica| cluster.kill(1).map(|()| replica))?;
    cluster.promoted(killed)?;
    cluster.restart(1)?;
    cluster.settle()
}
