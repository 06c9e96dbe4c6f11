//! What guests write into the log while they are tried.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

static LINES: AtomicU64 = AtomicU64::new(0);
static UNESCAPED: AtomicU64 = AtomicU64::new(0);

/// What guests wrote since [`listen`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// How many lines.
    pub(crate) lines: u64,
    /// How many of them hold a control character.
    pub(crate) unescaped: u64,
}

/// Takes note of what is written from now on.
///
/// # Errors
///
/// Fails if somebody else listens already.
pub(crate) fn listen() -> anyhow::Result<()> {
    Ok(tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Log))?)
}

/// What was written so far.
pub(crate) fn written() -> Written {
    Written { lines: LINES.load(Ordering::Relaxed), unescaped: UNESCAPED.load(Ordering::Relaxed) }
}

struct Log;

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "tollgate::guest" {
            return;
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.fetch_add(1, Ordering::Relaxed);
        UNESCAPED.fetch_add(u64::from(line.0.contains(char::is_control)), Ordering::Relaxed);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a text cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}
