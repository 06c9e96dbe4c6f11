//! Policies that are replaced while decisions are made, beside the same gate that is left alone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tollgate::{Plan, Tollgate};

use super::redis::{gate, side};
use crate::gate::{Algorithm, tier};
use crate::keys::{Keys, Shape};
use crate::lab::{Lab, Threads};
use crate::load::{Decide, Load};
use crate::row::{Goal, Group, Metric, Row, Side};
use crate::waiting::Waiting;

const CALM: &str = "tollgate, left alone";
const REPLACED: &str = "tollgate, replaced";
const SUBJECTS: usize = 10_000;
/// How often another roster is activated: a hundred times a second.
const BETWEEN: Duration = Duration::from_millis(10);

/// The groups of this file.
pub(super) fn groups() -> Vec<Group> {
    let row = |metric, id: &str, goal| Row { id: id.to_owned(), ours: REPLACED, peers: &[CALM], metric, goal };
    let rows = vec![
        row(Metric::P99, "reload/redis/64/p99", Some(Goal::AtMost(2.0))),
        row(Metric::Rate, "reload/redis/64/rate", None),
    ];
    vec![Group { rows, quick: true, sides: Box::new(sides) }]
}

fn sides(lab: &Lab) -> Result<Vec<Side>> {
    lab.clear()?;
    let runtime = lab.runtime(Threads::Many);
    let load = Load { in_flight: 64, keys: Keys::draw(Shape::Uniform, SUBJECTS) };
    let (calm, replaced) = (gate(lab, Algorithm::Gcra, 1), gate(lab, Algorithm::Gcra, 1));
    let replaced = async move { Replaced::of(replaced.await?.0).await };
    Ok(vec![side(lab, CALM, &runtime, &load, calm), side(lab, REPLACED, &runtime, &load, replaced)])
}

/// A gate on which two rosters are activated by turns, for as long as it lives.
struct Replaced {
    gate: Waiting,
    _replacing: Arc<()>,
}

impl Replaced {
    async fn of(gate: Tollgate) -> Result<Self> {
        let plan = |limits| Plan {
            tiers: [("free".to_owned(), tier(Algorithm::Gcra, limits))].into(),
            default_tier: Some("free".to_owned()),
            ..Plan::default()
        };
        let rosters = [gate.prepare(plan(1)).await?, gate.prepare(plan(1)).await?];
        let alive = Arc::new(());
        let (held, replacing) = (Arc::downgrade(&alive), gate.clone());
        tokio::spawn(async move {
            for roster in rosters.iter().cycle() {
                tokio::time::sleep(BETWEEN).await;
                if held.strong_count() == 0 {
                    return;
                }
                replacing.activate(roster, replacing.generation() + 1);
            }
        });
        Ok(Self { gate: Waiting(gate), _replacing: alive })
    }
}

impl Decide for Replaced {
    async fn decide(&self, subject: &str) -> Result<()> {
        self.gate.decide(subject).await
    }
}
