//! Runs the rows and prints what they showed: `benches/run --help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use serde::Serialize;
use serde_json::json;
use tollgate_benches::lab::Lab;
use tollgate_benches::memory_per_counter::{self, Holder};
use tollgate_benches::round::{Finding, Pace, Rounds, take_turns};
use tollgate_benches::row::{Group, Row};
use tollgate_benches::{report, rows};

/// Compares Tollgate with its peers, side by side, in one sitting.
#[derive(Parser)]
#[command(name = "benches/run", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    /// Under two minutes: fewer rows, shorter rounds.
    #[arg(long)]
    quick: bool,
    /// Prints one JSON document, every sample included.
    #[arg(long)]
    json: bool,
    /// Prints the rows and runs none.
    #[arg(long)]
    list: bool,
    /// Rounds of each side, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds of each side in each round; 1000, or 300 with --quick.
    #[arg(long)]
    time_ms: Option<u64>,
    /// Takes a round again while others keep more than so many cores busy, such as 0.2; up to 40 times.
    #[arg(long)]
    calm: Option<f64>,
    /// Only this side, to look at it with a profiler; no row is answered then.
    #[arg(long)]
    side: Option<String>,
    /// Only rows that begin so, such as `redis/gcra/hot`.
    rows: Vec<String>,
}

#[derive(Subcommand)]
enum Task {
    /// Prints what a counter takes in Redis and in the process, as a Markdown table.
    MemoryPerCounter,
    /// Prints the bytes that this process grows by for each counter.
    #[command(hide = true)]
    Growth { holder: Holder },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.task {
        Some(Task::MemoryPerCounter) => print!("{}", memory_per_counter::tables()?),
        Some(Task::Growth { holder }) => println!("{}", memory_per_counter::growth(holder)?),
        None => return run(&arguments),
    }
    Ok(())
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut groups = rows::all();
    groups.retain(|group| group.rows.iter().any(|row| arguments.wants(row)) && arguments.fits(group));
    ensure!(!groups.is_empty(), "no row begins so; `--list` names them all");
    if arguments.list {
        groups.iter().flat_map(|group| &group.rows).for_each(|row| println!("{}", row.id));
        return Ok(());
    }
    let lab = Lab::open()?;
    let mut found = Found::default();
    for (number, group) in groups.iter().enumerate() {
        let name = group.rows.first().map_or("", |row| row.id.as_str());
        eprintln!("[{}/{}] {name}", number + 1, groups.len());
        if let Err(error) = found.take(name, group, &lab, arguments) {
            eprintln!("{error:#}\n");
            found.failed.push(name.to_owned());
        }
    }
    if arguments.json {
        println!("{:#}", json!(found));
    } else if !found.findings.is_empty() {
        print!("{}", report::findings(&found.findings));
    }
    ensure!(found.failed.is_empty(), "some rows could not be measured: {}", found.failed.join(", "));
    Ok(())
}

/// What all groups showed.
#[derive(Default, Serialize)]
struct Found {
    findings: Vec<Finding>,
    sides: Vec<Rounds>,
    failed: Vec<String>,
}

impl Found {
    fn take(&mut self, name: &str, group: &Group, lab: &Lab, arguments: &Arguments) -> Result<()> {
        let mut sides = (group.sides)(lab)?;
        sides.retain(|side| arguments.side.as_ref().is_none_or(|wanted| wanted == side.name));
        let rounds = take_turns(sides, arguments.pace())?;
        eprintln!("{}", report::sides(&rounds));
        for row in group.rows.iter().filter(|row| arguments.wants(row) && arguments.side.is_none()) {
            self.findings.push(Finding::of(row, &rounds)?);
        }
        self.sides
            .extend(rounds.into_iter().map(|rounds| Rounds { side: format!("{name}: {}", rounds.side), ..rounds }));
        Ok(())
    }
}

impl Arguments {
    fn wants(&self, row: &Row) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| row.id.starts_with(wanted))
    }

    /// A row that is asked for by name is run, however short the run.
    fn fits(&self, group: &Group) -> bool {
        group.quick || !self.quick || !self.rows.is_empty()
    }

    fn pace(&self) -> Pace {
        let time = Duration::from_millis(self.time_ms.unwrap_or(if self.quick { 300 } else { 1_000 }));
        Pace { rounds: self.rounds.max(1), time, calm: self.calm }
    }
}
