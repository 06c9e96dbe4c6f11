//! `tollgate block`, `unblock` and `blocks`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::table::Table;
use super::{Operator, Output, encoded, items, text};

pub(in super::super) const AFTER_BLOCK: &str = "\
Examples:
  tollgate block 203.0.113.9 --seconds 3600 --reason 'scrapes the catalogue'
  tollgate block 2001:db8::/48 --seconds 86400
  tollgate block --tenant acme --subject key-17 --seconds 600";

pub(in super::super) const AFTER_UNBLOCK: &str = "\
Examples:
  tollgate unblock 203.0.113.9
  tollgate unblock --tenant acme --subject key-17";

pub(in super::super) const AFTER_BLOCKS: &str = "\
Examples:
  tollgate blocks
  tollgate blocks --json";

#[derive(Debug, Args)]
struct Target {
    /// An address or a network; an address of IPv6 stands for its first 64 bits.
    #[arg(required_unless_present = "tenant", conflicts_with_all = ["tenant", "subject"])]
    address: Option<String>,
    /// A tenant.
    #[arg(long, requires = "subject")]
    tenant: Option<String>,
    /// Its subject, as limits and logs call it.
    #[arg(long, requires = "tenant")]
    subject: Option<String>,
}

#[derive(Debug, Args)]
pub(in super::super) struct Block {
    #[command(flatten)]
    target: Target,
    /// For how long, at most 366 days.
    #[arg(long)]
    seconds: u64,
    /// What for: operators are told, and whoever is blocked is not.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(in super::super) struct Unblock {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(in super::super) struct List {
    #[command(flatten)]
    output: Output,
}

pub(in super::super) fn block(operator: &Operator, block: &Block) -> anyhow::Result<ExitCode> {
    let Block { target: Target { address, tenant, subject }, seconds, reason, output } = block;
    let body =
        json!({ "address": address, "tenant": tenant, "subject": subject, "seconds": seconds, "reason": reason });
    let done = operator.client()?.send("PUT", "blocks", Some(&body))?;
    Ok(output.print(&done, |done| format!("{} is kept out until {}", who(done), text(done, "until"))))
}

pub(in super::super) fn unblock(operator: &Operator, unblock: &Unblock) -> anyhow::Result<ExitCode> {
    let Unblock { target: Target { address, tenant, subject }, output } = unblock;
    let query: Vec<String> = [("address", address), ("tenant", tenant), ("subject", subject)]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))))
        .collect();
    operator.client()?.send("DELETE", &format!("blocks?{}", query.join("&")), None)?;
    Ok(output.print(&json!({ "unblocked": true }), |_| "let in again".to_owned()))
}

pub(in super::super) fn list(operator: &Operator, list: &List) -> anyhow::Result<ExitCode> {
    let found = operator.client()?.get("blocks")?;
    Ok(list.output.print(&json!({ "blocks": found }), |found| {
        let mut table = Table::new(&["WHO", "UNTIL", "BY", "REASON"]);
        for block in items(found, "blocks") {
            table.row([who(block).as_str(), text(block, "until"), text(block, "by"), text(block, "reason")]);
        }
        table.or("nobody is kept out; `tollgate block` keeps somebody out")
    }))
}

fn who(block: &Value) -> String {
    match text(block, "address") {
        "" => format!("{}/{}", text(block, "tenant"), text(block, "subject")),
        address => address.to_owned(),
    }
}
