//! `tollgate policy test`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tollgate::policy::{Component, cases};

use super::{block_on, component_at, engine};

pub(super) const AFTER_HELP: &str = "\
Examples:
  tollgate policy test mine.wasm --cases scenarios/mine.txt
  tollgate policy test mine.wasm --cases mine.txt --configuration '{\"limit\": \"1/s\"}' --json

A file of cases reads so; the README of tollgate-guest has the whole of it:

  policy mine
  config {\"limit\": \"1/s burst 3\"}
  @0s alice 3 -> allow remaining 0
  @0s alice -> deny 1s";

#[derive(Debug, Args)]
pub(crate) struct Trial {
    /// A `.wasm` file, or the name of a built-in policy.
    component: PathBuf,
    /// The golden cases. May be given more than once.
    #[arg(long, required = true, value_name = "FILE")]
    cases: Vec<PathBuf>,
    /// The configuration for cases that say none, a JSON text.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    configuration: String,
    /// Prints one JSON object instead of lines: `name`, `sha256`, `files`, `steps`.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(trial: &Trial) -> anyhow::Result<ExitCode> {
    let bytes = component_at(&trial.component)?;
    let (component, steps) = block_on(async {
        let component = Component::load(&engine()?, &trial.component.display().to_string(), bytes).await?;
        let mut steps = 0;
        for path in &trial.cases {
            let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
            let ran = cases::run(&component, &trial.configuration, &text).await;
            steps += ran.with_context(|| path.display().to_string())?;
        }
        Ok((component, steps))
    })?;
    let (id, files) = (component.id(), trial.cases.len());
    if trial.json {
        println!("{}", json!({ "name": id.name, "sha256": id.digest, "files": files, "steps": steps }));
    } else {
        println!("{} answers all {steps} steps of {files} files as they say", id.name);
    }
    Ok(ExitCode::SUCCESS)
}
