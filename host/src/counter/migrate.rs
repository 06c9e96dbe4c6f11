//! What becomes of a counter when its limit gets other numbers.
//!
//! A state says how much and when. By which numbers it was counted it says only if its limit declares a rule for changes other than to keep:
//! so nobody else pays for it. What is counted in a bucket is rounded up to whole tokens when it is migrated, and what is reserved of it becomes
//! final.

use super::{Algorithm, Rule, State};

/// What becomes of a counter when its limit gets other numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnChange {
    /// What is used stays used: of a window the amount, of a bucket the time until it is full, though never more than an empty one takes.
    #[default]
    Keep,
    /// The share that is used stays used: who had half of 10 left has half of 100.
    Proportional,
    /// What is left stays left, and if the limit grew, what it grew by comes on top.
    Additive,
    /// The counter begins anew.
    Reset,
}

impl OnChange {
    /// Every rule.
    pub const ALL: [Self; 4] = [Self::Keep, Self::Proportional, Self::Additive, Self::Reset];

    /// The name in configuration: `keep`, `proportional`, `additive`, `reset`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Proportional => "proportional",
            Self::Additive => "additive",
            Self::Reset => "reset",
        }
    }

    /// What is used by the new numbers, rounded up.
    fn used(self, used: u64, from: u64, to: u64) -> u64 {
        match self {
            Self::Keep => used,
            Self::Proportional => portion(used, to, from),
            Self::Additive => used.saturating_sub(from.saturating_sub(to)),
            Self::Reset => 0,
        }
    }
}

/// The numbers that a counter was counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// How much the limit gives at once: `max`, of a bucket its burst.
    pub amount: u64,
    /// How long a bucket takes to fill, in whole microseconds, at least one; 0 for the others.
    pub fill_us: u64,
}

/// A counter that says by which numbers it was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The numbers.
    pub by: Numbers,
    /// The counter; never another numbered one.
    pub state: State,
}

/// Longer than any bucket takes to fill, and short enough for a script to multiply.
const LONGEST_US: u64 = 1 << 49;
const LARGEST: u64 = 1_000_000_000;

impl Rule {
    /// The numbers that a counter of this rule is counted by.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        match self.algorithm {
            Algorithm::TokenBucket | Algorithm::Delay => {
                let fill_us = u128::from(self.burst) * u128::from(self.window_us) / u128::from(self.max);
                Numbers { amount: self.burst, fill_us: u64::try_from(fill_us).unwrap_or(u64::MAX).max(1) }
            }
            _ => Numbers { amount: self.max, fill_us: 0 },
        }
    }

    /// Whether its counters say their numbers. Who holds a slot holds it, whatever changes.
    #[must_use]
    pub fn tells_numbers(&self) -> bool {
        self.on_change != OnChange::Keep && self.algorithm != Algorithm::Concurrency
    }
}

impl State {
    /// The counter without the numbers it was counted by.
    pub(super) fn plain(&self) -> &Self {
        match self {
            Self::Numbered(numbered) => &numbered.state,
            plain => plain,
        }
    }

    /// The counter as a rule writes it, with its numbers if it tells them.
    pub(super) fn written_by(self, rule: &Rule) -> Self {
        if rule.tells_numbers() { self.numbered(rule.numbers()) } else { self }
    }

    /// The counter, telling these numbers.
    pub(super) fn numbered(self, by: Numbers) -> Self {
        Self::Numbered(Box::new(Numbered { by, state: self }))
    }
}

/// Brings a counter that was counted by other numbers to those of the rule, if the rule says how.
pub(super) fn migrate(rule: &Rule, numbered: &mut Numbered, now_us: u64) {
    if !rule.tells_numbers() || numbered.by == rule.numbers() {
        return;
    }
    let (from, by) = (numbered.by, rule.numbers());
    let used = |used: u64| rule.on_change.used(used, from.amount, by.amount);
    match &mut numbered.state {
        State::FixedWindow { used: before, .. } => *before = used(*before),
        State::SlidingWindow { earlier, used: before, .. } => (*earlier, *before) = (used(*earlier), used(*before)),
        State::TokenBucket { tat_us, part, reserve } => {
            let missing_us = tat_us.saturating_add(u64::from(*part > 0)).saturating_sub(now_us).min(LONGEST_US);
            let tokens = used(portion(from.amount, missing_us, from.fill_us));
            let refill = u128::from(tokens) * u128::from(rule.window_us);
            let max = u128::from(rule.max);
            let whole_us = u64::try_from(refill / max).unwrap_or(u64::MAX);
            (*tat_us, *part, *reserve) =
                (now_us.saturating_add(whole_us), u64::try_from(refill % max).unwrap_or(0), None);
        }
        State::Slots(_) | State::Numbered(_) => {}
    }
    numbered.by = by;
}

/// `a * b / c`, rounded up; at most what any limit gives.
fn portion(a: u64, b: u64, c: u64) -> u64 {
    let portion = (u128::from(a) * u128::from(b)).div_ceil(u128::from(c.max(1)));
    u64::try_from(portion).unwrap_or(LARGEST).min(LARGEST)
}
