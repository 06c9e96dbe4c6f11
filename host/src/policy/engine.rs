//! The one wasmtime engine of a gate, and the clock that interrupts guests.

use std::fmt;
use std::hash::{Hash as _, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Inlining, InstanceAllocationStrategy, PoolingAllocationConfig, WasmFeatures};

use super::Bounds;
use super::cache::Key;
use super::compile::Compiler;
use super::guest_time::ticks;
use super::warm::Warm;
use crate::error::{Error, ErrorKind, Result};
use crate::time::{Clock as _, SystemClock, micros};

/// How long one tick of a guest's time is.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// How many warm instances make room at once: few, since a decision waits for their end.
const ENDED_AT_ONCE: usize = 16;

/// Compiles and runs policies. Clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    wasm: wasmtime::Engine,
    /// Whether each instance is mapped when it is made: there is no pool.
    mapped: bool,
    /// Names this engine with all its settings, and this build.
    name: [u8; 32],
    compiler: Compiler,
    ticks: Arc<AtomicU64>,
    in_flight: AtomicU32,
    /// The warm instances of every policy.
    warm: Mutex<Vec<Weak<Warm>>>,
    ticker: Ticker,
}

impl Engine {
    /// An engine with its own ticker thread, which ends with the last clone.
    ///
    /// Instances come from a pool whose address space is reserved here. Where a machine does not let us reserve it, each instance is
    /// mapped when it is made, which is slower and otherwise alike.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::System`] if the machine can run no compiled code or start no thread.
    pub fn new() -> Result<Self> {
        Self::with(Compiler::default())
    }

    /// The same, with a compiler of one's choice instead of one in this process.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with(compiler: Compiler) -> Result<Self> {
        match wasmtime::Engine::new(&pooled()) {
            Ok(wasm) => Self::of(wasm, false, compiler),
            Err(_) => Self::of(wasmtime::Engine::new(&mapped()).map_err(cannot_start)?, true, compiler),
        }
    }

    fn of(wasm: wasmtime::Engine, mapped: bool, compiler: Compiler) -> Result<Self> {
        let ticks = Arc::new(AtomicU64::new(0));
        let ticker = Ticker::start(wasm.clone(), Arc::clone(&ticks))?;
        let (name, in_flight, warm) = (name(&wasm), AtomicU32::new(0), Mutex::default());
        Ok(Self(Arc::new(Inner { wasm, mapped, name, compiler, ticks, in_flight, warm, ticker })))
    }

    /// An engine with a pool or without one, whatever the machine has room for.
    #[cfg(test)]
    pub(super) fn of_layout(without_pool: bool) -> Result<Self> {
        let config = if without_pool { mapped() } else { pooled() };
        Self::of(wasmtime::Engine::new(&config).map_err(cannot_start)?, without_pool, Compiler::default())
    }

    pub(super) fn wasm(&self) -> &wasmtime::Engine {
        &self.0.wasm
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.0.mapped
    }

    pub(super) fn compiler(&self) -> &Compiler {
        &self.0.compiler
    }

    /// What machine code of a component must be of to be used here.
    pub(super) fn code_key(&self, component: [u8; 32]) -> Key {
        Key { component, engine: self.0.name }
    }

    /// Ticks since the engine started.
    pub(super) fn ticks(&self) -> u64 {
        self.0.ticks.load(Ordering::Relaxed)
    }

    /// The tick that is so much later, for what ends then.
    pub(super) fn tick_after(&self, duration: Duration) -> u64 {
        self.ticks().saturating_add(ticks(duration))
    }

    /// A place among the decisions under way, if one is free.
    pub(super) fn enter(&self) -> Option<Place<'_>> {
        let place = Place(&self.0.in_flight);
        // A place that is one too many is given back when it is dropped here.
        (self.0.in_flight.fetch_add(1, Ordering::Relaxed) < Bounds::IN_FLIGHT).then_some(place)
    }

    /// A set of warm instances, some of which end when the machine has no room for one that is needed.
    pub(super) fn warm(&self) -> Arc<Warm> {
        let warm = Arc::new(Warm::new(Bounds::WARM_PER_CORE));
        let mut all = self.0.warm.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|warm| warm.strong_count() > 0);
        all.push(Arc::downgrade(&warm));
        warm
    }

    /// Ends warm instances of the policy that keeps most of them. Answers whether there were any.
    pub(super) fn make_room(&self) -> bool {
        let all = self.0.warm.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fullest = all.iter().filter_map(Weak::upgrade).max_by_key(|warm| warm.len());
        fullest.is_some_and(|warm| warm.give_up(ENDED_AT_ONCE) > 0)
    }
}

fn cannot_start(error: wasmtime::Error) -> Error {
    Error::new(ErrorKind::System, "failed to start the WebAssembly engine").because(error.into_boxed_dyn_error())
}

/// A place among the decisions under way, given back when dropped.
pub(super) struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("ticks", &self.ticks()).field("ticker", &self.0.ticker).finish()
    }
}

/// What a policy may use of WebAssembly, written down: a new major release of the engine switches new proposals on by itself.
fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::FLOATS
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::COMPONENT_MODEL
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all() - features(), false)
        .wasm_features(features(), true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(Bounds::STACK_BYTES)
        .async_stack_size(2 * Bounds::STACK_BYTES)
        .compiler_inlining(Inlining::Yes)
        .cranelift_nan_canonicalization(true)
        .memory_init_cow(true);
    config
}

/// For a process that compiles and runs nothing: the machine code is that of an engine with or without a pool, and one core is enough.
pub(super) fn compiling(for_mapped: bool) -> Config {
    let mut config = if for_mapped { mapped() } else { config() };
    config.parallel_compilation(false);
    config
}

/// Tells this engine from every other whose machine code it could not run: by all its settings, and by the build of this program.
fn name(wasm: &wasmtime::Engine) -> [u8; 32] {
    let mut name = Name(Sha256::new_with_prefix(env!("CARGO_PKG_VERSION")));
    wasm.precompile_compatibility_hash().hash(&mut name);
    name.0.finalize().into()
}

/// Gathers what is hashed, instead of its 64-bit digest.
struct Name(Sha256);

impl Hasher for Name {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.clone().finalize().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }
}

/// Without a pool, each memory reserves what it may grow to and no more: it is address space that this machine is short of.
fn mapped() -> Config {
    let mut config = config();
    config.memory_reservation(Bounds::default().memory_bytes as u64).memory_guard_size(64 * 1024);
    config
}

fn pooled() -> Config {
    let instances = Bounds::IN_FLIGHT;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * 4)
        .total_memories(instances)
        .total_tables(instances * 2)
        .total_stacks(instances)
        .max_core_instances_per_component(Bounds::CORE_INSTANCES as u32)
        .max_memories_per_component(Bounds::MEMORIES as u32)
        .max_tables_per_component(Bounds::TABLES as u32)
        .max_tables_per_module(Bounds::TABLES as u32)
        .table_elements(Bounds::default().table_elements)
        .max_memory_size(Bounds::default().memory_bytes)
        .linear_memory_keep_resident(128 * 1024)
        .max_unused_warm_slots(64);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// The thread that moves the engine's epoch, so that a guest's time ends even in an endless loop.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine, ticks: Arc<AtomicU64>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            let clock = SystemClock::new();
            let began = clock.now();
            let mut passed = 0;
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                // A late wake-up is made up for: ticks are milliseconds, however busy the machine is.
                let due = micros(clock.now().since(began)) / micros(TICK);
                (passed..due).for_each(|_| engine.increment_epoch());
                passed = due;
                ticks.store(due, Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new()
            .name("tollgate-ticker".to_owned())
            .spawn(run)
            .map_err(|error| Error::new(ErrorKind::System, "failed to start the ticker thread").because(error))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked; and if it had, there would be nothing left to do.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticker")
    }
}
