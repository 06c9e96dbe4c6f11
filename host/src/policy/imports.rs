//! The host's side of the contract: what happens when a guest charges or logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use wasmtime::component::Linker;
use wasmtime::{ResourceLimiter, StoreContextMut};

use super::asked::Checks;
use super::contract::{self, COUNTERS, LOG, Level, VERSION};
use super::deciding::{Deciding, Desk, Reported};
use super::engine::Engine;
use super::guest_time::GuestTime;
use super::instance::Blueprint;
use super::{Bounds, Subject};
use crate::store::Store;

/// What guests may call.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Call>> {
    let mut linker = Linker::new(engine.wasm());
    linker.instance(&format!("{COUNTERS}@{VERSION}"))?.func_wrap("charge-all", charge_all)?;
    linker.instance(&format!("{LOG}@{VERSION}"))?.func_wrap("write", write_log)?;
    Ok(linker)
}

/// What the host remembers of the call that an instance is serving.
pub(super) struct Call {
    store: Arc<dyn Store>,
    bounds: Bounds,
    policy: Arc<str>,
    pub(super) memory: Memory,
    pub(super) time: GuestTime,
    checks: Checks,
    log: Arc<LogBudget>,
    /// The lines of a call that decides nothing.
    setup_lines: u32,
    /// The decision, if the call is one.
    deciding: Option<Box<Deciding>>,
}

impl Call {
    pub(super) fn new(blueprint: &Blueprint) -> Self {
        let bounds = blueprint.bounds;
        Self {
            store: Arc::clone(&blueprint.store),
            bounds,
            policy: Arc::clone(&blueprint.name),
            memory: Memory::new(bounds),
            time: GuestTime::new(blueprint.engine.clone(), bounds.time),
            checks: Checks::new(Arc::clone(&blueprint.on_change)),
            log: Arc::clone(&blueprint.log),
            setup_lines: 0,
            deciding: None,
        }
    }

    /// Begins a call that may not charge: `describe` or `configure`. Answers its time in ticks.
    pub(super) fn open_setup(&mut self, until: u64) -> u64 {
        self.setup_lines = 0;
        self.time.open(until)
    }

    /// Begins a pass of a decision. Answers its time in ticks.
    pub(super) fn open_pass(&mut self, subject: &Subject<'_>, mut deciding: Box<Deciding>, until: u64) -> u64 {
        self.checks.keys.rename(subject.prefix, subject.request.tenant(), subject.space);
        self.checks.now_us = subject.now.as_micros();
        deciding.begin();
        let left = deciding.left.take();
        self.deciding = Some(deciding);
        match left {
            None => self.time.open(until),
            Some(left) => self.time.resume(left, until),
        }
    }

    /// Ends a pass: the decision as it stands.
    pub(super) fn close_pass(&mut self) -> Box<Deciding> {
        let mut deciding = self.deciding.take().expect("a pass that was opened is closed once");
        if deciding.waits() {
            deciding.left = Some(self.time.pause());
        }
        deciding
    }

    fn charge(&mut self, asked: Vec<contract::Charge>) -> Reported {
        let Some(deciding) = &mut self.deciding else {
            return Err(contract::Fault::Denied("a policy may charge only while it decides".to_owned()));
        };
        let patience = self.time.patience();
        let desk = &mut Desk { store: &self.store, bounds: &self.bounds, checks: &mut self.checks, patience };
        deciding.charge(asked, desk)
    }

    /// Whether one more line is written in this call.
    fn logs(&mut self) -> bool {
        let most = self.bounds.log_lines;
        match &mut self.deciding {
            Some(deciding) => deciding.logs(most),
            None => {
                self.setup_lines += 1;
                self.setup_lines <= most
            }
        }
    }
}

fn charge_all(
    mut context: StoreContextMut<'_, Call>,
    (asked,): (Vec<contract::Charge>,),
) -> wasmtime::Result<(Reported,)> {
    Ok((context.data_mut().charge(asked),))
}

fn write_log(mut context: StoreContextMut<'_, Call>, (level, message): (Level, String)) -> wasmtime::Result<()> {
    let call = context.data_mut();
    if !call.logs() || !call.log.take(call.time.second()) {
        return Ok(());
    }
    let escaped =
        message.get(..message.floor_char_boundary(Bounds::LOG_LINE_BYTES)).unwrap_or("").escape_debug().to_string();
    let line = escaped.get(..escaped.floor_char_boundary(Bounds::LOG_LINE_BYTES)).unwrap_or("");
    let policy = &*call.policy;
    match level {
        Level::Debug => tracing::debug!(target: "tollgate::guest", policy, "{line}"),
        Level::Info => tracing::info!(target: "tollgate::guest", policy, "{line}"),
        Level::Warn => tracing::warn!(target: "tollgate::guest", policy, "{line}"),
        Level::Error => tracing::error!(target: "tollgate::guest", policy, "{line}"),
    }
    Ok(())
}

/// The lines that all instances of one policy may write.
#[derive(Default)]
pub(super) struct LogBudget {
    second: AtomicU64,
    lines: AtomicU32,
}

impl LogBudget {
    /// Whether one more line may be written in this second.
    fn take(&self, second: u64) -> bool {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < Bounds::LOG_LINES_PER_SECOND
    }
}

/// What an instance holds of the machine's memory.
pub(super) struct Memory {
    bytes: usize,
    elements: usize,
    refused: bool,
    bounds: Bounds,
}

impl Memory {
    fn new(bounds: Bounds) -> Self {
        Self { bytes: 0, elements: 0, refused: false, bounds }
    }

    /// Linear memory in use, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the guest ever asked for more than it may have.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bounds.memory_bytes {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired.saturating_sub(current));
        if elements > self.bounds.table_elements {
            self.refused = true;
            return Ok(false);
        }
        self.elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        Bounds::CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        Bounds::TABLES
    }

    fn memories(&self) -> usize {
        Bounds::MEMORIES
    }
}
