//! From the bytes of a component to something that can be instantiated, or to an error that says what to change.

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::{self, ComponentExportIndex, InstancePre};

use super::contract::VERSION;
use super::engine::Engine;
use super::imports::{Call, linker};
use super::instance::Exports;
use super::refusal::{Problem, Refusal, Stage};
use super::{Bounds, Component, describe, world};
use crate::model::{PolicyId, is_name};

/// A compiled component whose imports and exports fit the contract.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) instance: InstancePre<Call>,
    pub(super) exports: Exports,
}

type Staged<T> = Result<T, (Stage, Problem)>;

/// Checks and compiles `bytes`, and asks the component what it is.
pub(super) async fn load(engine: &Engine, name: &str, bytes: Vec<u8>) -> Result<Component, Refusal> {
    loaded(engine, bytes).await.map_err(|(stage, problem)| Refusal::new(name, stage, problem))
}

async fn loaded(engine: &Engine, bytes: Vec<u8>) -> Staged<Component> {
    world::check_size(&bytes)?;
    // Reading a megabyte takes longer than a thread that serves may be kept.
    let (bytes, digest) = blocking(Stage::Form, move || {
        world::check(&bytes)?;
        let digest = sha256(&bytes);
        Ok((bytes, digest))
    })
    .await?;
    let compiled = engine.compiler().component(engine, bytes, digest).await;
    let compiled = compiled.map_err(|problem| (Stage::Compile, problem))?;
    let loaded = Loaded::link(engine, &compiled)?;
    let description = describe(engine, &loaded)
        .map_err(|fault| (Stage::Describe, format!("it could not describe itself: {fault}").into()))?;
    let version = &description.version;
    if !is_name(&description.name) || version.len() > Bounds::ATTRIBUTE_BYTES || version.contains(char::is_control) {
        let problem = "it describes itself wrongly: its name must be 1 to 64 of A-Z a-z 0-9 . _ -, \
                       its version at most 256 bytes without control characters";
        return Err((Stage::Describe, problem.into()));
    }
    let id = PolicyId { name: description.name, version: description.version, digest: hex(&digest) };
    let schema = description.configuration_schema.into();
    Ok(Component { engine: engine.clone(), loaded, id: Arc::new(id), schema, passed: Arc::default() })
}

impl Loaded {
    fn link(engine: &Engine, component: &component::Component) -> Staged<Self> {
        let export = |name: &str| -> Staged<ComponentExportIndex> {
            component.get_export_index(None, name).ok_or_else(|| (Stage::Exports, world::lacks(name)))
        };
        let exports =
            Exports { describe: export("describe")?, configure: export("configure")?, decide: export("decide")? };
        let instance = linker(engine).and_then(|linker| linker.instantiate_pre(component));
        instance.map(|instance| Self { instance, exports }).map_err(|error| {
            let problem = format!(
                "its types are not those of tollgate:policy@{VERSION}; build it against this version's `tollgate-guest`"
            );
            (Stage::Types, Problem::told_by(error, problem))
        })
    }
}

/// Does `work` on a thread for blocking work.
async fn blocking<T: Send + 'static>(stage: Stage, work: impl FnOnce() -> Staged<T> + Send + 'static) -> Staged<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err((stage, Problem::of_the_machine("it was cut short", error))))
}

/// The SHA-256 of a component: what names it, and what is signed.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// `bytes` in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
