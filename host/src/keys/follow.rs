//! Following what other hosts invalidate: by what is announced, and by looking from time to time.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::cache::Inner;
use super::revocations::{Notice, Revoked};
use super::shared::News;
use crate::time::Timestamp;

/// How often a host looks whether it missed a notice.
const LOOK: Duration = Duration::from_secs(2);

/// Heeds what other hosts invalidate, for as long as there is a cache.
pub(super) async fn follow(inner: Weak<Inner>, mut changes: watch::Receiver<u64>) {
    loop {
        tokio::select! {
            Ok(()) = changes.changed() => {}
            () = sleep(LOOK) => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        inner.catch_up().await;
    }
}

impl Inner {
    /// Forgets what was invalidated, and says so.
    pub(super) fn heed(&self, what: &Revoked, at: Timestamp) {
        self.revocations.add(what, at, &self.local);
        self.meters.invalidate(&what.told());
    }

    /// Forgets what other hosts invalidated.
    pub(super) async fn catch_up(&self) {
        let Some(shared) = &self.shared else { return };
        let news = match shared.news().await {
            Ok(news) => news,
            Err(error) => {
                tracing::debug!("what was invalidated of API keys is not known now: {error:#}");
                return;
            }
        };
        // By our own clock: whatever theirs says, what is here was said before.
        let now = self.clock.now();
        match news {
            News::Nothing => {}
            News::Past(notices, is_cut) => self.heed_past(&notices, is_cut, now),
            News::Notices(notices) => notices.iter().for_each(|notice| self.heed(notice.meaning(&self.hasher), now)),
            News::Lost => self.heed(&Revoked::All, now),
        }
    }

    /// What was invalidated before this host came: what the fleet knew by then is void.
    fn heed_past(&self, notices: &[Notice], is_cut: bool, now: Timestamp) {
        let at = |notice: &Notice| Timestamp::from_micros(notice.at_us).min(now);
        notices.iter().for_each(|notice| self.revocations.add(notice.meaning(&self.hasher), at(notice), &self.local));
        if let Some(oldest) = notices.first().filter(|_| is_cut) {
            self.revocations.add(&Revoked::All, at(oldest), &self.local);
        }
    }
}
