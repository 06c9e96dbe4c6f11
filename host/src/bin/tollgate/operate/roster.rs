//! `tollgate roster`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::table::Table;
use super::{Operator, Output, activated, items, number, text};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Command {
    /// Prints the active roster: what `propose` takes.
    #[command(after_help = "Examples:\n  tollgate roster show > roster.json\n  tollgate roster show --json")]
    Show {
        #[command(flatten)]
        output: Output,
    },
    /// Lists the rosters that were proposed, and says which one is active.
    #[command(after_help = "Examples:\n  tollgate roster history\n  tollgate roster history --json")]
    History {
        #[command(flatten)]
        output: Output,
    },
    /// Examines a roster on a server, and keeps it under the next number. It is not activated.
    #[command(
        after_help = "Examples:\n  tollgate roster propose roster.json\n  tollgate roster propose roster.json --note 'more for pro'"
    )]
    Propose {
        /// The roster, in JSON.
        file: PathBuf,
        /// What for.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Makes a revision the active one of the whole fleet; 0 is each host's own configuration.
    #[command(
        after_help = "Examples:\n  tollgate roster activate 4\n  tollgate roster activate 4 --expect 7 --note 'ticket 17'"
    )]
    Activate {
        /// The revision.
        revision: u64,
        /// The generation to be replaced: if another is active, nothing changes.
        #[arg(long, value_name = "GENERATION")]
        expect: Option<u64>,
        /// What for.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub(in super::super) fn run(operator: &Operator, command: &Command) -> anyhow::Result<ExitCode> {
    let client = operator.client()?;
    match command {
        Command::Show { output } => Ok(output
            .print(&client.get("roster")?, |active| format!("{:#}", active.get("roster").unwrap_or(&Value::Null)))),
        Command::History { output } => {
            let active = number(&client.get("roster")?, "revision");
            let found = json!({ "active": active, "revisions": client.get("roster/revisions")? });
            Ok(output.print(&found, history))
        }
        Command::Propose { file, note, output } => {
            let read = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
            let roster: Value =
                serde_json::from_str(&read).with_context(|| format!("{} is no JSON", file.display()))?;
            let proposal = json!({ "roster": roster, "note": note.as_deref().unwrap_or("") });
            let proposed = client.send("POST", "roster/revisions", Some(&proposal))?;
            Ok(output.print(&proposed, |proposed| {
                let number = number(proposed, "revision");
                format!("revision {number}: every policy compiled, started and took its configuration; `tollgate roster activate {number}` makes it the active one")
            }))
        }
        Command::Activate { revision, expect, note, output } => {
            let mut wanted = json!({ "revision": revision, "note": note.as_deref().unwrap_or("") });
            if let (Some(expect), Some(wanted)) = (expect, wanted.as_object_mut()) {
                wanted.insert("expected_generation".to_owned(), (*expect).into());
            }
            Ok(output.print(&client.send("POST", "roster/activate", Some(&wanted))?, activated))
        }
    }
}

fn history(found: &Value) -> String {
    let active = number(found, "active");
    let mut table = Table::new(&["REVISION", "BY", "AT", "TIERS", "TENANTS", "NOTE"]);
    for revision in items(found, "revisions") {
        let number = number(revision, "revision");
        let mark = if number == active { format!("{number} (active)") } else { number.to_string() };
        let roster = revision.get("roster").unwrap_or(&Value::Null);
        let count =
            |name: &str| roster.get(name).and_then(Value::as_object).map_or(0, serde_json::Map::len).to_string();
        let (by, at, note) = (text(revision, "by"), text(revision, "at"), text(revision, "note"));
        table.row([&mark, by, at, &count("tiers"), &count("tenants"), note]);
    }
    table.or("no roster was ever proposed: each host runs its own configuration, revision 0")
}
