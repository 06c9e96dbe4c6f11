//! Documents in Redis: a hash for each shelf, a list for each log, and a channel that tells of changes.

mod expiring;
mod link;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::link::Inner;
use crate::config::RedisTarget;
use crate::error::Result;
use crate::store::documents::{Document, Documents, Expiring, Promise, check_name};

/// Documents in Redis or Valkey: all hosts that count there share them.
///
/// Their keys begin with `{prefix}:{fleet}:` and are the only ones that never expire, but for what is kept for a while. All are in one slot of a cluster. There is one connection for it all; it is
/// opened again when it is lost.
pub struct RedisDocuments {
    inner: Arc<Inner>,
    // Ends with us.
    _listening: JoinSet<()>,
}

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
    /// Fails with [`ErrorKind::Store`](crate::ErrorKind::Store) if the server cannot be reached or does not let us.
    pub async fn connect(target: &RedisTarget, prefix: &str, connect_timeout: Duration) -> Result<Self> {
        let inner = Arc::new(Inner::new(target, prefix, connect_timeout)?);
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

    fn expiring(&self) -> Option<&dyn Expiring> {
        Some(self)
    }
}

impl fmt::Debug for RedisDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisDocuments").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}
