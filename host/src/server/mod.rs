//! The stand-alone assembly: configuration → gate → listener.

mod listen;
mod logging;
mod metrics;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use listen::{Serving, serve};
pub use logging::start_logging;
pub use metrics::start_metrics;

use crate::config::{Config, ConfigFile, env};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{ApiKeys, Tollgate};
use crate::http::{Front, HeaderOptions};
use crate::policy::{Cache, Compile, Compiler};

/// The gate of `config` with everything that the public listener needs. Policies are compiled as `compile` says, and kept in the cache of the
/// configuration.
///
/// # Errors
///
/// Fails if the store cannot be reached although the configuration requires it, if the cache cannot be used, or if a tier cannot be built.
pub async fn assemble(config: &Config, compile: Compile) -> Result<Arc<Front>> {
    let compiler = Compiler::new(compile);
    let compiler = match &config.policies.cache_dir {
        Some(folder) => compiler.cached(Cache::open(folder)?),
        None => compiler,
    };
    let gate = Tollgate::from_config_with(config, compiler).await?;
    Ok(Arc::new(Front {
        gate,
        keys: ApiKeys::from_config(config)?,
        headers: HeaderOptions { x_ratelimit: config.headers.x_ratelimit, source: config.headers.source },
        caller_token: config.callers.token.clone(),
        trust_all: config.listen.ip().is_loopback(),
        stopping: AtomicBool::new(false),
    }))
}

/// Reads the configuration from `file`, or the file that `TOLLGATE_CONFIG` names if there is one, and from the environment of the
/// process, which wins.
///
/// # Errors
///
/// Fails with [`ErrorKind::Config`] if the file cannot be read, and as [`Config::load`] does.
pub fn configuration(file: Option<&Path>) -> Result<Config> {
    let environment = env::process()?;
    let Some(path) = file.map(Path::to_path_buf).or_else(|| env::config_path(&environment)) else {
        return Config::load(None, environment);
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::new(ErrorKind::Config, format!("failed to read the configuration file {}", path.display()))
            .because(error)
    })?;
    Config::load(Some(ConfigFile { path: &path, text: &text }), environment)
}
