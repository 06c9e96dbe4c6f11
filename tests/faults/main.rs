//! The fault table, tried: each row harms a real server, or the way to it, under a steady load of decisions.

#![expect(clippy::disallowed_methods, reason = "what faults do to a real product is a matter of real time")]

mod answers;
mod clock;
mod down;
mod edge;
mod engines;
mod entry;
mod firewall;
mod journal;
mod keys;
mod load;
mod log;
mod outage;
mod partition;
mod refusing;
mod report;
mod sentinels;
mod server;
mod slow;
mod slowloris;
mod table;
mod topology;
mod trial;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use tollgate_tests::noise;

use report::Tried;
use table::{IN_SHORT, Row, TABLE};
use trial::Trial;

/// Tries rows of the fault table against a real redis-server and the library, and tells which hold.
///
/// Every row keeps some 32 callers asking, brings its fault about, ends it, and requires: an answer to each question within the deadline D (50 ms)
/// and 10 ms; each names who gave it (the policy, or the rule for a broken store, with the kind of fault); a policy decides again within the row's
/// bound; all that was admitted is counted, and nothing is counted that was neither admitted nor left unanswered.
///
/// A decision is `late` if it took longer than D + 10 ms and than the time for which the machine kept the load's threads waiting for a core while it
/// was under way. `>D+10` counts all that took longer, `noise` is the longest such wait.
///
/// Ends with 1 if a row fails. A row that cannot be tried here is told as skipped, and counts for nothing.
#[derive(Parser)]
#[command(name = "run-faults")]
struct Arguments {
    /// Only the rows that are tried before each change: some twenty, within three minutes.
    #[arg(long)]
    quick: bool,
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
    /// Only say which rows there are, and what they require.
    #[arg(long)]
    list: bool,
    /// A file that this process alone has bound over /etc/hosts, for row 20. The script `tests/run-faults` gives it where it may.
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    /// The rows: numbers such as `5`, or ranges such as `9-17`. All of them if none is given.
    #[arg(value_name = "ROW", value_parser = rows)]
    rows: Vec<RangeInclusive<u16>>,
}

fn rows(text: &str) -> Result<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok(first.parse()?..=last.parse()?)
}

/// Longer than any quick row takes.
const PATIENCE_QUICK: Duration = Duration::from_secs(90);
/// Longer than any row takes.
const PATIENCE: Duration = Duration::from_secs(900);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let chosen = chosen(&arguments)?;
    if arguments.list {
        report::list(&chosen)?;
        return Ok(ExitCode::SUCCESS);
    }
    journal::listen()?;
    let began = Instant::now();
    if !arguments.json {
        report::head()?;
    }
    let mut all = Vec::new();
    for row in chosen {
        let tried = tries(row, &arguments);
        if !arguments.json {
            report::line(&tried)?;
        }
        all.push(tried);
    }
    match arguments.json {
        true => report::document(&all, began.elapsed())?,
        false => report::tail(&all, began.elapsed())?,
    }
    Ok(if all.iter().any(Tried::fails) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The rows that were asked for.
fn chosen(arguments: &Arguments) -> Result<Vec<Row>> {
    let all = TABLE.iter().map(|row| match IN_SHORT.iter().find(|short| short.number == row.number) {
        Some(short) if arguments.quick => *short,
        _ => *row,
    });
    let is_asked_for = |row: &Row| {
        let is_named = arguments.rows.iter().any(|rows| rows.contains(&row.number));
        if arguments.rows.is_empty() { row.is_quick || !arguments.quick } else { is_named }
    };
    let chosen: Vec<Row> = all.filter(is_asked_for).collect();
    ensure!(!chosen.is_empty(), "there is no such row; --list tells which there are");
    Ok(chosen)
}

/// Tries a row; in a quick run twice more if it fails, and then says so. Of a fault that is over in milliseconds nothing may be felt.
fn tries(row: Row, arguments: &Arguments) -> Tried {
    let mut tried = attempt(row, arguments);
    let mut failures = Vec::new();
    for _ in 0..2 {
        if !arguments.quick || !tried.fails() {
            break;
        }
        failures.extend(tried.trial.into_iter().flat_map(|trial| trial.failures));
        tried = attempt(row, arguments);
    }
    if let Ok(trial) = &mut tried.trial {
        failures.iter().for_each(|failure| trial.note(format!("tried again, after: {failure}")));
    }
    tried
}

/// Tries a row on a thread of its own, so that none can keep the others waiting.
fn attempt(row: Row, arguments: &Arguments) -> Tried {
    let began = Instant::now();
    let trial = match row.needs.missing(arguments.hosts.as_deref()) {
        Some(missing) => Err(missing),
        None => {
            let (tell, told) = mpsc::channel();
            let hosts = arguments.hosts.clone();
            thread::spawn(move || {
                // A row that was given up went on in vain.
                let _ = tell.send(run(row, hosts));
            });
            let patience = if row.is_quick { PATIENCE_QUICK } else { PATIENCE };
            Ok(told
                .recv_timeout(patience)
                .unwrap_or_else(|_| Trial::failed(format!("it did not end within {patience:?}"))))
        }
    };
    Tried { row, trial, took: began.elapsed() }
}

fn run(row: Row, hosts: Option<PathBuf>) -> Trial {
    let mut trial = Trial { hosts, ..Trial::default() };
    if let Err(error) = (row.run)(&mut trial) {
        trial.failures.push(format!("it could not be tried to its end: {error:#}"));
    }
    trial
}
