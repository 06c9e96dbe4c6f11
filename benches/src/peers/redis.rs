//! The crate `redis`: one multiplexed connection, one script call for each decision.

use std::time::Duration;

use anyhow::{Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};

use super::{arguments, key, script};
use crate::gate::Algorithm;
use crate::load::Decide;

/// One multiplexed connection, cloned for each call, and `Script`, which knows when to load itself.
pub struct Multiplexed {
    algorithm: Algorithm,
    script: Script,
    connection: MultiplexedConnection,
}

impl Multiplexed {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Fails if the server does not answer.
    pub async fn connect(url: &str, algorithm: Algorithm) -> Result<Self> {
        // As long as ours and fred may take, so that a hiccup of the machine ends no run; half a second unless told otherwise.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(5)));
        let connection = Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { algorithm, script: Script::new(script(algorithm)), connection })
    }
}

impl Decide for Multiplexed {
    async fn decide(&self, subject: &str) -> Result<()> {
        let mut call = self.script.key(key("multiplexed", self.algorithm, subject));
        for argument in arguments(self.algorithm) {
            call.arg(*argument);
        }
        let answer: Vec<i64> = call.invoke_async(&mut self.connection.clone()).await?;
        ensure!(answer.first() == Some(&1), "a decision that had to pass did not: {answer:?}");
        Ok(())
    }
}
