//! One instance of a policy: started, asked, and thrown away after any trap.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentExportIndex, InstancePre, Lift, Lower, TypedFunc};
use wasmtime::{AsContextMut, PoolConcurrencyLimitError, Store, Trap};

use super::contract::{self, VERSION, Verdict as Told};
use super::deciding::Deciding;
use super::engine::Engine;
use super::imports::{Call, LogBudget};
use super::quarantine::Conduct;
use super::{Answer, Bounds, PolicyFault, Ruling, Subject};
use crate::model::{ChangeRules, PolicyFaultKind, Verdict};
use crate::store;

/// Everything an instance is made from.
#[derive(Clone)]
pub(super) struct Blueprint {
    pub(super) engine: Engine,
    pub(super) component: InstancePre<Call>,
    pub(super) exports: Exports,
    pub(super) store: Arc<dyn store::Store>,
    pub(super) bounds: Bounds,
    pub(super) on_change: Arc<ChangeRules>,
    pub(super) name: Arc<str>,
    pub(super) log: Arc<LogBudget>,
    pub(super) configuration: Arc<str>,
}

/// Where the functions of the world stand in the component.
#[derive(Clone)]
pub(super) struct Exports {
    pub(super) describe: ComponentExportIndex,
    pub(super) configure: ComponentExportIndex,
    pub(super) decide: ComponentExportIndex,
}

type Describe = TypedFunc<(), (contract::Description,)>;
type Configure = TypedFunc<(Arc<str>,), (Result<(), Vec<String>>,)>;
type Decide = TypedFunc<(Arc<contract::Request>,), (Result<contract::Decision, String>,)>;

/// A configured instance, ready to decide.
pub(super) struct Instance {
    store: Store<Call>,
    decide: Decide,
    request: Arc<contract::Request>,
    decisions_left: u32,
}

/// What a pass of a guest came to.
#[expect(clippy::large_enum_variant, reason = "it moves once, and a box would cost each decision an allocation")]
pub(super) enum Pass {
    /// The store is to be waited for, and a guest then to be called again.
    Waits(Box<Deciding>),
    /// The decision is made.
    Over(Answer),
}

/// Why an instance could not be started.
pub(super) enum StartError {
    /// It failed; the text says how.
    Fault(PolicyFault),
    /// It refused its configuration, with every problem it found.
    Configuration(Vec<String>),
}

impl Instance {
    /// Makes an instance and configures it, each within the time of a decision; on a busy machine until the tick `until`.
    pub(super) fn start(blueprint: &Blueprint, until: u64) -> Result<Self, StartError> {
        let (mut store, instance) = instantiate(blueprint, until).map_err(StartError::Fault)?;
        let exports = &blueprint.exports;
        let configure: Configure =
            typed(&mut store, &instance, "configure", &exports.configure).map_err(StartError::Fault)?;
        let decide: Decide = typed(&mut store, &instance, "decide", &exports.decide).map_err(StartError::Fault)?;
        open_setup(&mut store, until);
        let configured = configure.call(&mut store, (Arc::clone(&blueprint.configuration),));
        let (answer,) = configured.map_err(|error| StartError::Fault(fault_of(&error, store.data())))?;
        answer.map_err(|problems| {
            StartError::Configuration(problems.iter().map(|problem| shortened(problem).message).collect())
        })?;
        let decisions_left = draw_decisions(&blueprint.bounds);
        Ok(Self { store, decide, request: Arc::default(), decisions_left })
    }

    /// Calls the guest, in a decision whose deadline is over at the tick `until`.
    pub(super) fn pass(&mut self, subject: &Subject<'_>, deciding: Box<Deciding>, until: u64) -> Pass {
        let request = Arc::get_mut(&mut self.request).expect("the engine has dropped the last call's arguments");
        request.fill(subject.request, subject.now);
        let ticks = self.store.data_mut().open_pass(subject, deciding, until);
        self.store.set_epoch_deadline(ticks);
        self.decisions_left = self.decisions_left.saturating_sub(1);
        let called = self.decide.call(&mut self.store, (Arc::clone(&self.request),));
        let deciding = self.store.data_mut().close_pass();
        if called.is_err() {
            // The engine lets nobody into an instance that trapped.
            self.decisions_left = 0;
        }
        if deciding.waits() {
            return Pass::Waits(deciding);
        }
        let data = self.store.data();
        let ruling = match called {
            Ok((answer,)) => answer.map_err(|message| shortened(&message)).and_then(checked),
            Err(error) => Err(fault_of(&error, data)),
        };
        let conduct = match ruling.as_ref().err().map(|fault| fault.kind) {
            Some(PolicyFaultKind::Memory) => Conduct::UsedUp,
            Some(PolicyFaultKind::Time) if data.time.is_used_up() => Conduct::UsedUp,
            Some(PolicyFaultKind::Time) => Conduct::Doubtful,
            _ => Conduct::Sound,
        };
        Pass::Over(deciding.answer(ruling, conduct))
    }

    /// Whether it may serve again.
    pub(super) fn is_fresh(&self, bounds: &Bounds) -> bool {
        self.decisions_left > 0 && self.store.data().memory.bytes() <= bounds.memory_bytes / 2
    }
}

/// Makes an instance that is not configured, and asks what it says of itself.
pub(super) fn describe(blueprint: &Blueprint, until: u64) -> Result<contract::Description, PolicyFault> {
    let (mut store, instance) = instantiate(blueprint, until)?;
    let exports = &blueprint.exports;
    let describe: Describe = typed(&mut store, &instance, "describe", &exports.describe)?;
    // Not called here: whoever loads it learns at once that the host could not call them.
    let _: Configure = typed(&mut store, &instance, "configure", &exports.configure)?;
    let _: Decide = typed(&mut store, &instance, "decide", &exports.decide)?;
    open_setup(&mut store, until);
    let described = describe.call(&mut store, ());
    described.map(|(description,)| description).map_err(|error| fault_of(&error, store.data()))
}

fn instantiate(blueprint: &Blueprint, until: u64) -> Result<(Store<Call>, wasmtime::component::Instance), PolicyFault> {
    let component = &blueprint.component;
    loop {
        let mut store = new_store(blueprint);
        open_setup(&mut store, until);
        match component.instantiate(&mut store) {
            Ok(instance) => return Ok((store, instance)),
            // Instances that wait for work give way to one that has some. Each turn ends at least one, so the turns end.
            Err(error) if error.is::<PoolConcurrencyLimitError>() && blueprint.engine.make_room() => {}
            Err(error) => return Err(fault_of(&error, store.data())),
        }
    }
}

fn new_store(blueprint: &Blueprint) -> Store<Call> {
    let Blueprint { engine, bounds, .. } = blueprint;
    let mut store = Store::new(engine.wasm(), Call::new(blueprint));
    store.limiter(|call| &mut call.memory);
    store.set_hostcall_fuel(bounds.copied_bytes);
    store.set_max_component_handles(Bounds::HANDLES);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().time.expire()));
    store
}

fn open_setup(store: &mut Store<Call>, until: u64) {
    let ticks = store.data_mut().open_setup(until);
    store.set_epoch_deadline(ticks);
}

fn typed<P, R>(
    store: &mut Store<Call>,
    instance: &wasmtime::component::Instance,
    name: &str,
    export: &ComponentExportIndex,
) -> Result<TypedFunc<P, R>, PolicyFault>
where
    P: wasmtime::component::ComponentNamedList + Lower,
    R: wasmtime::component::ComponentNamedList + Lift,
{
    instance.get_typed_func(store.as_context_mut(), export).map_err(|error| PolicyFault {
        kind: PolicyFaultKind::Nonsense,
        message: format!("its `{name}` is not that of tollgate:policy@{VERSION}: {}", error.root_cause()),
    })
}

/// Instances of one policy end at different times, so that they are not all replaced at once.
fn draw_decisions(bounds: &Bounds) -> u32 {
    use std::hash::{BuildHasher, RandomState};
    let spread = u64::from(bounds.decisions_per_instance / 4) + 1;
    let below = RandomState::new().hash_one(0) % spread;
    bounds.decisions_per_instance.saturating_sub(u32::try_from(below).unwrap_or(0)).max(1)
}

/// The guest's verdict and its words, if they make sense.
fn checked(decision: contract::Decision) -> Result<Ruling, PolicyFault> {
    let nonsense = |message: String| Err(PolicyFault { kind: PolicyFaultKind::Nonsense, message });
    let contract::Decision { verdict, reason, attributes } = decision;
    if reason.len() > Bounds::REASON_BYTES {
        return nonsense(format!("reason of {} bytes; at most {}", reason.len(), Bounds::REASON_BYTES));
    }
    if attributes.len() > Bounds::ATTRIBUTES {
        return nonsense(format!("{} attributes; at most {}", attributes.len(), Bounds::ATTRIBUTES));
    }
    if attributes.iter().any(|(name, value)| name.len().max(value.len()) > Bounds::ATTRIBUTE_BYTES) {
        return nonsense(format!("an attribute over {} bytes", Bounds::ATTRIBUTE_BYTES));
    }
    let verdict = match verdict {
        Told::Allow => Verdict::Allow,
        Told::Delay(ms) if Duration::from_millis(ms) <= Bounds::DELAY => Verdict::Delay(Duration::from_millis(ms)),
        Told::Delay(ms) => return nonsense(format!("delay of {ms} ms; at most {:?}", Bounds::DELAY)),
        Told::Deny => Verdict::Deny,
        Told::Other(name) => return nonsense(format!("verdict `{}`", shortened(&name).message)),
    };
    Ok(Ruling { verdict, reason, attributes })
}

/// An error that the guest answered, cut to what a log line may hold.
fn shortened(message: &str) -> PolicyFault {
    let cut = message.get(..message.floor_char_boundary(Bounds::LOG_LINE_BYTES)).unwrap_or("");
    PolicyFault { kind: PolicyFaultKind::Error, message: cut.escape_debug().collect() }
}

/// Names what ended the guest.
fn fault_of(error: &wasmtime::Error, call: &Call) -> PolicyFault {
    let root = error.root_cause().to_string();
    let kind = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => PolicyFaultKind::Time,
        Some(Trap::StackOverflow) => PolicyFaultKind::Stack,
        None if error.is::<PoolConcurrencyLimitError>() => PolicyFaultKind::Overload,
        _ if call.memory.refused() => PolicyFaultKind::Memory,
        // The engine has no types for these, and is pinned; tests hold the texts, of the second where no pool can be reserved.
        None if root.contains("fuel allocated for hostcalls") => PolicyFaultKind::Budget,
        None if root.contains("resource limit exceeded") => PolicyFaultKind::Memory,
        _ => PolicyFaultKind::Trap,
    };
    PolicyFault { kind, message: root }
}
