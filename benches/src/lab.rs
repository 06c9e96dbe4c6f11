//! Where the rows run: a Redis of their own, and the runtimes.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tollgate_tests::RedisServer;

use crate::row::{Run, Sample, Side};

/// How the tasks of a side are run. Both sides of a row are run alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// `#[tokio::main]`: a worker for each core, as servers run. Redis has to share the cores with them.
    Many,
    /// One thread, so that on two cores Redis has one for itself.
    One,
}

impl Threads {
    /// The name in rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Many => "many-threads",
            Self::One => "one-thread",
        }
    }
}

/// A `redis-server` on a free port, gone when the lab is, and a runtime of each kind.
pub struct Lab {
    redis: Arc<RedisServer>,
    many: Arc<Runtime>,
    one: Arc<Runtime>,
}

impl Lab {
    /// Starts everything.
    ///
    /// # Errors
    ///
    /// Fails if there is no `redis-server`.
    pub fn open() -> Result<Self> {
        Ok(Self {
            redis: Arc::new(RedisServer::start()?),
            many: Arc::new(Builder::new_multi_thread().enable_all().build()?),
            one: Arc::new(Builder::new_current_thread().enable_all().build()?),
        })
    }

    /// The server.
    #[must_use]
    pub fn redis(&self) -> &Arc<RedisServer> {
        &self.redis
    }

    /// The runtime of this kind.
    #[must_use]
    pub fn runtime(&self, threads: Threads) -> Arc<Runtime> {
        Arc::clone(match threads {
            Threads::Many => &self.many,
            Threads::One => &self.one,
        })
    }

    /// Forgets every counter.
    ///
    /// # Errors
    ///
    /// Fails if the server does not answer.
    pub fn clear(&self) -> Result<()> {
        self.redis.run(&["FLUSHALL"])
    }

    /// A side whose samples also say what it cost Redis.
    pub fn side(&self, name: &'static str, prepare: impl FnOnce() -> Result<Run> + 'static) -> Side {
        let redis = Arc::clone(&self.redis);
        Side::new(name, move || {
            let mut run = prepare()?;
            Ok(Box::new(move |time| {
                let before = processor_time_us(&redis)?;
                let sample = run(time)?;
                let used = processor_time_us(&redis)? - before;
                Ok(Sample { redis_cpu_us: Some(used / sample.decisions as f64), ..sample })
            }))
        })
    }
}

/// What Redis says of itself, in microseconds.
fn processor_time_us(redis: &RedisServer) -> Result<f64> {
    let info: String = redis.run(&["INFO", "cpu"])?;
    let seconds = |field: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|number| number.trim().parse::<f64>().ok()).with_context(|| format!("INFO cpu lacks {field}"))
    };
    Ok((seconds("used_cpu_user")? + seconds("used_cpu_sys")?) * 1e6)
}
