//! The connection of a driver: when one is opened, given up and taken for silent.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisResult};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Driver;
use crate::store::redis::fault;
use crate::store::redis::job::Failure;
use crate::store::redis::node::{self, Place};

/// How long to wait before a server is tried again that refused a connection, that spoke nonsense, and that did not answer.
const AFTER_REFUSAL: Duration = Duration::from_millis(25);
const AFTER_NONSENSE: Duration = Duration::from_millis(250);
const AFTER_SILENCE: Duration = Duration::from_secs(1);
/// For how long a server that is away is tried as often as that; then once a second.
const SHORT_OUTAGE: Duration = Duration::from_secs(30);

/// A connection that is being opened.
pub(super) type Opening = Pin<Box<dyn Future<Output = RedisResult<MultiplexedConnection>> + Send>>;
pub(super) type Pushes = mpsc::UnboundedReceiver<PushInfo>;

/// A connection that is open.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) pushes: Pushes,
    pub(super) number: u64,
    pub(super) under_way: usize,
    pub(super) heard: Instant,
}

impl Driver {
    /// Gives the connection up, and opens another.
    pub(super) fn reopen(&mut self) {
        self.link = None;
        // What it waits for is another attempt beside a connection that was silent.
        self.open_again = None;
        self.open();
    }

    /// Turns to the new master, whatever became of the old one.
    pub(super) fn follow(&mut self) {
        self.name = self.dial.name(&self.place.server());
        self.opening = None;
        self.reopen();
    }

    pub(super) fn open(&mut self) {
        if self.opening.is_some() || self.open_again.is_some() {
            return;
        }
        let (sender, pushes) = mpsc::unbounded_channel();
        let (dial, server) = (self.dial.clone(), self.place.server());
        let check = self.place.check();
        let opening = async move { node::open(&dial, &server, sender, check).await };
        self.opening = Some((Box::pin(opening), pushes));
    }

    pub(super) fn opened(&mut self, opened: RedisResult<MultiplexedConnection>, pushes: Pushes) {
        self.opening = None;
        match opened {
            Ok(connection) => {
                self.last_number += 1;
                (self.down, self.down_since) = (None, None);
                let heard = Instant::now();
                self.link = Some(Link { connection, pushes, number: self.last_number, under_way: 0, heard });
            }
            Err(error) => {
                let fault = fault::unopened(&self.name, &error);
                let pause = match () {
                    () if error.is_connection_refusal() || error.code().is_some() => AFTER_REFUSAL,
                    () if error.is_timeout() => AFTER_SILENCE,
                    () => AFTER_NONSENSE,
                };
                let now = Instant::now();
                let is_long = now.duration_since(*self.down_since.get_or_insert(now)) > SHORT_OUTAGE;
                let again = now + if is_long { pause.max(AFTER_SILENCE) } else { pause };
                self.open_again = Some(again);
                self.remind(again);
                if self.link.is_none() {
                    let failure = Failure { fault: fault.clone(), turn: self.turn_away() };
                    self.waiting.drain(..).for_each(|job| job.fail(failure.clone()));
                    self.down = Some(fault);
                }
            }
        }
    }

    /// Since when an answer is due and nothing was heard.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        let link = self.link.as_ref()?;
        let oldest = self.under_way.iter().filter(|call| call.link == link.number).map(|call| call.sent).min()?;
        Some(oldest.max(link.heard))
    }
}

/// Waits for a connection that is being opened; for ever, if none is.
pub(super) async fn opened(opening: &mut Option<(Opening, Pushes)>) -> (RedisResult<MultiplexedConnection>, Pushes) {
    let Some((opened, _)) = opening else { return pending().await };
    let opened = opened.await;
    let (_, pushes) = opening.take().expect("it was there a moment ago");
    (opened, pushes)
}

/// Waits until the server hangs up.
pub(super) async fn lost(link: &mut Option<Link>) {
    let Some(link) = link else { return pending().await };
    while let Some(push) = link.pushes.recv().await {
        if push.kind == PushKind::Disconnection {
            return;
        }
    }
}

/// Waits until another server is the one.
pub(super) async fn moved(place: &mut Place) {
    // The watch lives as long as we do.
    if let Place::Master(watch) = place
        && watch.master.changed().await.is_ok()
    {
        return;
    }
    pending().await
}
