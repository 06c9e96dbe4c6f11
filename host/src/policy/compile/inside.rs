//! What the child process does: bounds itself, reads a component, writes machine code.

use std::io::{Read, Write};

use rustix::process::{Resource, Rlimit, nice, setrlimit};

use crate::error::{Error, ErrorKind, Result};
use crate::policy::{Bounds, engine};

/// What a child process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildTask {
    /// Whether the machine code is for an engine that maps each instance by itself, instead of taking it from a pool.
    pub mapped: bool,
    /// How long it may run on a processor.
    pub cpu_seconds: u64,
    /// How much memory it may map.
    pub memory_bytes: u64,
}

/// Files that the child has open: the three that it was given, and a few for the machine's own facts.
const FILES: u64 = 16;
/// How much the child gives way to whoever serves.
const NICENESS: i32 = 5;

/// Reads a component from `input` and writes its machine code to `output`, within the bounds of `task`, which hold for this process from now on.
///
/// # Errors
///
/// Fails with [`ErrorKind::Policy`] if it is no component that this host runs, and with [`ErrorKind::System`] if the bounds cannot be set or
/// nothing can be read or written.
pub fn compile_child(task: ChildTask, input: impl Read, mut output: impl Write) -> Result<()> {
    // Where the machine runs out of memory, this is what it ends first. Only Linux knows the file.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // Before a byte of what somebody else wrote is read.
    bound_this_process(task)?;
    let failed = |what: &str, error: std::io::Error| {
        Error::new(ErrorKind::System, format!("failed to {what} the compiler's parent")).because(error)
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(Bounds::COMPONENT_BYTES).unwrap_or(u64::MAX);
    input.take(most).read_to_end(&mut bytes).map_err(|error| failed("read from", error))?;
    let refused = |error: wasmtime::Error| Error::new(ErrorKind::Policy, format!("{error:#}"));
    let engine = wasmtime::Engine::new(&engine::compiling(task.mapped)).map_err(refused)?;
    let code = engine.precompile_component(&bytes).map_err(refused)?;
    output.write_all(&code).and_then(|()| output.flush()).map_err(|error| failed("write to", error))
}

fn bound_this_process(task: ChildTask) -> Result<()> {
    let bounds = [
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        (Resource::Nofile, FILES, FILES),
        (Resource::As, task.memory_bytes, task.memory_bytes),
        // The first ends it by a signal that says why.
        (Resource::Cpu, task.cpu_seconds, task.cpu_seconds + 1),
    ];
    for (resource, current, maximum) in bounds {
        let limit = Rlimit { current: Some(current), maximum: Some(maximum) };
        setrlimit(resource, limit).map_err(|error| {
            Error::new(ErrorKind::System, format!("failed to bound {resource:?} of the compiler")).because(error)
        })?;
    }
    // Only courtesy: where it is not granted, the bounds hold all the same.
    let _ = nice(NICENESS);
    Ok(())
}
