//! What the product tells the operator while a row is tried.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

static WARNINGS: AtomicU64 = AtomicU64::new(0);
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// More lines than any row reads.
const LINES_KEPT: usize = 1_000;

/// Takes note of what is told from now on.
///
/// # Errors
///
/// Fails if somebody else listens already.
pub(crate) fn listen() -> anyhow::Result<()> {
    Ok(tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Journal))?)
}

/// How many warnings and errors there were so far.
pub(crate) fn warnings() -> u64 {
    WARNINGS.load(Ordering::Relaxed)
}

/// What was told since this was last asked.
pub(crate) fn told() -> Vec<String> {
    std::mem::take(&mut *lines())
}

struct Journal;

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::INFO || !event.metadata().target().starts_with("tollgate") {
            return;
        }
        WARNINGS.fetch_add(u64::from(level <= Level::WARN), Ordering::Relaxed);
        let mut line = Line(format!("{level}"));
        event.record(&mut line);
        let mut lines = lines();
        if lines.len() < LINES_KEPT {
            lines.push(line.0);
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text cannot fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

fn lines() -> MutexGuard<'static, Vec<String>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}
