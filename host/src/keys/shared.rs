//! What hosts share of keys: entries in the store, and the list of what was invalidated.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::hash::{Hasher, KeyHash, Said};
use super::revocations::{Notice, Revoked};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::draw;
use crate::store::Documents;
use crate::time::Timestamp;

/// The documents of the fleet, as far as keys are concerned.
pub(super) struct Shared {
    pub(super) documents: Arc<dyn Documents>,
    /// Whether hosts hash keys alike, so that they can read what others wrote.
    pub(super) entries: bool,
    /// Until when the store is not asked for entries: it just failed.
    resting_us: AtomicU64,
    /// The last notice that was read, once the list was; none inside, if it was empty.
    read: Mutex<Option<Option<String>>>,
    /// What the ids of our own notices begin with.
    own: String,
    written: AtomicU64,
}

/// What is new in the list.
pub(super) enum News {
    Nothing,
    /// What was written before we came, and whether the list is too short to tell all of it.
    Past(Vec<Notice>, bool),
    Notices(Vec<Notice>),
    /// More happened than the list tells.
    Lost,
}

const LIST: &str = "key-revocations";
/// How many lines are kept.
const KEPT: usize = 256;
/// The longest line that is read, in bytes: of the longest tenant, each character escaped, it is half as long.
const LONGEST_LINE: usize = 1024;
/// How long the store may take for an entry: the source may be asked as well.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long it is left alone after it failed.
const REST: Duration = Duration::from_secs(1);

impl Shared {
    /// # Errors
    ///
    /// Fails if the machine gives no random bytes.
    pub(super) fn new(documents: Arc<dyn Documents>, entries: bool) -> Result<Self> {
        let own = draw::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let (resting_us, written) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { documents, entries, resting_us, read: Mutex::new(None), own, written })
    }

    /// What the fleet knows of a key, if it is what one of its hosts wrote.
    pub(super) async fn recall(&self, hasher: &Hasher, hash: &KeyHash, now: Timestamp) -> Option<Said> {
        let expiring = self.documents.expiring().filter(|_| self.may_ask(now))?;
        let sealed = timeout(PATIENCE, expiring.recall(&name(hash))).await;
        let sealed = self.answered(sealed.ok().and_then(Result::ok), now)??;
        let said = hasher.open(hash, &sealed);
        if said.is_none() && !sealed.is_empty() {
            tracing::warn!("what the store has of {hash} was not written by a host of this fleet; it is not believed");
        }
        said
    }

    pub(super) async fn keep(&self, hasher: &Hasher, hash: &KeyHash, said: &Said, now: Timestamp) {
        let Some(expiring) = self.documents.expiring().filter(|_| self.may_ask(now)) else { return };
        let (name, sealed) = (name(hash), hasher.seal(hash, said));
        let kept = timeout(PATIENCE, expiring.keep(&name, &sealed, said.until.since(now))).await;
        self.answered(kept.ok().and_then(Result::ok), now);
    }

    fn may_ask(&self, now: Timestamp) -> bool {
        self.entries && now.as_micros() >= self.resting_us.load(Ordering::Relaxed)
    }

    fn answered<T>(&self, answer: Option<T>, now: Timestamp) -> Option<T> {
        if answer.is_none() {
            self.resting_us.store(now.plus(REST).as_micros(), Ordering::Relaxed);
        }
        answer
    }

    /// Takes away what the fleet knows, and tells every host.
    pub(super) async fn revoke(&self, hasher: &Hasher, what: &Revoked, now: Timestamp) -> Result<()> {
        let id = format!("{}-{}", self.own, self.written.fetch_add(1, Ordering::Relaxed));
        let notice = Notice { id, at_us: now.as_micros(), hasher: hasher.name().to_owned(), what: what.clone() };
        let line = serde_json::to_vec(&notice)
            .map_err(|error| Error::new(ErrorKind::System, "failed to write a notice").because(error))?;
        self.documents.append(LIST, &line, KEPT).await?;
        self.documents.announce().await?;
        if let (Revoked::Key(hash), Some(expiring)) = (what, self.documents.expiring().filter(|_| self.entries)) {
            expiring.forget(&name(hash)).await?;
        }
        Ok(())
    }

    /// What is in the list that was not read yet, but for our own.
    pub(super) async fn news(&self) -> Result<News> {
        let last = self.documents.tail(LIST, 1).await?.pop().and_then(|line| parse(&line)).map(|notice| notice.id);
        if self.read().as_ref() == Some(&last) {
            return Ok(News::Nothing);
        }
        let lines = self.documents.tail(LIST, KEPT).await?;
        let is_full = lines.len() >= KEPT;
        let mut notices: Vec<Notice> = lines.iter().filter_map(|line| parse(line)).collect();
        let before = self.read().replace(notices.last().map(|notice| notice.id.clone()));
        match before {
            None => return Ok(News::Past(notices, is_full)),
            Some(None) if is_full => return Ok(News::Lost),
            Some(None) => {}
            Some(Some(known)) => match notices.iter().position(|notice| notice.id == known) {
                Some(at) => drop(notices.drain(..=at)),
                None => return Ok(News::Lost),
            },
        }
        notices.retain(|notice| !notice.id.starts_with(&self.own));
        Ok(News::Notices(notices))
    }

    fn read(&self) -> MutexGuard<'_, Option<Option<String>>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an entry is called.
fn name(hash: &KeyHash) -> String {
    format!("key-{}", hash.to_hex())
}

fn parse(line: &[u8]) -> Option<Notice> {
    serde_json::from_slice(line).ok().filter(|_| line.len() <= LONGEST_LINE)
}
