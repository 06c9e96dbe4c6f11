//! Callers that are kept out for a time: by address, by network, or by subject, on every host of a fleet.
//!
//! [`Blocks`] are kept with the documents that hosts share, and read on each host from a snapshot: whoever asks about a caller waits for nobody.

mod follow;
mod meters;
mod records;
mod snapshot;
mod target;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

pub use records::Block;
pub use target::{BlockTarget, Network};

use crate::error::{Error, ErrorKind, Result};
use crate::gate::draw;
use crate::model::Request;
use crate::store::Documents;
use crate::time::{Clock, Timestamp};
use meters::Meters;
use snapshot::Snapshot;

/// Who is kept out, on all hosts that share documents. Clones are the same.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use tollgate::SystemClock;
/// use tollgate::blocks::{BlockTarget, Blocks};
/// use tollgate::store::DocumentMemory;
///
/// let blocks = Blocks::join(Arc::new(DocumentMemory::default()), SystemClock::new()).await;
/// let network: BlockTarget = "203.0.113.0/24".parse()?;
/// blocks.block(network.clone(), Duration::from_secs(3600), "alice", "scrapes").await?;
/// assert!(blocks.of_address("203.0.113.9".parse()?).is_some());
/// assert!(blocks.unblock(&network).await?);
/// assert!(blocks.of_address("203.0.113.9".parse()?).is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Blocks {
    inner: Arc<Inner>,
    // Ends with the last clone.
    _following: Arc<JoinSet<()>>,
}

struct Inner {
    documents: Arc<dyn Documents>,
    clock: Box<dyn Clock>,
    snapshot: ArcSwap<Snapshot>,
    /// The mark of the shelf that the snapshot was read under.
    mark: Mutex<Option<Vec<u8>>>,
    /// One change of the snapshot at a time, so that an older one does not come later.
    changing: tokio::sync::Mutex<()>,
    meters: Meters,
}

/// Where blocks are kept.
const SHELF: &str = "blocks";
/// Where the mark is, which changes with every change of the shelf.
const MARKS: &str = "blocks-mark";
const MARK: &str = "mark";

impl Blocks {
    /// The most blocks there may be.
    pub const MOST: usize = 10_000;
    /// The longest time for which somebody is blocked.
    pub const LONGEST: Duration = Duration::from_secs(366 * 86_400);
    /// The longest reason, in bytes.
    pub const MAX_REASON_BYTES: usize = 256;

    /// What the hosts that share `documents` know, followed from now on. Has to be called on a runtime of tokio.
    ///
    /// If the documents cannot be had now, nobody is blocked until they can; a warning says so.
    pub async fn join(documents: Arc<dyn Documents>, clock: impl Clock + 'static) -> Self {
        let changes = documents.changes();
        let inner = Arc::new(Inner {
            documents,
            clock: Box::new(clock),
            snapshot: ArcSwap::default(),
            mark: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            meters: Meters::new(),
        });
        if let Err(error) = inner.look().await {
            tracing::warn!("who is blocked is not known yet, so nobody is: {error:#}");
        }
        let mut following = JoinSet::new();
        following.spawn(follow::follow(Arc::downgrade(&inner), changes));
        Self { inner, _following: Arc::new(following) }
    }

    /// Keeps `target` out for so long, here at once and on the other hosts as soon as they hear of it. A block of the same target is replaced.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Request`] if the duration is nothing or over [`LONGEST`](Self::LONGEST), or the reason over
    /// [`MAX_REASON_BYTES`](Self::MAX_REASON_BYTES), with [`ErrorKind::Conflict`] if there are [`MOST`](Self::MOST) already, and if the documents cannot be had.
    pub async fn block(&self, target: BlockTarget, duration: Duration, by: &str, reason: &str) -> Result<Block> {
        check(duration, reason)?;
        let now = self.inner.clock.now();
        let (by, reason) = (by.to_owned(), reason.to_owned());
        let block = Block { target, at: now, until: now.plus(duration), by, reason };
        self.inner.add(&block, now).await?;
        Ok(block)
    }

    /// Lets `target` in again. Whether it was blocked; what is blocked beside it stays so.
    ///
    /// # Errors
    ///
    /// Fails if the documents cannot be had.
    pub async fn unblock(&self, target: &BlockTarget) -> Result<bool> {
        self.inner.remove(target).await
    }

    /// Every block that has not ended, as this host knows them, by target.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Block>> {
        self.inner.snapshot.load().list(self.inner.clock.now())
    }

    /// The block that keeps this address out, if there is one.
    #[must_use]
    pub fn of_address(&self, address: IpAddr) -> Option<Arc<Block>> {
        let found = self.inner.snapshot.load().of_address(address, self.inner.clock.now());
        self.inner.meters.note(found)
    }

    /// The block that keeps the subject of this request out, if there is one. A subject that is an address is kept out with the address.
    #[must_use]
    pub fn of_request(&self, request: &Request<'_>) -> Option<Arc<Block>> {
        let snapshot = self.inner.snapshot.load();
        let found = snapshot.of_subject(request.tenant(), request.subject(), self.inner.clock.now());
        self.inner.meters.note(found)
    }

    /// How long `block` goes on.
    #[must_use]
    pub fn remaining(&self, block: &Block) -> Duration {
        block.until.since(self.inner.clock.now())
    }
}

fn check(duration: Duration, reason: &str) -> Result<()> {
    let wrong = |problem: String| Err(Error::new(ErrorKind::Request, problem));
    if duration.is_zero() || duration > Blocks::LONGEST {
        return wrong(format!("a block of {duration:?} is not 1 s to 366 days"));
    }
    if reason.len() > Blocks::MAX_REASON_BYTES || reason.contains(char::is_control) {
        let most = Blocks::MAX_REASON_BYTES;
        return wrong(format!("the reason is over {most} bytes, or holds a control character"));
    }
    Ok(())
}

impl Inner {
    async fn add(&self, block: &Block, now: Timestamp) -> Result<()> {
        let kept = self.documents.list(SHELF).await?;
        let (ended, going): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|document| Block::read(document).is_none_or(|kept| kept.until <= now));
        for document in ended {
            self.documents.remove(SHELF, &document.name).await?;
        }
        let name = block.target.name();
        if going.len() >= Blocks::MOST && going.iter().all(|document| document.name != name) {
            let message =
                format!("there are {} blocks already: unblock some, or block a network of them", Blocks::MOST);
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        self.documents.put(SHELF, &name, &block.write()?).await?;
        self.changed().await
    }

    async fn remove(&self, target: &BlockTarget) -> Result<bool> {
        let name = target.name();
        let known = self.documents.get(SHELF, &name).await?;
        self.documents.remove(SHELF, &name).await?;
        self.changed().await?;
        Ok(known.and_then(|bytes| Block::parse(&bytes)).is_some_and(|block| block.until > self.clock.now()))
    }

    /// Tells all hosts, this one first.
    async fn changed(&self) -> Result<()> {
        self.documents.put(MARKS, MARK, &draw::<16>()?).await?;
        self.look().await?;
        self.documents.announce().await
    }

    fn mark(&self) -> Option<Vec<u8>> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_mark(&self, mark: Option<Vec<u8>>) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("count", &self.inner.snapshot.load().len()).finish_non_exhaustive()
    }
}
