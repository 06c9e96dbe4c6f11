//! `tollgate config`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use tollgate::Tollgate;
use tollgate::config::{Config, EnvoyConfig, StoreConfig};
use tollgate::http::rls::RuleFiles;
use tollgate::server::reach_registry;

use super::{ConfigurationFile, block_on};

const AFTER_HELP: &str = "\
Examples:
  tollgate config check
  tollgate config check --config tollgate.toml
  TOLLGATE_ENV=production tollgate config check --json";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Reads the configuration, connects to the store and the registry, configures every policy, and says what it found. Serves nothing.
    ///
    /// The status is 0 if the configuration is sound, and 2 if not; all problems of the file and the environment are told at once.
    #[command(after_help = AFTER_HELP)]
    Check {
        /// Prints one JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(source: &ConfigurationFile, command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Check { json } = command;
    let config = source.load()?;
    let (gate, latency) = block_on(async {
        let gate = Tollgate::from_config(&config).await?;
        let latency = gate.store_latency().await?;
        reach_registry(&config, &gate).await?;
        Ok((gate, latency))
    })?;
    let envoy = config.envoy.as_ref().map(envoy).transpose()?;
    let (tiers, store) = (gate.tiers(), store(&config, &gate));
    let latency_ms = latency.as_secs_f64() * 1_000.0;
    if *json {
        let found = json!({
            "sound": true,
            "environment": config.environment.name(),
            "listen": config.listen,
            "admin": config.admin.listen,
            "envoy": envoy,
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
        println!("admin        {}", config.admin.listen.map_or_else(|| "off".to_owned(), |listen| listen.to_string()));
        if let Some(envoy) = &envoy {
            println!("envoy        {envoy}");
        }
        println!("store        {store} (answers in {latency_ms:.2} ms)");
        println!("tiers        {}", tiers.join(", "));
        println!("keys         {}", config.keys.len());
        for notice in &config.notices {
            println!("note         {notice}");
        }
        println!("the configuration is sound");
    }
    Ok(ExitCode::SUCCESS)
}

/// Where Envoy's rate limit service listens, and for what, once its limits have been read.
fn envoy(config: &EnvoyConfig) -> tollgate::Result<String> {
    let rules = RuleFiles::new(&config.limits).read()?;
    let domains: Vec<&str> = rules.domains().collect();
    Ok(format!("{} for the domains {}", config.listen, domains.join(", ")))
}

/// Where the counters are, and if that is not where the configuration wants them, why.
pub(super) fn store(config: &Config, gate: &Tollgate) -> String {
    match &config.store {
        StoreConfig::Memory { .. } => "memory".to_owned(),
        StoreConfig::Redis(redis) if gate.has_shared_store() => redis.target.to_string(),
        StoreConfig::Redis(redis) => format!("memory, since {} cannot be used", redis.target),
    }
}
