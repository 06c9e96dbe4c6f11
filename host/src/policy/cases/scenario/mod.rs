//! Scenarios: what a policy answers over time, as a text that people write and three engines run.
//!
//! This folder is shared with the SDK of policy authors, so it names nothing of either crate: what it needs stands in the module above.

mod answer;
mod read;

use std::time::Duration;

pub use answer::Answer;

use super::Verdict;

/// A policy, its configuration, and what it answers when.
///
/// ```text
/// # Three at once, then one a second.
/// policy tiered
/// config {"limits": [{"id": "second", "limit": "1/s burst 3"}]}
///
/// @0s alice 3            -> allow remaining 0
/// @0s alice              -> deny 1s
/// @0s bob                -> allow                      # each subject for itself
/// @0s alice@globex       -> allow remaining second=2   # and each tenant
/// @1s500ms alice /login  -> allow
/// @1s500ms alice 4       -> deny never
/// ```
///
/// The header names the policy and its configuration, which may go on over several lines. Without one the policy has that of the tier which
/// it is tried for, or `{}`. Then each line is a step:
/// a time since the beginning, never before the step above; a subject, with `@` and a tenant if it is not `acme`; a route and a cost, if
/// not empty and 1; and what is expected. `delay 2s` passes after that time; `deny` alone accepts any wait; `remaining 2` is the least of what any charged limit has left,
/// and `remaining second=2 day=9` tells limits apart. A line that begins with `#` is a comment, and so is what follows ` # ` in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The name of the policy.
    pub policy: String,
    /// Its configuration, a JSON text, if it says one.
    pub config: Option<String>,
    /// The requests, in order of time.
    pub steps: Vec<Step>,
}

/// One request, and what is expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line it stands in, from 1.
    pub line: usize,
    /// The request as it is written, up to the arrow.
    pub text: String,
    /// When it is made, since the beginning.
    pub at: Duration,
    /// The tenant.
    pub tenant: String,
    /// The subject.
    pub subject: String,
    /// The route; may be empty.
    pub route: String,
    /// The cost.
    pub cost: u64,
    /// What is expected.
    pub expected: Expected,
}

/// What is expected of a request. What is not said is not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Whether it may pass.
    pub verdict: Verdict,
    /// For a denied request: when it would pass.
    pub retry_after: Option<RetryAfter>,
    /// The least that any charged limit has left.
    pub least_remaining: Option<u64>,
    /// What limits have left, by id.
    pub remaining: Vec<(String, u64)>,
}

/// As the contract says times: in whole milliseconds, rounded up.
pub(super) fn whole_ms(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}

/// When a denied request would pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetryAfter {
    /// After this long, if nothing else is charged meanwhile.
    After(Duration),
    /// No waiting helps.
    Never,
}

impl Scenario {
    /// When every scenario begins: 2011-12-22T00:00:00Z, in milliseconds since the Unix epoch.
    ///
    /// Windows begin at multiples of their length since the epoch. This moment is a multiple of every length that divides a day, and of 7,
    /// 30, 210 and 365 days: all of those windows begin with the scenario.
    pub const BASE_MS: u64 = 15_330 * 86_400_000;
}

impl Step {
    /// When the request is made, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        Scenario::BASE_MS.saturating_add(u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX))
    }
}
