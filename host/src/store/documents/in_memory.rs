//! Documents that end with the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Document, Documents, Promise, check_name};
use crate::error::Result;
use crate::time::{Clock, SystemClock, Timestamp};

/// Documents in the memory of this process: for one host, and for tests.
#[derive(Debug)]
pub struct DocumentMemory {
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Held {
    shelves: HashMap<String, BTreeMap<String, (Timestamp, Vec<u8>)>>,
    logs: HashMap<String, VecDeque<Vec<u8>>>,
}

impl Default for DocumentMemory {
    fn default() -> Self {
        Self::new(SystemClock::new())
    }
}

impl DocumentMemory {
    /// No documents yet. `clock` tells how old each is.
    pub fn new(clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), held: Mutex::default(), changes: watch::Sender::new(0) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each change is one step, so what a panic left behind is whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shelf: &str, name: &str, bytes: &[u8], may: impl FnOnce(Option<&[u8]>) -> bool) -> Result<bool> {
        check_name(shelf)?;
        check_name(name)?;
        let mut held = self.held();
        let shelf = held.shelves.entry(shelf.to_owned()).or_default();
        if !may(shelf.get(name).map(|(_, bytes)| bytes.as_slice())) {
            return Ok(false);
        }
        shelf.insert(name.to_owned(), (self.clock.now(), bytes.to_vec()));
        Ok(true)
    }
}

fn ready<'a, T: Send + 'a>(answer: Result<T>) -> Promise<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Documents for DocumentMemory {
    fn get<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, Option<Vec<u8>>> {
        let held = self.held();
        ready(Ok(held.shelves.get(shelf).and_then(|shelf| shelf.get(name)).map(|(_, bytes)| bytes.clone())))
    }

    fn put<'a>(&'a self, shelf: &'a str, name: &'a str, bytes: &'a [u8]) -> Promise<'a, ()> {
        ready(self.write(shelf, name, bytes, |_| true).map(drop))
    }

    fn replace<'a>(
        &'a self,
        shelf: &'a str,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Promise<'a, bool> {
        ready(self.write(shelf, name, bytes, |there| there == expected))
    }

    fn remove<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, ()> {
        if let Some(shelf) = self.held().shelves.get_mut(shelf) {
            shelf.remove(name);
        }
        ready(Ok(()))
    }

    fn list<'a>(&'a self, shelf: &'a str) -> Promise<'a, Vec<Document>> {
        let (held, now) = (self.held(), self.clock.now());
        let document = |(name, (put, bytes)): (&String, &(Timestamp, Vec<u8>))| Document {
            name: name.clone(),
            bytes: bytes.clone(),
            age: now.since(*put),
        };
        ready(Ok(held.shelves.get(shelf).into_iter().flatten().map(document).collect()))
    }

    fn append<'a>(&'a self, log: &'a str, entry: &'a [u8], keep: usize) -> Promise<'a, ()> {
        let mut held = self.held();
        let log = held.logs.entry(log.to_owned()).or_default();
        log.push_back(entry.to_vec());
        let beyond = log.len().saturating_sub(keep);
        log.drain(..beyond);
        ready(Ok(()))
    }

    fn tail<'a>(&'a self, log: &'a str, count: usize) -> Promise<'a, Vec<Vec<u8>>> {
        let held = self.held();
        let entries = held.logs.get(log);
        let last = entries.map(|log| log.iter().skip(log.len().saturating_sub(count)).cloned().collect());
        ready(Ok(last.unwrap_or_default()))
    }

    fn announce(&self) -> Promise<'_, ()> {
        self.changes.send_modify(|count| *count += 1);
        ready(Ok(()))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
