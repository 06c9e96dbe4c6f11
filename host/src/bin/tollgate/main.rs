//! The program `tollgate`: command line → configuration → server.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to whoever runs it")]

mod ask;
mod configuration;
mod operate;
mod policy;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tollgate::config::{Config, env};

/// Limits rates by policies that are WebAssembly components.
///
/// Without a command it serves. Without a configuration it counts in memory, with four tiers and three demo keys, so that there is
/// something to try at once: `tollgate`, then the lines it prints.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    source: ConfigurationFile,
    #[command(flatten)]
    operator: operate::Operator,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Examples:
  tollgate                                       serve, with the demo keys
  tollgate check demo-free                       may this key pass? charges it
  tollgate --config tollgate.toml config check   is this configuration sound?
  tollgate policy inspect tiered                 what is this policy, and how is it configured?
  tollgate fleet                                 what does every server run? Asks the admin API

Exit status: 0 if all went well, 1 if `check` was told that the request may not pass, 2 if something went wrong, which standard \
error tells. With --json, standard output is one JSON object, or empty where the status is 2; what goes on (`tail`, `fleet --watch`) prints \
one a line.

Every setting and every environment variable stands in docs/configuration.md.";

#[derive(Clone, Debug, Args)]
struct ConfigurationFile {
    /// The configuration file, in TOML. The environment overrides it.
    ///
    /// Without it, the one that TOLLGATE_CONFIG names; without that, what is built in. `policy` reads none.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answers `POST /v1/check`, `GET /livez` and `GET /readyz` until SIGTERM or SIGINT.
    ///
    /// Requests under way then end, for at most ten seconds, and the status is 0.
    #[command(after_help = serve::AFTER_HELP)]
    Serve(serve::Options),
    /// Asks whether a request with this API key may pass, and charges it.
    ///
    /// The status is 0 if it may pass, 1 if not, and 2 if there is no answer: the key is not known, or nobody can be asked.
    #[command(after_help = ask::AFTER_HELP)]
    Check(ask::Question),
    /// Looks at the configuration.
    #[command(subcommand)]
    Config(configuration::Command),
    /// Builds, inspects, tests and signs policies, and lets servers decide by them.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Shows and changes which policies decide: every tier and tenant, as one document with a history.
    #[command(subcommand)]
    Roster(operate::roster::Command),
    /// Shows and changes which tenant is in which tier.
    #[command(subcommand)]
    Tenants(operate::tenants::Command),
    /// Keeps an address, a network or a subject out for a time, on every server.
    #[command(after_help = operate::blocks::AFTER_BLOCK)]
    Block(operate::blocks::Block),
    /// Lets an address, a network or a subject in again.
    #[command(after_help = operate::blocks::AFTER_UNBLOCK)]
    Unblock(operate::blocks::Unblock),
    /// Shows who is kept out.
    #[command(after_help = operate::blocks::AFTER_BLOCKS)]
    Blocks(operate::blocks::List),
    /// Has what is known of API keys forgotten.
    #[command(subcommand)]
    Keys(operate::keys::Command),
    /// Says what every instance runs.
    #[command(after_help = operate::fleet::AFTER_HELP)]
    Fleet(operate::fleet::Fleet),
    /// Shows decisions as they are made.
    #[command(after_help = operate::decisions::AFTER_TAIL)]
    Tail(operate::decisions::Tail),
    /// Says what a request would be told now: by which limits, what remains, when it is free. Takes nothing.
    #[command(after_help = operate::decisions::AFTER_EXPLAIN)]
    Explain(operate::decisions::Explain),
    /// Shows who did what.
    #[command(after_help = operate::fleet::AFTER_AUDIT)]
    Audit(operate::fleet::Audit),
}

impl ConfigurationFile {
    /// Where it is, if there is one.
    fn path(&self) -> tollgate::Result<Option<PathBuf>> {
        Ok(self.config.clone().or(env::config_path(&env::process()?)))
    }

    fn load(&self) -> tollgate::Result<Config> {
        tollgate::server::configuration(self.config.as_deref())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        None => serve::run(&cli.source, serve::Options::default()),
        Some(Command::Serve(options)) => serve::run(&cli.source, options),
        Some(Command::Check(question)) => ask::run(&cli.source, &question),
        Some(Command::Config(command)) => configuration::run(&cli.source, &command),
        Some(Command::Policy(command)) => policy::run(&cli.operator, &command),
        Some(Command::Roster(command)) => operate::roster::run(&cli.operator, &command),
        Some(Command::Tenants(command)) => operate::tenants::run(&cli.operator, &command),
        Some(Command::Block(block)) => operate::blocks::block(&cli.operator, &block),
        Some(Command::Unblock(unblock)) => operate::blocks::unblock(&cli.operator, &unblock),
        Some(Command::Blocks(list)) => operate::blocks::list(&cli.operator, &list),
        Some(Command::Keys(command)) => operate::keys::run(&cli.operator, &command),
        Some(Command::Fleet(fleet)) => operate::fleet::run(&cli.operator, &fleet),
        Some(Command::Tail(tail)) => operate::decisions::tail(&cli.operator, &tail),
        Some(Command::Explain(explain)) => operate::decisions::explain(&cli.operator, &explain),
        Some(Command::Audit(audit)) => operate::fleet::audit(&cli.operator, &audit),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("tollgate: {error:#}");
        ExitCode::from(2)
    })
}

/// This program, to be started once more: also where its file was replaced meanwhile.
fn own_program() -> anyhow::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { Ok(std::env::current_exe()?) }
}

/// Runs a future to its end on a runtime of its own.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
