//! One instance of a policy: started, asked, and thrown away after any trap.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentExportIndex, InstancePre, Lift, Lower, TypedFunc};
use wasmtime::{AsContextMut, Store, Trap};

use super::contract::{self, Verdict as Told};
use super::engine::Engine;
use super::imports::{Call, Opening};
use super::{Answer, Bounds, PolicyFault, Ruling, Subject};
use crate::model::{PolicyFaultKind, Verdict};
use crate::store;
use crate::time::Clock;

/// Everything an instance is made from.
pub(super) struct Blueprint {
    pub(super) engine: Engine,
    pub(super) component: InstancePre<Call>,
    pub(super) exports: Exports,
    /// Whether the store must be waited for, so that the guest runs on a stack of its own.
    pub(super) waits: bool,
    pub(super) store: Arc<dyn store::Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bounds: Bounds,
    pub(super) name: Arc<str>,
    pub(super) configuration: Arc<str>,
}

/// Where the functions of the world stand in the component.
#[derive(Clone)]
pub(super) struct Exports {
    pub(super) describe: ComponentExportIndex,
    pub(super) configure: ComponentExportIndex,
    pub(super) decide: ComponentExportIndex,
}

type Configure = TypedFunc<(Arc<str>,), (Result<(), Vec<String>>,)>;
type Decide = TypedFunc<(Arc<contract::Request>,), (Result<contract::Decision, String>,)>;

/// A configured instance, ready to decide.
pub(super) struct Instance {
    store: Store<Call>,
    decide: Decide,
    waits: bool,
    request: Arc<contract::Request>,
    decisions_left: u32,
}

/// Why an instance could not be started.
pub(super) enum StartError {
    /// It failed; the text says how.
    Fault(PolicyFault),
    /// It refused its configuration, with every problem it found.
    Configuration(Vec<String>),
}

impl Instance {
    /// Makes an instance and configures it, each within the time of a decision, and with this much patience for a busy machine.
    pub(super) async fn start(blueprint: &Blueprint, patience: Duration) -> Result<Self, StartError> {
        let waits = blueprint.waits;
        let (mut store, instance) = instantiate(blueprint, patience).await.map_err(StartError::Fault)?;
        let exports = &blueprint.exports;
        let configure: Configure = typed(&mut store, &instance, &exports.configure).map_err(StartError::Fault)?;
        let decide: Decide = typed(&mut store, &instance, &exports.decide).map_err(StartError::Fault)?;
        open_setup(&mut store, patience);
        let configured = call(configure, &mut store, waits, (Arc::clone(&blueprint.configuration),)).await;
        let (answer,) = configured.map_err(|error| StartError::Fault(fault_of(&error, store.data())))?;
        answer.map_err(StartError::Configuration)?;
        let decisions_left = draw_decisions(&blueprint.bounds);
        Ok(Self { store, decide, waits, request: Arc::default(), decisions_left })
    }

    /// Asks the guest. After an error of the second kind the instance must be dropped.
    pub(super) async fn decide(&mut self, subject: &Subject<'_>) -> Result<Answer, PolicyFault> {
        let request = Arc::get_mut(&mut self.request).expect("the engine has dropped the last call's arguments");
        request.fill(subject.request, subject.now);
        let opening = Opening { keys: subject.keys(), started: subject.now, deadline: subject.deadline };
        let ticks = self.store.data_mut().open_decision(opening);
        self.store.set_epoch_deadline(ticks);
        self.decisions_left = self.decisions_left.saturating_sub(1);
        let called = call(self.decide, &mut self.store, self.waits, (Arc::clone(&self.request),)).await;
        let data = self.store.data_mut();
        let (answer,) = called.map_err(|error| fault_of(&error, data))?;
        Ok(Answer {
            ruling: answer.map_err(|message| shortened(&message)).and_then(checked),
            charged: std::mem::take(&mut data.charged),
            misuse: data.budget_fault(),
            store_fault: data.fault.take(),
        })
    }

    /// Whether it may serve again.
    pub(super) fn is_fresh(&self, bounds: &Bounds) -> bool {
        self.decisions_left > 0 && self.store.data().memory.bytes() <= bounds.memory_bytes / 2
    }
}

/// Makes an instance that is not configured, and asks what it says of itself.
pub(super) async fn describe(blueprint: &Blueprint, patience: Duration) -> Result<contract::Description, PolicyFault> {
    let (mut store, instance) = instantiate(blueprint, patience).await?;
    let describe: TypedFunc<(), (contract::Description,)> = typed(&mut store, &instance, &blueprint.exports.describe)?;
    open_setup(&mut store, patience);
    let described = call(describe, &mut store, blueprint.waits, ()).await;
    described.map(|(description,)| description).map_err(|error| fault_of(&error, store.data()))
}

async fn instantiate(
    blueprint: &Blueprint,
    patience: Duration,
) -> Result<(Store<Call>, wasmtime::component::Instance), PolicyFault> {
    let Blueprint { engine, bounds, .. } = blueprint;
    let call = Call::new(
        engine,
        Arc::clone(&blueprint.store),
        Arc::clone(&blueprint.clock),
        *bounds,
        Arc::clone(&blueprint.name),
    );
    let mut store = Store::new(engine.wasm(), call);
    store.limiter(|call| &mut call.memory);
    store.set_hostcall_fuel(bounds.copied_bytes);
    store.set_max_component_handles(Bounds::HANDLES);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().time.expire()));
    open_setup(&mut store, patience);
    let component = &blueprint.component;
    let instance =
        if blueprint.waits { component.instantiate_async(&mut store).await } else { component.instantiate(&mut store) };
    match instance {
        Ok(instance) => Ok((store, instance)),
        Err(error) => Err(fault_of(&error, store.data())),
    }
}

fn open_setup(store: &mut Store<Call>, patience: Duration) {
    let ticks = store.data_mut().open_setup(patience);
    store.set_epoch_deadline(ticks);
}

fn typed<P, R>(
    store: &mut Store<Call>,
    instance: &wasmtime::component::Instance,
    export: &ComponentExportIndex,
) -> Result<TypedFunc<P, R>, PolicyFault>
where
    P: wasmtime::component::ComponentNamedList + Lower,
    R: wasmtime::component::ComponentNamedList + Lift,
{
    instance
        .get_typed_func(store.as_context_mut(), export)
        .map_err(|error| PolicyFault { kind: PolicyFaultKind::Nonsense, message: format!("{error:#}") })
}

async fn call<P, R>(
    function: TypedFunc<P, R>,
    store: &mut Store<Call>,
    waits: bool,
    parameters: P,
) -> wasmtime::Result<R>
where
    P: wasmtime::component::ComponentNamedList + Lower + Send + Sync + 'static,
    R: wasmtime::component::ComponentNamedList + Lift + Send + Sync + 'static,
{
    if waits { function.call_async(store, parameters).await } else { function.call(store, parameters) }
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
        Told::Delay(ms) => Verdict::Delay(Duration::from_millis(ms)),
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
        _ if call.memory.refused() => PolicyFaultKind::Memory,
        // The engine has no type for it, and is pinned; a test holds this text.
        None if root.contains("fuel allocated for hostcalls") => PolicyFaultKind::Budget,
        _ => PolicyFaultKind::Trap,
    };
    PolicyFault { kind, message: root }
}
