//! Counters in one Redis or Valkey server.

mod connect;
mod fault;
mod script;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::aio::ConnectionManager;
use redis::{Client, RedisError, RedisResult, Script, ServerErrorKind};
use tokio::time::{Instant, timeout};

use self::script::{Answer, Terms};
use super::plan::Plan;
use super::{GRACE, Outcomes, Reply, Store};
use crate::config::RedisTarget;
use crate::counter::{Algorithm, Mode, charge_all};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Charge, Fault, FaultKind, Limit, Quota};
use crate::time::Clock;

/// How to speak to the server, beside where it is.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// How long looking the host up may take, and how long connecting.
    pub connect_timeout: Duration,
    /// What every key begins with. Connecting writes the key `{prefix}:probe`, which lasts for some seconds.
    pub prefix: String,
    /// Whose time counts.
    pub time: RedisTime,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), prefix: "ratelimit".to_owned(), time: RedisTime::Server }
    }
}

/// Whose time counts.
#[derive(Clone, Debug)]
pub enum RedisTime {
    /// The server's: all hosts agree, whatever their clocks say.
    Server,
    /// This clock's. For tests, which run hours in milliseconds; the counters are kept an hour longer, since the server's time goes on.
    Given(Arc<dyn Clock>),
}

/// Counters in one Redis or Valkey server: exact for all hosts that share it.
///
/// One list costs one round trip: a script charges all of it or none. A charge that failed for want of an answer is never repeated, since it may
/// have been taken. Every key expires when its counter is as if unused, and a second later.
pub struct Redis {
    name: String,
    client: Client,
    connect_timeout: Duration,
    time: RedisTime,
    script: Script,
    link: ArcSwap<Link>,
}

/// One connection, and how it fares.
struct Link {
    manager: ConnectionManager,
    since: Instant,
    failures: AtomicU32,
}

impl Link {
    // A connection to a server that hangs, or that became a replica, fails for good without ever being lost.
    const FAILURES_BORNE: u32 = 3;
    const LEAST_AGE: Duration = Duration::from_secs(1);

    fn new(manager: ConnectionManager) -> Self {
        Self { manager, since: Instant::now(), failures: AtomicU32::new(0) }
    }

    /// Takes note of how a call went. Whether the connection had better be replaced.
    fn note(&self, failed: bool) -> bool {
        if !failed {
            self.failures.store(0, Ordering::Relaxed);
            return false;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        failures >= Self::FAILURES_BORNE && self.since.elapsed() >= Self::LEAST_AGE
    }
}

impl Redis {
    /// Connects to the server, and charges a counter to see that it works.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Store`] if the server cannot be found or reached, does not let us in, or does not let us count. The text says
    /// which, and what to do about it.
    pub async fn connect(target: &RedisTarget, options: RedisOptions) -> Result<Self> {
        let address = connect::address(target)?;
        let name = connect::name(&address);
        let RedisOptions { connect_timeout, prefix, time } = options;
        let late = |_| {
            // A server that speaks plainly waits in silence for the rest of what is no command to it.
            let tls = if target.tls { "whether that port speaks TLS, " } else { "" };
            failure(
                &name,
                format!("no answer within {connect_timeout:?}; check {tls}the address, the firewall and REDIS_TIMEOUT"),
            )
        };
        let resolved = timeout(connect_timeout, connect::resolve(&address)).await.map_err(late)?;
        resolved.map_err(|error| {
            failure(&name, "no such host; check the name in the address and the resolver").because(error)
        })?;
        let user = target.username.as_deref().unwrap_or("default");
        let told =
            |error: RedisError| failure(&name, fault::advice(&error, user, &prefix)).because(fault::text(&error));
        let client = connect::client(target, address).map_err(told)?;
        let manager = connect::manager(&client, connect_timeout).map_err(told)?;
        let link = ArcSwap::from_pointee(Link::new(manager));
        let store = Self { name: name.clone(), client, connect_timeout, time, script: Script::new(script::TEXT), link };
        timeout(connect_timeout, store.probe(&prefix)).await.map_err(late)?.map_err(told)?;
        Ok(store)
    }

    /// Charges a counter that nobody uses: only a write tells a replica, a full memory and missing rights.
    async fn probe(&self, prefix: &str) -> RedisResult<()> {
        let link = self.link.load_full();
        // A server that asks for a password does not even read a call as long as ours.
        redis::cmd("TIME").query_async::<()>(&mut link.manager.clone()).await?;
        let quota = Quota { max: 1_000_000_000, window: Duration::from_millis(1), burst: 1 };
        let limit = Limit::new("probe", Algorithm::FixedWindow, quota).expect("the limit is in every range");
        let charge = Charge { key: format!("{prefix}:probe"), limit, cost: 1, mode: Mode::Shadow };
        let charges = [charge];
        let plan = Plan::new(&charges).expect("one charge has one algorithm");
        self.ask(&link.manager, &plan).await.map(drop)
    }

    async fn charge_list(&self, charges: &[Charge], within: Duration) -> Outcomes {
        let plan = Plan::new(charges)?;
        if within.is_zero() {
            return Err(Fault::new(FaultKind::Timeout, format!("{}: not asked, since no time is left", self.name)));
        }
        let link = self.link.load_full();
        let asked = timeout(within, self.ask(&link.manager, &plan)).await;
        let answer = match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(fault::fault(&self.name, &error)),
            Err(_) => {
                let message = format!("{}: no answer within {within:?}; the charges may have been taken", self.name);
                Err(Fault::new(FaultKind::Timeout, message))
            }
        };
        // A counter that cannot be read is no fault of the connection.
        let failed = answer.as_ref().is_err_and(|fault| fault.kind != FaultKind::Poisoned);
        if link.note(failed) {
            self.renew(&link);
        }
        outcomes(&plan, &answer.map_err(|fault| naming_keys(fault, &plan))?)
    }

    /// Calls the script by its hash, and with its text if the server does not know it: nothing was taken then.
    async fn ask(&self, manager: &ConnectionManager, plan: &Plan<'_>) -> RedisResult<Answer> {
        let terms = self.terms();
        let mut manager = manager.clone();
        let known: RedisResult<Answer> =
            script::call("EVALSHA", self.script.get_hash(), plan, &terms).query_async(&mut manager).await;
        match known {
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                script::call("EVAL", script::TEXT, plan, &terms).query_async(&mut manager).await
            }
            answer => answer,
        }
    }

    fn terms(&self) -> Terms {
        match &self.time {
            RedisTime::Server => Terms { now: None, grace: GRACE },
            RedisTime::Given(clock) => Terms { now: Some(clock.now()), grace: Duration::from_secs(3_600) },
        }
    }

    /// Leaves a connection to those who still wait on it, and opens another for the next calls.
    fn renew(&self, link: &Arc<Link>) {
        let Ok(manager) = connect::manager(&self.client, self.connect_timeout) else { return };
        let known = self.link.compare_and_swap(link, Arc::new(Link::new(manager.clone())));
        if Arc::ptr_eq(&known, link) {
            // Nobody may wait on it for long, and a connection that nobody waits on gets nowhere.
            let mut manager = manager;
            let opened = async move { redis::cmd("TIME").query_async::<()>(&mut manager).await };
            tokio::spawn(timeout(self.connect_timeout, opened));
        }
    }
}

impl Store for Redis {
    fn charge<'a>(&'a self, charges: &'a [Charge], within: Duration) -> Reply<'a> {
        if charges.is_empty() {
            return Reply::Ready(Ok(Vec::new()));
        }
        Reply::Pending(Box::pin(self.charge_list(charges, within)))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client knows the password.
        f.debug_struct("Redis").field("name", &self.name).field("time", &self.time).finish_non_exhaustive()
    }
}

/// Works the outcomes out from what the counters were, by the one arithmetic there is.
fn outcomes(plan: &Plan<'_>, answer: &Answer) -> Outcomes {
    let Some(mut states) = answer.states(plan) else {
        return Err(naming_keys(Fault::new(FaultKind::Poisoned, "not the state of a counter"), plan));
    };
    let (admitted, outcomes) = charge_all(&plan.items, &mut states, answer.now_us);
    if admitted == answer.admitted {
        return Ok(outcomes);
    }
    let message =
        format!("the script and the host disagree on whether a list passes: {:?} at {}", plan.items, answer.now_us);
    Err(Fault::new(FaultKind::Refused, message))
}

/// Names the counters of which one cannot be read, so that somebody can look.
fn naming_keys(fault: Fault, plan: &Plan<'_>) -> Fault {
    if fault.kind != FaultKind::Poisoned {
        return fault;
    }
    let keys: Vec<String> = plan.keys.iter().map(|key| format!("`{}`", key.escape_debug())).collect();
    Fault { message: format!("{}; look at {}, and delete what is no counter", fault.message, keys.join(", ")), ..fault }
}

fn failure(name: &str, text: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Store, format!("cannot count in {name}: {text}"))
}
