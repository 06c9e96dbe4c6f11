//! Policies that are replaced while decisions are made, beside the same gate that is left alone: in the library, and in a web server.

use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tollgate::{Plan, Tollgate};

use super::edge::{Edge, limited};
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
    let rows = |place: &str| {
        vec![
            row(Metric::P99, &format!("reload/{place}/64/p99"), Some(Goal::AtMost(2.0))),
            row(Metric::Rate, &format!("reload/{place}/64/rate"), None),
        ]
    };
    vec![
        Group { rows: rows("redis"), quick: true, sides: Box::new(in_library) },
        Group { rows: rows("http"), quick: true, sides: Box::new(in_server) },
    ]
}

fn in_library(lab: &Lab) -> Result<Vec<Side>> {
    lab.clear()?;
    let runtime = lab.runtime(Threads::Many);
    let load = Load { in_flight: 64, keys: Keys::draw(Shape::Uniform, SUBJECTS) };
    let (calm, replaced) = (gate(lab, Algorithm::Gcra, 1), gate(lab, Algorithm::Gcra, 1));
    let replaced = async {
        let gate = replaced.await?;
        Ok(Replaced { _replacing: replace(&gate.0).await?, gate })
    };
    Ok(vec![side(lab, CALM, &runtime, &load, calm), side(lab, REPLACED, &runtime, &load, replaced)])
}

/// Over Redis as well: both servers count in it.
fn in_server(lab: &Lab) -> Result<Vec<Side>> {
    lab.clear()?;
    let runtime = lab.runtime(Threads::One);
    let load = Load { in_flight: 64, keys: Keys::draw(Shape::Uniform, SUBJECTS) };
    let (calm, replaced) = (gate(lab, Algorithm::Gcra, 1), gate(lab, Algorithm::Gcra, 1));
    let calm = async { Ok((limited(calm.await?.0), JoinSet::new())) };
    let replaced = async {
        let gate = replaced.await?.0;
        let replacing = replace(&gate).await?;
        Ok((limited(gate), replacing))
    };
    Ok(vec![
        side(lab, CALM, &runtime, &load, Edge::serve(calm)),
        side(lab, REPLACED, &runtime, &load, Edge::serve(replaced)),
    ])
}

/// A gate, and what replaces its policies as long as it lives.
struct Replaced {
    gate: Waiting,
    _replacing: JoinSet<()>,
}

impl Decide for Replaced {
    async fn decide(&self, subject: &str) -> Result<()> {
        self.gate.decide(subject).await
    }
}

/// Activates two rosters by turns on this gate, until what it answers is dropped.
async fn replace(gate: &Tollgate) -> Result<JoinSet<()>> {
    let plan = |limits| Plan {
        tiers: [("free".to_owned(), tier(Algorithm::Gcra, limits))].into(),
        default_tier: Some("free".to_owned()),
        ..Plan::default()
    };
    let (rosters, gate) = ([gate.prepare(plan(1)).await?, gate.prepare(plan(1)).await?], gate.clone());
    let mut replacing = JoinSet::new();
    replacing.spawn(async move {
        for roster in rosters.iter().cycle() {
            tokio::time::sleep(BETWEEN).await;
            gate.activate(roster, gate.generation() + 1);
        }
    });
    Ok(replacing)
}
