//! How long a guest may run: counted in ticks of the engine, and, before it is interrupted, in time that it really had.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

use super::engine::{Engine, TICK};

/// The time of one call into a guest.
///
/// Ticks are cheap to watch and count by the clock on the wall, so on a busy machine they also count while the guest's thread waits for a
/// core. A guest whose ticks are over is therefore asked for the processor time it used since: it is interrupted when that reaches its
/// budget, and in any case when the patience of the caller is over. So an endless loop runs for at most twice its budget, and a guest that
/// was merely kept waiting is not blamed.
pub(super) struct GuestTime {
    engine: Engine,
    budget: Duration,
    budget_ticks: u64,
    ends_at_tick: u64,
    last_tick: u64,
    overtime_since: Option<Duration>,
}

impl GuestTime {
    pub(super) fn new(engine: Engine, budget: Duration) -> Self {
        Self { engine, budget, budget_ticks: ticks(budget), ends_at_tick: 0, last_tick: 0, overtime_since: None }
    }

    /// Begins a call, which may take at most its budget more than `patience` by the clock on the wall. Answers its ticks.
    pub(super) fn open(&mut self, patience: Duration) -> u64 {
        let now = self.engine.ticks();
        // The tick under way is partly over: one more, so that a guest gets at least its time.
        let ticks = self.budget_ticks + 1;
        self.ends_at_tick = now + ticks;
        self.last_tick = self.ends_at_tick + self::ticks(patience);
        self.overtime_since = None;
        ticks
    }

    /// The ticks left when the host begins to wait on the guest's behalf.
    pub(super) fn pause(&self) -> u64 {
        self.ends_at_tick.saturating_sub(self.engine.ticks())
    }

    /// Goes on with the ticks that were left. The guest may be on another thread now.
    pub(super) fn resume(&mut self, left: u64) {
        self.ends_at_tick = self.engine.ticks() + left;
        self.overtime_since = None;
    }

    /// What to do when the ticks are over.
    pub(super) fn expire(&mut self) -> UpdateDeadline {
        let used = processor_time();
        let overtime = used.saturating_sub(*self.overtime_since.get_or_insert(used));
        let left = self.budget.saturating_sub(overtime);
        let now = self.engine.ticks();
        if left < TICK || now >= self.last_tick {
            return UpdateDeadline::Interrupt;
        }
        let ticks = ticks(left).min(self.last_tick - now);
        self.ends_at_tick = now + ticks;
        UpdateDeadline::Continue(ticks)
    }
}

/// Rounded up. A tick is a millisecond.
const fn ticks(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000)
        .saturating_add(duration.subsec_nanos().div_ceil(TICK.subsec_nanos()) as u64)
}

/// The processor time of this thread so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // The clock counts up from 0.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
