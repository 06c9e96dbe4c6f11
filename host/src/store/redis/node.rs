//! One server, and the lists on their way to it.
//!
//! Lists that come while calls are under way leave together in the next one. The task behind a node keeps every deadline, opens the
//! connection again when it is lost, and replaces one that has fallen silent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, RedisResult};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::connect::{Dial, Refusal, Server};
use super::driver::Driver;
use super::job::{Answered, Failure, Job};
use super::sentinel::{Watch, is_master};
use super::words::Terms;
use crate::model::{Fault, FaultKind};
use crate::time::Clock;

/// Whose time counts.
#[derive(Clone, Debug)]
pub enum RedisTime {
    /// The server's: all hosts agree, whatever their clocks say.
    Server,
    /// This clock's. For tests, which run hours in milliseconds; the counters are kept an hour longer, since the server's time goes on.
    Given(Arc<dyn Clock>),
}

impl RedisTime {
    pub(super) fn terms(&self) -> Terms {
        match self {
            Self::Server => Terms { now: None, grace: crate::store::GRACE },
            Self::Given(clock) => Terms { now: Some(clock.now()), grace: Duration::from_secs(3_600) },
        }
    }
}

/// Which server a node is.
#[derive(Debug)]
pub(super) enum Place {
    /// This one.
    At(Server),
    /// This one, where we may call no script.
    Scriptless(Server),
    /// This one of a cluster, whose slots come and go.
    InCluster(Server),
    /// Whoever is the master, as the sentinels say.
    Master(Watch),
}

impl Place {
    /// Where it is now.
    pub(super) fn server(&self) -> Server {
        match self {
            Self::At(server) | Self::Scriptless(server) | Self::InCluster(server) => server.clone(),
            Self::Master(watch) => watch.master.borrow().clone(),
        }
    }

    /// How it shows that it can be counted on.
    pub(super) fn check(&self) -> Check {
        match self {
            Self::At(_) | Self::InCluster(_) => Check::Time,
            Self::Scriptless(_) => Check::Ping,
            Self::Master(_) => Check::Role,
        }
    }
}

/// How a server shows that it can be counted on, once a connection is open.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// It tells the time, which every user may ask who may call our scripts.
    Time,
    /// It answers at all.
    Ping,
    /// It says that it is a master.
    Role,
}

impl Check {
    async fn pass(self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        match self {
            Self::Time => redis::cmd("TIME").query_async(connection).await,
            Self::Ping => match redis::cmd("PING").query_async::<()>(connection).await {
                // Whoever refuses to say that it lives, lives.
                Err(error) if error.code() == Some("NOPERM") => Ok(()),
                answer => answer,
            },
            // One that was a master before the last election takes writes for seconds, and loses them.
            Self::Role if is_master(connection).await? => Ok(()),
            Self::Role => Err(Refusal::NoMaster.into()),
        }
    }
}

/// Opens a connection, and sees that the server answers, and is what it should be.
pub(super) async fn open(
    dial: &Dial,
    server: &Server,
    pushes: mpsc::UnboundedSender<PushInfo>,
    check: Check,
) -> RedisResult<MultiplexedConnection> {
    let mut connection = dial.open(server, Some(pushes)).await?;
    let checked = timeout(ANSWERS_WITHIN, check.pass(&mut connection)).await;
    match checked {
        Ok(checked) => checked.map(|()| connection),
        Err(late) => Err(std::io::Error::from(late).into()),
    }
}

/// How long a server that took a connection may take to say that it lives.
const ANSWERS_WITHIN: Duration = Duration::from_millis(150);

/// A server, for all that charge counters on it.
pub(super) struct Node {
    name: Arc<str>,
    jobs: mpsc::Sender<Job>,
}

/// How many lists may wait for a node. More are refused at once: they could not be answered in time.
const WAITING_LISTS: usize = 8_192;

impl Node {
    /// A node whose connection is opened at once.
    pub(super) fn new(dial: Dial, place: Place, time: RedisTime) -> Self {
        let (jobs, inbox) = mpsc::channel(WAITING_LISTS);
        let name: Arc<str> = dial.name(&place.server()).into();
        tokio::spawn(Driver::new(dial, place, time, inbox).run());
        Self { name, jobs }
    }

    /// Sends a job, and waits for its answer.
    pub(super) async fn ask<T>(&self, (job, answered): (Job, oneshot::Receiver<Answered<T>>)) -> Answered<T> {
        self.send(job)?;
        answered.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Sends a job: it leaves after those that were sent before.
    pub(super) fn send(&self, job: Job) -> Result<(), Failure> {
        if job.deadline <= Instant::now() {
            let message = format!("{}: not asked, since no time is left", self.name);
            return Err(Fault::new(FaultKind::Timeout, message).into());
        }
        if let Err(error) = self.jobs.try_send(job) {
            let what = match error {
                mpsc::error::TrySendError::Full(_) => format!("not asked, since {WAITING_LISTS} lists wait for it"),
                mpsc::error::TrySendError::Closed(_) => ENDED.to_owned(),
            };
            return Err(Fault::new(FaultKind::Unavailable, format!("{}: {what}", self.name)).into());
        }
        Ok(())
    }

    /// What is answered when nobody is left to answer.
    pub(super) fn ended(&self) -> Failure {
        Fault::new(FaultKind::Unavailable, format!("{}: {ENDED}", self.name)).into()
    }
}

const ENDED: &str = "the runtime that its connection lived on has ended";

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}
