//! A cluster of one's own.

use anyhow::{Context as _, Result, ensure};
use tollgate::config::{RedisTarget, Topology};

use crate::process::until;
use crate::redis::Kind;
use crate::{RedisServer, Setting};

/// Some `redis-server`s on free ports of the loopback that make a cluster, gone when dropped.
///
/// A server is meant by its place: first come those that begin as masters, in the order of their slots, then for each of them its replicas. A
/// master that does not answer for a second is replaced.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    masters: usize,
}

const SLOTS: usize = 16_384;

impl RedisCluster {
    /// Starts an open cluster of so many masters, each with so many replicas, and waits until every server finds it in order.
    ///
    /// # Errors
    ///
    /// Fails if a server does not start, or if they do not find together.
    pub fn start(masters: usize, replicas: usize) -> Result<Self> {
        Self::start_with(masters, replicas, &Setting::default())
    }

    /// Starts a cluster whose servers all have this setting.
    ///
    /// # Errors
    ///
    /// Fails as [`start`](Self::start) does.
    pub fn start_with(masters: usize, replicas: usize, setting: &Setting) -> Result<Self> {
        let nodes = (0..masters * (1 + replicas)).map(|_| RedisServer::start_as(Kind::OfCluster, setting.clone()));
        let cluster = Self { nodes: nodes.collect::<Result<_>>()?, masters };
        cluster.give_slots()?;
        cluster.meet()?;
        for (replica, node) in cluster.nodes.iter().enumerate().skip(masters) {
            let master = cluster.id((replica - masters) / replicas)?;
            // It has to have heard of its master.
            until("a replica knows its master", || Ok(node.run::<()>(&["CLUSTER", "REPLICATE", &master]).is_ok()))?;
        }
        cluster.settle()?;
        Ok(cluster)
    }

    fn give_slots(&self) -> Result<()> {
        for (place, node) in self.nodes.iter().enumerate() {
            // Otherwise two masters begin with the same, and take a while to agree who is first.
            node.run::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()])?;
            let slots: Vec<String> =
                (0..SLOTS).filter(|slot| slot * self.masters / SLOTS == place).map(|slot| slot.to_string()).collect();
            if !slots.is_empty() {
                let words = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str));
                node.run::<()>(&words.collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    fn meet(&self) -> Result<()> {
        let (first, others) = self.nodes.split_first().context("a cluster has a server")?;
        for other in others {
            first.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()])?;
        }
        Ok(())
    }

    /// Waits until every server that runs finds the cluster in order, with all of its servers and slots.
    ///
    /// # Errors
    ///
    /// Fails if that does not come to be.
    pub fn settle(&self) -> Result<()> {
        let expected = [
            "cluster_state:ok".to_owned(),
            format!("cluster_slots_ok:{SLOTS}"),
            format!("cluster_known_nodes:{}", self.nodes.len()),
            format!("cluster_size:{}", self.masters),
        ];
        for node in &self.nodes {
            until("the cluster is in order", || {
                let info: String = node.run(&["CLUSTER", "INFO"])?;
                let replication: String = node.run(&["INFO", "replication"])?;
                let in_order = expected.iter().all(|line| info.lines().any(|said| said == line));
                Ok(in_order && !replication.contains("master_link_status:down"))
            })?;
        }
        // Each server tells all others who has what, but not at once.
        let owners = (0..self.masters).map(|place| self.id(place)).collect::<Result<Vec<_>>>()?;
        for node in &self.nodes {
            until("all servers agree on the replicas", || {
                let nodes: String = node.run(&["CLUSTER", "NODES"])?;
                let followed = |id: &String| {
                    nodes.lines().filter(|line| line.contains("slave") && line.contains(id.as_str())).count()
                };
                Ok(owners.iter().map(followed).sum::<usize>() == self.nodes.len() - self.masters)
            })?;
        }
        Ok(())
    }

    /// The servers.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The server at this place.
    ///
    /// # Errors
    ///
    /// Fails if there are not so many.
    pub fn node(&self, place: usize) -> Result<&RedisServer> {
        self.nodes.get(place).with_context(|| format!("the cluster has no server {place}"))
    }

    fn node_mut(&mut self, place: usize) -> Result<&mut RedisServer> {
        self.nodes.get_mut(place).with_context(|| format!("the cluster has no server {place}"))
    }

    /// Where it is and how to be let in, as the configuration says it: by the first three servers, or all if it has fewer.
    #[must_use]
    pub fn target(&self) -> RedisTarget {
        let seeds = self.nodes.iter().take(3).map(RedisServer::address).collect();
        let first = self.nodes.first().map(RedisServer::target);
        let first = first.expect("a cluster has a server");
        RedisTarget { topology: Topology::Cluster(seeds), ..first }
    }

    /// Its address as `REDIS_URL` gives it.
    #[must_use]
    pub fn url(&self) -> String {
        let more = self.nodes.iter().take(3).skip(1).map(|node| format!(",{}", node.address()));
        self.nodes.iter().take(1).map(RedisServer::url).chain(more).collect()
    }

    /// The slot of a key.
    ///
    /// # Errors
    ///
    /// Fails if no server answers.
    pub fn slot(&self, key: &str) -> Result<u16> {
        self.anyone()?.run(&["CLUSTER", "KEYSLOT", key])
    }

    /// The place of the master that has `slot`, as the servers that answer see it.
    ///
    /// # Errors
    ///
    /// Fails if no server has it.
    pub fn owner(&self, slot: u16) -> Result<usize> {
        let ranges: Vec<Vec<redis::Value>> = self.anyone()?.run(&["CLUSTER", "SLOTS"])?;
        for range in ranges {
            let head: Vec<redis::Value> = range.into_iter().take(3).collect();
            let [first, last, master] = head.as_slice() else { continue };
            let (first, last): (u16, u16) = (redis::from_redis_value_ref(first)?, redis::from_redis_value_ref(last)?);
            let redis::Value::Array(master) = master else { continue };
            let port: u16 = redis::from_redis_value_ref(master.get(1).context("a server has a port")?)?;
            if (first..=last).contains(&slot) {
                return self.nodes.iter().position(|node| node.port() == port).context("the owner is one of ours");
            }
        }
        anyhow::bail!("nobody has the slot {slot}")
    }

    /// The place of a replica of the master at `place`.
    ///
    /// # Errors
    ///
    /// Fails if it has none.
    pub fn replica(&self, place: usize) -> Result<usize> {
        let id = self.id(place)?;
        let nodes: String = self.anyone()?.run(&["CLUSTER", "NODES"])?;
        let ports = nodes.lines().filter(|line| line.contains(&format!("slave {id}"))).filter_map(port);
        let mut places = ports.filter_map(|port| self.nodes.iter().position(|node| node.port() == port));
        places.next().with_context(|| format!("the server {place} has no replica"))
    }

    fn anyone(&self) -> Result<&RedisServer> {
        let alive = |node: &&RedisServer| node.run::<String>(&["PING"]).is_ok();
        self.nodes.iter().find(alive).context("no server of the cluster answers")
    }

    fn id(&self, place: usize) -> Result<String> {
        self.node(place)?.run(&["CLUSTER", "MYID"])
    }

    /// Kills a server.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be waited for.
    pub fn kill(&mut self, place: usize) -> Result<()> {
        self.node_mut(place)?.kill()
    }

    /// Starts a server again that was killed. It is empty, and knows the others.
    ///
    /// # Errors
    ///
    /// Fails if it does not start.
    pub fn restart(&mut self, place: usize) -> Result<()> {
        self.node_mut(place)?.restart()
    }

    /// Suspends a server: connections stay open, and nothing answers.
    ///
    /// # Errors
    ///
    /// Fails if it is gone.
    pub fn stop(&self, place: usize) -> Result<()> {
        self.node(place)?.stop()
    }

    /// Lets a server go on.
    ///
    /// # Errors
    ///
    /// Fails if it is gone.
    pub fn cont(&self, place: usize) -> Result<()> {
        self.node(place)?.cont()
    }

    /// Makes the replica at `place` a master in the place of its own, and waits until it is.
    ///
    /// # Errors
    ///
    /// Fails if it does not become one.
    pub fn failover(&self, place: usize) -> Result<()> {
        let node = self.node(place)?;
        let mut tries = 0;
        until("a replica takes over", || {
            // One that is accepted may still come to nothing.
            if tries % 200 == 0 {
                let _ = node.run::<()>(&["CLUSTER", "FAILOVER"]);
            }
            tries += 1;
            self.is_master(place)
        })
    }

    /// Waits until the server at `place` is a master, as after the death of its own.
    ///
    /// # Errors
    ///
    /// Fails if it does not become one.
    pub fn promoted(&self, place: usize) -> Result<()> {
        until("a replica takes over", || self.is_master(place))
    }

    fn is_master(&self, place: usize) -> Result<bool> {
        let info: String = self.node(place)?.run(&["INFO", "replication"])?;
        Ok(info.contains("role:master"))
    }

    /// Moves a slot and what is in it from one master to another.
    ///
    /// # Errors
    ///
    /// Fails if a server does not play its part.
    pub fn migrate(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        self.begin_migration(slot, from, to)?;
        self.move_keys(slot, from, to)?;
        self.end_migration(slot, from, to)
    }

    /// Lets the one give away and the other take in, and moves nothing yet: whoever asks the one for a key that it lacks is sent to the other,
    /// for once.
    ///
    /// # Errors
    ///
    /// Fails if a server does not play its part.
    pub fn begin_migration(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let slot = slot.to_string();
        self.node(to)?.run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)?])?;
        self.node(from)?.run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)?])
    }

    /// Moves every key that is there now.
    ///
    /// # Errors
    ///
    /// Fails if a server does not play its part.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let (from, port) = (self.node(from)?, self.node(to)?.port().to_string());
        loop {
            let keys: Vec<String> = from.run(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "100"])?;
            if keys.is_empty() {
                return Ok(());
            }
            let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"].into_iter();
            let answer: String = from.run(&words.chain(keys.iter().map(String::as_str)).collect::<Vec<_>>())?;
            ensure!(answer == "OK" || answer == "NOKEY", "MIGRATE answered {answer}");
        }
    }

    /// Gives the slot to the other for good.
    ///
    /// # Errors
    ///
    /// Fails if a server does not play its part.
    pub fn end_migration(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let (slot, id) = (slot.to_string(), self.id(to)?);
        // The new owner first, or the slot is nobody's for a moment.
        for place in [to, from] {
            self.node(place)?.run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &id])?;
        }
        Ok(())
    }
}

/// The port in a line of `CLUSTER NODES`: `id 127.0.0.1:7000@17000 …`.
fn port(line: &str) -> Option<u16> {
    let address = line.split(' ').nth(1)?.split('@').next()?;
    address.rsplit(':').next()?.parse().ok()
}
