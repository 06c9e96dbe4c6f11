//! `tollgate serve`.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tollgate::Tollgate;
use tollgate::config::{Config, Environment};
use tollgate::policy::Compile;
use tollgate::server::{Serving, assemble, serve, start_logging};

use super::configuration::store;
use super::{ConfigurationFile, block_on, own_program};

pub(super) const AFTER_HELP: &str = "\
Examples:
  tollgate serve
  TOLLGATE_LISTEN=127.0.0.1:9000 REDIS_URL=redis://localhost:6379 tollgate serve
  tollgate serve --config tollgate.toml";

pub(super) fn run(source: &ConfigurationFile) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    start_logging(&config.log);
    block_on(async {
        let front = assemble(&config, Compile::InChild(own_program()?)).await?;
        let serving = Serving::bind(config.listen).await?;
        // Before anybody can be told the address: a signal that arrives from now on is not lost.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        greet(&config, &serving, &front.gate);
        serve(serving, front, async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
        })
        .await;
        println!("tollgate: stopped");
        Ok(ExitCode::SUCCESS)
    })
}

fn greet(config: &Config, serving: &Serving, gate: &Tollgate) {
    let address = serving.address;
    println!("tollgate {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    println!("  counters  in {}", store(config, gate));
    println!("  tiers     {}", gate.tiers().join(", "));
    for notice in &config.notices {
        println!("  note      {notice}");
    }
    if config.environment == Environment::Development && config.has_demo_keys() {
        println!("\nTry it (the first ten pass, then one a second):\n");
        println!("  curl -i http://{address}/v1/check -d '{{\"api_key\": \"demo-free\"}}'");
        println!(
            "  for i in $(seq 30); do curl -s -o /dev/null -w '%{{http_code}} ' http://{address}/v1/check -d '{{\"api_key\": \"demo-free\"}}'; done; echo"
        );
        println!(
            "  curl -i http://{address}/v1/check -d '{{\"api_key\": \"demo-pro\", \"route\": \"/export\", \"cost\": 5}}'\n"
        );
    }
}
