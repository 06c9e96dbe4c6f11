//! Where counters live.

mod documents;
mod guard;
mod memory;
mod peeking;
mod plan;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use crate::counter::Outcome;
use crate::model::{Charge, Fault, Settled, Settlement};

pub use self::documents::{Document, DocumentDirectory, DocumentMemory, Documents, Expiring, Promise};
pub use self::guard::{Guard, GuardOptions, StoreStats, Terms};
pub use self::memory::Memory;
pub use self::peeking::Peeking;
#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisDocuments, RedisOptions, RedisTime};

/// How much longer than it counts a counter is kept, so that a clock that goes back by less finds it still.
const GRACE: Duration = Duration::from_secs(1);

/// Takes lists of charges, whole or not at all, and settles what was held.
///
/// This is the one port between decisions and counters. Every implementation answers as [`counter::charge_all`](crate::counter::charge_all) does
/// when lists are applied one after another in some order.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Takes every charge of the list, or none of them, and answers one outcome for each, in order.
    ///
    /// The list is refused if any [`Enforce`](crate::Mode::Enforce) charge of it does not fit. Charges on one counter see one another
    /// in order. A shared store costs one round trip, and answers or fails within [`List::within`].
    fn take<'a>(&'a self, list: List<'a>) -> Reply<'a>;

    /// Gives back what a receipt no longer needs, or renews what it holds; once, however often it is asked.
    ///
    /// Answers or fails within `within`.
    fn settle<'a>(&'a self, settlement: &'a Settlement, within: Duration) -> Reply<'a, Settled>;

    /// [`take`](Self::take) of a list that nobody repeats.
    fn charge<'a>(&'a self, charges: &'a [Charge], within: Duration) -> Reply<'a> {
        self.take(List { charges, within, once: None, fault: None })
    }

    /// Whether every reply is [`Reply::Ready`], so that no caller needs to be able to wait.
    fn is_local(&self) -> bool {
        false
    }

    /// Whether a call that fails foretells that others fail, whatever their keys. Not so where each part of the keys has a server of its own.
    fn fails_as_one(&self) -> bool {
        true
    }
}

/// Charges to take together, and how.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// The charges, in order.
    pub charges: &'a [Charge],
    /// How long the answer may take.
    pub within: Duration,
    /// The key under which the store remembers the answer to an admitted list for [`ONCE_LIFE`](Self::ONCE_LIFE), for a list that may be asked for
    /// again: asked again, it takes nothing more and is answered alike. A refused list took nothing, so it is decided anew.
    pub once: Option<&'a str>,
    /// Where a store that answers in spite of a fault, as [`Guard`] does, leaves the fault.
    pub fault: Option<&'a OnceLock<Fault>>,
}

impl List<'_> {
    /// How long the answer to a list that may be asked for again is remembered.
    pub const ONCE_LIFE: Duration = Duration::from_secs(600);
}

/// The outcomes, or why there are none.
pub type Outcomes = Result<Vec<Outcome>, Fault>;

/// An answer that is there, or that is on its way.
pub enum Reply<'a, T = Vec<Outcome>> {
    /// The answer, without any waiting.
    Ready(Result<T, Fault>),
    /// The answer of a store that must be asked over a connection. Dropping it gives up the answer, not the charges.
    Pending(Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>),
}

impl<T> Reply<'_, T> {
    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// Fails with the store's [`Fault`].
    pub async fn answer(self) -> Result<T, Fault> {
        match self {
            Self::Ready(answer) => answer,
            Self::Pending(answer) => answer.await,
        }
    }
}

impl Reply<'_> {
    /// Waits for the outcomes.
    ///
    /// # Errors
    ///
    /// Fails with the store's [`Fault`].
    pub async fn outcomes(self) -> Outcomes {
        self.answer().await
    }
}

impl<T: fmt::Debug> fmt::Debug for Reply<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(answer) => f.debug_tuple("Ready").field(answer).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
