//! Policies: compiled guests that decide, within bounds.
//!
//! A [`Component`] is code, checked and compiled once. With a configuration, a store and a clock it becomes a [`Policy`], which
//! decides. Instances are reused while they behave; one that trapped is thrown away with all its memory.

mod asked;
mod bounds;
#[cfg(feature = "server")]
pub mod build;
mod built_in;
mod cache;
pub mod cases;
mod compile;
mod contract;
mod deciding;
mod engine;
mod guest_time;
mod holding;
mod imports;
mod instance;
mod intake;
mod load;
mod quarantine;
mod refusal;
mod signature;
mod stateless;
mod warm;
mod world;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use bounds::Bounds;
pub use built_in::built_in;
pub use cache::Cache;
pub use compile::{ChildTask, Compile, CompileBounds, Compiler, compile_child};
pub use engine::Engine;
pub(crate) use holding::Holding;
pub use intake::{Candidate, Cases, Intake};
pub use load::sha256;
pub use refusal::{Refusal, Stage};
pub use signature::{Keyring, PrivateKey, Signature, SignatureError};

use crate::counter::OnChange;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChangeRules, Charged, Fault, Isolation, PolicyFaultKind, PolicyId, Request, Verdict};
use crate::store::{Memory, Store};
use crate::time::{SystemClock, Timestamp};
use deciding::Deciding;
use instance::{Blueprint, Instance, Pass, StartError};
use load::Loaded;
pub(crate) use load::digest;
use quarantine::{Conduct, Quarantine};
use stateless::Passed;
use warm::{Kept, Warm};

/// A component that fits the contract, compiled.
///
/// # Example
///
/// ```
/// # async fn example() -> tollgate::Result<()> {
/// use tollgate::policy::{Component, Engine};
///
/// let engine = Engine::new()?;
/// let refused = Component::load(&engine, "mine", b"not wasm".to_vec()).await.unwrap_err();
/// assert!(refused.to_string().contains("it is not WebAssembly"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Component {
    engine: Engine,
    loaded: Loaded,
    id: Arc<PolicyId>,
    schema: Arc<str>,
    passed: Arc<Passed>,
}

impl Component {
    /// Checks and compiles `bytes` by the engine's [`Compiler`], and asks the component what it is. `name` is what errors call it.
    ///
    /// Nobody is asked who vouches for it: [`Intake`] does that.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Policy`] if the bytes are no component, are too many, import anything but the contract (every such
    /// import is listed with the reason), lack an export, or describe themselves wrongly.
    pub async fn load(engine: &Engine, name: &str, bytes: impl Into<Vec<u8>>) -> Result<Self> {
        Ok(load::load(engine, name, bytes.into()).await?)
    }

    /// The name and version it gives itself, and the digest of its bytes.
    #[must_use]
    pub fn id(&self) -> &Arc<PolicyId> {
        &self.id
    }

    /// The JSON Schema of its configuration; empty if it gives none.
    #[must_use]
    pub fn configuration_schema(&self) -> &str {
        &self.schema
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("id", &self.id).finish_non_exhaustive()
    }
}

fn describe(engine: &Engine, loaded: &Loaded) -> Result<contract::Description, PolicyFault> {
    instance::describe(
        &blueprint(engine, loaded, "describe".into(), "".into(), Setting::in_memory()),
        engine.tick_after(SETUP_PATIENCE),
    )
}

fn blueprint(engine: &Engine, loaded: &Loaded, name: Arc<str>, configuration: Arc<str>, setting: Setting) -> Blueprint {
    Blueprint {
        engine: engine.clone(),
        component: loaded.instance.clone(),
        exports: loaded.exports.clone(),
        store: setting.store,
        bounds: setting.bounds,
        on_change: Arc::new(setting.on_change),
        name,
        log: Arc::default(),
        configuration,
    }
}

/// How long a busy machine may keep a guest waiting while nobody waits for its decision.
const SETUP_PATIENCE: Duration = Duration::from_secs(1);

/// What a policy works with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where its counters live.
    pub store: Arc<dyn Store>,
    /// What it may spend.
    pub bounds: Bounds,
    /// What becomes of its counters when its limits get other numbers.
    pub on_change: ChangeRules,
    /// Whom one instance may serve.
    pub isolation: Isolation,
}

impl Setting {
    /// Counters in memory, the default bounds, an instance for each tenant: for trying a policy out.
    #[must_use]
    pub fn in_memory() -> Self {
        let store = Arc::new(Memory::new(SystemClock::new()));
        Self { store, bounds: Bounds::default(), on_change: OnChange::Keep.into(), isolation: Isolation::Tenant }
    }
}

/// A component with its configuration: what decides.
pub struct Policy {
    blueprint: Blueprint,
    id: Arc<PolicyId>,
    warm: Arc<Warm>,
    isolation: Isolation,
    quarantine: Quarantine,
}

/// What a policy is asked.
pub(crate) struct Subject<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) prefix: &'a str,
    pub(crate) space: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) deadline: Duration,
}

/// What a policy decided.
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
    pub(crate) attributes: Vec<(String, String)>,
}

/// What a policy answered.
pub(crate) struct Answer {
    /// What it decided, or its error.
    pub(crate) ruling: std::result::Result<Ruling, PolicyFault>,
    /// Whether it used up its time or its memory.
    conduct: Conduct,
    /// Every charge that was made, in order.
    pub(crate) charged: Vec<Charged>,
    /// What is held of them, if something is.
    pub(crate) holding: Option<Holding>,
    /// What the policy did wrong when it charged.
    pub(crate) misuse: Option<PolicyFault>,
    /// Why it could not charge.
    pub(crate) store_fault: Option<Fault>,
    /// The store's fault in spite of which its charges were answered.
    pub(crate) in_spite_of: Option<Fault>,
}

/// Why a policy did not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyFault {
    pub(crate) kind: PolicyFaultKind,
    pub(crate) message: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

impl Policy {
    /// The component with `configuration`, a JSON text. One instance is started, so a configuration that is refused is refused here.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Policy`] if the component cannot be started within its bounds, or refuses the configuration, and the text lists
    /// every problem it names; or if its instances are to serve all tenants and it keeps something from one decision to the next.
    pub async fn new(component: &Component, configuration: &str, setting: Setting) -> Result<Self> {
        let name: Arc<str> = component.id.name.as_str().into();
        let isolation = setting.isolation;
        let blueprint =
            blueprint(&component.engine, &component.loaded, Arc::clone(&name), configuration.into(), setting);
        let warm = component.engine.warm();
        match Instance::start(&blueprint, component.engine.tick_after(SETUP_PATIENCE)) {
            Ok(instance) if isolation != Isolation::Fresh => {
                warm.keep(Kept { instance: Box::new(instance), tenant: None });
            }
            Ok(_) => {}
            Err(StartError::Fault(fault)) => {
                return Err(Error::new(ErrorKind::Policy, format!("failed to start policy `{name}`: {fault}")));
            }
            Err(StartError::Configuration(problems)) => {
                let problems = problems.join("; ");
                return Err(Error::new(ErrorKind::Policy, format!("failed to configure policy `{name}`: {problems}")));
            }
        }
        if isolation == Isolation::Shared {
            // Over counters in memory, whatever it is to count in.
            component.passed.check(&blueprint, SETUP_PATIENCE).await.map_err(|problem| {
                let way_out = "give it isolation = \"tenant\" or \"fresh\"";
                let message = format!("failed to share policy `{name}` among tenants: {problem}; {way_out}");
                Error::new(ErrorKind::Policy, message)
            })?;
        }
        Ok(Self { blueprint, id: Arc::clone(&component.id), warm, isolation, quarantine: Quarantine::new() })
    }

    /// The same policy over another store, with instances of its own.
    pub(crate) fn over(&self, store: Arc<dyn Store>) -> Self {
        let blueprint = Blueprint { store, ..self.blueprint.clone() };
        let warm = blueprint.engine.warm();
        let (id, isolation, quarantine) = (Arc::clone(&self.id), self.isolation, Quarantine::new());
        Self { blueprint, id, warm, isolation, quarantine }
    }

    /// The name and version it gives itself, and the digest of its component.
    #[must_use]
    pub fn id(&self) -> &Arc<PolicyId> {
        &self.id
    }

    /// Asks a warm instance, or a new one if all are busy, as often as it takes. The deadline counts from here.
    pub(crate) async fn decide(&self, subject: &Subject<'_>) -> std::result::Result<Answer, PolicyFault> {
        let engine = &self.blueprint.engine;
        let (tenant, now) = (subject.request.tenant(), engine.ticks());
        let Some(_place) = engine.enter() else {
            let message = format!("{} decisions are under way", Bounds::IN_FLIGHT);
            return Err(PolicyFault { kind: PolicyFaultKind::Overload, message });
        };
        let leave = self.quarantine.enter(tenant, now).map_err(|ticks| {
            let message = format!("it used up its time or memory again and again; it is tried again in {ticks} ms");
            PolicyFault { kind: PolicyFaultKind::Quarantine, message }
        })?;
        let answer = self.ask(subject, engine.tick_after(subject.deadline)).await;
        self.quarantine.leave(tenant, leave, answer.conduct, engine.ticks());
        Ok(answer)
    }

    async fn ask(&self, subject: &Subject<'_>, until: u64) -> Answer {
        let tenant = subject.request.tenant();
        let mut deciding = Box::new(Deciding::new(subject.request.once()));
        loop {
            let mut kept = match self.instance(tenant, until) {
                Ok(kept) => kept,
                // It did start once: the machine may be at fault.
                Err(fault) => return deciding.answer(Err(fault), Conduct::Doubtful),
            };
            let pass = kept.instance.pass(subject, deciding, until);
            self.keep(kept, tenant);
            deciding = match pass {
                Pass::Over(answer) => return answer,
                Pass::Waits(deciding) => deciding,
            };
            deciding.hear().await;
        }
    }

    /// An instance that may serve this tenant.
    fn instance(&self, tenant: &str, until: u64) -> std::result::Result<Kept, PolicyFault> {
        let warm = match self.isolation {
            Isolation::Shared => self.warm.take(),
            Isolation::Tenant => self.warm.take_for(tenant),
            Isolation::Fresh => None,
        };
        warm.map_or_else(|| Ok(Kept { instance: self.start(until)?, tenant: None }), Ok)
    }

    /// Keeps an instance that served this tenant, if it may serve again.
    fn keep(&self, mut kept: Kept, tenant: &str) {
        if self.isolation == Isolation::Fresh || !kept.instance.is_fresh(&self.blueprint.bounds) {
            return;
        }
        if self.isolation == Isolation::Tenant && kept.tenant.is_none() {
            kept.tenant = Some(tenant.into());
        }
        self.warm.keep(kept);
    }

    fn start(&self, until: u64) -> std::result::Result<Box<Instance>, PolicyFault> {
        Instance::start(&self.blueprint, until).map(Box::new).map_err(|error| match error {
            StartError::Fault(fault) => fault,
            // It took this configuration before: a policy that changes its mind is broken.
            StartError::Configuration(problems) => {
                PolicyFault { kind: PolicyFaultKind::Error, message: problems.join("; ") }
            }
        })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("id", &self.id).field("warm", &self.warm.len()).finish_non_exhaustive()
    }
}
