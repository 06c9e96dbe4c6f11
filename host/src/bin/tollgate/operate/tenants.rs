//! `tollgate tenants`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::table::Table;
use super::{Operator, Output, activated, because, path, text};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Command {
    /// Lists the tenants of the active roster.
    #[command(after_help = "Examples:\n  tollgate tenants list\n  tollgate tenants list --json")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Puts a tenant into a tier, in the whole fleet. What was its own tier is the tier's from then on.
    #[command(
        after_help = "Examples:\n  tollgate tenants set acme --tier pro\n  tollgate tenants set acme --tier pro --note 'has paid'"
    )]
    Set {
        /// The tenant.
        tenant: String,
        /// The tier.
        #[arg(long)]
        tier: String,
        /// What for.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Removes a tenant, which has the default tier from then on, if there is one.
    #[command(
        after_help = "Examples:\n  tollgate tenants remove acme\n  tollgate tenants remove acme --note 'has left'"
    )]
    Remove {
        /// The tenant.
        tenant: String,
        /// What for.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub(in super::super) fn run(operator: &Operator, command: &Command) -> anyhow::Result<ExitCode> {
    let client = operator.client()?;
    let place =
        |tenant: &str, note: &Option<String>| format!("{}{}", path("tenants", tenant), because(note.as_deref()));
    match command {
        Command::List { output } => Ok(output.print(&client.get("tenants")?, list)),
        Command::Set { tenant, tier, note, output } => {
            let done = client.send("PUT", &place(tenant, note), Some(&json!({ "tier": tier })))?;
            Ok(output.print(&done, activated))
        }
        Command::Remove { tenant, note, output } => {
            Ok(output.print(&client.send("DELETE", &place(tenant, note), None)?, activated))
        }
    }
}

fn list(found: &Value) -> String {
    let mut table = Table::new(&["TENANT", "TIER", "OF ITS OWN"]);
    for (name, tenant) in found.get("tenants").and_then(Value::as_object).into_iter().flatten() {
        let own = tenant.get("override").map_or("", |own| text(own, "policy"));
        table.row([name.as_str(), text(tenant, "tier"), own]);
    }
    table.or("the roster lists no tenants; `tollgate tenants set` adds one")
}
