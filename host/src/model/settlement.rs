//! What becomes of charges that were taken for the time being.

use super::Limit;
use crate::time::Timestamp;

/// What a store is to do about charges that it took before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The key that remembers that it was done, in the tenant's space. None for what nobody asks for twice and no clock ends: it is done each
    /// time it is asked for.
    pub marker: Option<String>,
    /// Until when the charges are open. Later they are settled by themselves, at their full cost.
    pub until: Timestamp,
    /// For how many microseconds more it is remembered that it was done: for a decision that may be asked for again, whose receipt ends later then.
    pub remembered_us: u64,
    /// Give back, or renew.
    pub action: Action,
    /// The charges.
    pub held: Vec<Held>,
}

impl Settlement {
    /// What is wrong with a renewal that nothing remembers.
    pub(crate) const UNMARKED_RENEWAL: &str = "a receipt that is to be renewed needs a marker";
}

/// What is done about charges that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Gives back [`Held::unused`] of each, and ends the slots of concurrency limits. Done once; the next time it is
    /// [`Settled::Already`].
    Settle,
    /// Gives the slots of concurrency limits a whole lease from now on, and other charges a whole hold, and keeps all of them open until `until`. May be done often, until
    /// settled. If the slots of a charge are lost, because their lease ended, nothing is renewed and it is [`Settled::Late`].
    Renew {
        /// The new end, for whoever comes with the old one too. An end that is sooner than the old one changes nothing.
        until: Timestamp,
    },
}

/// A charge that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The counter's whole key in the store.
    pub key: String,
    /// The rule it was charged by.
    pub limit: Limit,
    /// How much the charge took.
    pub taken: u64,
    /// How much of that is given back.
    pub unused: u64,
    /// Where in the counter the charge lies, as its [`Outcome::mark_us`](crate::Outcome::mark_us) told.
    pub mark_us: u64,
    /// Who holds it, as the charge told.
    pub holder: u64,
}

/// What came of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was done.
    Done,
    /// It was done before; nothing was done now.
    Already,
    /// The time was over: the charges stay as they were taken.
    Late,
}
