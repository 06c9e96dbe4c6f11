//! From WebAssembly to machine code: one component at a time, in this process or a child of it, or from the cache.

mod child;
mod inside;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::Component;

pub use inside::{ChildTask, compile_child};

use super::cache::{Cache, Key};
use super::engine::Engine;
use super::refusal::Problem;
use super::world::NO_COMPONENT;

/// Where components are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compile {
    /// In this process, for as long and with as much memory as it takes: for components that the embedder trusts.
    #[default]
    Here,
    /// In a child process within [`CompileBounds`]: this program, which understands `policy compile-child` as `tollgate` does.
    InChild(PathBuf),
}

/// What compiling one component in a child process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileBounds {
    /// How long the child may live.
    pub time: Duration,
    /// How much of that it may spend on a processor, in whole seconds.
    pub cpu_seconds: u64,
    /// How much memory it may map.
    pub memory_bytes: u64,
}

impl Default for CompileBounds {
    fn default() -> Self {
        // What is hard to compile meets the second bound; the first is for a machine too busy to tell, which should refuse nothing that is good.
        Self { time: Duration::from_secs(30), cpu_seconds: 10, memory_bytes: 1024 * 1024 * 1024 }
    }
}

/// Compiles components for an [`Engine`](super::Engine), one at a time.
#[derive(Clone, Debug)]
pub struct Compiler {
    compile: Compile,
    bounds: CompileBounds,
    cache: Option<Arc<Cache>>,
    one_at_a_time: Arc<Semaphore>,
}

impl Compiler {
    /// A compiler that works there, without a cache.
    #[must_use]
    pub fn new(compile: Compile) -> Self {
        let one_at_a_time = Arc::new(Semaphore::new(1));
        Self { compile, bounds: CompileBounds::default(), cache: None, one_at_a_time }
    }

    /// Gives a child process these bounds instead of the default ones.
    #[must_use]
    pub fn within(mut self, bounds: CompileBounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Keeps machine code in `cache`, and looks there first.
    #[must_use]
    pub fn cached(mut self, cache: Cache) -> Self {
        self.cache = Some(Arc::new(cache));
        self
    }

    /// The component of `bytes`, whose SHA-256 is `digest`.
    pub(super) async fn component(
        &self,
        engine: &Engine,
        bytes: Vec<u8>,
        digest: [u8; 32],
    ) -> Result<Component, Problem> {
        let key = engine.code_key(digest);
        if let Some(cache) = self.cache.clone() {
            let (engine, key) = (engine.clone(), key.clone());
            if let Some(component) = blocking(move || Ok(cached(&engine, &cache, &key))).await? {
                return Ok(component);
            }
        }
        let place = Arc::clone(&self.one_at_a_time).acquire_owned().await.expect("nobody closes the semaphore");
        let (compiler, engine) = (self.clone(), engine.clone());
        blocking(move || {
            let _until_it_is_done = place;
            compiler.compile(&engine, &bytes, &key)
        })
        .await
    }

    fn compile(&self, engine: &Engine, bytes: &[u8], key: &Key) -> Result<Component, Problem> {
        match &self.compile {
            Compile::Here => {
                let component = Component::from_binary(engine.wasm(), bytes).map_err(no_component)?;
                if let Some(cache) = &self.cache {
                    cache.keep(key, &Code(component.serialize().map_err(no_component)?));
                }
                Ok(component)
            }
            Compile::InChild(program) => {
                let code = child::compile(program, &self.bounds, engine.is_mapped(), bytes)?;
                let component = adopt(engine, &code).map_err(no_component)?;
                if let Some(cache) = &self.cache {
                    cache.keep(key, &code);
                }
                Ok(component)
            }
        }
    }
}

impl Default for Compiler {
    fn default() -> Self {
        Self::new(Compile::Here)
    }
}

/// Machine code that a compiler of ours wrote. Made in this module and from a checked file of the cache, and nowhere else.
pub(super) struct Code(pub(super) Vec<u8>);

impl Code {
    /// The most machine code of one component, in bytes.
    pub(super) const MOST_BYTES: usize = 64 * 1024 * 1024;
}

/// The component in the cache; none if there is none that can be used.
fn cached(engine: &Engine, cache: &Cache, key: &Key) -> Option<Component> {
    let code = cache.find(key)?;
    match adopt(engine, &code) {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!("machine code in the policy cache is not used, and is compiled anew: {error:#}");
            None
        }
    }
}

/// Makes a component of machine code.
#[expect(unsafe_code, reason = "the engine cannot tell machine code that is right from code that is not")]
fn adopt(engine: &Engine, code: &Code) -> wasmtime::Result<Component> {
    // SAFETY: the code must be what this engine's compiler wrote, unchanged. A `Code` is made in two places. One reads it from the pipe of a
    // child that this process started from its own program. The other reads a file of the cache, which lies in a folder that only this user may
    // write, is owned by this user, and holds the digest of its code, of the component and of the engine. Code of another version or other
    // settings of the engine is refused by the engine itself.
    unsafe { Component::deserialize(engine.wasm(), &code.0) }
}

fn no_component(error: wasmtime::Error) -> Problem {
    Problem::told_by(error, NO_COMPONENT)
}

/// Does `work` on a thread for blocking work.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Problem::of_the_machine("its compilation was cut short", error)))
}
