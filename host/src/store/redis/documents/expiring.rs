//! What hosts share for a while, in Redis: a string each, which expires.

use std::time::Duration;

use redis::Cmd;

use super::{RedisDocuments, cmd};
use crate::store::documents::{Expiring, Promise};

impl RedisDocuments {
    fn set(&self, name: &str, bytes: &[u8], ttl: Duration) -> Vec<Cmd> {
        let mut set = cmd("SET", &self.inner.key(name));
        set.arg(bytes).arg("PX").arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
        vec![set]
    }
}

impl Expiring for RedisDocuments {
    fn recall<'a>(&'a self, name: &'a str) -> Promise<'a, Option<Vec<u8>>> {
        self.run([name, name], vec![cmd("GET", &self.inner.key(name))])
    }

    fn keep<'a>(&'a self, name: &'a str, bytes: &'a [u8], ttl: Duration) -> Promise<'a, ()> {
        self.run([name, name], self.set(name, bytes, ttl))
    }

    fn forget<'a>(&'a self, name: &'a str) -> Promise<'a, ()> {
        // As good as gone, by commands that counting needs anyway: no right more for the user of Redis.
        self.run([name, name], self.set(name, b"", Duration::ZERO))
    }
}
