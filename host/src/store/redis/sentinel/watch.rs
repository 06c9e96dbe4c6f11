//! Follows the master: hears of a change, and looks for one in case nobody tells.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisResult};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answer::{SWITCH, switched};
use super::{Dial, Sentinels, Server, within};

/// The master as the sentinels name it, followed for as long as this lives.
#[derive(Debug)]
pub(in crate::store::redis) struct Watch {
    /// Where it is now. Whoever takes its place has said itself that it is a master.
    pub(in crate::store::redis) master: watch::Receiver<Server>,
    // Ends with us.
    _task: JoinSet<()>,
}

impl Sentinels {
    /// Follows the master, which is at `current` as far as we know.
    ///
    /// All sentinels are asked two to four times a second, and at once if the one that we listen to tells of a change: none that is dead, deaf or
    /// wrong keeps a change from us for long.
    pub(in crate::store::redis) fn watch(self: &Arc<Self>, current: Server) -> Watch {
        let (sender, master) = watch::channel(current);
        let mut task = JoinSet::new();
        task.spawn(follow(Arc::clone(self), sender));
        Watch { master, _task: task }
    }

    /// Listens to one sentinel.
    pub(super) async fn listen(&self, sentinel: &Server) -> RedisResult<News> {
        let (sender, heard) = unbounded_channel();
        let subscribed = async {
            let mut connection = self.dial.open(sentinel, Some(sender)).await?;
            connection.subscribe(SWITCH).await?;
            Ok(News { heard, _connection: connection })
        };
        within(Dial::SEVERAL, subscribed).await
    }
}

/// What one sentinel tells.
pub(super) struct News {
    heard: UnboundedReceiver<PushInfo>,
    _connection: MultiplexedConnection,
}

async fn follow(sentinels: Arc<Sentinels>, sender: watch::Sender<Server>) {
    let (mut news, mut known) = (None, None);
    loop {
        let next = Instant::now() + jittered();
        if let Ok(found) = sentinels.find(known.as_ref()).await {
            sender.send_if_modified(|master| std::mem::replace(master, found.server.clone()) != found.server);
            if news.is_none() {
                news = sentinels.listen(&found.sentinel).await.ok();
            }
            known = Some(found);
        }
        hear(&mut news, &sentinels.master, next).await;
    }
}

/// Waits until there are news of a change, or until it is time to ask. News that end are taken away.
pub(super) async fn hear(news: &mut Option<News>, master: &str, until: Instant) {
    while let Some(News { heard, .. }) = news {
        match timeout_at(until, heard.recv()).await {
            Ok(Some(info)) if switched(&info, master) => return,
            Ok(Some(info)) if info.kind != PushKind::Disconnection => {}
            Ok(_) => *news = None,
            Err(_) => return,
        }
    }
    sleep_until(until).await;
}

/// Between a quarter and half a second: hosts that started together need not ask together.
fn jittered() -> Duration {
    Duration::from_millis(250 + RandomState::new().hash_one(0) % 250)
}
