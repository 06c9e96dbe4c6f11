//! `tollgate check`: ask a running server, or decide here.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use tollgate::config::{Config, Secret};
use tollgate::http::answer;
use tollgate::keys::{CallOut, TierSource as _};
use tollgate::{ApiKeys, KeyHolder, Request, Tollgate};

use super::{ConfigurationFile, block_on};

pub(super) const AFTER_HELP: &str = "\
Examples:
  tollgate check demo-free --server http://127.0.0.1:8787
  tollgate check demo-pro --route /export --cost 5 --json
  tollgate check demo-free && make the-call";

#[derive(Debug, Args)]
pub(super) struct Question {
    /// The API key, as the caller of an application would show it.
    key: String,
    /// What is asked for, as the policy's routes and costs name it; nothing if not given.
    #[arg(long, default_value = "", hide_default_value = true)]
    route: String,
    /// How much is asked for, 1 to 1000000000.
    #[arg(long, default_value_t = 1)]
    cost: u64,
    /// The server to ask, such as `http://127.0.0.1:8787`.
    ///
    /// Without one the decision is made here, on the configured store. If that is memory, its counters are fresh, and gone afterwards.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Prints the whole answer as one JSON object, with the fields of `POST /v1/check`.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(source: &ConfigurationFile, question: &Question) -> anyhow::Result<ExitCode> {
    let answer = match &question.server {
        Some(server) => ask(server, question)?,
        None => decide(source, question)?,
    };
    let Some(allowed) = answer.get("allowed").and_then(Value::as_bool) else {
        bail!("{}", answer.get("detail").and_then(Value::as_str).unwrap_or("the server gave no decision"));
    };
    if question.json {
        println!("{answer}");
    } else {
        println!("{}", told(&answer, allowed));
    }
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ask(server: &str, question: &Question) -> anyhow::Result<Value> {
    let url = format!("{}/v1/check", server.trim_end_matches('/'));
    let body = json!({ "api_key": question.key, "route": question.route, "cost": question.cost });
    let settings =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(10)));
    let mut response = ureq::Agent::new_with_config(settings.build())
        .post(&url)
        .header("content-type", "application/json")
        .send(body.to_string())
        .with_context(|| format!("failed to ask {url}; is `tollgate serve` running there?"))?;
    let text = response.body_mut().read_to_string().with_context(|| format!("failed to read the answer of {url}"))?;
    serde_json::from_str(&text).map_err(|_| anyhow!("{url} answered no JSON; is that a tollgate?"))
}

fn decide(source: &ConfigurationFile, question: &Question) -> anyhow::Result<Value> {
    let config = source.load()?;
    block_on(async {
        let holder = holder(&config, &question.key).await?;
        let gate = Tollgate::from_config(&config).await?;
        let mut request =
            Request::new(&holder.tenant, &holder.subject)?.with_route(&question.route)?.with_cost(question.cost)?;
        if let Some(tier) = &holder.tier {
            request = request.with_tier(tier)?;
        }
        Ok(answer(&gate.decide(&request).await, &holder.tenant))
    })
}

/// Who stands behind the key: as the configuration says, or else the source that it names.
async fn holder(config: &Config, key: &str) -> anyhow::Result<KeyHolder> {
    let listed = ApiKeys::from_config(config)?.holder(key).cloned();
    match (listed, &config.key_source) {
        (Some(holder), _) => Ok(holder),
        (None, None) => bail!("this API key is not in the configuration"),
        (None, Some(source)) => {
            let found = CallOut::new(source).holder(Secret::new(key)).await?;
            found.context("this API key is neither in the configuration nor known to `key_source`")
        }
    }
}

/// The answer in a line or a few, for people.
fn told(answer: &Value, allowed: bool) -> String {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or("");
    let verdict = if allowed { "allowed" } else { "denied" };
    let mut lines = vec![format!("{verdict} (tier {}, by {})", text("tier"), text("source"))];
    lines.extend(Some(text("reason")).filter(|reason| !reason.is_empty()).map(|reason| format!("  {reason}")));
    match answer.get("retry_after_ms").and_then(Value::as_u64) {
        Some(ms) => lines.push(format!("  try again in {ms} ms")),
        None if !allowed && text("source") == "policy" => lines.push("  no waiting is known to help".to_owned()),
        None => {}
    }
    for limit in answer.get("limits").and_then(Value::as_array).into_iter().flatten() {
        let number = |name: &str| limit.get(name).and_then(Value::as_u64).unwrap_or(0);
        let id = limit.get("id").and_then(Value::as_str).unwrap_or("");
        lines.push(format!("  {id}: {} left, as new in {} ms", number("remaining"), number("reset_after_ms")));
    }
    lines.join("\n")
}
