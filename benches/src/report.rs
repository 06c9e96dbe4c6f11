//! Tables for people.

use std::fmt::Write as _;

use crate::round::{Finding, Rounds, Spread};
use crate::row::{Goal, Metric};

/// The findings as a Markdown table.
#[must_use]
pub fn findings(findings: &[Finding]) -> String {
    let head = ["row", "ours", "best peer", "ratio (min–max)", "goal", "kept"];
    let lines = findings.iter().map(|finding| {
        let Finding { row, metric, ours, best_peer, peer, ratio, goal, met } = finding;
        let Spread { median, min, max } = ratio;
        let goal = goal.map_or_else(String::new, |goal| match goal {
            Goal::AtLeast(goal) => format!("≥ {goal}"),
            Goal::AtMost(goal) => format!("≤ {goal}"),
        });
        let met = match met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        vec![
            row.clone(),
            number(*metric, ours.median),
            format!("{} ({best_peer})", number(*metric, peer.median)),
            format!("{median:.2} ({min:.2}–{max:.2})"),
            goal,
            met.to_owned(),
        ]
    });
    table(&head, lines)
}

/// The sides of one group as a Markdown table.
#[must_use]
pub fn sides(rounds: &[Rounds]) -> String {
    let head = ["side", "per second (min–max)", "p50", "p99", "client CPU", "Redis CPU", "others' cores"];
    let lines = rounds.iter().map(|rounds| {
        let rate = rounds.spread(Metric::Rate).map_or_else(String::new, |Spread { median, min, max }| {
            format!("{} ({}–{})", rate(median), rate(min), rate(max))
        });
        let wait = |metric| rounds.spread(metric).map_or_else(String::new, |wait| number(metric, wait.median));
        let cost = |field: fn(&crate::row::Sample) -> Option<f64>| {
            let cost = Spread::of(rounds.samples.iter().filter_map(field));
            cost.map_or_else(String::new, |cost| format!("{:.2} µs", cost.median))
        };
        let others = Spread::of(rounds.samples.iter().filter_map(|sample| sample.others));
        vec![
            rounds.side.clone(),
            rate,
            wait(Metric::P50),
            wait(Metric::P99),
            cost(|sample| sample.client_cpu_us),
            cost(|sample| sample.redis_cpu_us),
            others.map_or_else(String::new, |others| format!("{:.2}", others.median)),
        ]
    });
    table(&head, lines)
}

fn number(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Rate => format!("{}/s", rate(value)),
        Metric::Time | Metric::Cpu if value < 1e3 => format!("{value:.0} ns"),
        Metric::Time | Metric::Cpu => format!("{:.2} µs", value / 1e3),
        Metric::P50 | Metric::P99 => format!("{:.2} ms", value / 1e3),
    }
}

fn rate(value: f64) -> String {
    if value < 1e6 { format!("{:.0}k", value / 1e3) } else { format!("{:.2}M", value / 1e6) }
}

/// A Markdown table that reads well unrendered too.
#[must_use]
pub fn table(head: &[&str], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut cells: Vec<Vec<String>> = vec![head.iter().map(|cell| (*cell).to_owned()).collect()];
    cells.extend(lines);
    let widths: Vec<usize> = (0..head.len())
        .map(|column| cells.iter().filter_map(|line| Some(line.get(column)?.chars().count())).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, line) in cells.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            widths.iter().for_each(|width| text.push_str(&format!("|{:-<1$}", "", width + 2)));
            text.push_str("|\n");
        }
    }
    text
}
