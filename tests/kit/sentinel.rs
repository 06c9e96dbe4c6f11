//! A master with sentinels of one's own.

use anyhow::{Context as _, Result};
use tollgate::config::{RedisTarget, Secret, SentinelLogin, Topology};

use crate::process::until;
use crate::redis::Kind;
use crate::{RedisServer, Setting};

/// A master, its replicas and three sentinels on free ports of the loopback, gone when dropped.
///
/// A master that does not answer for a second is replaced.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    sentinel_password: Option<String>,
}

/// The master's name among the sentinels.
const NAME: &str = "mymaster";

impl RedisSentinel {
    /// Starts open servers, one of them a replica, and waits until the sentinels know it all.
    ///
    /// # Errors
    ///
    /// Fails if a server does not start, or if they do not find together.
    pub fn start() -> Result<Self> {
        Self::start_with(1, &Setting::default(), None)
    }

    /// Starts servers of this setting, so many of them replicas, and sentinels with this password.
    ///
    /// # Errors
    ///
    /// Fails as [`start`](Self::start) does.
    pub fn start_with(replicas: usize, setting: &Setting, sentinel_password: Option<&str>) -> Result<Self> {
        let mut setting = setting.clone();
        let faster =
            ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
        setting.arguments.extend(faster.map(str::to_owned));
        let master = RedisServer::start_with(setting.clone())?;
        let port = master.port().to_string();
        let mut servers = vec![master];
        for _ in 0..replicas {
            let replica = RedisServer::start_with(setting.clone())?;
            replica.run::<()>(&["REPLICAOF", "127.0.0.1", &port])?;
            until("a replica has found its master", || {
                Ok(replica.run::<String>(&["INFO", "replication"])?.contains("master_link_status:up"))
            })?;
            servers.push(replica);
        }
        let lines = lines(&port, setting.password.as_deref(), sentinel_password);
        let sentinel =
            Setting { password: sentinel_password.map(str::to_owned), tls: setting.tls, ..Setting::default() };
        let sentinels = (0..3)
            .map(|_| RedisServer::start_as(Kind::Sentinel(lines.clone()), sentinel.clone()))
            .collect::<Result<_>>()?;
        let all = Self { servers, sentinels, sentinel_password: sentinel_password.map(str::to_owned) };
        all.settle()?;
        Ok(all)
    }

    /// Waits until every sentinel knows the others, every replica and who the master is.
    ///
    /// # Errors
    ///
    /// Fails if that does not come to be.
    pub fn settle(&self) -> Result<()> {
        let replicas = (self.servers.len() - 1).to_string();
        for sentinel in &self.sentinels {
            until("the sentinels know one another", || {
                let known = facts(sentinel)?;
                let has = |key: &str, value: &str| known.iter().any(|(name, said)| name == key && said == value);
                Ok(has("num-other-sentinels", "2") && has("num-slaves", &replicas) && has("flags", "master"))
            })?;
        }
        Ok(())
    }

    /// The servers; first the one that began as master.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The three sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The three sentinels, to kill and to start again.
    #[must_use]
    pub fn sentinels_mut(&mut self) -> &mut [RedisServer] {
        &mut self.sentinels
    }

    /// Where it is and how to be let in, as the configuration says it.
    #[must_use]
    pub fn target(&self) -> RedisTarget {
        let login = SentinelLogin { username: None, password: self.sentinel_password.as_deref().map(Secret::new) };
        let topology = Topology::Sentinel {
            master: NAME.to_owned(),
            sentinels: self.sentinels.iter().map(RedisServer::address).collect(),
            login,
        };
        let first = self.servers.first().map(RedisServer::target);
        RedisTarget { topology, ..first.expect("there is a master at least") }
    }

    /// Its address as `REDIS_URL` gives it. The password of the sentinels, if they have one, is for `REDIS_SENTINEL_PASSWORD`.
    #[must_use]
    pub fn url(&self) -> String {
        let address = self.target().to_string();
        let password = self.servers.first().and_then(|server| server.target().password);
        let login = password.map_or_else(String::new, |password| format!(":{}@", password.reveal()));
        address.replace("***@", "").replacen("://", &format!("://{login}"), 1)
    }

    /// The place of the master, as the sentinels name it who answer.
    ///
    /// # Errors
    ///
    /// Fails if nobody names one of ours.
    pub fn master(&self) -> Result<usize> {
        let ask =
            |sentinel: &RedisServer| sentinel.run::<(String, u16)>(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).ok();
        let (_, port) = self.sentinels.iter().find_map(ask).context("no sentinel answers")?;
        self.servers.iter().position(|server| server.port() == port).context("the master is one of ours")
    }

    /// The server at this place.
    ///
    /// # Errors
    ///
    /// Fails if there are not so many.
    pub fn server(&self, place: usize) -> Result<&RedisServer> {
        self.servers.get(place).with_context(|| format!("there is no server {place}"))
    }

    /// Kills the master, and answers its place.
    ///
    /// # Errors
    ///
    /// Fails if there is none.
    pub fn kill_master(&mut self) -> Result<usize> {
        let place = self.master()?;
        self.servers.get_mut(place).context("the master is one of ours")?.kill()?;
        Ok(place)
    }

    /// Suspends the master, and answers its place: connections stay open, and nothing answers.
    ///
    /// # Errors
    ///
    /// Fails if there is none.
    pub fn stop_master(&self) -> Result<usize> {
        let place = self.master()?;
        self.server(place)?.stop()?;
        Ok(place)
    }

    /// Starts a server again that was killed. It is empty, and takes itself for a master until a sentinel tells it otherwise.
    ///
    /// # Errors
    ///
    /// Fails if it does not start.
    pub fn restart(&mut self, place: usize) -> Result<()> {
        self.servers.get_mut(place).with_context(|| format!("there is no server {place}"))?.restart()
    }

    /// Tells a sentinel to put a replica in the master's place. [`replaced`](Self::replaced) waits for it.
    ///
    /// # Errors
    ///
    /// Fails if the sentinel refuses for long.
    pub fn failover(&self) -> Result<()> {
        let sentinel = self.sentinels.first().context("there are sentinels")?;
        until("a sentinel begins a failover", || Ok(sentinel.run::<()>(&["SENTINEL", "FAILOVER", NAME]).is_ok()))
    }

    /// Waits until another server than the one at `place` is named master and is one, and answers its place.
    ///
    /// # Errors
    ///
    /// Fails if that does not come to be.
    pub fn replaced(&self, place: usize) -> Result<usize> {
        let mut new = place;
        until("the sentinels have put a replica in the master's place", || {
            new = self.master()?;
            Ok(new != place && self.server(new)?.run::<String>(&["INFO", "replication"])?.contains("role:master"))
        })?;
        Ok(new)
    }
}

fn lines(port: &str, password: Option<&str>, sentinel_password: Option<&str>) -> String {
    let mut lines = format!(
        "sentinel monitor {NAME} 127.0.0.1 {port} 2\nsentinel down-after-milliseconds {NAME} 1000\n\
         sentinel failover-timeout {NAME} 3000\nsentinel parallel-syncs {NAME} 1\n"
    );
    if let Some(password) = password {
        lines += &format!("sentinel auth-pass {NAME} \"{password}\"\n");
    }
    if let Some(password) = sentinel_password {
        lines += &format!("sentinel sentinel-pass \"{password}\"\n");
    }
    lines
}

fn facts(sentinel: &RedisServer) -> Result<Vec<(String, String)>> {
    sentinel.run(&["SENTINEL", "MASTER", NAME])
}
