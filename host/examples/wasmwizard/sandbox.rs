//! Runs a user's module: no imports, so much memory, so much time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::{Config, Engine, Linker, Module, Store, StoreLimits, StoreLimitsBuilder};

/// How long a module may run.
pub(crate) const LONGEST_RUN: Duration = Duration::from_millis(200);
const TICK: Duration = Duration::from_millis(5);
const MEMORY_BYTES: usize = 16 * 1024 * 1024;

/// What runs the modules.
pub(crate) struct Sandbox {
    engine: Engine,
    stopped: Arc<AtomicBool>,
}

/// What became of a module.
pub(crate) struct Run {
    /// What it answered, or why it did not.
    pub(crate) result: Result<i64, String>,
    /// How long it took to compile and to run, in milliseconds, rounded up.
    pub(crate) spent_ms: u64,
}

impl Sandbox {
    /// An engine, and the clock that interrupts what it runs.
    pub(crate) fn new() -> wasmtime::Result<Self> {
        let engine = Engine::new(Config::new().epoch_interruption(true))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (ticked, until) = (engine.clone(), Arc::clone(&stopped));
        thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                ticked.increment_epoch();
            }
        });
        Ok(Self { engine, stopped })
    }

    /// Runs the export `run: (i64) -> i64` of a module, binary or text. Blocks for as long as that takes.
    pub(crate) fn run(&self, module: &[u8], input: i64) -> Run {
        #[expect(clippy::disallowed_methods, reason = "an application's own time, which nobody moves")]
        let began = Instant::now();
        let result = self.try_run(module, input).map_err(|error| error.root_cause().to_string());
        let spent_ms = u64::try_from(began.elapsed().as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        Run { result, spent_ms }
    }

    fn try_run(&self, module: &[u8], input: i64) -> wasmtime::Result<i64> {
        let module = Module::new(&self.engine, wat::parse_bytes(module)?)?;
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).instances(1).memories(1).tables(4).build();
        let mut store: Store<StoreLimits> = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        store.set_epoch_deadline(LONGEST_RUN.as_millis() as u64 / TICK.as_millis() as u64);
        // A linker with nothing in it: a module that imports anything cannot be started.
        let instance = Linker::new(&self.engine).instantiate(&mut store, &module)?;
        let run = instance.get_typed_func::<i64, i64>(&mut store, "run")?;
        run.call(&mut store, input)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}
