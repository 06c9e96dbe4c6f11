//! Lists on their way to the servers of a cluster.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::discover;
use super::map::SlotMap;
use super::redirect::Redirect;
use super::slot::slot;
use crate::model::{Fault, FaultKind};
use crate::store::redis::connect::{Dial, Server};
use crate::store::redis::job::{Answered, Failure, Hash, Job, Turn};
use crate::store::redis::node::{Node, Place, RedisTime};

/// The nodes of a cluster. Each has a connection of its own, so one that is sick makes no other wait.
pub(in crate::store::redis) struct Cluster(Arc<Inner>);

struct Inner {
    dial: Dial,
    time: RedisTime,
    seeds: Vec<Server>,
    map: ArcSwap<SlotMap>,
    nodes: Mutex<HashMap<Server, Arc<Node>>>,
    looking: tokio::sync::Mutex<Option<Instant>>,
}

/// How often one list may be sent on.
const TURNS: usize = 5;
/// How long to wait for a slot that is on its way.
const SLOT_ON_ITS_WAY: Duration = Duration::from_millis(5);
/// How often the cluster is asked at most who has which slot.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

impl Cluster {
    /// The cluster whose slots are as `map` says. `seeds` are asked if the servers of the map are gone.
    pub(in crate::store::redis) fn new(dial: Dial, time: RedisTime, seeds: Vec<Server>, map: SlotMap) -> Self {
        let inner = Inner {
            dial,
            time,
            seeds,
            map: ArcSwap::from_pointee(map),
            nodes: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        };
        let cluster = Self(Arc::new(inner));
        cluster.0.map.load().masters().iter().for_each(|server| drop(cluster.0.node(server)));
        cluster
    }

    /// Has a job done by whoever has the slot of `key`: `job` makes it anew for each server that is asked.
    pub(in crate::store::redis) async fn ask<T>(
        &self,
        key: &str,
        until: Instant,
        job: impl Fn(Hash) -> Result<(Job, oneshot::Receiver<Answered<T>>), Fault>,
    ) -> Result<T, Fault> {
        let slot = slot(key);
        let (mut server, mut asking) = (self.0.map.load().master(slot).cloned(), false);
        let mut turns = TURNS;
        loop {
            let answered = match &server {
                Some(server) => self.0.node(server).ask(job(Hash { slot, asking })?).await,
                None => Err(no_server(slot)),
            };
            let Failure { fault, turn } = match answered {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if matches!(fault.kind, FaultKind::Unavailable | FaultKind::Timeout) {
                self.look();
            }
            turns -= 1;
            if turns == 0 || turn.is_none() || Instant::now() >= until {
                return Err(fault);
            }
            asking = false;
            match turn {
                Some(Turn::To(Redirect::Moved { slot, server: new })) => {
                    self.0.give(slot, &new);
                    self.look();
                    server = Some(new);
                }
                Some(Turn::To(Redirect::Ask { server: new, .. })) => (server, asking) = (Some(new), true),
                Some(Turn::Back) => sleep(SLOT_ON_ITS_WAY).await,
                Some(Turn::ToMaster) => {
                    // Whoever has the slot now, unless that is who was asked: then the cluster has not noticed yet.
                    let _ = timeout_at(until, self.0.look()).await;
                    let now = self.0.map.load().master(slot).cloned();
                    if now == server {
                        return Err(fault);
                    }
                    server = now;
                }
                None => {}
            }
        }
    }

    /// The servers that are known.
    pub(in crate::store::redis) fn nodes(&self) -> Vec<Arc<Node>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// Learns anew who has which slot, unless somebody does that just now or did a moment ago.
    fn look(&self) {
        let inner = Arc::clone(&self.0);
        if inner.looking.try_lock().is_ok_and(|last| last.is_none_or(|last| last.elapsed() >= BETWEEN_LOOKS)) {
            tokio::spawn(async move { inner.look().await });
        }
    }
}

impl Inner {
    fn node(&self, server: &Server) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Node::new(self.dial.clone(), Place::InCluster(server.clone()), self.time.clone()));
        Arc::clone(nodes.entry(server.clone()).or_insert_with(new))
    }

    fn give(&self, slot: u16, server: &Server) {
        self.map.rcu(|map| {
            let mut map = SlotMap::clone(map);
            map.give(slot, server);
            map
        });
    }

    /// One at a time, and at most every [`BETWEEN_LOOKS`]: whoever comes meanwhile shares what is found.
    async fn look(&self) {
        let mut last = self.looking.lock().await;
        if last.is_some_and(|last| last.elapsed() < BETWEEN_LOOKS) {
            return;
        }
        let mut asked = self.map.load().masters().to_vec();
        asked.extend(self.seeds.iter().filter(|seed| !asked.contains(seed)).cloned().collect::<Vec<_>>());
        if let Ok(map) = discover(&self.dial, &asked).await {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.retain(|server, _| map.masters().contains(server));
            drop(nodes);
            self.map.store(Arc::new(map));
        }
        *last = Some(Instant::now());
    }
}

fn no_server(slot: u16) -> Failure {
    let message = format!("no server of the cluster has slot {slot}; nothing was taken; look at CLUSTER INFO");
    Failure { fault: Fault::new(FaultKind::Unavailable, message), turn: Some(Turn::ToMaster) }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("masters", &self.0.map.load().masters()).finish_non_exhaustive()
    }
}
