//! A store from which nothing is taken.

use std::sync::Arc;
use std::time::Duration;

use super::{List, Reply, Store};
use crate::counter::Mode;
use crate::model::{Charge, Fault, FaultKind, Settled, Settlement};

/// Another store, asked what it would answer: every charge is a [`Peek`](Mode::Peek), and nothing is settled.
///
/// Each charge is answered as if it were the only one: of two on one counter the second does not see the first.
#[derive(Clone, Debug)]
pub struct Peeking(Arc<dyn Store>);

impl Peeking {
    /// Looks into `store`.
    #[must_use]
    pub fn into(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

impl Store for Peeking {
    fn take<'a>(&'a self, list: List<'a>) -> Reply<'a> {
        let charges: Vec<Charge> =
            list.charges.iter().map(|charge| Charge { mode: Mode::Peek, ..charge.clone() }).collect();
        let list = List { charges: &[], once: None, ..list };
        if self.0.is_local()
            && let Reply::Ready(outcomes) = self.0.take(List { charges: &charges, ..list })
        {
            return Reply::Ready(outcomes);
        }
        Reply::Pending(Box::pin(async move { self.0.take(List { charges: &charges, ..list }).outcomes().await }))
    }

    fn settle<'a>(&'a self, _: &'a Settlement, _: Duration) -> Reply<'a, Settled> {
        Reply::Ready(Err(Fault::new(FaultKind::Invalid, "nothing was taken, so nothing can be settled")))
    }

    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    fn fails_as_one(&self) -> bool {
        self.0.fails_as_one()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Algorithm;
    use crate::model::{KeySpace, Limit, Quota};
    use crate::store::Memory;
    use crate::time::{ManualClock, Timestamp};

    #[tokio::test]
    async fn it_answers_what_would_be_and_takes_nothing() {
        let store: Arc<dyn Store> = Arc::new(Memory::new(ManualClock::at(Timestamp::from_micros(1))));
        let quota = Quota { max: 2, window: Duration::from_secs(1), burst: 1 };
        let limit = Limit::new("two", Algorithm::FixedWindow, quota).unwrap();
        let key = KeySpace::new("p", "acme", "tiered").key(&limit, "alice");
        let two = [Charge { key: key.clone(), limit: limit.clone(), cost: 2, mode: Mode::Enforce, holder: 0 }];
        let peeking = Peeking::into(Arc::clone(&store));
        let within = Duration::from_secs(1);
        for _ in 0..3 {
            assert!(peeking.charge(&two, within).outcomes().await.unwrap()[0].allowed);
        }
        assert!(store.charge(&two, within).outcomes().await.unwrap()[0].allowed);
        assert!(!peeking.charge(&two, within).outcomes().await.unwrap()[0].allowed);
    }
}
