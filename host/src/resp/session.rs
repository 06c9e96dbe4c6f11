//! What a connection knows of its client.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::Service;
use super::reply::{Protocol, Reply};
use crate::config::KeyDigest;

/// One client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) name: Bytes,
    pub(super) protocol: Protocol,
    pub(super) is_let_in: bool,
    /// Whether it is to be closed, once it has been answered.
    pub(super) is_over: bool,
    wrong_passwords: u32,
}

/// After how many wrong passwords a connection is closed.
const MOST_WRONG: u32 = 3;
/// The only user.
const USER: &[u8] = b"default";

impl Session {
    pub(super) fn new(service: &Service) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            id: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            name: Bytes::new(),
            protocol: Protocol::default(),
            is_let_in: service.password.is_none(),
            is_over: false,
            wrong_passwords: 0,
        }
    }

    /// As it was when the client connected.
    pub(super) fn reset(&mut self, service: &Service) {
        self.protocol = Protocol::default();
        self.name = Bytes::new();
        self.is_let_in = service.password.is_none();
    }

    /// Lets the client in if it shows the password.
    pub(super) fn let_in(&mut self, service: &Service, user: &[u8], password: &[u8]) -> Result<(), Reply> {
        let Some(expected) = &service.password else {
            return Err(Reply::error("ERR AUTH was sent, and this server has no TOLLGATE_RESP_PASSWORD"));
        };
        // Digests are compared, so that the time taken tells nothing of the password.
        let shown = std::str::from_utf8(password).map(KeyDigest::of);
        if user == USER && shown.is_ok_and(|shown| shown.matches(expected)) {
            self.is_let_in = true;
            return Ok(());
        }
        self.wrong_passwords += 1;
        self.is_over = self.wrong_passwords >= MOST_WRONG;
        Err(Reply::error("WRONGPASS invalid username-password pair or user is disabled."))
    }
}
