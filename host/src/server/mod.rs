//! The stand-alone assembly: configuration → gate → fleet → listeners.

mod grpc;
mod keys;
mod listen;
mod logging;
mod metrics;
mod registry;
mod resp;
mod roster;
mod stream;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use grpc::Envoy;
pub use listen::{Serving, serve};
pub use logging::start_logging;
pub use metrics::start_metrics;
pub use resp::Resp;
pub use watch::{Watched, watch};

use crate::blocks::Blocks;
use crate::config::{AdminToken, Config, ConfigFile, KeyDigest, Scope, Secret, env};
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::{Fleet, Upload};
use crate::gate::{Tollgate, draw};
use crate::http::admin::{Desk, Render};
use crate::http::{Front, Gateways, HeaderOptions};
use crate::keys::Keys;
use crate::policy::{Cache, Compile, Compiler, Keyring, digest};
use crate::time::SystemClock;
use roster::{OwnRoster, own_roster};

/// Everything that a process serves with.
#[derive(Debug)]
pub struct Assembly {
    /// What the public listener needs.
    pub front: Arc<Front>,
    /// The membership of the fleet.
    pub fleet: Fleet,
    /// What the admin listener needs, if there is to be one.
    pub desk: Option<Arc<Desk>>,
    /// Envoy's rate limit service, bound to its address, if there is to be one.
    pub envoy: Option<Envoy>,
    /// The commands of redis-cell, bound to their address, if they are answered.
    pub resp: Option<Resp>,
    /// The token that was drawn for it, if the configuration has none.
    pub drawn: Option<Secret>,
}

/// The gate of `config` as a member of its fleet, with everything that the listeners need. Policies are compiled as `compile` says, and kept in the
/// cache of the configuration; the admin API answers `metrics`, if there are some.
///
/// # Errors
///
/// Fails if the store cannot be reached although the configuration requires it, if the cache cannot be used, if a tier cannot be built, or if Envoy's
/// limits cannot be read or their address not be had.
pub async fn assemble(config: &Config, compile: Compile, metrics: Option<Render>) -> Result<Assembly> {
    let compiler = Compiler::new(compile);
    let compiler = match &config.policies.cache_dir {
        Some(folder) => compiler.cached(Cache::open(folder)?),
        None => compiler,
    };
    let gate = Tollgate::from_config_with(config, compiler).await?;
    let documents = registry::documents(config, &gate).await?;
    let keys = keys::keys(config, &documents).await?;
    let blocks = Blocks::join(Arc::clone(&documents), SystemClock::new()).await;
    let OwnRoster { document, uploads } = own_roster(config)?;
    let (instance, keyring) = (registry::instance(config)?, Keyring::new(&config.signing));
    let fleet = Fleet::join(gate.clone(), documents, &instance, Some(document), keyring).await?;
    share(&fleet, uploads).await;
    let (desk, drawn) = desk(config, &fleet, (keys.clone(), blocks.clone()), metrics)?;
    let headers = HeaderOptions { x_ratelimit: config.headers.x_ratelimit, source: config.headers.source };
    let envoy = match &config.envoy {
        Some(envoy) => Some(Envoy::bind(envoy, gate.clone(), headers).await?),
        None => None,
    };
    let resp = match &config.resp {
        Some(resp) => Some(Resp::bind(resp, gate.clone()).await?),
        None => None,
    };
    let front = Arc::new(Front {
        gate,
        gateways: Gateways::from_config(config)?,
        keys,
        blocks,
        headers,
        caller_token: config.callers.token.clone(),
        trust_all: config.listen.ip().is_loopback(),
        stopping: AtomicBool::new(false),
    });
    Ok(Assembly { front, fleet, desk, envoy, resp, drawn })
}

/// Puts the policies of this host's files into the registry, so that a roster can name them.
async fn share(fleet: &Fleet, uploads: Vec<Upload>) {
    for upload in uploads {
        if fleet.registry().policy(&digest(&upload.component)).await.is_ok() {
            continue;
        }
        if let Err(error) = fleet.push(upload, "configuration").await {
            tracing::warn!(
                "a policy of the configuration is not in the registry, so no other roster can name it: {error:#}"
            );
        }
    }
}

/// Asks whether the registry that [`assemble`] would use can be reached.
///
/// # Errors
///
/// Fails as [`assemble`] would.
pub async fn reach_registry(config: &Config, gate: &Tollgate) -> Result<()> {
    registry::documents(config, gate).await.map(drop)
}

fn desk(
    config: &Config,
    fleet: &Fleet,
    (keys, blocks): (Keys, Blocks),
    metrics: Option<Render>,
) -> Result<(Option<Arc<Desk>>, Option<Secret>)> {
    if config.admin.listen.is_none() {
        return Ok((None, None));
    }
    let mut tokens = config.admin.tokens.clone();
    let mut drawn = None;
    if tokens.is_empty() {
        let text = registry::hex(&draw::<16>()?);
        tokens.push(AdminToken { name: DRAWN.to_owned(), scope: Scope::Admin, digest: KeyDigest::of(&text) });
        drawn = Some(Secret::new(text));
    }
    let desk = Desk::new(fleet.clone(), tokens).with_keys(keys).with_blocks(blocks);
    let desk = match metrics {
        Some(render) => desk.with_metrics(render),
        None => desk,
    };
    Ok((Some(Arc::new(desk)), drawn))
}

/// Who holds a token that was drawn.
const DRAWN: &str = "drawn";

/// Reads the configuration from `file`, or the file that `TOLLGATE_CONFIG` names if there is one, and from the environment of the
/// process, which wins. Tokens of the admin API are read from the file that `TOLLGATE_ADMIN_TOKENS_FILE` names.
///
/// # Errors
///
/// Fails with [`ErrorKind::Config`] if a file cannot be read, and as [`Config::load`] does.
pub fn configuration(file: Option<&Path>) -> Result<Config> {
    let mut environment = env::process()?;
    if let Some(path) = env::value(&environment, TOKENS_FILE).map(str::to_owned) {
        if env::value(&environment, TOKENS).is_some() {
            let message = format!("failed to read {TOKENS_FILE}: {TOKENS} is set as well; unset one of the two");
            return Err(Error::new(ErrorKind::Config, message));
        }
        environment.push((TOKENS.to_owned(), read(TOKENS_FILE, Path::new(&path))?));
    }
    let Some(path) = file.map(Path::to_path_buf).or_else(|| env::config_path(&environment)) else {
        return Config::load(None, environment);
    };
    let text = read("the configuration file", &path)?;
    Config::load(Some(ConfigFile { path: &path, text: &text }), environment)
}

const TOKENS: &str = "TOLLGATE_ADMIN_TOKENS";
const TOKENS_FILE: &str = "TOLLGATE_ADMIN_TOKENS_FILE";

fn read(what: &str, path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Config, format!("failed to read {what} {}", path.display())).because(error)
    })
}
