//! Where counters live.

mod memory;
mod plan;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::counter::Outcome;
use crate::model::{Charge, Fault};

pub use self::memory::Memory;
#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisOptions, RedisTime};

/// How much longer than it counts a counter is kept, so that a clock that goes back by less finds it still.
const GRACE: Duration = Duration::from_secs(1);

/// Takes lists of charges, whole or not at all.
///
/// This is the one port between decisions and counters. Every implementation answers as [`counter::charge_all`](crate::counter::charge_all) does
/// when lists are applied one after another in some order.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Takes every charge of the list, or none of them, and answers one outcome for each, in order.
    ///
    /// The list is refused if any [`Enforce`](crate::Mode::Enforce) charge of it does not fit. Charges on one counter see one another
    /// in order. A shared store costs one round trip, and answers or fails within `within`.
    fn charge<'a>(&'a self, charges: &'a [Charge], within: Duration) -> Reply<'a>;

    /// Whether every reply is [`Reply::Ready`], so that no caller needs to be able to wait.
    fn is_local(&self) -> bool {
        false
    }
}

/// The outcomes, or why there are none.
pub type Outcomes = Result<Vec<Outcome>, Fault>;

/// An answer that is there, or that is on its way.
pub enum Reply<'a> {
    /// The answer, without any waiting.
    Ready(Outcomes),
    /// The answer of a store that must be asked over a connection. Dropping it gives up the answer, not the charges.
    Pending(Pin<Box<dyn Future<Output = Outcomes> + Send + 'a>>),
}

impl Reply<'_> {
    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// Fails with the store's [`Fault`].
    pub async fn outcomes(self) -> Outcomes {
        match self {
            Self::Ready(outcomes) => outcomes,
            Self::Pending(outcomes) => outcomes.await,
        }
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(outcomes) => f.debug_tuple("Ready").field(outcomes).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
