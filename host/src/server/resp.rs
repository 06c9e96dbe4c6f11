//! The listener that speaks as Redis does.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::listen::{GRACE, Serving, accept};
use crate::config::RespConfig;
use crate::error::Result;
use crate::gate::Tollgate;
use crate::resp::{Service, converse};

/// Connections at once. One more waits to be accepted.
const CONNECTIONS: usize = 1_024;

/// The commands of redis-cell, bound to their address.
#[derive(Debug)]
pub struct Resp {
    serving: Serving,
    service: Arc<Service>,
}

impl Resp {
    /// Binds the address of `config`.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::System`](crate::error::ErrorKind::System) if it is taken or not ours.
    pub async fn bind(config: &RespConfig, gate: Tollgate) -> Result<Self> {
        let serving = Serving::bind(config.listen, "TOLLGATE_RESP_LISTEN").await?;
        Ok(Self { serving, service: Arc::new(Service::new(gate, config)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// Answers until it is told to stop, then lets every command under way end.
    pub(super) async fn answer(self, mut stopping: watch::Receiver<bool>) {
        let Self { serving, service } = self;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer, place) = tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&serving.listener, &places) => accepted,
            };
            let (service, stopping) = (Arc::clone(&service), stopping.clone());
            connections.spawn(async move {
                if let Err(error) = converse(&service, stream, stopping).await {
                    tracing::debug!(%peer, "connection ended early: {error}");
                }
                drop(place);
            });
        }
        drop(serving);
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("some commands did not end within {GRACE:?}; their connections are closed");
        }
    }
}
