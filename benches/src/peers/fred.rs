//! The crate `fred`: one client, one script call for each decision.

use anyhow::{Result, ensure};
use fred::clients::Client;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::Builder;
use fred::types::config::{Config, TcpConfig};
use redis::Script;

use super::{arguments, key, script};
use crate::gate::Algorithm;
use crate::load::Decide;

/// One client, its sockets without delay as in its first example, the script loaded once.
pub struct Fred {
    algorithm: Algorithm,
    hash: String,
    arguments: Vec<i64>,
    client: Client,
}

impl Fred {
    /// Connects, and loads the script.
    ///
    /// # Errors
    ///
    /// Fails if the server does not answer.
    pub async fn connect(url: &str, algorithm: Algorithm) -> Result<Self> {
        let mut builder = Builder::from_config(Config::from_url(url)?);
        builder.with_connection_config(|connection| {
            connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
        });
        let client = builder.build()?;
        client.init().await?;
        let () = client.script_load(script(algorithm)).await?;
        let hash = Script::new(script(algorithm)).get_hash().to_owned();
        let arguments =
            arguments(algorithm).iter().map(|argument| i64::try_from(*argument)).collect::<Result<_, _>>()?;
        Ok(Self { algorithm, hash, arguments, client })
    }
}

impl Decide for Fred {
    async fn decide(&self, subject: &str) -> Result<()> {
        let key = key("fred", self.algorithm, subject);
        let answer: Vec<i64> = self.client.evalsha(self.hash.as_str(), key, self.arguments.clone()).await?;
        ensure!(answer.first() == Some(&1), "a decision that had to pass did not: {answer:?}");
        Ok(())
    }
}
