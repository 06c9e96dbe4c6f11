//! `tollgate config`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use tollgate::Tollgate;
use tollgate::config::{Config, StoreConfig};

use super::{ConfigurationFile, block_on};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Reads the configuration, connects to the store, loads and configures every policy, and says what it found. Serves nothing.
    Check {
        /// Prints one JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(source: &ConfigurationFile, command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Check { json } = command;
    let config = source.load()?;
    let (tiers, latency) = block_on(async {
        let gate = Tollgate::from_config(&config).await?;
        let latency = gate.store_latency().await?;
        Ok((gate.tiers(), latency))
    })?;
    let latency_ms = latency.as_secs_f64() * 1_000.0;
    if *json {
        let store = store(&config);
        let found = json!({
            "sound": true,
            "environment": config.environment.name(),
            "listen": config.listen,
            "store": store,
            "store_latency_ms": latency_ms,
            "tiers": tiers,
            "keys": config.keys.len(),
            "notices": config.notices,
        });
        println!("{found}");
    } else {
        println!("environment  {}", config.environment.name());
        println!("listen       {}", config.listen);
        println!("store        {} (answers in {latency_ms:.2} ms)", store(&config));
        println!("tiers        {}", tiers.join(", "));
        println!("keys         {}", config.keys.len());
        for notice in &config.notices {
            println!("note         {notice}");
        }
        println!("the configuration is sound");
    }
    Ok(ExitCode::SUCCESS)
}

fn store(config: &Config) -> String {
    match &config.store {
        StoreConfig::Memory { .. } => "memory".to_owned(),
        StoreConfig::Redis(redis) => redis.target.to_string(),
    }
}
