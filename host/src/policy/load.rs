//! From the bytes of a component to something that can be instantiated, or to an error that says what to change.

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::Bounds;
use super::contract::{COUNTERS, LOG, TYPES, VERSION};
use super::engine::Engine;
use super::imports::{Call, linker};
use super::instance::Exports;
use crate::error::{Error, ErrorKind, Result};

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const ELF: &[u8] = b"\x7fELF";

/// A compiled component whose imports and exports fit the contract.
#[derive(Clone)]
pub(super) struct Loaded {
    /// The SHA-256 of its bytes, in hexadecimal.
    pub(super) digest: Arc<str>,
    pub(super) instance: InstancePre<Call>,
    pub(super) exports: Exports,
}

/// Compiles `bytes`. Takes milliseconds to seconds of CPU: not for a thread that serves.
pub(super) fn load(engine: &Engine, name: &str, bytes: &[u8]) -> Result<Loaded> {
    check_form(bytes).map_err(|problem| refused(name, &problem))?;
    let component = Component::from_binary(engine.wasm(), bytes)
        .map_err(|error| refused(name, "it is not a component that this host runs").because(printable(&error)))?;
    check_imports(engine, &component).map_err(|problem| refused(name, &problem))?;
    let exports = exports(&component).map_err(|problem| refused(name, &problem))?;
    let instance = linker(engine).and_then(|linker| linker.instantiate_pre(&component)).map_err(|error| {
        let problem = format!(
            "its types are not those of tollgate:policy@{VERSION}; build it against this version's `tollgate-guest`"
        );
        refused(name, &problem).because(printable(&error))
    })?;
    Ok(Loaded { digest: digest(bytes).into(), instance, exports })
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn refused(name: &str, problem: &str) -> Error {
    Error::new(ErrorKind::Policy, format!("failed to load policy `{name}`: {problem}"))
}

/// The error in one line, and harmless on a terminal: it may quote names that the component chose.
fn printable(error: &wasmtime::Error) -> String {
    format!("{error:#}").escape_debug().collect()
}

fn check_form(bytes: &[u8]) -> std::result::Result<(), String> {
    if bytes.len() > Bounds::COMPONENT_BYTES {
        return Err(format!("it has {} bytes; at most {}", bytes.len(), Bounds::COMPONENT_BYTES));
    }
    if bytes.starts_with(COMPONENT) {
        return Ok(());
    }
    Err(if bytes.is_empty() {
        "it is empty".to_owned()
    } else if bytes.starts_with(CORE_MODULE) {
        "it is a core module, not a component; `tollgate policy build` makes components".to_owned()
    } else if bytes.starts_with(ELF) {
        "it is precompiled machine code, which is never accepted; give the .wasm component".to_owned()
    } else {
        "it is not WebAssembly; give the .wasm component that `tollgate policy build` writes".to_owned()
    })
}

/// Every import that is not in the contract, with the reason, in one text.
fn check_imports(engine: &Engine, component: &Component) -> std::result::Result<(), String> {
    let world = component.component_type();
    let refused: Vec<String> = world
        .imports(engine.wasm())
        .filter_map(|(import, _)| Some(format!("`{}` ({})", import.escape_debug(), why_refused(import)?)))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(format!(
        "it imports what policies do not get: {}. Rebuild it for wasm32-unknown-unknown, as `tollgate policy build` does",
        refused.join(", ")
    ))
}

fn why_refused(import: &str) -> Option<String> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let known = [COUNTERS, LOG, TYPES].contains(&interface);
    if known && version.starts_with("0.1.") {
        None
    } else if known {
        Some(format!("this host speaks {VERSION}"))
    } else if interface.starts_with("tollgate:") {
        Some("no such interface in the contract".to_owned())
    } else if interface.starts_with("wasi:sockets") || interface.starts_with("wasi:http") {
        Some("no network: charge counters instead, and leave the rest to the application".to_owned())
    } else if interface.starts_with("wasi:clocks") {
        Some("no clock: the time comes with the request".to_owned())
    } else if interface.starts_with("wasi:random") {
        Some("no randomness: the same request must give the same decision".to_owned())
    } else if interface.starts_with("wasi:") {
        Some("no WASI: neither files nor environment nor standard streams".to_owned())
    } else {
        Some("not part of the contract".to_owned())
    }
}

fn exports(component: &Component) -> std::result::Result<Exports, String> {
    let find = |name: &str| -> std::result::Result<ComponentExportIndex, String> {
        component.get_export_index(None, name).ok_or_else(|| {
            format!("it exports no `{name}`; a policy exports describe, configure and decide (tollgate_guest::export!)")
        })
    };
    Ok(Exports { describe: find("describe")?, configure: find("configure")?, decide: find("decide")? })
}
