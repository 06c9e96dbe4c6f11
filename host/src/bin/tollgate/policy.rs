//! `tollgate policy`.

mod signing;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};
use tollgate::ErrorKind;
use tollgate::policy::build::build;
use tollgate::policy::{ChildTask, Compile, Compiler, Component, Engine, Policy, Setting, built_in, compile_child};

use super::operate::Operator;
use super::{block_on, operate, own_program};

const AFTER_BUILD: &str = "\
Examples:
  tollgate policy build
  tollgate policy build policies/mine --out /etc/tollgate/mine.wasm

Then name the file as the `policy` of a tier.";

const AFTER_INSPECT: &str = "\
Examples:
  tollgate policy inspect mine.wasm
  tollgate policy inspect route-classes --json
  tollgate policy inspect tiered --configuration '{\"limits\": [{\"id\": \"day\", \"limit\": \"1000/day\"}]}'";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compiles a policy crate to a component that the host loads. Needs cargo and the target wasm32-unknown-unknown.
    ///
    /// `rustup target add wasm32-unknown-unknown` brings the target. What cargo says meanwhile goes to standard error.
    #[command(after_help = AFTER_BUILD)]
    Build {
        /// The folder of the crate.
        #[arg(default_value = ".")]
        crate_folder: PathBuf,
        /// Where to write it: a folder, or a file that ends in `.wasm`.
        ///
        /// Without it, the folder `tollgate` of the crate's target directory. The file is called as the crate is, without `policy-`.
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
        /// Prints one JSON object instead of a line: `path`, `bytes`, `sha256`.
        #[arg(long)]
        json: bool,
    },
    /// Loads a component as the host does, and says what it is, or why the host refuses it.
    ///
    /// A component that imports what no policy gets is told every such import. The status is 0 if the host takes it, and 2 if not.
    #[command(after_help = AFTER_INSPECT)]
    Inspect {
        /// A `.wasm` file, or the name of a built-in policy: `penalty`, `route-classes`, `tiered`.
        component: PathBuf,
        /// Also starts it with this configuration, a JSON text, and tells every problem that it has with it.
        #[arg(long, value_name = "JSON")]
        configuration: Option<String>,
        /// Prints one JSON object instead of lines: `name`, `version`, `sha256`, `bytes`, `configured`, `schema`.
        #[arg(long)]
        json: bool,
    },
    /// Runs golden cases through a component: what it must answer when, over counters of its own and a clock that the text moves.
    ///
    /// The status is 0 if every step is answered as the text says, and 2 if not; the first that is not is told.
    #[command(after_help = trial::AFTER_HELP)]
    Test(trial::Trial),
    /// Draws a key to sign policies with, and prints its public half, which goes into `signing.keys`.
    #[command(after_help = signing::AFTER_KEYGEN)]
    Keygen(signing::Keygen),
    /// Signs a component: writes the signature beside it, as FILE.sig, where `serve` finds it.
    #[command(after_help = signing::AFTER_SIGN)]
    Sign(signing::Sign),
    /// Says whether a component is signed, in FILE.sig, by a key.
    ///
    /// The status is 0 if it is, and 2 if not.
    #[command(after_help = signing::AFTER_VERIFY)]
    Verify(signing::Verify),
    /// What `serve` starts to compile a component within bounds: reads it from standard input and writes machine code to standard output.
    #[command(hide = true)]
    CompileChild {
        #[arg(long)]
        cpu_seconds: u64,
        #[arg(long)]
        memory_bytes: u64,
        #[arg(long)]
        mapped: bool,
    },
    #[command(flatten)]
    Registry(operate::policies::Command),
}

/// The status of a child that refuses a component.
const REFUSES: u8 = 3;

pub(super) fn run(operator: &Operator, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Registry(command) => return operate::policies::run(operator, command),
        Command::Build { crate_folder, out, json } => {
            let built = build(crate_folder, out.as_deref(), |line| eprintln!("{line}"))?;
            if *json {
                println!("{}", json!({ "path": built.path, "bytes": built.bytes.len(), "sha256": built.digest }));
            } else {
                println!("{} ({} bytes, sha256 {})", built.path.display(), built.bytes.len(), built.digest);
            }
        }
        Command::Test(trial) => return trial::run(trial),
        Command::Keygen(keygen) => return signing::keygen(keygen),
        Command::Sign(sign) => return signing::sign(sign),
        Command::Verify(verify) => return signing::verify(verify),
        Command::CompileChild { cpu_seconds, memory_bytes, mapped } => {
            let task = ChildTask { mapped: *mapped, cpu_seconds: *cpu_seconds, memory_bytes: *memory_bytes };
            return compiled(task);
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

fn compiled(task: ChildTask) -> anyhow::Result<ExitCode> {
    match compile_child(task, std::io::stdin().lock(), std::io::stdout().lock()) {
        Err(error) if error.kind() == ErrorKind::Policy => {
            eprintln!("{error:#}");
            Ok(ExitCode::from(REFUSES))
        }
        ended => Ok(ended.map(|()| ExitCode::SUCCESS)?),
    }
}

/// The bytes of a `.wasm` file, or of the built-in policy of this name.
fn component_at(path: &Path) -> anyhow::Result<Vec<u8>> {
    let name = path.display().to_string();
    Ok(match path.extension() {
        None if !path.is_file() => built_in(&name)?.to_vec(),
        _ => std::fs::read(path).with_context(|| format!("failed to read {name}"))?,
    })
}

/// An engine that compiles as `serve` does.
fn engine() -> anyhow::Result<Engine> {
    Ok(Engine::with(Compiler::new(Compile::InChild(own_program()?)))?)
}

fn inspect(path: &Path, configuration: Option<&str>) -> anyhow::Result<Value> {
    let name = path.display().to_string();
    let bytes = component_at(path)?;
    block_on(async {
        let engine = engine()?;
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
