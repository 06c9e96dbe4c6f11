//! The program `tollgate`: command line → configuration → server.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to whoever runs it")]

mod ask;
mod configuration;
mod policy;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tollgate::config::Config;

/// Limits rates by policies that are WebAssembly components.
///
/// Without a command it serves. Without a configuration it counts in memory, with three tiers and three demo keys, so that there is
/// something to try at once: `tollgate`, then the lines it prints.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Every setting and every environment variable: docs/configuration.md, or `tollgate config check`."
)]
struct Cli {
    #[command(flatten)]
    source: ConfigurationFile,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct ConfigurationFile {
    /// The configuration file, in TOML. The environment overrides it.
    ///
    /// Without it, the one that TOLLGATE_CONFIG names.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answers `POST /v1/check`, `GET /livez` and `GET /readyz` until it is told to stop.
    Serve,
    /// Asks whether a request with this API key may pass, and charges it: 0 yes, 1 no, 2 no answer.
    Check(ask::Question),
    /// Looks at the configuration.
    #[command(subcommand)]
    Config(configuration::Command),
    /// Builds and inspects policies.
    #[command(subcommand)]
    Policy(policy::Command),
}

impl ConfigurationFile {
    fn load(&self) -> tollgate::Result<Config> {
        tollgate::server::configuration(self.config.as_deref())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        None | Some(Command::Serve) => serve::run(&cli.source),
        Some(Command::Check(question)) => ask::run(&cli.source, &question),
        Some(Command::Config(command)) => configuration::run(&cli.source, &command),
        Some(Command::Policy(command)) => policy::run(&command),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("tollgate: {error:#}");
        ExitCode::from(2)
    })
}

/// Runs a future to its end on a runtime of its own.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
