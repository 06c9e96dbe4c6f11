//! What most rows are: a load, a fault that begins and ends, and what came of it.

use std::time::Duration;

use anyhow::Result;

use crate::load::Load;
use crate::log::{Log, Moment};
use crate::trial::Trial;

/// How long a load goes on after it recovered, to see that it stays so.
const AFTERMATH: Duration = Duration::from_millis(700);
/// How long a recovery is waited for at least, so that a late one is told by its figure.
const PATIENCE: Duration = Duration::from_secs(5);

/// A fault that lasts for a while.
pub(crate) struct Outage {
    /// The load that feels it.
    pub(crate) load: Load,
    /// How long it lasts.
    pub(crate) lasts: Duration,
    /// How long after its end a policy decides again at the latest.
    pub(crate) recovers_within: Duration,
}

/// What came of it.
pub(crate) struct Aftermath {
    /// Every decision.
    pub(crate) log: Log,
    /// When the fault began.
    pub(crate) began: Moment,
    /// When it ended.
    pub(crate) healed: Moment,
}

impl Outage {
    /// A fault that lasts so many milliseconds, and a bound for the recovery.
    pub(crate) fn of(load: Load, lasts_ms: u64, recovers_within_ms: u64) -> Self {
        let (lasts, recovers_within) = (Duration::from_millis(lasts_ms), Duration::from_millis(recovers_within_ms));
        Self { load, lasts, recovers_within }
    }

    /// Begins the fault, lets it last, ends it, and holds the answers to what every row requires.
    ///
    /// `heal` answers once the server could be used again.
    pub(crate) fn suffer<B: Step, H: Step>(
        self,
        trial: &mut Trial,
        begin: impl FnOnce() -> B,
        heal: impl FnOnce() -> H,
    ) -> Result<Aftermath> {
        let Self { load, lasts, recovers_within } = self;
        let began = load.now();
        begin().done()?;
        load.runs(lasts);
        heal().done()?;
        let healed = load.now();
        load.recovers(healed, PATIENCE.max(2 * recovers_within));
        load.runs(AFTERMATH);
        let log = load.end()?;
        trial.answered(&log);
        trial.felt(&log, began, healed);
        trial.recovered(&log, healed, recovers_within);
        Ok(Aftermath { log, began, healed })
    }
}

/// What beginning or ending a fault answers: nothing, or whether it worked.
pub(crate) trait Step {
    /// Fails if it did not work.
    fn done(self) -> Result<()>;
}

impl Step for () {
    fn done(self) -> Result<()> {
        Ok(())
    }
}

impl Step for Result<()> {
    fn done(self) -> Result<()> {
        self
    }
}

/// Lets a load run on for a while, and holds the answers to what every row requires.
pub(crate) fn end(trial: &mut Trial, load: Load) -> Result<Log> {
    load.runs(AFTERMATH);
    let log = load.end()?;
    trial.answered(&log);
    Ok(log)
}
