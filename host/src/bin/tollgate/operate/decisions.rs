//! `tollgate tail` and `tollgate explain`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::policies::query;
use super::table::{Table, short};
use super::{Operator, Output, items, number, text};

pub(in super::super) const AFTER_TAIL: &str = "\
Examples:
  tollgate tail
  tollgate tail --tenant acme --verdict deny
  tollgate tail --json";

pub(in super::super) const AFTER_EXPLAIN: &str = "\
Examples:
  tollgate explain acme alice
  tollgate explain acme alice --route /export --cost 5
  tollgate explain acme alice --tier pro --attribute plan=trial --json";

#[derive(Debug, Args)]
pub(in super::super) struct Tail {
    /// Only decisions about this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only decisions about this subject.
    #[arg(long)]
    subject: Option<String>,
    /// Only decisions with this verdict.
    #[arg(long, value_parser = ["allow", "deny", "delay"])]
    verdict: Option<String>,
    /// Prints one JSON object a line, with the fields of `POST /v1/check` and `at`, `subject`, `route`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(in super::super) struct Explain {
    /// Whose request it would be.
    tenant: String,
    /// Who would ask: the id of an API key, or whatever the application names.
    subject: String,
    /// The tier, if the request would name one.
    #[arg(long)]
    tier: Option<String>,
    /// What would be asked for.
    #[arg(long, default_value = "", hide_default_value = true)]
    route: String,
    /// How much.
    #[arg(long, default_value_t = 1)]
    cost: u64,
    /// What else the policy would be told, as `name=value`.
    #[arg(long, value_name = "NAME=VALUE")]
    attribute: Vec<String>,
    #[command(flatten)]
    output: Output,
}

pub(in super::super) fn tail(operator: &Operator, tail: &Tail) -> anyhow::Result<ExitCode> {
    let Tail { tenant, subject, verdict, json } = tail;
    let wanted = [("tenant", tenant.as_deref()), ("subject", subject.as_deref()), ("verdict", verdict.as_deref())];
    let lines = operator.client()?.lines(&format!("decisions?{}", query(&wanted)))?;
    if !json {
        eprintln!("decisions of this instance, as they are made; Ctrl-C ends it");
    }
    for line in lines {
        let line = line.context("the server is gone")?;
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let event: Value = serde_json::from_str(data).context("that is no event of an admin API")?;
        if let Some(missed) = event.get("missed").and_then(Value::as_u64) {
            eprintln!("{missed} came too fast and are not shown");
            continue;
        }
        let line = if *json { event.to_string() } else { seen(&event) };
        // Whoever reads may have enough, as `head` has.
        if writeln!(std::io::stdout(), "{line}").is_err() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    eprintln!("the server has stopped");
    Ok(ExitCode::SUCCESS)
}

/// A decision in a line.
fn seen(event: &Value) -> String {
    let limits: Vec<String> =
        items(event, "limits").map(|limit| format!("{}={}", text(limit, "id"), number(limit, "remaining"))).collect();
    let word = |name| text(event, name).escape_debug().to_string();
    let policy = event.get("policy").map_or("", |policy| text(policy, "digest"));
    let source = if text(event, "source") == "policy" { String::new() } else { format!(" by {}", word("source")) };
    let route = if text(event, "route").is_empty() { String::new() } else { format!(" {}", word("route")) };
    let (at, verdict, tenant, subject, tier) =
        (word("at"), word("verdict"), word("tenant"), word("subject"), word("tier"));
    let rest = format!("{tier}@{}#{} left {}", short(policy), number(event, "generation"), limits.join(" "));
    format!("{at} {verdict:<5} {tenant} {subject}{route} {rest}{source}")
}

pub(in super::super) fn explain(operator: &Operator, explain: &Explain) -> anyhow::Result<ExitCode> {
    let attributes = explain.attribute.iter().map(|pair| {
        let (name, value) = pair.split_once('=').with_context(|| format!("`{pair}` is not `name=value`"))?;
        Ok((name.to_owned(), Value::from(value)))
    });
    let attributes: anyhow::Result<serde_json::Map<String, Value>> = attributes.collect();
    let Explain { tenant, subject, tier, route, cost, .. } = explain;
    let question = json!({
        "tenant": tenant, "subject": subject, "tier": tier, "route": route, "cost": cost, "attributes": attributes?,
    });
    let answer = operator.client()?.send("POST", "explain", Some(&question))?;
    Ok(explain.output.print(&answer, explained))
}

fn explained(answer: &Value) -> String {
    let policy = answer.get("policy").unwrap_or(&Value::Null);
    let verdict = text(answer, "verdict");
    let mut told = format!(
        "would be told: {verdict} (tier {}, policy {} {} sha256:{}, generation {})\n",
        text(answer, "tier"),
        text(policy, "name"),
        text(policy, "version"),
        short(text(policy, "digest")),
        number(answer, "generation")
    );
    for line in [text(answer, "reason"), text(answer, "fault")].into_iter().filter(|line| !line.is_empty()) {
        told.push_str(&format!("  {}\n", line.escape_debug()));
    }
    let mut table = Table::new(&["LIMIT", "ALGORITHM", "MAX", "LEFT", "AS NEW IN", "FREE IN"]);
    for limit in items(answer, "limits") {
        let ms = |name| limit.get(name).and_then(Value::as_u64).map_or_else(String::new, |ms| format!("{ms} ms"));
        let (max, left) = (number(limit, "max").to_string(), number(limit, "remaining").to_string());
        let (id, algorithm) = (text(limit, "id"), text(limit, "algorithm"));
        table.row([id, algorithm, &max, &left, &ms("reset_after_ms"), &ms("retry_after_ms")]);
    }
    told + &table.or("it charges no limit")
}
