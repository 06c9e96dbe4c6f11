//! The host's side of the contract: what happens when a guest charges or logs.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use wasmtime::component::Linker;
use wasmtime::{ResourceLimiter, StoreContextMut};

use super::asked::{Checks, Wanted, is_held};
use super::contract::{self, COUNTERS, LOG, Level, VERSION};
use super::engine::Engine;
use super::guest_time::GuestTime;
use super::holding::Holding;
use super::instance::Blueprint;
use super::{Bounds, PolicyFault, Subject};
use crate::model::{Charge, Charged, Fault, FaultKind, PolicyFaultKind};
use crate::store::{List, Outcomes, Reply, Store};

/// One linker for stores that answer at once, so that guests run as plain calls, and one for those that must be waited for.
pub(super) struct Linkers {
    pub(super) plain: Linker<Call>,
    pub(super) waiting: Linker<Call>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linkers = Self { plain: Linker::new(engine.wasm()), waiting: Linker::new(engine.wasm()) };
        let counters = format!("{COUNTERS}@{VERSION}");
        linkers.plain.instance(&counters)?.func_wrap("charge-all", charge_at_once)?;
        linkers
            .waiting
            .instance(&counters)?
            .func_wrap_async("charge-all", |store, (charges,)| Box::new(charge_waiting(store, charges)))?;
        for linker in [&mut linkers.plain, &mut linkers.waiting] {
            linker.instance(&format!("{LOG}@{VERSION}"))?.func_wrap("write", write_log)?;
        }
        Ok(linkers)
    }
}

/// What the host remembers of the decision that an instance is making.
pub(super) struct Call {
    store: Arc<dyn Store>,
    bounds: Bounds,
    policy: Arc<str>,
    pub(super) memory: Memory,
    pub(super) time: GuestTime,
    checks: Checks,
    /// The token by which the decision may be asked for again.
    once: Option<Box<str>>,
    may_charge: bool,
    calls: u32,
    log: Arc<LogBudget>,
    log_lines: u32,
    /// The charges that were made, in order.
    pub(super) charged: Vec<Charged>,
    /// What is held of them.
    pub(super) holding: Option<Holding>,
    /// The store's fault, if it had one.
    pub(super) fault: Option<Fault>,
    /// The store's fault in spite of which the charges were answered.
    pub(super) in_spite_of: Option<Fault>,
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
            once: None,
            may_charge: false,
            calls: 0,
            log: Arc::clone(&blueprint.log),
            log_lines: 0,
            charged: Vec::new(),
            holding: None,
            fault: None,
            in_spite_of: None,
        }
    }

    /// Begins a call that may not charge: `describe` or `configure`. Answers its time in ticks.
    pub(super) fn open_setup(&mut self, until: u64) -> u64 {
        self.may_charge = false;
        self.open(until)
    }

    /// Begins a decision. Answers its time in ticks.
    pub(super) fn open_decision(&mut self, subject: &Subject<'_>, until: u64) -> u64 {
        self.checks.keys.rename(subject.prefix, subject.request.tenant(), subject.space);
        self.checks.now_us = subject.now.as_micros();
        self.once = subject.request.once().map(Into::into);
        self.may_charge = true;
        self.open(until)
    }

    fn open(&mut self, until: u64) -> u64 {
        self.calls = 0;
        self.log_lines = 0;
        self.charged.clear();
        self.holding = None;
        self.fault = None;
        self.in_spite_of = None;
        self.time.open(until)
    }

    /// Checks what the guest asks for against its budgets, and turns it into charges on keys of its tenant.
    fn check(&mut self, asked: Vec<contract::Charge>) -> Result<Wanted, Fault> {
        self.calls += 1;
        if !self.may_charge {
            return Err(Fault::new(FaultKind::Denied, "a policy may charge only while it decides"));
        }
        if self.calls > self.bounds.calls {
            return Err(over_budget(format!("more than {} calls to charge-all in one decision", self.bounds.calls)));
        }
        let charges = self.charged.len() + asked.len();
        if charges > self.bounds.charges as usize {
            return Err(over_budget(format!("{charges} charges in one decision; at most {}", self.bounds.charges)));
        }
        let once = self.once.as_deref().map(|token| self.checks.keys.once(token, self.calls));
        if self.holding.is_none() && asked.iter().any(is_held) {
            self.holding = Some(Holding::new(once.as_deref()));
        }
        let holder = self.holding.as_ref().map_or(0, Holding::holder);
        let mut wanted = Wanted::new(asked.len(), once);
        for charge in asked {
            wanted.add(self.checks.check(charge, holder)?);
        }
        Ok(wanted)
    }

    /// Keeps what came of the charges for the decision, and tells the guest.
    fn settle(
        &mut self,
        wanted: Result<Wanted, Fault>,
        outcomes: Outcomes,
    ) -> Result<Vec<contract::Outcome>, contract::Fault> {
        match (wanted, outcomes) {
            (Ok(wanted), Ok(outcomes)) => {
                if let Some(holding) = &mut self.holding {
                    holding.add(&wanted, &outcomes);
                }
                let told = outcomes.iter().map(contract::Outcome::from).collect();
                let kept = wanted.charges.into_iter().zip(outcomes);
                self.charged.extend(kept.map(|(Charge { limit, cost, mode, .. }, outcome)| Charged {
                    limit,
                    cost,
                    mode,
                    outcome,
                }));
                Ok(told)
            }
            (Err(fault), _) | (_, Err(fault)) => {
                // Outside a decision there is one fault, and the policy's author is to know it.
                let told = if self.may_charge { tell(&fault) } else { contract::Fault::Denied(fault.message.clone()) };
                self.fault = Some(fault);
                Err(told)
            }
        }
    }
}

type Told = (Result<Vec<contract::Outcome>, contract::Fault>,);

fn charge_at_once(
    mut context: StoreContextMut<'_, Call>,
    (asked,): (Vec<contract::Charge>,),
) -> wasmtime::Result<Told> {
    let call = context.data_mut();
    let wanted = call.check(asked);
    let outcomes = match &wanted {
        Err(_) => Ok(Vec::new()),
        Ok(wanted) => match call.store.take(wanted.list(&call.time)) {
            Reply::Ready(outcomes) => outcomes,
            Reply::Pending(_) => Err(Fault::new(FaultKind::Invalid, "a local store did not answer at once")),
        },
    };
    Ok((call.settle(wanted, outcomes),))
}

async fn charge_waiting(
    mut context: StoreContextMut<'_, Call>,
    asked: Vec<contract::Charge>,
) -> wasmtime::Result<Told> {
    let call = context.data_mut();
    let wanted = match call.check(asked) {
        Ok(wanted) => wanted,
        refused => return Ok((call.settle(refused, Ok(Vec::new())),)),
    };
    // The wait is the store's, not the guest's: it goes on with the time it had left.
    let ticks_left = call.time.pause();
    let store = Arc::clone(&call.store);
    let fault = OnceLock::new();
    let list = List { fault: Some(&fault), ..wanted.list(&call.time) };
    let outcomes = store.take(list).outcomes().await;
    call.time.resume(ticks_left);
    call.in_spite_of = fault.into_inner().or(call.in_spite_of.take());
    let told = call.settle(Ok(wanted), outcomes);
    context.set_epoch_deadline(ticks_left);
    Ok((told,))
}

fn over_budget(message: String) -> Fault {
    Fault::new(FaultKind::OverBudget, message)
}

fn tell(fault: &Fault) -> contract::Fault {
    match fault.kind {
        FaultKind::Timeout => contract::Fault::Timeout,
        FaultKind::Invalid => contract::Fault::Invalid(fault.message.clone()),
        FaultKind::OverBudget => contract::Fault::OverBudget(fault.message.clone()),
        FaultKind::Denied => contract::Fault::Denied("the store does not allow it".to_owned()),
        FaultKind::Unavailable | FaultKind::Refused | FaultKind::Poisoned => contract::Fault::Unavailable,
    }
}

fn write_log(mut context: StoreContextMut<'_, Call>, (level, message): (Level, String)) -> wasmtime::Result<()> {
    let call = context.data_mut();
    call.log_lines += 1;
    if call.log_lines > call.bounds.log_lines || !call.log.take(call.time.second()) {
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

impl Call {
    /// What to say of a decision in which the guest could not charge for its own fault.
    pub(super) fn budget_fault(&self) -> Option<PolicyFault> {
        let fault = self.fault.as_ref()?;
        let kind = match fault.kind {
            FaultKind::OverBudget => PolicyFaultKind::Budget,
            FaultKind::Invalid => PolicyFaultKind::Nonsense,
            _ => return None,
        };
        Some(PolicyFault { kind, message: fault.message.clone() })
    }
}
