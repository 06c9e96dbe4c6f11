//! The connection over which documents are kept, and over which changes are heard.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, PushInfo, PushKind, RedisError, RedisResult};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::sleep;

use crate::config::{RedisTarget, Topology};
use crate::error::{Error, ErrorKind, Result};
use crate::store::redis::cluster::{discover, slot};
use crate::store::redis::connect::{Dial, Refusal, Server, within};
use crate::store::redis::fault;
use crate::store::redis::rights::Rights;
use crate::store::redis::sentinel::{Sentinels, is_master};

/// What it takes to ask the server that has the documents.
pub(super) struct Inner {
    whereabouts: Whereabouts,
    dial: Dial,
    pub(super) prefix: String,
    connect_timeout: Duration,
    rights: Rights,
    link: Mutex<Option<Link>>,
    pub(super) changes: watch::Sender<u64>,
}

/// A connection that listens to the channel as well.
struct Link {
    connection: MultiplexedConnection,
    heard: Option<mpsc::UnboundedReceiver<PushInfo>>,
}

/// Where the server is that has the documents.
enum Whereabouts {
    Here(Server),
    Master(Arc<Sentinels>),
    InCluster(Vec<Server>),
}

/// How long an operation may take: a policy may have some megabytes.
const OPERATION: Duration = Duration::from_secs(5);
/// How long to wait before a server is tried again that is away.
const AFTER_LOSS: Duration = Duration::from_millis(200);

impl Inner {
    /// Knows where the server is; nothing is opened yet.
    pub(super) fn new(target: &RedisTarget, prefix: &str, connect_timeout: Duration) -> Result<Self> {
        let dial = Dial::new(target, connect_timeout)?;
        let whereabouts = match &target.topology {
            Topology::Single(address) => Whereabouts::Here(Server::Tcp(address.clone())),
            Topology::Unix(path) => Whereabouts::Here(Server::Unix(path.clone())),
            Topology::Sentinel { master, sentinels, login } => {
                Whereabouts::Master(Sentinels::new(dial.clone(), login, master, sentinels))
            }
            Topology::Cluster(seeds) => Whereabouts::InCluster(seeds.iter().cloned().map(Server::Tcp).collect()),
        };
        let user = target.username.as_deref().unwrap_or("default");
        Ok(Self {
            whereabouts,
            dial,
            prefix: prefix.to_owned(),
            connect_timeout,
            rights: Rights::new(user, prefix, &target.topology),
            link: Mutex::new(None),
            changes: watch::Sender::new(0),
        })
    }

    pub(super) fn key(&self, shelf: &str) -> String {
        format!("{}:{{fleet}}:{shelf}", self.prefix)
    }

    pub(super) fn channel(&self) -> String {
        self.key("changes")
    }

    async fn server(&self) -> Result<Server> {
        match &self.whereabouts {
            Whereabouts::Here(server) => Ok(server.clone()),
            Whereabouts::Master(sentinels) => sentinels.master(self.connect_timeout).await,
            Whereabouts::InCluster(seeds) => {
                let told = |error: RedisError| self.told("redis cluster", &error);
                let map = within(self.connect_timeout, discover(&self.dial, seeds)).await.map_err(told)?;
                let server = map.master(slot(&self.key(""))).cloned();
                server.ok_or_else(|| {
                    Error::new(
                        ErrorKind::Store,
                        "no server of the cluster has the slot of the documents; look at CLUSTER INFO",
                    )
                })
            }
        }
    }

    /// The connection, opened if there is none.
    async fn connection(&self) -> Result<MultiplexedConnection> {
        let mut link = self.link.lock().await;
        if let Some(link) = &*link {
            return Ok(link.connection.clone());
        }
        let server = self.server().await?;
        let opened = within(self.connect_timeout, self.open(&server)).await;
        let (connection, heard) = opened.map_err(|error| self.told(&self.dial.name(&server), &error))?;
        *link = Some(Link { connection: connection.clone(), heard: Some(heard) });
        // What was announced meanwhile, we have not heard.
        self.changes.send_modify(|count| *count += 1);
        Ok(connection)
    }

    async fn open(&self, server: &Server) -> RedisResult<(MultiplexedConnection, mpsc::UnboundedReceiver<PushInfo>)> {
        let (sender, heard) = mpsc::unbounded_channel();
        let mut connection = self.dial.open(server, Some(sender)).await?;
        if matches!(self.whereabouts, Whereabouts::Master(_)) && !is_master(&mut connection).await? {
            return Err(Refusal::NoMaster.into());
        }
        match connection.subscribe(self.channel()).await {
            // Whoever does not hear of changes, looks.
            Err(error) if error.code() == Some("NOPERM") => {
                let grant = self.rights.documents();
                tracing::warn!(
                    "changes are noticed by looking, since the user may not listen to them; grant it `{grant}`"
                );
            }
            subscribed => subscribed?,
        }
        Ok((connection, heard))
    }

    /// Runs one command after another, and answers what the last does. Once more, if the server says that another one has to be asked.
    pub(super) async fn run<T: FromRedisValue>(&self, commands: Vec<Cmd>) -> Result<T> {
        let mut turns = 2;
        loop {
            let mut connection = self.connection().await?;
            turns -= 1;
            let error = match within(OPERATION, run(&mut connection, &commands)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let elsewhere = matches!(error.code(), Some("MOVED" | "ASK" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN"));
            if elsewhere || error.code().is_none() {
                *self.link.lock().await = None;
            }
            if !elsewhere || turns == 0 {
                return Err(self.told("redis", &error));
            }
        }
    }

    fn told(&self, name: &str, error: &RedisError) -> Error {
        let grant = || self.rights.documents();
        let grant = match error.code() {
            Some("NOPERM") => format!("; grant the user `{}`", grant()),
            // A command that a script may not call is such an error.
            Some("ERR") => format!("; if the user lacks rights, grant the user `{}`", grant()),
            _ => String::new(),
        };
        Error::new(ErrorKind::Store, format!("the documents in {name}: {}{grant}", fault::text(error)))
    }

    /// Hears of changes for as long as it lives, and opens the connection again when it is lost.
    pub(super) async fn listen(self: Arc<Self>) {
        loop {
            let heard = match &mut *self.link.lock().await {
                Some(link) => link.heard.take(),
                None => None,
            };
            match heard {
                Some(heard) => self.hear(heard).await,
                None => sleep(AFTER_LOSS).await,
            }
            // It is said where somebody asks for something.
            let _ = self.connection().await;
        }
    }

    async fn hear(&self, mut heard: mpsc::UnboundedReceiver<PushInfo>) {
        while let Some(info) = heard.recv().await {
            match info.kind {
                PushKind::Message => self.changes.send_modify(|count| *count += 1),
                PushKind::Disconnection => break,
                _ => {}
            }
        }
        let mut link = self.link.lock().await;
        // Somebody may have opened another since.
        if link.as_ref().is_some_and(|link| link.heard.is_none()) {
            *link = None;
        }
    }
}

async fn run<T: FromRedisValue>(connection: &mut MultiplexedConnection, commands: &[Cmd]) -> RedisResult<T> {
    let (last, before) = commands.split_last().ok_or((redis::ErrorKind::InvalidClientConfig, "no command"))?;
    for command in before {
        command.query_async::<()>(connection).await?;
    }
    last.query_async(connection).await
}
