//! What is told of the rows: a line for each while they run, or one JSON document.

use std::io::{self, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use crate::table::Row;
use crate::trial::Trial;

/// A row that has been tried, or not.
pub(crate) struct Tried {
    /// The row.
    pub(crate) row: Row,
    /// What was seen; none if it could not be tried, with the reason.
    pub(crate) trial: Result<Trial, &'static str>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Tried {
    /// `PASS`, `FAIL` or `skipped`.
    fn verdict(&self) -> &'static str {
        match &self.trial {
            Ok(trial) if trial.failures.is_empty() => "PASS",
            Ok(_) => "FAIL",
            Err(_) => "skipped",
        }
    }

    pub(crate) fn passes(&self) -> bool {
        self.verdict() == "PASS"
    }

    pub(crate) fn fails(&self) -> bool {
        self.verdict() == "FAIL"
    }
}

/// Which rows there are, and what they require.
pub(crate) fn list(rows: &[Row]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for Row { number, name, must, is_quick, .. } in rows {
        let quick = if *is_quick { "quick" } else { "" };
        writeln!(out, "{number:>3} {quick:<5} {name}: {must}")?;
    }
    Ok(())
}

/// The head of the table.
pub(crate) fn head() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:>3} {:<34} {:>7} {:>8} {:>7} {:>7} {:>7} {:>5} {:>4} {:>6} {:>9} {:>22}  verdict",
        "row",
        "fault",
        "asked",
        "by rule",
        "p50 ms",
        "p99 ms",
        "max ms",
        ">D+10",
        "late",
        "noise",
        "back ms",
        "stored/admitted (lost)"
    )
}

/// One row of the table, as soon as it is tried.
pub(crate) fn line(tried: &Tried) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Row { number, name, .. } = tried.row;
    let name: String = name.chars().take(34).collect();
    let trial = match &tried.trial {
        Ok(trial) => trial,
        Err(why) => return writeln!(out, "{number:>3} {name:<34} skipped: {why}"),
    };
    let answers = &trial.answers;
    let by_rule = answers.decisions - answers.sources.get("policy").copied().unwrap_or(0);
    let recovery = trial.recovery.map_or(String::new(), |recovery| ms(recovery.took_us));
    let counts = trial
        .counts
        .map_or(String::new(), |counts| format!("{}/{} ({})", counts.stored, counts.acknowledged, counts.lost));
    writeln!(
        out,
        "{number:>3} {name:<34} {:>7} {by_rule:>8} {:>7} {:>7} {:>7} {:>5} {:>4} {:>6} {recovery:>9} {counts:>22}  {}",
        answers.decisions,
        ms(answers.p50_us),
        ms(answers.p99_us),
        ms(answers.max_us),
        answers.over,
        answers.late,
        ms(answers.noise_us),
        tried.verdict(),
    )?;
    for failure in &trial.failures {
        writeln!(out, "      failed: {failure}")?;
    }
    for note in &trial.notes {
        writeln!(out, "      {note}")?;
    }
    out.flush()
}

/// The last line: how many of how many.
pub(crate) fn tail(all: &[Tried], took: Duration) -> io::Result<()> {
    let passed = all.iter().filter(|tried| tried.passes()).count();
    let tried = all.iter().filter(|tried| tried.trial.is_ok()).count();
    let skipped = all.len() - tried;
    let failed: Vec<String> =
        all.iter().filter(|tried| tried.fails()).map(|tried| tried.row.number.to_string()).collect();
    let mut out = io::stdout().lock();
    write!(out, "\n{passed} of {tried} rows passed in {} s", took.as_secs())?;
    if skipped > 0 {
        write!(out, "; {skipped} skipped")?;
    }
    if !failed.is_empty() {
        write!(out, "; failed: {}", failed.join(" "))?;
    }
    writeln!(out)
}

/// All of it as one document.
pub(crate) fn document(all: &[Tried], took: Duration) -> io::Result<()> {
    let count = |verdict: &str| all.iter().filter(|tried| tried.verdict() == verdict).count();
    let document = json!({
        "rows": all.iter().map(object).collect::<Vec<_>>(),
        "passed": count("PASS"),
        "failed": count("FAIL"),
        "skipped": count("skipped"),
        "seconds": took.as_secs_f64(),
    });
    writeln!(io::stdout().lock(), "{document:#}")
}

fn object(tried: &Tried) -> Value {
    let Row { number, name, must, .. } = tried.row;
    let mut object = json!({
        "row": number, "fault": name, "must": must, "verdict": tried.verdict(), "seconds": tried.took.as_secs_f64(),
    });
    match &tried.trial {
        Ok(trial) => merge(&mut object, figures(trial)),
        Err(why) => merge(&mut object, json!({ "reasons": [why] })),
    }
    object
}

fn figures(trial: &Trial) -> Value {
    let answers = &trial.answers;
    json!({
        "reasons": trial.failures,
        "notes": trial.notes,
        "decisions": answers.decisions,
        "sources": answers.sources,
        "p50_us": answers.p50_us,
        "p99_us": answers.p99_us,
        "max_us": answers.max_us,
        "over_deadline_and_10_ms": answers.over,
        "late": answers.late,
        "machine_noise_max_us": answers.noise_us,
        "recovery": trial.recovery.map(|recovery| json!({
            "took_us": recovery.took_us, "steady_us": recovery.steady_us, "bound_us": recovery.bound_us,
        })),
        "counts": trial.counts.map(|counts| json!({
            "admitted": counts.acknowledged, "stored": counts.stored, "unsure": counts.unsure, "lost": counts.lost,
            "over": counts.over,
        })),
    })
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn ms(us: u64) -> String {
    format!("{:.1}", us as f64 / 1_000.0)
}
