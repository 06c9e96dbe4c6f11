//! Row 47: a network that falls in two, with a master and its clients on the smaller side.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tollgate::config::{Address, RedisTarget, Topology};
use tollgate_tests::free_port;

use crate::firewall::Firewall;
use crate::load::{Load, Shape};
use crate::log::Moment;
use crate::outage;
use crate::server::Server;
use crate::trial::{Trial, key};

/// How long a master that is cut off may go on serving: so long it takes to notice, and half as long again.
const BLIND_MS: u64 = 1_500;
const PATIENCE: Duration = Duration::from_secs(20);
const SLOTS: u64 = 16_384;

/// Row 47.
pub(crate) fn minority(trial: &mut Trial) -> Result<()> {
    let cluster = Cluster::start()?;
    let harmed: BTreeSet<u64> = (0..Shape::default().callers)
        .filter(|caller| cluster.place(&key(*caller)).is_ok_and(|place| place == 0))
        .collect();
    let load = Load::at(&cluster.target(), Shape::default())?;
    load.runs(Duration::from_millis(500));
    // A replica in step is sent what is written only once it has said so, up to a second later.
    let written = cluster.offset(0)?;
    cluster.until("the replica has what was written", |cluster| Ok(cluster.offset(3)? >= written))?;
    let began = load.now();
    let walls = cluster.cut_off()?;
    cluster.until("the replica is a master", |cluster| cluster.has_role(3, "master"))?;
    let healed = load.now();
    load.recovers_for(&harmed, healed, Duration::from_secs(5));
    load.runs(Duration::from_secs(1));
    drop(walls);
    cluster.until("the old master follows the new one", |cluster| cluster.has_role(0, "slave"))?;
    let log = outage::end(trial, load)?;
    let (harmed, others) = log.split(&harmed);
    trial.recovered(&harmed, healed, Duration::from_millis(300));
    trial.unfelt(&others, began, others.ended);
    let rate = harmed.between(Moment(0), began).count() as u64 * 1_000_000 / began.0.max(1);
    let counts = trial.tally(&log, |key| {
        let place = cluster.place(key)?;
        cluster.node(if place == 0 { 3 } else { place })?.run(&["GET", key])
    })?;
    trial.note(format!("{} hits that the smaller side admitted are lost, at {rate} a second", counts.lost));
    trial.must(counts.lost <= rate * BLIND_MS / 1_000, || format!("{} hits are lost: too long blind", counts.lost));
    Ok(())
}

/// Three masters and a replica of the first. Each begins its own connections at an address of its own, so that walls can tell them apart.
struct Cluster {
    nodes: Vec<Server>,
    bus_ports: Vec<u16>,
}

impl Cluster {
    fn start() -> Result<Self> {
        let (mut nodes, mut bus_ports) = (Vec::new(), Vec::new());
        for place in 0..4 {
            let bus_port = free_port()?;
            let (bus, source) = (bus_port.to_string(), source(place));
            let mut arguments =
                vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
            arguments.extend(["--cluster-announce-ip", "127.0.0.1", "--bind-source-addr", &source]);
            // To the server, only one address of the loopback is home.
            arguments.extend(["--protected-mode", "no"]);
            arguments.extend(["--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"]);
            nodes.push(Server::with(&arguments)?);
            bus_ports.push(bus_port);
        }
        let cluster = Self { nodes, bus_ports };
        cluster.join()?;
        Ok(cluster)
    }

    fn join(&self) -> Result<()> {
        for (node, bus_port) in self.nodes.iter().zip(&self.bus_ports).skip(1) {
            let (port, bus_port) = (node.port().to_string(), bus_port.to_string());
            self.node(0)?.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port])?;
        }
        for (place, range) in (0..3).zip([("0", "5461"), ("5462", "10922"), ("10923", "16383")]) {
            self.node(place)?.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", range.0, range.1])?;
        }
        let all_say = |cluster: &Self, line: &str| {
            let infos = cluster.nodes.iter().map(|node| node.run::<String>(&["CLUSTER", "INFO"]));
            Ok(infos.collect::<Result<Vec<_>>>()?.iter().all(|info| info.contains(line)))
        };
        self.until("all know one another", |cluster| all_say(cluster, "cluster_known_nodes:4"))?;
        self.until("all is in order", |cluster| all_say(cluster, "cluster_state:ok"))?;
        let first: String = self.node(0)?.run(&["CLUSTER", "MYID"])?;
        self.until("the replica follows", |cluster| {
            Ok(cluster.node(3)?.run::<()>(&["CLUSTER", "REPLICATE", &first]).is_ok())
        })?;
        self.until("the replica is in step", |cluster| {
            Ok(cluster.node(3)?.run::<String>(&["INFO", "replication"])?.contains("master_link_status:up"))
        })
    }

    /// Cuts the first master off from all others, and from no client.
    fn cut_off(&self) -> Result<[Firewall; 3]> {
        let (bus, port) =
            (self.bus_ports.first().context("there is a first")?.to_string(), self.node(0)?.port().to_string());
        Ok([
            Firewall::drops(&["-s", &source(0)])?,
            Firewall::drops(&["--dport", &bus])?,
            Firewall::drops(&["-s", &source(3), "--dport", &port])?,
        ])
    }

    fn target(&self) -> RedisTarget {
        let address = |node: &Server| Address { host: "127.0.0.1".to_owned(), port: node.port() };
        let seeds = Topology::Cluster(self.nodes.iter().take(3).map(address).collect());
        RedisTarget { topology: seeds, ..RedisTarget::single(Address { host: String::new(), port: 0 }) }
    }

    fn node(&self, place: usize) -> Result<&Server> {
        self.nodes.get(place).with_context(|| format!("there is no server {place}"))
    }

    /// Which master had a key at first.
    fn place(&self, key: &str) -> Result<usize> {
        let slot: u64 = self.node(1)?.run(&["CLUSTER", "KEYSLOT", key])?;
        ensure!(slot < SLOTS, "there is no slot {slot}");
        Ok(usize::from(slot > 5_461) + usize::from(slot > 10_922))
    }

    fn has_role(&self, place: usize, role: &str) -> Result<bool> {
        Ok(self.node(place)?.run::<String>(&["INFO", "replication"])?.contains(&format!("role:{role}")))
    }

    /// How much was written to a server, in bytes of its replication.
    fn offset(&self, place: usize) -> Result<u64> {
        let told: String = self.node(place)?.run(&["INFO", "replication"])?;
        let offset = told.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        Ok(offset.context("a server tells its offset")?.trim().parse()?)
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        while !holds(self)? {
            ensure!(began.elapsed() < PATIENCE, "waited {PATIENCE:?}, and it is not so that {what}");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// The address at which a server begins its connections.
fn source(place: usize) -> String {
    format!("127.0.0.{}", 10 + place)
}
