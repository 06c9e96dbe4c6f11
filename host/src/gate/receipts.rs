//! What becomes of what a decision holds: settled, given back, extended.

use std::time::Duration;

use super::Tollgate;
use crate::error::Result;
use crate::model::{Fault, Receipt, Settled};
use crate::policy::{Holding, Subject};
use crate::store::List;

/// What came of an attempt to extend a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// It is open for longer: this is the receipt that says so. The one before can be settled still.
    Extended(Receipt),
    /// It was settled before, and there is nothing to extend.
    Settled,
    /// Its time was over, or a lease of its slots: the charges stay as they were taken, and the slots are free.
    Late,
}

impl Tollgate {
    /// Says what an admitted request really cost, in the unit of its cost, and gives the rest back. Slots become free.
    ///
    /// Of every charge that was held the same share stays, rounded up. What is said after the first time changes nothing
    /// ([`Settled::Already`]), nor does what is said too late ([`Settled::Late`]); a cost above that of the request is taken for that. What is given
    /// back is never more than was taken, and never at the cost of another charge; see [`counter::give_back`](crate::counter::give_back).
    ///
    /// # Errors
    ///
    /// Fails with the store's [`Fault`]. After a timeout it may have been done: ask again, it is done once.
    pub async fn settle(&self, receipt: &Receipt, actual_cost: u64) -> Result<Settled, Fault> {
        let settlement = receipt.settled_at(actual_cost, &self.0.prefix);
        self.0.store.store().settle(&settlement, self.0.deadline).answer().await
    }

    /// Gives everything back that a request took and holds, as if it had cost nothing: [`settle`](Self::settle) at 0.
    ///
    /// # Errors
    ///
    /// Fails as [`settle`](Self::settle) does.
    pub async fn refund(&self, receipt: &Receipt) -> Result<Settled, Fault> {
        self.settle(receipt, 0).await
    }

    /// Keeps a receipt open for as long again as it was at first, from now on, and gives its slots a whole lease.
    ///
    /// A receipt for slots alone may be extended again and again; one for amounts is open for a day at most.
    ///
    /// # Errors
    ///
    /// Fails with the store's [`Fault`]. After a timeout it may have been done: ask again with the same receipt.
    pub async fn extend(&self, receipt: &Receipt) -> Result<Extension, Fault> {
        let (extended, settlement) = receipt.extended(self.0.clock.now(), &self.0.prefix);
        let settled = self.0.store.store().settle(&settlement, self.0.deadline).answer().await?;
        Ok(match settled {
            Settled::Done => Extension::Extended(extended),
            Settled::Already => Extension::Settled,
            Settled::Late => Extension::Late,
        })
    }

    /// The receipt as a text that can leave the process: whoever holds it can neither read more from it than it was told, nor change it.
    ///
    /// It is sealed with the gate's receipt key; see [`Builder::receipt_key`](super::Builder::receipt_key).
    #[must_use]
    pub fn seal(&self, receipt: &Receipt) -> String {
        self.0.sealer.seal(receipt)
    }

    /// The receipt that [`seal`](Self::seal) made this text of.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Request`](crate::ErrorKind::Request) if no gate with this key and prefix sealed it.
    pub fn unseal(&self, text: &str) -> Result<Receipt> {
        self.0.sealer.unseal(text)
    }
}

/// The receipt of what a decision holds.
pub(super) fn receipt(subject: &Subject<'_>, holding: Holding) -> Receipt {
    let Holding { id, span, held } = holding;
    let request = subject.request;
    let repeatable_for = if request.once().is_some() { List::ONCE_LIFE } else { Duration::ZERO };
    Receipt {
        id,
        tenant: request.tenant().into(),
        space: subject.space.into(),
        cost: request.cost(),
        born: subject.now,
        until: subject.now.plus(span),
        span,
        repeatable_for,
        held,
    }
}
