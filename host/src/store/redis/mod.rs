//! Counters in Redis or Valkey: one server, a master behind sentinels, or a cluster.

mod batch;
mod cluster;
mod connect;
mod documents;
mod driver;
mod eviction;
#[cfg(test)]
mod fake;
mod fault;
mod job;
mod load;
mod node;
mod plain;
mod rights;
mod script;
mod sentinel;
mod spanning;
mod start;
mod state;
mod words;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::cluster::Cluster;
use self::connect::Dial;
pub use self::documents::RedisDocuments;
use self::job::{Answered, Failure, Hash, Job};
use self::node::Node;
pub use self::node::RedisTime;
use self::plain::Plain;
use self::rights::Rights;
use self::start::Start;
use super::plan::Plan;
use super::{List, Outcomes, Reply, Store};
use crate::config::{RedisTarget, WithoutScripts};
use crate::error::Error;
use crate::model::{Action, Charge, Fault, FaultKind, Settled, Settlement};

/// How to speak to the server, beside where it is.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// How long looking the host up may take, and how long connecting.
    pub connect_timeout: Duration,
    /// What every key begins with. Connecting writes the key `{prefix}:probe`, which lasts for some seconds.
    pub prefix: String,
    /// Whose time counts.
    pub time: RedisTime,
    /// Whether to count without scripts, with fewer guarantees, where the user may call none.
    pub without_scripts: WithoutScripts,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            prefix: "ratelimit".to_owned(),
            time: RedisTime::Server,
            without_scripts: WithoutScripts::Refuse,
        }
    }
}

/// Counters in Redis or Valkey: exact for all hosts that share them.
///
/// Lists that are charged at the same time leave in one call of a script, which charges each list whole or not at all. A charge that failed
/// for want of an answer is never repeated, since it may have been taken. Every key expires after its counter is as if unused.
///
/// The connection is opened again when it is lost, and replaced when it falls silent. Behind sentinels the master is followed; in a
/// cluster each list goes to the server that has its slot.
///
/// Where the user may call no script and [`RedisOptions::without_scripts`] allows it, fixed and sliding windows and calendar periods are counted by
/// plain commands. No limit admits more than it should then either, but lists are not whole: what a refused one took is given back in a
/// second step. All other limits fail, and a list that is repeated by its token takes again.
pub struct Redis {
    way: Arc<Way>,
    evicted: Option<Arc<AtomicU64>>,
}

/// By what we count.
enum Way {
    Scripts(Arc<Inner>),
    Commands(Arc<Plain>),
}

struct Inner {
    name: String,
    time: RedisTime,
    route: Route,
}

/// Which server takes a list.
#[derive(Debug)]
enum Route {
    /// There is one.
    One(Arc<Node>),
    /// The one that has the slot of its keys.
    Cluster(Cluster),
}

impl Redis {
    /// Connects to the server, and charges a counter to see that it works.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Store`](crate::ErrorKind::Store) if the server cannot be found or reached, does not let us in, or does not let us count. The text says
    /// which, and what to do about it.
    pub async fn connect(target: &RedisTarget, options: RedisOptions) -> Result<Self, Error> {
        let RedisOptions { connect_timeout, prefix, time, without_scripts } = options;
        let user = target.username.as_deref().unwrap_or("default");
        let start = Start {
            dial: Dial::new(target, connect_timeout)?,
            prefix: &prefix,
            time: &time,
            connect_timeout,
            without_scripts,
            rights: Rights::new(user, &prefix, &target.topology),
        };
        let (way, may_ask) = start.way(target).await?;
        let way = Arc::new(way);
        let evicted = may_ask.then(|| eviction::watch(&way));
        Ok(Self { way, evicted })
    }

    /// How many keys the servers pushed out to make room since this store connected, ours or others', as of some seconds ago. None if the
    /// user may not ask: `+info`.
    ///
    /// Each may have been a limit that began anew, so anything but 0 deserves an alarm. The first is logged as an error.
    #[must_use]
    pub fn evicted_keys(&self) -> Option<u64> {
        self.evicted.as_ref().map(|evicted| evicted.load(Ordering::Relaxed))
    }
}

impl Way {
    /// The servers we are connected to.
    fn nodes(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Scripts(inner) => match &inner.route {
                Route::One(node) => vec![Arc::clone(node)],
                Route::Cluster(cluster) => cluster.nodes(),
            },
            Self::Commands(plain) => vec![plain.node()],
        }
    }
}

impl Inner {
    async fn take_list(self: &Arc<Self>, list: List<'_>) -> Outcomes {
        if let Route::Cluster(_) = self.route
            && let Some(outcomes) = Box::pin(spanning::take(self, list)).await
        {
            return outcomes;
        }
        let until = Instant::now() + list.within;
        match self.take_until(list.charges, list.once, until).await {
            // Whether it was taken, nobody knows; asked by its token, it is not taken twice.
            Err(Fault { kind: FaultKind::Unavailable, .. }) if list.once.is_some() => {
                Box::pin(self.take_until(list.charges, list.once, until)).await
            }
            outcomes => outcomes,
        }
    }

    async fn take_until(&self, charges: &[Charge], once: Option<&str>, until: Instant) -> Outcomes {
        let key = charges.first().map_or("", |charge| &charge.key);
        self.ask(key, until, |hash| Ok(Job::take(Plan::new(charges)?, once, until, hash))).await
    }

    async fn settle_until(&self, settlement: &Settlement, until: Instant) -> Result<Settled, Fault> {
        if settlement.marker.is_none() && settlement.action != Action::Settle {
            return Err(Fault::new(FaultKind::Invalid, Settlement::UNMARKED_RENEWAL));
        }
        let first = || settlement.held.first().map(|held| held.key.as_str());
        let key = settlement.marker.as_deref().or_else(first).unwrap_or("");
        self.ask(key, until, |hash| Ok(Job::settle(settlement, until, hash))).await
    }

    /// Has a job done by the server that has `key`.
    async fn ask<T>(
        &self,
        key: &str,
        until: Instant,
        job: impl Fn(Hash) -> Result<(Job, oneshot::Receiver<Answered<T>>), Fault>,
    ) -> Result<T, Fault> {
        match &self.route {
            Route::One(node) => {
                let answered = match node.ask(job(Hash::default())?).await {
                    // It took nothing, and its connection is opened anew: to the same name, or to a new master.
                    Err(Failure { turn: Some(_), .. }) => Box::pin(node.ask(job(Hash::default())?)).await,
                    answered => answered,
                };
                answered.map_err(|failure| failure.fault)
            }
            Route::Cluster(cluster) => Box::pin(cluster.ask(key, until, job)).await,
        }
    }
}

impl Store for Redis {
    fn take<'a>(&'a self, list: List<'a>) -> Reply<'a> {
        if list.charges.is_empty() {
            return Reply::Ready(Ok(Vec::new()));
        }
        match &*self.way {
            Way::Scripts(inner) => Reply::Pending(Box::pin(inner.take_list(list))),
            Way::Commands(plain) => Reply::Pending(Box::pin(plain.take(list))),
        }
    }

    fn settle<'a>(&'a self, settlement: &'a Settlement, within: Duration) -> Reply<'a, Settled> {
        let until = Instant::now() + within;
        match &*self.way {
            Way::Scripts(inner) => Reply::Pending(Box::pin(inner.settle_until(settlement, until))),
            Way::Commands(plain) => Reply::Pending(Box::pin(plain.settle(settlement, until))),
        }
    }

    fn fails_as_one(&self) -> bool {
        !matches!(&*self.way, Way::Scripts(inner) if matches!(inner.route, Route::Cluster(_)))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut redis = f.debug_struct("Redis");
        match &*self.way {
            Way::Scripts(inner) => {
                redis.field("name", &inner.name).field("time", &inner.time).field("route", &inner.route)
            }
            Way::Commands(plain) => redis.field("plain", plain),
        };
        redis.finish()
    }
}
