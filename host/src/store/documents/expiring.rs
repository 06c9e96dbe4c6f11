//! What hosts share for a while.

use std::fmt;
use std::time::Duration;

use super::Promise;

/// Bytes that hosts share under a name until they expire: a cache, which may lose what it has at any moment.
///
/// Names are those of [`Documents`](super::Documents). Every operation fails with [`ErrorKind::Store`](crate::ErrorKind::Store) if the store cannot be asked.
pub trait Expiring: fmt::Debug + Send + Sync + 'static {
    /// What is kept under this name, if it has not expired.
    fn recall<'a>(&'a self, name: &'a str) -> Promise<'a, Option<Vec<u8>>>;

    /// Keeps `bytes` for so long, in the place of what may be there.
    fn keep<'a>(&'a self, name: &'a str, bytes: &'a [u8], ttl: Duration) -> Promise<'a, ()>;

    /// Forgets what is there, if something is.
    fn forget<'a>(&'a self, name: &'a str) -> Promise<'a, ()>;
}
