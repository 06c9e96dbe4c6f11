//! Counters in Redis: the whole decision, beside one usual script call for each decision.

use std::sync::Arc;

use anyhow::Result;
use tokio::runtime::Runtime;
use tollgate::store::{Memory, Redis, RedisOptions};
use tollgate::{Precision, SystemClock};

use crate::gate::{Algorithm, gate_over, gate_with};
use crate::keys::{Keys, Shape};
use crate::lab::{Lab, Threads};
use crate::load::{Decide, Load};
use crate::peers::{Fred, Multiplexed};
use crate::row::{Goal, Group, Metric, Row, Side};
use crate::waiting::{Seldom, Waiting};

const OURS: &str = "tollgate";
const PEERS: &[&str] = &["redis", "fred"];
const THREE_LIMITS: &str = "tollgate, 3 limits";
const LEASED: &str = "tollgate, leased";
const IN_MEMORY: &str = "tollgate, in memory";
const SUBJECTS: usize = 100_000;
const LEASED_SUBJECTS: usize = 100;

/// Who asks what of whom, and how many at a time.
#[derive(Clone, Copy)]
struct Contest {
    algorithm: Algorithm,
    shape: Shape,
    in_flight: usize,
    threads: Threads,
}

/// The groups of this file: first what was promised, on both kinds of runtime, then the rest of the grid.
pub(super) fn groups() -> Vec<Group> {
    let promised = [
        (Algorithm::Gcra, Shape::Uniform, 256),
        (Algorithm::Window, Shape::Uniform, 256),
        (Algorithm::Gcra, Shape::Hot, 256),
        (Algorithm::Window, Shape::Hot, 256),
        (Algorithm::Gcra, Shape::Uniform, 64),
        (Algorithm::Window, Shape::Uniform, 64),
        (Algorithm::Gcra, Shape::Uniform, 1),
    ];
    let mut contests = Vec::new();
    for threads in [Threads::Many, Threads::One] {
        contests.extend(promised.map(|(algorithm, shape, in_flight)| Contest { algorithm, shape, in_flight, threads }));
    }
    let mut groups: Vec<Group> = contests.iter().map(|contest| contest.group(true)).collect();
    groups.extend([Threads::Many, Threads::One].map(three_limits));
    groups.extend([Threads::Many, Threads::One].map(leased));
    for algorithm in [Algorithm::Gcra, Algorithm::Window] {
        for shape in [Shape::Uniform, Shape::Zipf, Shape::Hot] {
            let grid = [1, 64, 256, 1_024].map(|in_flight| (algorithm, shape, in_flight));
            let rest = grid.into_iter().filter(|point| !promised.contains(point));
            groups.extend(rest.map(|(algorithm, shape, in_flight)| {
                Contest { algorithm, shape, in_flight, threads: Threads::Many }.group(false)
            }));
        }
    }
    groups
}

impl Contest {
    fn group(self, quick: bool) -> Group {
        Group { rows: self.rows(), quick: quick && self.is_short(), sides: Box::new(move |lab| self.sides(lab)) }
    }

    /// The short run has only the algorithm and the load that most was promised for.
    fn is_short(self) -> bool {
        let Self { algorithm, shape, in_flight, threads } = self;
        match in_flight {
            256 => algorithm == Algorithm::Gcra || shape == Shape::Uniform,
            64 => algorithm == Algorithm::Gcra && threads == Threads::Many,
            _ => false,
        }
    }

    fn rows(self) -> Vec<Row> {
        let Self { algorithm, shape, in_flight, threads } = self;
        let id = format!("redis/{}/{}/{in_flight}/{}", algorithm.name(), shape.name(), threads.name());
        let of =
            |suffix: &str, metric, goal| Row { id: format!("{id}{suffix}"), ours: OURS, peers: PEERS, metric, goal };
        let goal = match (algorithm, shape, in_flight) {
            (Algorithm::Gcra, Shape::Uniform, 256) => Some(Goal::AtLeast(2.0)),
            (Algorithm::Window, Shape::Uniform, 256) => Some(Goal::AtLeast(1.6)),
            (_, Shape::Hot, 256) => Some(Goal::AtLeast(5.0)),
            _ => None,
        };
        let mut rows = vec![of("", Metric::Rate, goal)];
        match (shape, in_flight) {
            (Shape::Uniform, 64) => rows.push(of("/p99", Metric::P99, Some(Goal::AtMost(1.0)))),
            (Shape::Uniform, 1) => rows.push(of("/p50", Metric::P50, Some(Goal::AtMost(1.15)))),
            _ => {}
        }
        rows
    }

    fn sides(self, lab: &Lab) -> Result<Vec<Side>> {
        let Self { algorithm, shape, in_flight, threads } = self;
        lab.clear()?;
        let runtime = lab.runtime(threads);
        let load = Load { in_flight, keys: Keys::draw(shape, SUBJECTS) };
        let [for_redis, for_fred] = [(); 2].map(|()| lab.redis().url());
        Ok(vec![
            side(lab, OURS, &runtime, &load, gate(lab, algorithm, 1)),
            side(lab, "redis", &runtime, &load, async move { Multiplexed::connect(&for_redis, algorithm).await }),
            side(lab, "fred", &runtime, &load, async move { Fred::connect(&for_fred, algorithm).await }),
        ])
    }
}

fn three_limits(threads: Threads) -> Group {
    let id = format!("redis/three-limits/uniform/256/{}", threads.name());
    let rows =
        vec![Row { id, ours: THREE_LIMITS, peers: &[OURS], metric: Metric::Time, goal: Some(Goal::AtMost(1.8)) }];
    let sides = move |lab: &Lab| {
        lab.clear()?;
        let runtime = lab.runtime(threads);
        let load = Load { in_flight: 256, keys: Keys::draw(Shape::Uniform, SUBJECTS) };
        Ok(vec![
            side(lab, OURS, &runtime, &load, gate(lab, Algorithm::Gcra, 1)),
            side(lab, THREE_LIMITS, &runtime, &load, gate(lab, Algorithm::Gcra, 3)),
        ])
    };
    Group { rows, quick: true, sides: Box::new(sides) }
}

/// Few subjects that are asked for often, which is what leases are for, beside the same gate over memory.
fn leased(threads: Threads) -> Group {
    let id = format!("redis/leased/256/{}", threads.name());
    let rows =
        vec![Row { id, ours: LEASED, peers: &[IN_MEMORY], metric: Metric::Rate, goal: Some(Goal::AtLeast(0.7)) }];
    let sides = move |lab: &Lab| {
        lab.clear()?;
        let runtime = lab.runtime(threads);
        let load = Load { in_flight: 256, keys: Keys::draw(Shape::Uniform, LEASED_SUBJECTS) };
        let target = lab.redis().target();
        let shared = async move {
            let store = Redis::connect(&target, RedisOptions::default()).await?;
            Ok(Seldom(Waiting(gate_with(store, Algorithm::Window, 1, Precision::Leased).await?)))
        };
        let local = async {
            let store = Memory::new(SystemClock::new());
            Ok(Seldom(Waiting(gate_over(store, Algorithm::Window, 1).await?)))
        };
        Ok(vec![side(lab, LEASED, &runtime, &load, shared), side(lab, IN_MEMORY, &runtime, &load, local)])
    };
    Group { rows, quick: true, sides: Box::new(sides) }
}

/// A gate over the lab's Redis.
pub(super) fn gate(lab: &Lab, algorithm: Algorithm, limits: usize) -> impl Future<Output = Result<Waiting>> + use<> {
    let target = lab.redis().target();
    async move {
        let store = Redis::connect(&target, RedisOptions::default()).await?;
        Ok(Waiting(gate_over(store, algorithm, limits).await?))
    }
}

/// A side on this runtime, which waits for the contender and then lets it meet every subject once.
pub(super) fn side<D: Decide>(
    lab: &Lab,
    name: &'static str,
    runtime: &Arc<Runtime>,
    load: &Load,
    contender: impl Future<Output = Result<D>> + 'static,
) -> Side {
    let (runtime, load) = (Arc::clone(runtime), load.clone());
    lab.side(name, move || {
        let contender = Arc::new(runtime.block_on(contender)?);
        load.warm(&runtime, &contender)?;
        Ok(Box::new(move |time| load.run(&runtime, &contender, time)))
    })
}
