//! `tollgate serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tollgate::config::{Config, Environment, Secret};
use tollgate::policy::Compile;
use tollgate::server::{Assembly, Serving, Watched, assemble, serve, start_logging, start_metrics, watch};

use super::configuration::store;
use super::{ConfigurationFile, block_on, own_program};

pub(super) const AFTER_HELP: &str = "\
Examples:
  tollgate serve
  TOLLGATE_LISTEN=127.0.0.1:9000 REDIS_URL=redis://localhost:6379 tollgate serve
  tollgate serve --config tollgate.toml
  tollgate serve --watch policies";

#[derive(Debug, Default, Args)]
pub(super) struct Options {
    /// For development: reloads when `roster.json`, a `.wasm` beside it in this folder, or the configuration file changes.
    ///
    /// In `roster.json` a policy may be the name of such a file. Without `roster.json` the configuration file holds, its tiers and tenants. What
    /// is broken is logged, and replaces nothing.
    #[arg(long, value_name = "DIR")]
    watch: Option<PathBuf>,
}

pub(super) fn run(source: &ConfigurationFile, options: Options) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    start_logging(&config.log);
    block_on(async {
        let assembly = assemble(&config, Compile::InChild(own_program()?), Some(start_metrics()?)).await?;
        let serving = Serving::bind(config.listen, "TOLLGATE_LISTEN").await?;
        let admin = bind_admin(&config).await?;
        if let Some(folder) = options.watch.as_ref().filter(|folder| !folder.is_dir()) {
            anyhow::bail!("{} is no folder to watch", folder.display());
        }
        // Before anybody can be told the address: a signal that arrives from now on is not lost.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        greet(&config, &serving, &assembly);
        let admin = greet_operator(admin, &assembly);
        try_it(&config, &serving);
        let watching = match options.watch {
            None => None,
            Some(folder) => {
                let (watched, source) = (Watched { folder, file: source.path()? }, source.clone());
                Some(tokio::spawn(watch(assembly.fleet.clone(), watched, move || source.load())))
            }
        };
        serve(serving, admin, assembly, async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
            if let Some(watching) = watching {
                watching.abort();
            }
        })
        .await;
        println!("tollgate: stopped");
        Ok(ExitCode::SUCCESS)
    })
}

/// The listener of the admin API, or why there is none, although there is to be one.
async fn bind_admin(config: &Config) -> tollgate::Result<Option<tollgate::Result<Serving>>> {
    let Some(address) = config.admin.listen else { return Ok(None) };
    let bound = Serving::bind(address, "TOLLGATE_ADMIN_LISTEN").await;
    if config.admin.required { Ok(Some(Ok(bound?))) } else { Ok(Some(bound)) }
}

fn greet(config: &Config, serving: &Serving, assembly: &Assembly) {
    let (address, gate) = (serving.address, &assembly.front.gate);
    println!("tollgate {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    println!("  counters  in {}", store(config, gate));
    println!("  tiers     {}", gate.tiers().join(", "));
    if let Some(resp) = &assembly.resp {
        println!("  resp      {} answers CL.THROTTLE", resp.address());
    }
    if let Some(envoy) = &assembly.envoy {
        println!("  envoy     {} answers for the domains {}", envoy.address(), envoy.domains().join(", "));
    }
    for notice in &config.notices {
        println!("  note      {notice}");
    }
}

/// Where the admin API is, and the token that was drawn for it: once, and not into the log.
fn greet_operator(admin: Option<tollgate::Result<Serving>>, assembly: &Assembly) -> Option<Serving> {
    let serving = match admin? {
        Ok(serving) => serving,
        Err(error) => {
            println!("  note      there is no admin API: {error}; give it another address, or `off`");
            return None;
        }
    };
    let address = serving.address;
    println!("  admin     http://{address}");
    if let Some(token) = assembly.drawn.as_ref().map(Secret::reveal) {
        println!("  token     {token} (drawn for this process; TOLLGATE_ADMIN_TOKENS gives others)");
        println!("\nOperate it:\n\n  export TOLLGATE_ADMIN_URL=http://{address} TOLLGATE_ADMIN_TOKEN={token}");
        println!("  tollgate fleet");
        println!("  tollgate tail");
    }
    Some(serving)
}

fn try_it(config: &Config, serving: &Serving) {
    let address = serving.address;
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
