//! Documents that hosts share: policies, rosters, who is there.

mod directory;
mod expiring;
mod in_memory;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;

pub use self::directory::DocumentDirectory;
pub use self::expiring::Expiring;
pub use self::in_memory::DocumentMemory;
use crate::error::{Error, ErrorKind, Result};

/// What is on its way.
pub type Promise<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A few documents on named shelves, and logs, that hosts share.
///
/// Not for decisions: operations take milliseconds, and wait some seconds for a store that is away. Shelves, documents and logs are named by 1 to
/// 128 of `A-Z a-z 0-9 . _ -`, the first of which is not a dot. Every operation fails with [`ErrorKind::Store`] if the store cannot be asked.
pub trait Documents: fmt::Debug + Send + Sync + 'static {
    /// The document, if there is one.
    fn get<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, Option<Vec<u8>>>;

    /// Puts a document there, in the place of the one that may be there.
    fn put<'a>(&'a self, shelf: &'a str, name: &'a str, bytes: &'a [u8]) -> Promise<'a, ()>;

    /// The same, but only if what is there is `expected`; with none, if nothing is. Whether it was.
    fn replace<'a>(
        &'a self,
        shelf: &'a str,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Promise<'a, bool>;

    /// Takes a document away, if there is one.
    fn remove<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, ()>;

    /// Every document of a shelf, by name.
    fn list<'a>(&'a self, shelf: &'a str) -> Promise<'a, Vec<Document>>;

    /// Adds an entry to a log, of which the last `keep` are kept.
    fn append<'a>(&'a self, log: &'a str, entry: &'a [u8], keep: usize) -> Promise<'a, ()>;

    /// The last entries of a log, the newest last.
    fn tail<'a>(&'a self, log: &'a str, count: usize) -> Promise<'a, Vec<Vec<u8>>>;

    /// Tells every host that something changed.
    fn announce(&self) -> Promise<'_, ()>;

    /// Changes when somebody announces a change, and when one may have been missed. Hosts that share a directory hear only of their own:
    /// whoever must know of every change looks from time to time as well.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Where hosts keep for a while what they share, if there is such a place beside the documents.
    fn expiring(&self) -> Option<&dyn Expiring> {
        None
    }
}

/// A document on a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: String,
    /// What it says.
    pub bytes: Vec<u8>,
    /// How long ago it was put there, by the clock of the store.
    pub age: Duration,
}

const LONGEST_NAME: usize = 128;

/// Refuses a name that no file and no key should have.
pub(super) fn check_name(name: &str) -> Result<()> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(sound) && !name.starts_with('.') {
        return Ok(());
    }
    let message = format!(
        "`{}` is no name of a document: 1 to {LONGEST_NAME} of A-Z a-z 0-9 . _ -, the first of them no dot",
        name.escape_debug()
    );
    Err(Error::new(ErrorKind::Store, message))
}
