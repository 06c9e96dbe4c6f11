//! A master behind sentinels: asked of all that are known, and believed only when it says itself that it is one.

mod answer;
#[cfg(test)]
mod tests;
mod trouble;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::answer::Answer;
use self::trouble::Trouble;
pub(super) use self::watch::Watch;
use super::connect::{Dial, Refusal, Server, within};
use crate::config::{Address, SentinelLogin};
use crate::error::Result;

/// The sentinels of one master.
pub(super) struct Sentinels {
    master: String,
    servers: Dial,
    dial: Dial,
    given: Vec<Server>,
    learned: Mutex<Vec<Server>>,
    links: Mutex<HashMap<Server, MultiplexedConnection>>,
    /// Who did not answer when last asked.
    silent: Mutex<HashSet<Server>>,
}

/// A master, as a sentinel names it.
#[derive(Clone, Debug)]
struct Found {
    server: Server,
    /// How many elections there were, as far as the sentinel knows.
    epoch: u64,
    /// Who names it.
    sentinel: Server,
}

/// Whether the server at the other end takes itself for a master.
///
/// A master that was away says so for some seconds after another has taken its place, so it must be named by sentinels as well.
///
/// # Errors
///
/// Fails if there is no answer, or if the user may not ask: `+role`.
pub(super) async fn is_master(connection: &mut MultiplexedConnection) -> RedisResult<bool> {
    let role: Vec<Value> = redis::cmd("ROLE").query_async(connection).await?;
    Ok(role.first().is_some_and(|role| *role == Value::BulkString(b"master".to_vec())))
}

impl Sentinels {
    /// How many sentinels are remembered beside those given.
    const LEARNED: usize = 16;

    /// How long to wait before asking again, where the one named is no master yet, or no longer.
    const PAUSE: Duration = Duration::from_millis(50);

    /// The sentinels at `addresses`, who let us in by `login`, and their `master`, whose servers `dial` reaches.
    pub(super) fn new(dial: Dial, login: &SentinelLogin, master: &str, addresses: &[Address]) -> Arc<Self> {
        Arc::new(Self {
            master: master.to_owned(),
            dial: dial.to_sentinels(login),
            servers: dial,
            given: addresses.iter().cloned().map(Server::Tcp).collect(),
            learned: Mutex::default(),
            links: Mutex::default(),
            silent: Mutex::default(),
        })
    }

    /// Where the master is: named by the sentinel that knows of the most elections, and a master by its own word.
    ///
    /// If the one that is named does not confirm it, asks again for as long as `within`: a failover may be under way.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Store`](crate::error::ErrorKind::Store) and what to do about it.
    pub(super) async fn master(self: &Arc<Self>, within: Duration) -> Result<Server> {
        let until = Instant::now() + within;
        loop {
            match self.find(None).await {
                Ok(found) => return Ok(found.server),
                Err(trouble) if trouble.may_pass() && Instant::now() + Self::PAUSE < until => sleep(Self::PAUSE).await,
                Err(trouble) => return Err(trouble.told(self)),
            }
        }
    }

    /// Asks all sentinels at once, and then the servers they name, but for one that is `known` already.
    ///
    /// A sentinel that knows of a later election than that of the server `known` is believed at once. Otherwise the best informed is, and one
    /// that hangs is waited for, briefly, since it may be the best informed.
    async fn find(self: &Arc<Self>, known: Option<&Found>) -> std::result::Result<Found, Trouble> {
        let mut asked = self.ask_all();
        let (mut answers, mut trouble) = (Vec::new(), Refusal::UnknownMaster.into());
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(found)) => {
                    let later = known.is_some_and(|known| found.epoch > known.epoch && found.server != known.server);
                    if later && self.confirm(&found.server).await.is_ok() {
                        return Ok(found);
                    }
                    answers.push(found);
                }
                Ok(Err(error)) => trouble = error,
                Err(_) => {}
            }
        }
        // Of those who know as much, the first to answer.
        answers.sort_by_key(|found| std::cmp::Reverse(found.epoch));
        let mut trouble = Trouble::NobodyNames(trouble);
        for found in answers {
            if known.is_some_and(|known| known.server == found.server) {
                return Ok(found);
            }
            match self.confirm(&found.server).await {
                Ok(()) => return Ok(found),
                Err(_) if trouble.may_pass() => {}
                Err(refusal) => trouble = Trouble::NoMaster(found.server, refusal),
            }
        }
        Err(trouble)
    }

    /// Fails unless `server` takes itself for a master.
    async fn confirm(&self, server: &Server) -> RedisResult<()> {
        let asked = async {
            let mut connection = self.servers.open(server, None).await?;
            if is_master(&mut connection).await? { Ok(()) } else { Err(Refusal::NoMaster.into()) }
        };
        within(Dial::SEVERAL, asked).await
    }

    fn ask_all(self: &Arc<Self>) -> JoinSet<RedisResult<Found>> {
        let one = |sentinel| {
            let sentinels = Arc::clone(self);
            async move {
                let Answer { server, epoch, .. } = sentinels.ask(&sentinel).await?;
                Ok(Found { server, epoch, sentinel })
            }
        };
        self.known().into_iter().map(one).collect()
    }

    /// Asks one sentinel, by the connection that is kept to it or by a new one.
    async fn ask(&self, sentinel: &Server) -> RedisResult<Answer> {
        let kept = self.links().remove(sentinel);
        let asked = async {
            if let Some(mut link) = kept
                && let Ok(answer) = answer::ask(&mut link, &self.master).await
            {
                return Ok((answer, link));
            }
            let mut link = self.dial.open(sentinel, None).await?;
            Ok((answer::ask(&mut link, &self.master).await?, link))
        };
        let answered = within(Dial::SEVERAL, asked).await;
        self.note(sentinel, answered.as_ref().err());
        let (answer, link) = answered?;
        self.links().insert(sentinel.clone(), link);
        self.learn(&answer.others);
        Ok(answer)
    }

    /// Tells once of a sentinel that falls silent, and once when it is back.
    fn note(&self, sentinel: &Server, error: Option<&RedisError>) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => {
                if silent.insert(sentinel.clone()) {
                    let (master, lost) = (&self.master, silent.len());
                    tracing::warn!("sentinel {sentinel} of master `{master}` does not answer, {lost} by now: {error}");
                }
            }
            None => {
                if silent.remove(sentinel) {
                    tracing::info!("sentinel {sentinel} of master `{}` answers again", self.master);
                }
            }
        }
    }

    fn learn(&self, others: &[Server]) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        for other in others {
            if learned.len() < Self::LEARNED && !learned.contains(other) && !self.given.contains(other) {
                learned.push(other.clone());
            }
        }
    }

    fn known(&self) -> Vec<Server> {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        self.given.iter().chain(learned.iter()).cloned().collect()
    }

    fn links(&self) -> MutexGuard<'_, HashMap<Server, MultiplexedConnection>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
