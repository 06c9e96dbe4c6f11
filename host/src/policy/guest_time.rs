//! How long a guest may run: counted in ticks of the engine, and, before it is interrupted, in time that it really had.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

use super::engine::{Engine, TICK};

/// The processor time after its ticks by which a guest that spins is known: an honest one needs a hundredth of it in all.
const SPINNING: Duration = Duration::from_micros(500);
/// The ticks of a guest that was kept waiting until its decision was late: the one under way, and one in which it may get done or show that it spins.
const LAST_TICKS: u64 = 2;

/// The time of one call into a guest.
///
/// Ticks are cheap to watch and count by the clock on the wall, so on a busy machine they also count while the guest's thread waits for a
/// core. A guest whose ticks are over is therefore asked for the processor time it used since: it is interrupted when that reaches its
/// budget, and in any case when the decision's deadline is over; if that was so when it was asked first, two ticks later. So an endless loop
/// runs for at most twice its budget, and a guest that was merely kept waiting is not blamed.
pub(super) struct GuestTime {
    engine: Engine,
    budget: Duration,
    /// The tick at which the decision's deadline is over.
    until: u64,
    ends_at: u64,
    /// Processor time used after the ticks were over, but for what was used since `overtime_since`.
    overtime: Duration,
    /// The processor time of this thread when the overtime under way began.
    overtime_since: Option<Duration>,
    /// Whether it ran on after its ticks, and was not only kept waiting.
    is_used_up: bool,
}

/// The time that is left to a guest while it stands still.
#[derive(Clone, Copy)]
pub(super) struct Left {
    ticks: u64,
    overtime: Duration,
}

impl GuestTime {
    pub(super) fn new(engine: Engine, budget: Duration) -> Self {
        let (overtime, overtime_since) = (Duration::ZERO, None);
        Self { engine, budget, until: 0, ends_at: 0, overtime, overtime_since, is_used_up: false }
    }

    /// Begins a call of a decision whose deadline is over at the tick `until`. Answers the ticks of the call.
    pub(super) fn open(&mut self, until: u64) -> u64 {
        // The tick under way is partly over: one more, so that a guest gets at least its time.
        let ticks = ticks(self.budget).saturating_add(1);
        self.until = until;
        self.ends_at = self.engine.ticks().saturating_add(ticks);
        self.overtime = Duration::ZERO;
        self.overtime_since = None;
        self.is_used_up = false;
        ticks
    }

    /// Whether a guest that was interrupted used its time, and was not only kept waiting by the machine.
    pub(super) fn is_used_up(&self) -> bool {
        self.is_used_up
    }

    /// What is left of the decision's deadline.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.until.saturating_sub(self.engine.ticks()))
    }

    /// The second of the engine's life, for what is bounded by the second.
    pub(super) fn second(&self) -> u64 {
        self.engine.ticks() / 1_000
    }

    /// Stands still while the host waits on the guest's behalf. Answers what is left.
    pub(super) fn pause(&mut self) -> Left {
        if let Some(since) = self.overtime_since.take() {
            self.overtime += processor_time().saturating_sub(since);
        }
        Left { ticks: self.ends_at.saturating_sub(self.engine.ticks()), overtime: self.overtime }
    }

    /// Goes on with what was left, of this guest or of another that stood in its place. Answers the ticks.
    pub(super) fn resume(&mut self, left: Left, until: u64) -> u64 {
        self.until = until;
        self.ends_at = self.engine.ticks().saturating_add(left.ticks);
        self.overtime = left.overtime;
        self.overtime_since = None;
        left.ticks
    }

    /// What to do when the ticks are over.
    pub(super) fn expire(&mut self) -> UpdateDeadline {
        let used = processor_time();
        let is_first = self.overtime_since.is_none();
        let since = *self.overtime_since.get_or_insert(used);
        let overtime = self.overtime + used.saturating_sub(since);
        let left = self.budget.saturating_sub(overtime);
        let now = self.engine.ticks();
        let last = self.until.max(self.ends_at);
        // On a busy machine its decision may be late before its time is over. This tells one that spins from one that waits.
        self.is_used_up = overtime >= SPINNING;
        if left < TICK || (now >= last && !is_first) {
            return UpdateDeadline::Interrupt;
        }
        let ticks = ticks(left).min(last.saturating_sub(now)).max(LAST_TICKS);
        self.ends_at = now + ticks;
        UpdateDeadline::Continue(ticks)
    }
}

/// Rounded up. A tick is a millisecond.
pub(super) const fn ticks(duration: Duration) -> u64 {
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
