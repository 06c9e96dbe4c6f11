//! Documents in Redis: a hash for each shelf, a list for each log, and a channel that tells of changes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, PushInfo, PushKind, RedisError, RedisResult};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::cluster::{discover, slot};
use super::connect::{Dial, Refusal, Server, within};
use super::fault;
use super::rights::Rights;
use super::sentinel::{Sentinels, is_master};
use crate::config::{RedisTarget, Topology};
use crate::error::{Error, ErrorKind, Result};
use crate::store::documents::{Document, Documents, Promise, check_name};

/// Documents in Redis or Valkey: all hosts that count there share them.
///
/// Their keys begin with `{prefix}:{fleet}:` and are the only ones that never expire. All are in one slot of a cluster. There is one connection for it all; it is
/// opened again when it is lost.
pub struct RedisDocuments {
    inner: Arc<Inner>,
    // Ends with us.
    _listening: JoinSet<()>,
}

struct Inner {
    whereabouts: Whereabouts,
    dial: Dial,
    prefix: String,
    connect_timeout: Duration,
    rights: Rights,
    link: Mutex<Option<Link>>,
    changes: watch::Sender<u64>,
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

/// Puts a document there with the time, if what is there is what is expected: `-` for anything, `0` for nothing, `1` for the next argument.
const PUT: &str = "
local there = redis.call('HGET', KEYS[1], ARGV[1])
if there then there = string.sub(there, string.find(there, ' ', 1, true) + 1) end
if ARGV[2] == '0' and there or ARGV[2] == '1' and there ~= ARGV[3] then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], time[1] .. ' ' .. ARGV[4])
return 1";

impl RedisDocuments {
    /// Connects, and listens to the channel of changes.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Store`] if the server cannot be reached or does not let us.
    pub async fn connect(target: &RedisTarget, prefix: &str, connect_timeout: Duration) -> Result<Self> {
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
        let inner = Arc::new(Inner {
            whereabouts,
            dial,
            prefix: prefix.to_owned(),
            connect_timeout,
            rights: Rights::new(user, prefix, &target.topology),
            link: Mutex::new(None),
            changes: watch::Sender::new(0),
        });
        // What may not be done had better be told now.
        let probe = [inner.put_if(STATE, PROBE, ("-", b""), b""), vec![inner.get(STATE, PROBE)]].concat();
        inner.run::<Option<Vec<u8>>>(probe).await?;
        let mut listening = JoinSet::new();
        listening.spawn(Arc::clone(&inner).listen());
        Ok(Self { inner, _listening: listening })
    }

    fn run<'a, T: FromRedisValue + Send + 'a>(&'a self, names: [&'a str; 2], commands: Vec<Cmd>) -> Promise<'a, T> {
        Box::pin(async move {
            names.into_iter().try_for_each(check_name)?;
            self.inner.run(commands).await
        })
    }
}

impl Inner {
    fn key(&self, shelf: &str) -> String {
        format!("{}:{{fleet}}:{shelf}", self.prefix)
    }

    fn channel(&self) -> String {
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
    async fn run<T: FromRedisValue>(&self, commands: Vec<Cmd>) -> Result<T> {
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
    async fn listen(self: Arc<Self>) {
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

fn cmd(name: &str, key: &str) -> Cmd {
    let mut cmd = redis::cmd(name);
    cmd.arg(key);
    cmd
}

fn seconds(text: &[u8]) -> u64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The time a document was put there, and the document.
fn split(value: &[u8]) -> (u64, Vec<u8>) {
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(0);
    let (time, bytes) = value.split_at(end);
    (seconds(time), bytes.get(1..).unwrap_or_default().to_vec())
}

impl Inner {
    fn get(&self, shelf: &str, name: &str) -> Cmd {
        let mut get = cmd("HGET", &self.key(shelf));
        get.arg(name);
        get
    }

    fn put_if(&self, shelf: &str, name: &str, expected: (&str, &[u8]), bytes: &[u8]) -> Vec<Cmd> {
        let mut put = redis::cmd("EVAL");
        put.arg(PUT).arg(1).arg(self.key(shelf)).arg(name).arg(expected.0).arg(expected.1).arg(bytes);
        vec![put]
    }
}

/// Where it is tried whether documents can be put.
const STATE: &str = "state";
const PROBE: &str = "probe";

impl Documents for RedisDocuments {
    fn get<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, Option<Vec<u8>>> {
        let value = self.run::<Option<Vec<u8>>>([shelf, name], vec![self.inner.get(shelf, name)]);
        Box::pin(async move { Ok(value.await?.map(|value| split(&value).1)) })
    }

    fn put<'a>(&'a self, shelf: &'a str, name: &'a str, bytes: &'a [u8]) -> Promise<'a, ()> {
        let done = self.run::<bool>([shelf, name], self.inner.put_if(shelf, name, ("-", b""), bytes));
        Box::pin(async move { done.await.map(drop) })
    }

    fn replace<'a>(
        &'a self,
        shelf: &'a str,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Promise<'a, bool> {
        let expected = expected.map_or(("0", b"".as_slice()), |expected| ("1", expected));
        self.run([shelf, name], self.inner.put_if(shelf, name, expected, bytes))
    }

    fn remove<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, ()> {
        let mut remove = cmd("HDEL", &self.inner.key(shelf));
        remove.arg(name);
        self.run([shelf, name], vec![remove])
    }

    fn list<'a>(&'a self, shelf: &'a str) -> Promise<'a, Vec<Document>> {
        let time = self.run::<(Vec<u8>, Vec<u8>)>([shelf, shelf], vec![redis::cmd("TIME")]);
        let all = self.run::<Vec<(String, Vec<u8>)>>([shelf, shelf], vec![cmd("HGETALL", &self.inner.key(shelf))]);
        Box::pin(async move {
            let (documents, now) = (all.await?, seconds(&time.await?.0));
            let mut documents: Vec<_> = documents
                .into_iter()
                .map(|(name, value)| {
                    let (put, bytes) = split(&value);
                    Document { name, bytes, age: Duration::from_secs(now.saturating_sub(put)) }
                })
                .collect();
            documents.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(documents)
        })
    }

    fn append<'a>(&'a self, log: &'a str, entry: &'a [u8], keep: usize) -> Promise<'a, ()> {
        let key = self.inner.key(log);
        let (mut push, mut trim) = (cmd("RPUSH", &key), cmd("LTRIM", &key));
        push.arg(entry);
        trim.arg(-i64::try_from(keep).unwrap_or(i64::MAX)).arg(-1);
        self.run([log, log], vec![push, trim])
    }

    fn tail<'a>(&'a self, log: &'a str, count: usize) -> Promise<'a, Vec<Vec<u8>>> {
        let mut range = cmd("LRANGE", &self.inner.key(log));
        range.arg(-i64::try_from(count).unwrap_or(i64::MAX)).arg(-1);
        self.run([log, log], vec![range])
    }

    fn announce(&self) -> Promise<'_, ()> {
        let mut publish = cmd("PUBLISH", &self.inner.channel());
        publish.arg("");
        self.run(["changes", "changes"], vec![publish])
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }
}

impl fmt::Debug for RedisDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisDocuments").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}
