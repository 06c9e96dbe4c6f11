//! The commands of redis-cell, as Redis speaks: RESP2, and RESP3 after `HELLO 3`.
//!
//! `CL.THROTTLE` is one decision of the tier `throttle`, whose policy gets the caller's numbers as attributes of the request; so it is counted, watched, tried
//! in shadow and replaced as every other. Beside it there is what clients say when they connect.

mod command;
mod connection;
mod frame;
mod reply;
mod session;
mod throttle;

use crate::config::{KeyDigest, RespConfig};
use crate::gate::Tollgate;

pub(crate) use connection::converse;

/// What every connection answers with.
#[derive(Clone, Debug)]
pub struct Service {
    gate: Tollgate,
    password: Option<KeyDigest>,
}

impl Service {
    /// Decides by `gate`, for those whom `config` lets in.
    #[must_use]
    pub fn new(gate: Tollgate, config: &RespConfig) -> Self {
        Self { gate, password: config.password.as_ref().map(|password| KeyDigest::of(password.reveal())) }
    }
}
