//! Looks in the background whether a store that failed is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Core;
use super::circuit::Circuit;
use crate::counter::{Algorithm, Mode};
use crate::model::{Charge, Fault, Limit, Quota};
use crate::store::List;

impl Core {
    /// Probes the store until it answers, and then closes the circuit. Ends with the guard.
    pub(super) fn probe(self: &Arc<Self>, circuit: &Circuit, fault: &Fault) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // Nobody would ever close it.
            return circuit.close();
        };
        self.counts.circuit_opened.add(1);
        tracing::warn!("the store is not asked until it answers a probe: {fault}");
        let core = Arc::downgrade(self);
        let charges = [probe(&self.prefix)];
        let mut pause = circuit.pause();
        let mut next = Instant::now() + pause;
        runtime.spawn(async move {
            loop {
                tokio::time::sleep_until(next).await;
                let Some(core) = core.upgrade() else { return };
                let Some(circuit) = &core.circuit else { return };
                core.counts.probes.add(1);
                // A store that hangs is given up in time for the next probe.
                let within = core.patience.min(pause);
                let asked = core.store.take(List { charges: &charges, within, once: None, fault: None });
                match asked.outcomes().await {
                    Ok(_) => {
                        circuit.close();
                        tracing::info!("the store answers again");
                        return core.carry_all();
                    }
                    Err(fault) => circuit.note_probe(&fault),
                }
                pause = circuit.pause();
                next += pause;
            }
        });
    }
}

/// Charges a counter that nobody uses: only a write tells a replica, a full memory and missing rights.
fn probe(prefix: &str) -> Charge {
    let quota = Quota { max: 1_000_000_000, window: Duration::from_millis(1), burst: 1 };
    let limit = Limit::new("probe", Algorithm::FixedWindow, quota).expect("the limit is in every range");
    Charge { key: format!("{prefix}:probe"), limit, cost: 1, mode: Mode::Shadow, holder: 0 }
}
