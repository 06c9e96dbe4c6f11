//! What it takes to begin: finding the servers, and seeing that they let us count.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, RedisError, RedisResult, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::cluster::{self, Cluster, discover};
use super::connect::{Dial, Server};
use super::job::{Hash, Job};
use super::load::{Load, Parcel};
use super::node::{Node, Place, RedisTime};
use super::plain::{self, Plain};
use super::rights::Rights;
use super::sentinel::Sentinels;
use super::{Inner, Route, Way, eviction, fault};
use crate::config::{RedisTarget, Topology, WithoutScripts};
use crate::counter::{Algorithm, Mode};
use crate::error::{Error, ErrorKind};
use crate::model::{Charge, Limit, Quota};
use crate::store::plan::Plan;

/// What it takes to begin.
pub(super) struct Start<'a> {
    pub(super) dial: Dial,
    pub(super) prefix: &'a str,
    pub(super) time: &'a RedisTime,
    pub(super) connect_timeout: Duration,
    pub(super) without_scripts: WithoutScripts,
    pub(super) rights: Rights,
}

/// What the servers let us count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Scripts,
    Commands,
}

impl Start<'_> {
    /// The way to count, and whether the servers may be asked how they are.
    pub(super) async fn way(&self, target: &RedisTarget) -> Result<(Way, bool), Error> {
        match &target.topology {
            Topology::Single(address) => self.one(Server::Tcp(address.clone())).await,
            Topology::Unix(path) => self.one(Server::Unix(path.clone())).await,
            Topology::Sentinel { master, sentinels, login } => {
                let sentinels = Sentinels::new(self.dial.clone(), login, master, sentinels);
                let server = sentinels.master(self.connect_timeout).await?;
                let by = self.probe(&server).await?;
                let may_ask = self.ask_memory(&server).await;
                Ok((self.by(by, format!("redis master `{master}`"), Place::Master(sentinels.watch(server))), may_ask))
            }
            Topology::Cluster(addresses) => self.cluster(addresses.iter().cloned().map(Server::Tcp).collect()).await,
        }
    }

    async fn one(&self, server: Server) -> Result<(Way, bool), Error> {
        let name = self.dial.name(&server);
        let by = self.probe(&server).await?;
        let may_ask = self.ask_memory(&server).await;
        let place = match by {
            By::Scripts => Place::At(server),
            By::Commands => Place::Scriptless(server),
        };
        Ok((self.by(by, name, place), may_ask))
    }

    fn by(&self, by: By, name: String, place: Place) -> Way {
        let node = Node::new(self.dial.clone(), place, self.time.clone());
        match by {
            By::Scripts => self.scripts(name, Route::One(Arc::new(node))),
            By::Commands => {
                let (grant, warning) = (self.rights.scripts(), plain::WARNING);
                tracing::warn!("counting in {name}: {warning}; for all of it, grant the user `{grant}`");
                Way::Commands(Arc::new(Plain::new(name, node, self.time, self.rights.clone())))
            }
        }
    }

    fn scripts(&self, name: String, route: Route) -> Way {
        Way::Scripts(Arc::new(Inner { name, time: self.time.clone(), route }))
    }

    async fn cluster(&self, seeds: Vec<Server>) -> Result<(Way, bool), Error> {
        let names: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        let name = format!("redis cluster of {}", names.join(","));
        let found = timeout(self.connect_timeout, discover(&self.dial, &seeds)).await.map_err(|_| self.late(&name))?;
        let map = found.map_err(|error| self.told(&name, &error))?;
        let Some(server) = map.master(cluster::slot(&self.probe_key())).cloned() else {
            return Err(failure(&name, "no server has the slot of the probe; look at CLUSTER INFO"));
        };
        if self.probe(&server).await? == By::Commands {
            let grant = self.rights.scripts();
            let text =
                format!("a cluster is counted in by scripts only, and the user may call none; grant it `{grant}`");
            return Err(failure(&name, text));
        }
        let may_ask = self.ask_memory(&server).await;
        let cluster = Cluster::new(self.dial.clone(), self.time.clone(), seeds, map);
        Ok((self.scripts(name, Route::Cluster(cluster)), may_ask))
    }

    /// Charges a counter that nobody uses: only a write tells a replica, a full memory and missing rights.
    async fn probe(&self, server: &Server) -> Result<By, Error> {
        let name = self.dial.name(server);
        let within = |probed| async { timeout(self.connect_timeout, probed).await.map_err(|_| self.late(&name)) };
        let Err(error) = within(self.send_probe(server, By::Scripts)).await? else { return Ok(By::Scripts) };
        if error.code() != Some("NOPERM") || self.without_scripts == WithoutScripts::Refuse {
            return Err(self.told(&name, &error));
        }
        let Err(plain) = within(self.send_probe(server, By::Commands)).await? else { return Ok(By::Commands) };
        // If it may not count at all, it had better be let do it well.
        Err(self.told(&name, if plain.code() == Some("NOPERM") { &error } else { &plain }))
    }

    async fn send_probe(&self, server: &Server, by: By) -> RedisResult<()> {
        let (pushes, _) = mpsc::unbounded_channel();
        let mut connection = self.dial.open(server, Some(pushes)).await?;
        match by {
            By::Scripts => {
                // A server that asks for a password does not even read a call as long as ours.
                redis::cmd("TIME").query_async::<()>(&mut connection).await?;
                // What was just written is changed in another way.
                self.script_probe().send(&mut connection).await?;
                self.script_probe().send(&mut connection).await.map(drop)
            }
            By::Commands => {
                let answers = self.command_probe().send(&mut connection).await?;
                let Value::Array(answers) = answers else { return Ok(()) };
                let refused = answers.into_iter().find_map(|answer| match answer {
                    Value::ServerError(error) => Some(error.into()),
                    _ => None,
                });
                refused.map_or(Ok(()), Err)
            }
        }
    }

    /// Warns if the server pushes out what it should keep; whether it may be asked at all.
    async fn ask_memory(&self, server: &Server) -> bool {
        let asked = async {
            let mut connection = self.dial.open(server, None).await?;
            redis::cmd("INFO").arg("memory").query_async::<String>(&mut connection).await
        };
        let Ok(Ok(memory)) = timeout(self.connect_timeout, asked).await else { return false };
        if let Some(problem) = eviction::problem(&memory) {
            tracing::warn!("{}: {problem}", self.dial.name(server));
        }
        true
    }

    /// A charge that stands alone, and one that does not: the script has a way for each.
    fn script_probe(&self) -> Parcel {
        let quota = Quota { max: 1_000_000, window: Duration::from_secs(1), burst: 1_000_000 };
        let limit = Limit::new("probe", Algorithm::TokenBucket, quota).expect("the limit is in every range");
        let job = |mode| {
            let charges = [Charge { key: self.probe_key(), limit: limit.clone(), cost: 1, mode, holder: 0 }];
            let plan = Plan::new(&charges).expect("one charge has one algorithm");
            Job::take(plan, None, Instant::now(), Hash::default()).0
        };
        let load = Load::of(&mut vec![job(Mode::Enforce), job(Mode::Shadow)], false).expect("there are jobs");
        load.parcel(true, &self.time.terms())
    }

    /// Every command that counting takes.
    fn command_probe(&self) -> Parcel {
        let (counter, marker) = (format!("{}:count", self.probe_key()), format!("{}:mark", self.probe_key()));
        let mut commands = Pipeline::new();
        commands.cmd("INCRBY").arg(&counter).arg(1);
        commands.cmd("PEXPIRE").arg(&counter).arg(1_000);
        commands.cmd("DECRBY").arg(&counter).arg(1);
        commands.cmd("GET").arg(counter);
        commands.cmd("SET").arg(marker).arg("probe").arg("NX").arg("PX").arg(1_000);
        Parcel::Commands(commands)
    }

    fn probe_key(&self) -> String {
        format!("{}:probe", self.prefix)
    }

    fn late(&self, name: &str) -> Error {
        let within = self.connect_timeout;
        failure(name, format!("no answer within {within:?}; check the address, the firewall and REDIS_TIMEOUT"))
    }

    fn told(&self, name: &str, error: &RedisError) -> Error {
        failure(name, fault::advice(error, &self.rights, self.prefix)).because(fault::text(error))
    }
}

fn failure(name: &str, text: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Store, format!("cannot count in {name}: {text}"))
}
