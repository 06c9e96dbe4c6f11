//! `tollgate fleet` and `tollgate audit`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::table::{Table, short};
use super::{Operator, Output, items, number, text};

pub(in super::super) const AFTER_HELP: &str = "\
Examples:
  tollgate fleet
  tollgate fleet --watch
  tollgate fleet --shadows
  tollgate fleet --json";

pub(in super::super) const AFTER_AUDIT: &str = "\
Examples:
  tollgate audit
  tollgate audit --count 1000 --json";

#[derive(Debug, Args)]
pub(in super::super) struct Fleet {
    /// Goes on, and prints it again whenever it changed. With --json, one object a line.
    #[arg(long, conflicts_with = "shadows")]
    watch: bool,
    /// How the shadows compare with what decides, on the instance that answers.
    #[arg(long)]
    shadows: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(in super::super) struct Audit {
    /// How many lines, at most 10000.
    #[arg(long, default_value_t = 100)]
    count: u64,
    #[command(flatten)]
    output: Output,
}

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_millis(500);

pub(in super::super) fn run(operator: &Operator, fleet: &Fleet) -> anyhow::Result<ExitCode> {
    let client = operator.client()?;
    if fleet.shadows {
        return Ok(fleet.output.print(&json!({ "shadows": client.get("shadows")? }), shadows));
    }
    let mut before = String::new();
    loop {
        let found = client.get("fleet")?;
        let now = seen(&found);
        if now != before {
            fleet.output.print(&found, told);
        }
        if !fleet.watch {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
        std::thread::sleep(LOOK);
    }
}

/// What of a fleet is news: all but how long ago each instance spoke.
fn seen(found: &Value) -> String {
    let mut found = found.clone();
    for instance in found.get_mut("instances").and_then(Value::as_array_mut).into_iter().flatten() {
        instance.as_object_mut().map(|members| members.remove("age_ms"));
    }
    found.to_string()
}

fn told(found: &Value) -> String {
    let converged = found.get("converged").and_then(Value::as_bool) == Some(true);
    let (generation, revision) = (number(found, "generation"), number(found, "revision"));
    let word = if converged { "every instance runs it" } else { "not every instance runs it" };
    let mut table = Table::new(&["INSTANCE", "VERSION", "GENERATION", "REVISION", "SEEN", "RUNS", "ERROR"]);
    for instance in items(found, "instances") {
        let tier = |tier: &Value| {
            let tenant = text(tier, "tenant");
            let whose = if tenant.is_empty() { text(tier, "tier") } else { tenant };
            format!("{whose}={}", short(text(tier, "digest")))
        };
        let runs: Vec<String> = items(instance, "tiers").map(tier).collect();
        let count = |name| number(instance, name).to_string();
        let seen = format!("{} ms ago", number(instance, "age_ms"));
        let (name, version, error) = (text(instance, "instance"), text(instance, "version"), text(instance, "error"));
        table.row([name, version, &count("generation"), &count("revision"), &seen, &runs.join(" "), error]);
    }
    format!("generation {generation}, revision {revision}: {word}\n{}", table.or("nobody is there"))
}

fn shadows(found: &Value) -> String {
    let mut table = Table::new(&["TIER", "SHADOW", "TENANT", "DECIDED", "STRICTER", "LOOSER", "FAULTS"]);
    for shadow in items(found, "shadows") {
        let (tier, policy) = (text(shadow, "tier"), text(shadow, "policy"));
        let tenants = shadow.get("tenants").and_then(Value::as_object).into_iter().flatten();
        let total = shadow.get("total").map(|total| ("(all)", total));
        for (tenant, flips) in total.into_iter().chain(tenants.map(|(tenant, flips)| (tenant.as_str(), flips))) {
            let count = |name| number(flips, name).to_string();
            table.row([
                tier,
                policy,
                tenant,
                &count("decided"),
                &count("stricter"),
                &count("looser"),
                &count("faults"),
            ]);
        }
    }
    table.or("no tier has a shadow; `tollgate policy shadow` begins one")
}

pub(in super::super) fn audit(operator: &Operator, audit: &Audit) -> anyhow::Result<ExitCode> {
    let found = operator.client()?.get(&format!("audit?count={}", audit.count))?;
    Ok(audit.output.print(&json!({ "lines": found }), |found| {
        let mut table = Table::new(&["AT", "BY", "ACTION", "WHAT", "RESULT"]);
        for line in items(found, "lines") {
            table.row(["at", "by", "action", "what", "result"].map(|name| text(line, name)));
        }
        table.or("nobody did anything yet")
    }))
}
