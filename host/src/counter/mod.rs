//! The arithmetic of limits, pure and exact: the specification that every store is held to.
//!
//! A counter is an `Option<`[`State`]`>`, none while it is unused; [`apply`] charges one, [`charge_all`] a list, [`give_back`] takes a part of a
//! charge back. Time is whole microseconds since the Unix epoch, nothing is rounded but where it is said, and no state needs more than 53 bits per number, so that a script that
//! counts in doubles can follow step by step.
//!
//! **Time that goes back.** A state may come from a clock that was ahead. Up to one window ahead, of a bucket up to a second, it stands: the limit
//! behaves as if that moment had come. Further ahead, [`pull`] brings what is spent to the present, so that no limit is frozen for longer than one window more
//! than its own, and nothing spent is forgotten.
//!
//! **Limits that change.** A state says when and how much, not by which numbers. So a limit with a new `max`, `burst` or window goes on with
//! what was spent in the window that it now stands in. A limit may declare [another rule](OnChange); then its states say their numbers, too.
//!
//! This module imports nothing of the crate, so that the SDK of policy authors can carry the very same files.

mod apply;
mod bucket;
mod fixed;
mod give_back;
mod list;
mod migrate;
mod reserve;
mod rule;
mod sliding;
mod slots;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use apply::{apply, pull};
pub use give_back::{GiveBack, HELD_AT_MOST_US, give_back, renew};
pub use list::{Item, charge_all};
pub use migrate::{Numbered, Numbers, OnChange};
pub use reserve::{Generation, Reserved};
pub use rule::{Algorithm, Period, Rule};
pub use state::{Slot, State};

/// What a charge does to its counter and to its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Takes the cost, or refuses the whole list.
    Enforce,
    /// Takes the cost if it fits; never refuses the list. If the list is refused, takes nothing.
    Shadow,
    /// Takes nothing and never refuses the list: its outcome is the one that [`Enforce`](Self::Enforce) would have had.
    Peek,
}

impl Mode {
    /// The name in answers: `enforce`, `shadow`, `peek`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Peek => "peek",
        }
    }
}

/// What came of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the limit had room for the cost. In a refused list nothing was taken, whatever this says.
    pub allowed: bool,
    /// What is left after the charge, in the unit of the limit; after a peek, what would be. In a refused list: what is left untouched.
    pub remaining: u64,
    /// How long until the counter is as if unused.
    pub reset_after: Duration,
    /// How long until the same cost would pass, if nothing else is charged meanwhile. None where no waiting helps: the cost exceeds what
    /// the limit can ever give. None if allowed, with one exception: what [`Algorithm::Delay`] admitted beyond its burst is taken, and is to
    /// wait this long before it passes.
    pub retry_after: Option<Duration>,
    /// Where in its counter the charge lies, so that [`give_back`] finds it again: the beginning of the window it was counted in, the end of the
    /// lease of its slots, the generation of reservations in a bucket.
    pub mark_us: u64,
}
