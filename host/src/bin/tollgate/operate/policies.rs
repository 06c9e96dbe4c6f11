//! `tollgate policy push`, `list`, `activate`, `shadow`, `canary`, `rollback`, `diff`, `remove`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, json_or_file};
use super::reference::resolve;
use super::table::{Table, short};
use super::{Operator, Output, activated, because, encoded, items, number, path, text};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Command {
    /// Examines a component on a server, and keeps it in the registry of its fleet. Nothing is activated.
    #[command(
        after_help = "Examples:\n  tollgate policy push mine.wasm\n  tollgate policy push mine.wasm --cases mine.scenario --configuration @mine.json"
    )]
    Push {
        /// The component.
        file: PathBuf,
        /// Its golden cases, a scenario file: they have to hold before it is activated anywhere.
        #[arg(long, value_name = "FILE", requires = "configuration")]
        cases: Option<PathBuf>,
        /// The configuration that the cases are for: a JSON text, or `@` and a file.
        #[arg(long, value_name = "JSON|@FILE", requires = "cases")]
        configuration: Option<String>,
        /// A signature, as `tollgate policy sign` prints it.
        #[arg(long)]
        signature: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Lists the policies of the registry, and which tiers use them.
    #[command(after_help = "Examples:\n  tollgate policy list\n  tollgate policy list --json")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Lets a policy decide a tier, in the whole fleet. A trial of the tier ends.
    #[command(
        after_help = "Examples:\n  tollgate policy activate 3f2a9c --tier pro\n  tollgate policy activate mine@1.2.0 --tier pro --configuration @pro.json --note 'ticket 17'"
    )]
    Activate(Choice),
    /// Lets a policy decide beside the active one, without taking anything: `tollgate fleet --shadows` shows where they differ.
    #[command(
        after_help = "Examples:\n  tollgate policy shadow mine@1.3.0 --tier pro\n  tollgate policy shadow 3f2a9c --tier pro --configuration @stricter.json"
    )]
    Shadow(Choice),
    /// Lets a policy decide for some tenants of a tier.
    #[command(
        after_help = "Examples:\n  tollgate policy canary mine@1.3.0 --tier pro --percent 5\n  tollgate policy canary 3f2a9c --tier pro --percent 50"
    )]
    Canary {
        #[command(flatten)]
        choice: Choice,
        /// For so many of a hundred tenants, 1 to 99.
        #[arg(long)]
        percent: u8,
    },
    /// Goes back to the roster that was active before.
    #[command(after_help = "Examples:\n  tollgate policy rollback\n  tollgate policy rollback --note 'too strict'")]
    Rollback {
        /// What for.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Says what differs between two rosters: between the one before and the active one, if none are named.
    #[command(after_help = "Examples:\n  tollgate policy diff\n  tollgate policy diff 3 5")]
    Diff {
        /// The earlier revision.
        from: Option<u64>,
        /// The later one.
        to: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Removes a policy that neither the active roster needs nor the one before.
    #[command(after_help = "Examples:\n  tollgate policy remove 3f2a9c\n  tollgate policy remove mine@1.0.0 --json")]
    Remove {
        /// The policy: the beginning of its digest, its name, or `name@version`.
        policy: String,
        #[command(flatten)]
        output: Output,
    },
}

/// A policy for a tier.
#[derive(Debug, Args)]
pub(in super::super) struct Choice {
    /// The policy: the beginning of its digest, its name, `name@version`, or the name of a built-in one (`built-in:tiered`).
    policy: String,
    /// The tier.
    #[arg(long)]
    tier: String,
    /// Its configuration, if not the tier's: a JSON text, or `@` and a file.
    #[arg(long, value_name = "JSON|@FILE")]
    configuration: Option<String>,
    /// What for.
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// What a policy is to be for a tier.
#[derive(Clone, Copy)]
enum Part {
    Active,
    Shadow,
    Canary(u8),
}

pub(in super::super) fn run(operator: &Operator, command: &Command) -> anyhow::Result<ExitCode> {
    let client = operator.client()?;
    match command {
        Command::Push { file, cases, configuration, signature, output } => {
            let component = std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
            let cases = cases.as_ref().zip(configuration.as_ref()).map(|(cases, configuration)| {
                let text =
                    std::fs::read_to_string(cases).with_context(|| format!("failed to read {}", cases.display()))?;
                anyhow::Ok(json!({ "config": json_or_file(configuration)?, "text": text }))
            });
            let pushed = push(&client, component, cases.transpose()?, signature, !output.json)?;
            Ok(output.print(&pushed, |pushed| {
                format!("{}@{}  sha256:{}", text(pushed, "name"), text(pushed, "version"), text(pushed, "digest"))
            }))
        }
        Command::List { output } => {
            let found = json!({ "policies": client.get("policies")?, "tiers": client.get("tiers")?.get("tiers") });
            Ok(output.print(&found, list))
        }
        Command::Activate(choice) => put(&client, choice, Part::Active),
        Command::Shadow(choice) => put(&client, choice, Part::Shadow),
        Command::Canary { choice, percent } => put(&client, choice, Part::Canary(*percent)),
        Command::Rollback { note, output } => {
            let note = note.as_deref().unwrap_or("");
            Ok(output.print(&client.send("POST", "roster/rollback", Some(&json!({ "note": note })))?, activated))
        }
        Command::Diff { from, to, output } => {
            let numbers = [("from", from), ("to", to)];
            let query: Vec<String> =
                numbers.iter().filter_map(|(name, number)| Some(format!("{name}={}", (*number).as_ref()?))).collect();
            let found = client.get(&format!("roster/diff?{}", query.join("&")))?;
            Ok(output.print(&json!({ "differences": found }), differences))
        }
        Command::Remove { policy, output } => {
            let name = named(&client, policy)?;
            let Some(digest) = name.strip_prefix("sha256:") else { bail!("`{name}` comes with the host and stays") };
            client.send("DELETE", &path("policies", digest), None)?;
            Ok(output.print(&json!({ "removed": digest }), |_| format!("removed sha256:{digest}")))
        }
    }
}

fn push(
    client: &Client,
    component: Vec<u8>,
    cases: Option<Value>,
    signatures: &[String],
    tells: bool,
) -> anyhow::Result<Value> {
    let tell = |line: &str| {
        if tells {
            eprintln!("{line}")
        }
    };
    tell(&format!("sending {} bytes; the server examines them", component.len()));
    let mut pushed = client.upload("policies", component)?;
    let place = path("policies", text(&pushed, "digest"));
    if let Some(cases) = cases {
        tell("sending its cases");
        pushed = client.send("PUT", &format!("{place}/cases"), Some(&cases))?;
    }
    for signature in signatures {
        tell("sending a signature");
        pushed = client.send("POST", &format!("{place}/signatures"), Some(&json!({ "signature": signature })))?;
    }
    tell("it is in the registry; `tollgate policy activate` lets it decide");
    Ok(pushed)
}

fn named(client: &Client, reference: &str) -> anyhow::Result<String> {
    let policies = client.get("policies")?;
    resolve(reference, policies.as_array().map_or(&[], Vec::as_slice))
}

fn put(client: &Client, choice: &Choice, part: Part) -> anyhow::Result<ExitCode> {
    let policy = named(client, &choice.policy)?;
    let config = choice.configuration.as_deref().map(json_or_file).transpose()?;
    let tiers = client.get("tiers")?;
    let known = tiers.get("tiers").and_then(|tiers| tiers.get(&choice.tier)).and_then(Value::as_object).cloned();
    let mut tier = match (known, part) {
        (Some(known), _) => known,
        (None, Part::Active) => serde_json::Map::new(),
        (None, _) => {
            bail!("there is no tier `{}` to try it on; `tollgate roster show` lists them", choice.tier.escape_debug())
        }
    };
    tier.remove("trial");
    match part {
        Part::Active => {
            tier.insert("policy".to_owned(), policy.into());
            tier.extend(config.map(|config| ("config".to_owned(), config)));
        }
        Part::Shadow | Part::Canary(_) => {
            let mut trial = json!({ "policy": policy });
            if let Some(trial) = trial.as_object_mut() {
                trial.extend(config.map(|config| ("config".to_owned(), config)));
                if let Part::Canary(percent) = part {
                    trial.insert("canary_percent".to_owned(), percent.into());
                }
            }
            tier.insert("trial".to_owned(), trial);
        }
    }
    let place = format!("{}{}", path("tiers", &choice.tier), because(choice.note.as_deref()));
    let done = client.send("PUT", &place, Some(&Value::Object(tier)))?;
    Ok(choice.output.print(&done, activated))
}

fn list(found: &Value) -> String {
    let mut table = Table::new(&["DIGEST", "NAME", "VERSION", "BYTES", "BY", "AT", "CASES", "SIGNATURES", "TIERS"]);
    for policy in items(found, "policies") {
        let digest = format!("sha256:{}", text(policy, "digest"));
        let tiers = found.get("tiers").and_then(Value::as_object).into_iter().flatten();
        let on_trial = |tier: &Value| tier.get("trial").is_some_and(|trial| text(trial, "policy") == digest);
        let tiers = tiers.filter_map(|(name, tier)| match text(tier, "policy") == digest {
            true => Some(name.clone()),
            false => on_trial(tier).then(|| format!("{name} (trial)")),
        });
        let tiers: Vec<String> = tiers.collect();
        let cases = if policy.get("cases").is_some() { "yes" } else { "no" };
        let (bytes, signatures) =
            (number(policy, "bytes").to_string(), items(policy, "signatures").count().to_string());
        let (name, version) = (text(policy, "name"), text(policy, "version"));
        let digest = short(&digest);
        let (by, at) = (text(policy, "by"), text(policy, "at"));
        table.row([&digest, name, version, &bytes, by, at, cases, &signatures, &tiers.join(", ")]);
    }
    table.or("the registry has no policies; `tollgate policy push` brings one, and descriptors, penalty, route-classes, throttle and tiered come with the host")
}

/// The differences, a line each.
pub(super) fn differences(found: &Value) -> String {
    let side = |difference: &Value, name| difference.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
    let lines: Vec<String> = items(found, "differences")
        .map(|difference| {
            let place = text(difference, "path").escape_debug();
            format!("{place}: {} -> {}", side(difference, "before"), side(difference, "after"))
        })
        .collect();
    if lines.is_empty() { "nothing differs".to_owned() } else { lines.join("\n") }
}

/// The query of a tail, from what is asked for.
pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded((*value)?))));
    given.collect::<Vec<_>>().join("&")
}
