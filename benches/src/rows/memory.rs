//! Counters in the memory of the process: the component, its native twin, our store alone, and limiters that others use.

use std::time::Duration;

use tollgate::store::{Memory, Reply, Store};
use tollgate::{Charge, KeySpace, Limit, Mode, Quota, SystemClock};

use crate::gate::{MEMORY_CAPACITY, decide, gate};
use crate::keys::{Keys, Shape};
use crate::load::{Check, check};
use crate::row::{Goal, Group, Metric, Row, Side};
use crate::{Twin, peers};

const COMPONENT: &str = "tollgate";
const THREE_LIMITS: &str = "tollgate, 3 limits";
const STORE: &str = "its store alone";
const TWIN: &str = "its native twin";
const GOVERNOR: &str = "governor";
const THROTTLECRAB: &str = "throttlecrab";
const LIMITADOR: &str = "limitador";
const ONE_THREAD: &str = "tollgate, 1 thread";
const TWO_THREADS: &str = "tollgate, 2 threads";

/// The groups of this file.
pub(super) fn groups() -> Vec<Group> {
    vec![few_keys(1, true), few_keys(2, false), many_keys(1, true), many_keys(2, false), scaling()]
}

fn few_keys(threads: usize, quick: bool) -> Group {
    let id = |name: &str| format!("memory/10k/{threads}-thread/{name}");
    let metric = cost(threads);
    let mut rows = against_peers(&id, metric, None);
    rows.push(row(id("twin"), COMPONENT, &[TWIN], metric, Some(Goal::AtMost(2.5))));
    rows.push(row(id("three-limits"), THREE_LIMITS, &[COMPONENT], metric, Some(Goal::AtMost(1.8))));
    let sides = move |_: &_| {
        let keys = Keys::draw(Shape::Uniform, 10_000);
        let mut sides = common(&keys, threads);
        sides.push(side(THREE_LIMITS, || component(3), &keys, threads));
        sides.push(side(TWIN, twin, &keys, threads));
        Ok(sides)
    };
    Group { rows, quick, sides: Box::new(sides) }
}

fn many_keys(threads: usize, quick: bool) -> Group {
    let id = |name: &str| format!("memory/1M/{threads}-thread/{name}");
    let rows = against_peers(&id, cost(threads), Some(Goal::AtMost(2.0)));
    let sides = move |_: &_| Ok(common(&Keys::draw(Shape::Uniform, 1_000_000), threads));
    Group { rows, quick, sides: Box::new(sides) }
}

/// One thread costs what it costs on a busy machine too; two also wait for each other.
const fn cost(threads: usize) -> Metric {
    if threads == 1 { Metric::Cpu } else { Metric::Time }
}

fn against_peers(id: &dyn Fn(&str) -> String, metric: Metric, governor: Option<Goal>) -> Vec<Row> {
    vec![
        row(id("governor"), COMPONENT, &[GOVERNOR], metric, governor),
        row(id("throttlecrab"), COMPONENT, &[THROTTLECRAB], metric, None),
        row(id("limitador"), COMPONENT, &[LIMITADOR], metric, Some(Goal::AtMost(0.25))),
        row(id("store"), STORE, &[GOVERNOR, THROTTLECRAB, LIMITADOR], metric, None),
    ]
}

fn scaling() -> Group {
    let id = "memory/10k/scaling".to_owned();
    let rows = vec![row(id, TWO_THREADS, &[ONE_THREAD], Metric::Rate, Some(Goal::AtLeast(1.7)))];
    let sides = |_: &_| {
        let keys = Keys::draw(Shape::Uniform, 10_000);
        Ok(vec![side(ONE_THREAD, || component(1), &keys, 1), side(TWO_THREADS, || component(1), &keys, 2)])
    };
    Group { rows, quick: true, sides: Box::new(sides) }
}

fn common(keys: &Keys, threads: usize) -> Vec<Side> {
    vec![
        side(COMPONENT, || component(1), keys, threads),
        side(STORE, store, keys, threads),
        side(GOVERNOR, peers::governor, keys, threads),
        side(THROTTLECRAB, peers::throttlecrab, keys, threads),
        side(LIMITADOR, || peers::limitador(MEMORY_CAPACITY as u64), keys, threads),
    ]
}

/// A side that knows every subject already.
fn side(name: &'static str, contender: impl FnOnce() -> Box<Check> + 'static, keys: &Keys, threads: usize) -> Side {
    let keys = keys.clone();
    Side::new(name, move || {
        let contender = contender();
        keys.each().for_each(&contender);
        Ok(Box::new(move |time| check(&*contender, &keys, threads, time)))
    })
}

const REFUSED: &str = "a decision that had to pass did not";

fn component(limits: usize) -> Box<Check> {
    let gate = gate(limits);
    Box::new(move |subject| assert!(decide(&gate, subject).is_allowed(), "{REFUSED}"))
}

fn twin() -> Box<Check> {
    let twin = Twin::new(1);
    Box::new(move |subject| assert!(twin.decide(subject).is_allowed(), "{REFUSED}"))
}

/// The store by itself: a key is written, a charge is made.
fn store() -> Box<Check> {
    let memory = Memory::with_capacity(SystemClock::new(), MEMORY_CAPACITY);
    let quota = Quota { max: 6, window: Duration::from_secs(60), burst: 30_000_000 };
    let limit = Limit::new("limit-0", tollgate::Algorithm::TokenBucket, quota).expect("the limit is sound");
    let keys = KeySpace::new("ratelimit", "acme", "tiered");
    Box::new(move |subject| {
        let charge =
            Charge { key: keys.key(&limit, subject), limit: limit.clone(), cost: 1, mode: Mode::Enforce, holder: 0 };
        let passed = match memory.charge(&[charge], Duration::MAX) {
            Reply::Ready(Ok(outcomes)) => outcomes.first().is_some_and(|outcome| outcome.allowed),
            _ => false,
        };
        assert!(passed, "{REFUSED}");
    })
}

fn row(id: String, ours: &'static str, peers: &'static [&'static str], metric: Metric, goal: Option<Goal>) -> Row {
    Row { id, ours, peers, metric, goal }
}
