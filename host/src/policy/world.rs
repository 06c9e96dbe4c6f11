//! What a component is, imports and exports, as its bytes say: nothing is compiled for a component that does not fit.

use wasmparser::{ComponentExternalKind, ComponentTypeRef, Parser, Payload, TypeBounds};

use super::Bounds;
use super::contract::{COUNTERS, LOG, TYPES, VERSION};
use super::refusal::{Problem, Stage};

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const ELF: &[u8] = b"\x7fELF";

/// How many refused imports are told, and how much of the name of each: a component may have a megabyte of them.
const MOST_TOLD: usize = 32;
const NAME_BYTES: usize = 128;

/// The functions that a policy exports.
const EXPORTS: [&str; 3] = ["describe", "configure", "decide"];

/// Whether the size of `bytes` is within bounds.
pub(super) fn check_size(bytes: &[u8]) -> Result<(), (Stage, Problem)> {
    if bytes.len() <= Bounds::COMPONENT_BYTES {
        return Ok(());
    }
    let problem =
        format!("it has {} bytes; at most {}: build it optimised for size", bytes.len(), Bounds::COMPONENT_BYTES);
    Err((Stage::Size, problem.into()))
}

/// Whether `bytes` are a component that imports only what the contract gives and exports what it asks for.
///
/// The engine checks the rest, types above all, when it compiles and links.
pub(super) fn check(bytes: &[u8]) -> Result<(), (Stage, Problem)> {
    check_form(bytes).map_err(|problem| (Stage::Form, problem.into()))?;
    let world = World::read(bytes).map_err(|error| (Stage::Form, Problem::told_by(error, NO_COMPONENT)))?;
    world.check_imports().map_err(|problem| (Stage::Imports, problem.into()))?;
    let missing = EXPORTS.into_iter().find(|export| !world.functions.contains(export));
    missing.map_or(Ok(()), |name| Err((Stage::Exports, lacks(name))))
}

/// What is said of bytes that begin as a component and do not go on as one.
pub(super) const NO_COMPONENT: &str = "it is not a component that this host runs";

/// That it exports no function of this name.
pub(super) fn lacks(name: &str) -> Problem {
    format!("it exports no `{name}`; a policy exports describe, configure and decide (tollgate_guest::export!)").into()
}

fn check_form(bytes: &[u8]) -> Result<(), &'static str> {
    if bytes.starts_with(COMPONENT) {
        return Ok(());
    }
    Err(if bytes.is_empty() {
        "it is empty"
    } else if bytes.starts_with(CORE_MODULE) {
        "it is a core module, not a component; `tollgate policy build` makes components"
    } else if bytes.starts_with(ELF) {
        "it is precompiled machine code, which is never accepted; give the .wasm component"
    } else {
        "it is not WebAssembly; give the .wasm component that `tollgate policy build` writes"
    })
}

/// What the outermost component imports, and which functions it exports.
struct World<'a> {
    imports: Vec<&'a str>,
    functions: Vec<&'a str>,
}

impl<'a> World<'a> {
    fn read(bytes: &'a [u8]) -> wasmparser::Result<Self> {
        let mut world = Self { imports: Vec::new(), functions: Vec::new() };
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        let import = import?;
                        // A type that only gets a name gives nothing.
                        if !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_))) {
                            world.imports.push(import.name.name);
                        }
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        let export = export?;
                        if export.kind == ComponentExternalKind::Func {
                            world.functions.push(export.name.name);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(world)
    }

    /// Every import that is not in the contract, with the reason, in one text.
    fn check_imports(&self) -> Result<(), String> {
        let refused: Vec<(&str, String)> =
            self.imports.iter().filter_map(|import| Some((*import, why_refused(import)?))).collect();
        if refused.is_empty() {
            return Ok(());
        }
        let told: Vec<String> =
            refused.iter().take(MOST_TOLD).map(|(import, why)| format!("`{}` ({why})", printable(import))).collect();
        let more = match refused.len().saturating_sub(MOST_TOLD) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(format!(
            "it imports what policies do not get: {}{more}. Rebuild it for wasm32-unknown-unknown, as `tollgate policy build` does",
            told.join(", ")
        ))
    }
}

/// The beginning of a name, harmless on a terminal.
fn printable(name: &str) -> String {
    name.get(..name.floor_char_boundary(NAME_BYTES)).unwrap_or("").escape_debug().collect()
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
