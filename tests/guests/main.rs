//! The evil guests, tried: each does its worst on a gate that serves a neighbour, and the neighbour is to feel nothing.

#![expect(clippy::disallowed_methods, reason = "what a guest does to its neighbour is a matter of real time")]

mod figures;
mod house;
mod load;
mod log;
mod report;
mod trial;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use tollgate_tests::guests::{Evil, RUNNING, evil, named};

use report::Tried;
use trial::Effort;

/// Tries evil guests on a gate that serves a steady neighbour beside them, and tells which are contained.
///
/// The neighbour is asked 2,000 times a second by a thread outside of the gate's two, and a guest 100 times a second, in bursts of 4; what is only
/// to be loaded is offered 10 times a second. Spans of this take turns with spans in which an honest guest is asked, or loaded, equally often:
/// that is what is usual for the neighbour.
///
/// A guest is contained if each decision is answered within the deadline D (50 ms) and 10 ms and names the cause; if the neighbour is answered by
/// its policy each time and admitted exactly as often as its limit says; if the neighbour's p99 is at most twice its usual, or under 1 ms; and if
/// the memory of the process (RSS) is no more than 24 MiB above what it was, 512 MiB where the compiler was kept busy. What the machine itself kept
/// waiting for a core is taken off, of a guest's decisions and of the neighbour's; but not beside one that is to keep the compiler busy.
/// A guest that is not contained is tried twice more in a quick run, and where the machine was so busy with other things that it tells little.
///
/// Ends with 1 if a guest is not contained.
#[derive(Parser)]
#[command(name = "run-guests")]
struct Arguments {
    /// Fewer guests and shorter spans: less than a minute.
    #[arg(long)]
    quick: bool,
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
    /// Only say which guests there are, and what they do.
    #[arg(long)]
    list: bool,
    /// The guests by name. All of them if none is given.
    #[arg(value_name = "GUEST")]
    guests: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let chosen = chosen(&arguments)?;
    if arguments.list {
        report::list(&chosen)?;
        return Ok(ExitCode::SUCCESS);
    }
    log::listen()?;
    let began = Instant::now();
    if !arguments.json {
        report::head()?;
    }
    let effort = if arguments.quick { Effort::QUICK } else { Effort::WHOLE };
    let mut all = Vec::new();
    for guest in chosen {
        let tried = tries(guest, effort, arguments.quick);
        if !arguments.json {
            report::line(&tried)?;
        }
        all.push(tried);
    }
    match arguments.json {
        true => report::document(&all, began.elapsed())?,
        false => report::tail(&all, began.elapsed())?,
    }
    Ok(if all.iter().all(Tried::is_contained) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The guests that were asked for.
fn chosen(arguments: &Arguments) -> Result<Vec<&'static Evil>> {
    if arguments.guests.is_empty() {
        return Ok(evil().filter(|evil| !arguments.quick || is_quick(evil)).collect());
    }
    for name in &arguments.guests {
        ensure!(evil().any(|evil| evil.name == name), "no guest is called `{name}`; --list tells which there are");
    }
    Ok(arguments.guests.iter().map(|name| named(name)).collect())
}

/// Whether a guest is among the few that stand for the others: all that use something up, and some of each other kind.
fn is_quick(evil: &Evil) -> bool {
    RUNNING.iter().any(|running| running.name == evil.name) || QUICK.contains(&evil.name)
}

const QUICK: [&str; 11] = [
    "answers-a-megabyte",
    "answers-aliases",
    "points-outside",
    "charges-in-number",
    "steers",
    "breaks-lines",
    "keys-a-megabyte",
    "holds-the-fiber",
    "is-cut-short",
    "opens-sockets",
    "spins-at-start",
];

/// Tries a guest; if it was not contained, perhaps twice more, and then the line says so.
fn tries(guest: &'static Evil, effort: Effort, is_quick: bool) -> Tried {
    let began = Instant::now();
    let mut trial = trial::run(guest, effort);
    let mut failures = Vec::new();
    for _ in 0..2 {
        if trial.failures.is_empty() || !(is_quick || trial.was_disturbed) {
            break;
        }
        failures.append(&mut trial.failures);
        trial = trial::run(guest, effort);
    }
    trial.notes.extend(failures.iter().map(|failure| format!("tried again, after: {failure}")));
    Tried { guest, trial, took: began.elapsed() }
}
