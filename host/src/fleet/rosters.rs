//! The rosters that a host has at hand: the active one, and earlier ones for an instant return.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::document::RosterDocument;
use super::records::{Activation, PolicyRecord, Revision};
use crate::gate::Prepared;

/// What a host has at hand.
#[derive(Debug)]
pub(super) struct Rosters {
    own: Prepared,
    own_document: Option<RosterDocument>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    applied: Option<Applied>,
    /// Why what is active is not applied, if it is not.
    error: Option<String>,
    /// By revision, the newest last.
    ready: VecDeque<(u64, Ready)>,
}

/// A roster that is ready, with all that it takes to bring it back to a registry that lost it.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) prepared: Prepared,
    pub(super) revision: Option<Arc<Revision>>,
    pub(super) policies: Vec<(PolicyRecord, Arc<[u8]>)>,
}

/// What this host runs.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    pub(super) activation: Activation,
    pub(super) ready: Ready,
}

/// How many rosters are kept compiled.
const KEPT: usize = 4;

impl Rosters {
    pub(super) fn new(own: Prepared, own_document: Option<RosterDocument>) -> Self {
        Self { own, own_document, held: Mutex::default() }
    }

    /// The roster of this revision, if it is at hand.
    pub(super) fn ready(&self, revision: u64) -> Option<Ready> {
        if revision == 0 {
            return Some(Ready { prepared: self.own.clone(), revision: None, policies: Vec::new() });
        }
        self.held().ready.iter().find(|(known, _)| *known == revision).map(|(_, ready)| ready.clone())
    }

    pub(super) fn keep(&self, revision: u64, ready: Ready) {
        let mut held = self.held();
        held.ready.retain(|(known, _)| *known != revision);
        held.ready.push_back((revision, ready));
        if held.ready.len() > KEPT {
            held.ready.pop_front();
        }
    }

    pub(super) fn applied(&self) -> Option<Applied> {
        self.held().applied.clone()
    }

    pub(super) fn apply(&self, applied: Option<Applied>) {
        let mut held = self.held();
        (held.applied, held.error) = (applied, None);
    }

    pub(super) fn error(&self) -> Option<String> {
        self.held().error.clone()
    }

    pub(super) fn fail(&self, error: Option<String>) {
        self.held().error = error;
    }

    /// The roster of the host's own configuration.
    pub(super) fn own_document(&self) -> Option<&RosterDocument> {
        self.own_document.as_ref()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each change is one step, so what a panic left behind is whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
