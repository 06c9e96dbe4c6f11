//! `tollgate keys`.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Operator, Output};

const AFTER_HELP: &str = "\
Examples:
  tollgate keys invalidate - < key.txt
  tollgate keys invalidate --tenant acme
  tollgate keys invalidate --all";

#[derive(Debug, Subcommand)]
pub(in super::super) enum Command {
    /// Forgets what every server knows of API keys that `key_source` told, so that it is asked anew.
    ///
    /// To revoke a key, take it out of your own books first, and then do this: it is refused on every server within a moment.
    #[command(after_help = AFTER_HELP)]
    Invalidate(Invalidate),
}

#[derive(Debug, Args)]
pub(in super::super) struct Invalidate {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One key; with `-` the first line of standard input, where no list of processes and no history shows it.
    key: Option<String>,
    /// All keys of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// All keys of everybody.
    #[arg(long)]
    all: bool,
}

pub(in super::super) fn run(operator: &Operator, command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Invalidate(Invalidate { what, output }) = command;
    operator.client()?.send("POST", "keys/invalidate", Some(&body(what)?))?;
    Ok(output
        .print(&json!({ "invalidated": true }), |_| "forgotten on that server, and all others are told".to_owned()))
}

fn body(what: &What) -> anyhow::Result<Value> {
    Ok(match (&what.key, &what.tenant) {
        (Some(key), _) if key == "-" => json!({ "key": first_line()? }),
        (Some(key), _) => json!({ "key": key }),
        (None, Some(tenant)) => json!({ "tenant": tenant }),
        (None, None) => json!({ "all": what.all }),
    })
}

fn first_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("failed to read the key from standard input")?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => bail!("standard input holds no key"),
        key => Ok(key.to_owned()),
    }
}
