//! `tollgate policy`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};
use tollgate::policy::build::build;
use tollgate::policy::{Component, Engine, Policy, Setting, built_in};

use super::block_on;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compiles a policy crate to a component that the host loads. Needs cargo and `rustup target add wasm32-unknown-unknown`.
    Build {
        /// The folder of the crate.
        #[arg(default_value = ".")]
        crate_folder: PathBuf,
        /// Where to write it: a folder, or a file that ends in `.wasm`. Without it, beside the crate's Cargo.toml.
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
        /// Prints one JSON object instead of a line.
        #[arg(long)]
        json: bool,
    },
    /// Loads a component as the host does, and says what it is, or every reason why the host refuses it.
    Inspect {
        /// A `.wasm` file, or the name of a built-in policy.
        component: PathBuf,
        /// Also starts it with this configuration, a JSON text.
        #[arg(long, value_name = "JSON")]
        configuration: Option<String>,
        /// Prints one JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Build { crate_folder, out, json } => {
            let built = build(crate_folder, out.as_deref(), |line| eprintln!("{line}"))?;
            if *json {
                println!("{}", json!({ "path": built.path, "bytes": built.bytes.len(), "sha256": built.digest }));
            } else {
                println!("{} ({} bytes, sha256 {})", built.path.display(), built.bytes.len(), built.digest);
            }
        }
        Command::Inspect { component, configuration, json } => {
            let found = inspect(component, configuration.as_deref())?;
            if *json {
                println!("{found}");
            } else {
                for (name, value) in found.as_object().into_iter().flatten() {
                    println!("{name:<14}{}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn inspect(path: &std::path::Path, configuration: Option<&str>) -> anyhow::Result<Value> {
    let name = path.display().to_string();
    let bytes = match path.extension() {
        None if !path.exists() => built_in(&name)?.to_vec(),
        _ => std::fs::read(path).with_context(|| format!("failed to read {name}"))?,
    };
    block_on(async {
        let engine = Engine::new()?;
        let component = Component::load(&engine, &name, bytes.as_slice()).await?;
        if let Some(configuration) = configuration {
            Policy::new(&component, configuration, Setting::in_memory()).await?;
        }
        let id = component.id();
        Ok(json!({
            "name": id.name,
            "version": id.version,
            "sha256": id.digest,
            "bytes": bytes.len(),
            "configured": configuration.is_some(),
            "schema": serde_json::from_str(component.configuration_schema()).unwrap_or(Value::Null),
        }))
    })
}
