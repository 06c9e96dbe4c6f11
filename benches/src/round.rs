//! Sides in turn, and what their rounds come to.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::machine;
use crate::row::{Goal, Metric, Row, Run, Sample, Side};

/// All samples of one side, round by round.
#[derive(Debug, Serialize)]
pub struct Rounds {
    /// The side.
    pub side: String,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How many rounds.
    pub rounds: usize,
    /// How long each side runs in each.
    pub time: Duration,
    /// How many cores others may keep busy in a round that counts, if it matters.
    pub calm: Option<f64>,
}

/// How often a round is taken again for the sake of calm, before it is taken as it is.
const PATIENCE: usize = 40;

/// Runs every side once in every round, so that what else the machine does falls on all of them.
///
/// # Errors
///
/// Fails with the first side that does.
pub fn take_turns(sides: Vec<Side>, pace: Pace) -> Result<Vec<Rounds>> {
    let mut taken = Vec::new();
    for Side { name, prepare } in sides {
        let run = prepare().with_context(|| format!("{name} did not get ready"))?;
        taken.push((run, Rounds { side: name.to_owned(), samples: Vec::new() }));
    }
    for _ in 0..pace.rounds {
        let mut samples = round(&mut taken, pace)?;
        for _ in 0..PATIENCE {
            if is_calm(&samples, pace) {
                break;
            }
            samples = round(&mut taken, pace)?;
        }
        taken.iter_mut().zip(samples).for_each(|((_, rounds), sample)| rounds.samples.push(sample));
    }
    Ok(taken.into_iter().map(|(_, rounds)| rounds).collect())
}

fn round(sides: &mut [(Run, Rounds)], pace: Pace) -> Result<Vec<Sample>> {
    let take = |(run, rounds): &mut (Run, Rounds)| {
        machine::beside(|| run(pace.time)).with_context(|| format!("{} failed", rounds.side))
    };
    sides.iter_mut().map(take).collect()
}

fn is_calm(samples: &[Sample], pace: Pace) -> bool {
    let calm = pace.calm.unwrap_or(f64::INFINITY);
    samples.iter().all(|sample| sample.others.is_none_or(|others| others <= calm))
}

/// The middle, the least and the most of some numbers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The median; of an even count, the lower.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// None of no numbers.
    #[must_use]
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len().checked_sub(1)? / 2;
        Some(Self { median: *sorted.get(middle)?, min: *sorted.first()?, max: *sorted.last()? })
    }
}

impl Rounds {
    /// One metric over all rounds; none if the side does not have it.
    #[must_use]
    pub fn spread(&self, metric: Metric) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(|sample| metric.of(sample)))
    }
}

/// A row with its answer.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The row.
    pub row: String,
    /// What was compared.
    pub metric: Metric,
    /// What ours did.
    pub ours: Spread,
    /// The peer that did best.
    pub best_peer: String,
    /// What it did.
    pub peer: Spread,
    /// Ours over the peer's, round by round.
    pub ratio: Spread,
    /// What was promised.
    pub goal: Option<Goal>,
    /// Whether the median of the ratios keeps it.
    pub met: Option<bool>,
}

impl Finding {
    /// What the rounds say to `row`.
    ///
    /// # Errors
    ///
    /// Fails if a side of the row was not run, or does not have its metric.
    pub fn of(row: &Row, rounds: &[Rounds]) -> Result<Self> {
        let side = |name: &str| {
            let found = rounds.iter().find(|rounds| rounds.side == name)?;
            Some((found, found.spread(row.metric)?))
        };
        let missing = || format!("row {} has a side that was not measured", row.id);
        let (ours, our_spread) = side(row.ours).with_context(missing)?;
        let gain = |spread: &Spread| if row.metric.is_gain() { spread.median } else { -spread.median };
        let peers = row.peers.iter().filter_map(|name| side(name));
        let best = peers.max_by(|(_, one), (_, other)| gain(one).total_cmp(&gain(other)));
        let (peer, peer_spread) = best.with_context(missing)?;
        let pairs = ours.samples.iter().zip(&peer.samples);
        let ratios = pairs.filter_map(|(ours, peer)| Some(row.metric.of(ours)? / row.metric.of(peer)?));
        let ratio = Spread::of(ratios).with_context(missing)?;
        Ok(Self {
            row: row.id.clone(),
            metric: row.metric,
            ours: our_spread,
            best_peer: peer.side.clone(),
            peer: peer_spread,
            ratio,
            goal: row.goal,
            met: row.goal.map(|goal| goal.is_met(ratio.median)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(side: &str, rates: [f64; 3]) -> Rounds {
        let samples = rates.map(|per_second| Sample { per_second, ..Sample::default() });
        Rounds { side: side.to_owned(), samples: samples.to_vec() }
    }

    fn finding(metric: Metric, goal: Goal) -> Finding {
        let row = Row { id: "row".to_owned(), ours: "ours", peers: &["slow", "fast"], metric, goal: Some(goal) };
        let sides = [
            rounds("ours", [200.0, 300.0, 100.0]),
            rounds("slow", [10.0, 10.0, 10.0]),
            rounds("fast", [100.0, 100.0, 100.0]),
        ];
        Finding::of(&row, &sides).unwrap()
    }

    #[test]
    fn the_best_peer_counts_and_the_median_of_the_rounds() {
        let rate = finding(Metric::Rate, Goal::AtLeast(2.0));
        assert_eq!((rate.best_peer.as_str(), rate.ratio.median, rate.met), ("fast", 2.0, Some(true)));
        assert_eq!((rate.ratio.min, rate.ratio.max), (1.0, 3.0));
        let time = finding(Metric::Time, Goal::AtMost(0.4));
        assert_eq!((time.best_peer.as_str(), time.ratio.median, time.met), ("fast", 0.5, Some(false)));
    }
}
