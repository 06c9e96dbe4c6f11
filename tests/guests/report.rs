//! What is told of the guests: a line for each while they are tried, or one JSON document.

use std::io::{self, Write as _};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_tests::guests::{Ends, Evil};

use crate::trial::Trial;

/// A guest that has been tried.
pub(crate) struct Tried {
    /// The guest.
    pub(crate) guest: &'static Evil,
    /// What was seen.
    pub(crate) trial: Trial,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Tried {
    pub(crate) fn is_contained(&self) -> bool {
        self.trial.failures.is_empty()
    }

    fn verdict(&self) -> &'static str {
        if self.is_contained() { "contained" } else { "NOT CONTAINED" }
    }

    fn contained_by(&self) -> String {
        let counts = self
            .trial
            .contained_by
            .iter()
            .map(|(what, times)| format!("{times} {}", what.trim_start_matches("policy-fault ")));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// Whether the deadline was kept; nothing is said of what is only loaded, since nobody waits for it.
    fn deadline_kept(&self) -> &'static str {
        match self.trial.late {
            _ if !self.guest.is_asked() => "-",
            0 => "yes",
            _ => "NO",
        }
    }

    fn ratio(&self) -> f64 {
        self.trial.p99_us as f64 / self.trial.usual_p99_us.max(1) as f64
    }
}

/// Which guests there are, what they do, and how they end.
pub(crate) fn list(guests: &[&Evil]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for Evil { name, does, ends, .. } in guests {
        writeln!(out, "{name:<24} {does}: {}", ending(*ends))?;
    }
    Ok(())
}

fn ending(ends: Ends) -> String {
    match ends {
        Ends::Refused(_) => "refused when loaded".to_owned(),
        Ends::Loads => "refused, or loaded in its time".to_owned(),
        Ends::Fault(kind) => format!("fault `{}`", kind.name()),
        Ends::EverySecond(kind) => format!("fault `{}` every second time", kind.name()),
        Ends::Decides(verdict) => format!("decides `{}`, and comes to nothing", verdict.name()),
        Ends::Waits => "the rule for the store".to_owned(),
    }
}

/// The head of the table.
pub(crate) fn head() -> io::Result<()> {
    writeln!(
        io::stdout().lock(),
        "{:<24} {:<40} {:>5} {:>8} {:>6} {:>21} {:>6} {:>10} {:>16}  verdict",
        "guest",
        "contained by",
        "asked",
        "max ms",
        "kept D",
        "neighbour's p99 us",
        "ratio",
        "wrong of",
        "RSS MiB"
    )
}

/// One line of the table, as soon as the guest is tried.
pub(crate) fn line(tried: &Tried) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Tried { guest, trial, .. } = tried;
    writeln!(
        out,
        "{:<24} {:<40} {:>5} {:>8.1} {:>6} {:>21} {:>6.2} {:>10} {:>16}  {}",
        guest.name,
        tried.contained_by(),
        trial.asked,
        trial.slowest_us as f64 / 1_000.0,
        tried.deadline_kept(),
        format!("{} -> {}", trial.usual_p99_us, trial.p99_us),
        tried.ratio(),
        format!("{} of {}", trial.wrong, trial.neighbour),
        trial.rss_kib.map(|kib| format!("{:.1}", kib as f64 / 1_024.0)).join(" -> "),
        tried.verdict(),
    )?;
    for failure in &trial.failures {
        writeln!(out, "    failed: {failure}")?;
    }
    for note in &trial.notes {
        writeln!(out, "    {note}")?;
    }
    out.flush()
}

/// The last line: how many of how many.
pub(crate) fn tail(all: &[Tried], took: Duration) -> io::Result<()> {
    let contained = all.iter().filter(|tried| tried.is_contained()).count();
    let mut out = io::stdout().lock();
    write!(out, "\n{contained} of {} guests contained in {} s", all.len(), took.as_secs())?;
    let free: Vec<&str> = all.iter().filter(|tried| !tried.is_contained()).map(|tried| tried.guest.name).collect();
    if !free.is_empty() {
        write!(out, "; not contained: {}", free.join(" "))?;
    }
    writeln!(out)
}

/// All of it as one document.
pub(crate) fn document(all: &[Tried], took: Duration) -> io::Result<()> {
    let contained = all.iter().filter(|tried| tried.is_contained()).count();
    let document = json!({
        "guests": all.iter().map(object).collect::<Vec<_>>(),
        "contained": contained,
        "not_contained": all.len() - contained,
        "seconds": took.as_secs_f64(),
    });
    writeln!(io::stdout().lock(), "{document:#}")
}

fn object(tried: &Tried) -> Value {
    let Tried { guest, trial, took } = tried;
    json!({
        "guest": guest.name,
        "does": guest.does,
        "must": ending(guest.ends),
        "verdict": tried.verdict(),
        "reasons": trial.failures,
        "notes": trial.notes,
        "contained_by": trial.contained_by,
        "asked": trial.asked,
        "slowest_us": trial.slowest_us,
        "late": trial.late,
        "neighbour": {
            "answers": trial.neighbour, "wrong": trial.wrong, "usual_p99_us": trial.usual_p99_us, "p99_us": trial.p99_us,
            "ratio": tried.ratio(),
        },
        "resident_kib": { "before": trial.rss_kib[0], "after": trial.rss_kib[1] },
        "seconds": took.as_secs_f64(),
    })
}
