//! Following what other hosts block: by what is announced, and by looking from time to time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::records::Block;
use super::snapshot::Snapshot;
use super::{Blocks, Inner, MARK, MARKS, SHELF};
use crate::error::Result;
use crate::gate::draw;

/// How often a host looks whether it missed something.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn follow(inner: Weak<Inner>, mut changes: watch::Receiver<u64>) {
    let mut failed = false;
    loop {
        tokio::select! {
            Ok(()) = changes.changed() => {}
            () = sleep(LOOK) => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        let looked = inner.look().await;
        if let (Err(error), false) = (&looked, failed) {
            tracing::warn!("cannot follow who is blocked, and go on with what is known: {error:#}");
        }
        failed = looked.is_err();
    }
}

impl Inner {
    /// Sees that what is blocked is blocked here.
    pub(super) async fn look(&self) -> Result<()> {
        let _one_at_a_time = self.changing.lock().await;
        let (mark, known) = (self.documents.get(MARKS, MARK).await?, self.mark());
        if mark == known {
            return Ok(());
        }
        if mark.is_none() {
            return self.restore().await;
        }
        let kept = self.documents.list(SHELF).await?;
        let blocks = kept.iter().filter_map(Block::read).take(Blocks::MOST).map(Arc::new);
        self.snapshot.store(Arc::new(Snapshot::of(blocks)));
        self.set_mark(mark);
        Ok(())
    }

    /// Brings what is blocked back to a store that lost it: emptied, or evicted from. Nobody is let in by that.
    async fn restore(&self) -> Result<()> {
        let mark = draw::<16>()?;
        let going = self.snapshot.load().list(self.clock.now());
        for block in &going {
            self.documents.put(SHELF, &block.target.name(), &block.write()?).await?;
        }
        // Another host may have been faster, or somebody has blocked anew: then both are read.
        if self.documents.replace(MARKS, MARK, None, &mark).await? {
            self.set_mark(Some(mark.to_vec()));
        }
        tracing::warn!("the store had lost who is blocked; {} blocks are restored", going.len());
        self.documents.announce().await
    }
}
