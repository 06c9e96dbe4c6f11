//! Random lists at random times: memory and Redis answer exactly as the arithmetic does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use tokio::runtime::Runtime;
use tollgate::counter::{Item, State, charge_all};
use tollgate::store::{Memory, Redis, RedisOptions, RedisTime, Store};
use tollgate::{Algorithm, Charge, Limit, ManualClock, Mode, Outcome, Quota, Rule, Timestamp};
use tollgate_tests::RedisServer;

use super::{SOON, keys_expire};
use crate::counter::{Share, capacity, rules, shares};

const ORIGIN_US: u64 = 1_700_000_000_000_000;

/// A list at a moment, in terms of the rules that a case draws.
#[derive(Clone, Debug)]
struct Step {
    wait: Wait,
    charges: Vec<Draft>,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    Forward { rule: usize, share: Share },
    BackUs(u64),
    BackFar { rule: usize, share: Share },
}

#[derive(Clone, Debug)]
struct Draft {
    rule: usize,
    key: usize,
    cost: Cost,
    mode: Mode,
}

#[derive(Clone, Copy, Debug)]
enum Cost {
    Exactly(u64),
    Share(Share),
    /// All that is left, and so much more.
    Left {
        more: u64,
    },
}

const RULES: usize = 5;

fn steps(far: bool) -> impl Strategy<Value = Vec<Step>> {
    let forward = (0..RULES, shares()).prop_map(|(rule, share)| Wait::Forward { rule, share });
    let back = (0..300_000_u64).prop_map(Wait::BackUs);
    let back_far = (0..RULES, shares()).prop_map(|(rule, share)| Wait::BackFar { rule, share });
    let waits = prop_oneof![6 => forward, 2 => Just(Wait::BackUs(0)), 2 => back, u32::from(far) * 2 => back_far];
    let step = (waits, vec(drafts(), 0..6)).prop_map(|(wait, charges)| Step { wait, charges });
    vec(step, 1..16)
}

fn drafts() -> impl Strategy<Value = Draft> {
    let costs = prop_oneof![
        4 => (0..4_u64).prop_map(Cost::Exactly),
        4 => shares().prop_map(Cost::Share),
        4 => (0..2_u64).prop_map(|more| Cost::Left { more }),
        1 => Just(Cost::Exactly(u64::MAX)),
    ];
    let modes = prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Shadow), 1 => Just(Mode::Peek)];
    (0..RULES, 0..2_usize, costs, modes).prop_map(|(rule, key, cost, mode)| Draft { rule, key, cost, mode })
}

/// Counters kept in a map, and nothing else.
#[derive(Clone, Default)]
struct Oracle(BTreeMap<String, Option<State>>);

impl Oracle {
    fn charge(&mut self, charges: &[Charge], now_us: u64) -> Vec<Outcome> {
        let mut keys: Vec<&str> = charges.iter().map(|charge| charge.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        let slot = |key: &str| keys.binary_search(&key).expect("each key was collected");
        let item = |charge: &Charge| Item {
            rule: *charge.limit.rule(),
            cost: charge.cost,
            mode: charge.mode,
            slot: slot(&charge.key),
        };
        let items: Vec<Item> = charges.iter().map(item).collect();
        let mut states: Vec<Option<State>> = keys.iter().map(|key| self.0.get(*key).copied().flatten()).collect();
        let (_, outcomes) = charge_all(&items, &mut states, now_us);
        self.0.extend(keys.iter().map(|key| (*key).to_owned()).zip(states));
        outcomes
    }
}

struct Bench {
    runtime: Runtime,
    clock: ManualClock,
    redis: Redis,
    server: RedisServer,
}

impl Bench {
    fn new() -> Result<Self> {
        let runtime = Runtime::new()?;
        let clock = ManualClock::at(Timestamp::from_micros(ORIGIN_US));
        let server = RedisServer::start()?;
        let options = RedisOptions { time: RedisTime::Given(Arc::new(clock.clone())), ..RedisOptions::default() };
        let redis = runtime.block_on(Redis::connect(&server.target(), options))?;
        Ok(Self { runtime, clock, redis, server })
    }

    /// Runs a case on the oracle and on the stores; every outcome must be the same.
    fn check(&self, rules: &[Rule], steps: &[Step], with_memory: bool) -> TestCaseResult {
        let case = format!("case {}", self.number());
        let (mut oracle, memory) = (Oracle::default(), Memory::new(self.clock.clone()));
        let (mut now_us, mut latest_us) = (ORIGIN_US, ORIGIN_US);
        for step in steps {
            now_us = moment(step.wait, rules, now_us, latest_us);
            latest_us = latest_us.max(now_us);
            self.clock.set(Timestamp::from_micros(now_us));
            let charges: Vec<Charge> = step
                .charges
                .iter()
                .map(|draft| draft.charge(&case, rules, with_memory))
                .map(|(charge, cost)| Charge { cost: cost.amount(&charge, &oracle, now_us), ..charge })
                .collect();
            let expected = oracle.charge(&charges, now_us);
            let on = |store: &dyn Store| self.runtime.block_on(store.charge(&charges, SOON).outcomes());
            prop_assert_eq!(on(&self.redis), Ok(expected.clone()), "redis, {:?}", step);
            if with_memory {
                prop_assert_eq!(on(&memory), Ok(expected), "memory, {:?}", step);
            }
        }
        Ok(())
    }

    /// A number that no other case has.
    fn number(&self) -> u64 {
        self.server.run(&["INCR", "cases"]).expect("the server runs")
    }
}

fn moment(wait: Wait, rules: &[Rule], now_us: u64, latest_us: u64) -> u64 {
    match wait {
        Wait::Forward { rule, share } => now_us + share.of(rules[rule].window_us / 4),
        // By less than a store keeps a counter longer than it counts.
        Wait::BackUs(us) => now_us.saturating_sub(us).max(latest_us - 900_000),
        Wait::BackFar { rule, share } => now_us.saturating_sub(share.of(rules[rule].window_us)).max(ORIGIN_US / 2),
    }
}

impl Draft {
    fn charge(&self, case: &str, rules: &[Rule], by_window: bool) -> (Charge, Cost) {
        let rule = &rules[self.rule];
        let quota = Quota { max: rule.max, window: Duration::from_micros(rule.window_us), burst: rule.burst };
        let limit = Limit::new("test", rule.algorithm, quota).expect("the rule is sound");
        // Rules of one algorithm share their keys, as if the limit had changed. A store keeps a counter for as long as the limit counts
        // that charged it last, so what a longer window would still remember may be gone.
        let window = if by_window { rule.window_us } else { 0 };
        let key = format!("{case}:{}:{window}:{}", rule.algorithm.key_tag(), self.key);
        (Charge { key, limit, cost: 0, mode: self.mode }, self.cost)
    }
}

impl Cost {
    fn amount(self, charge: &Charge, oracle: &Oracle, now_us: u64) -> u64 {
        match self {
            Self::Exactly(cost) => cost,
            Self::Share(share) => share.of(capacity(charge.limit.rule())),
            Self::Left { more } => oracle.clone().charge(std::slice::from_ref(charge), now_us)[0].remaining + more,
        }
    }
}

fn hold_equal(cases: u32, with_memory: bool) -> Result<()> {
    let bench = Bench::new()?;
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    let inputs = (vec(rules(), RULES), steps(!with_memory));
    runner
        .run(&inputs, |(rules, steps)| bench.check(&rules, &steps, with_memory))
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    keys_expire(&bench.server)
}

#[test]
fn memory_and_redis_answer_as_the_arithmetic_does() -> Result<()> {
    hold_equal(600, true)
}

#[test]
fn redis_answers_as_the_arithmetic_does_when_time_jumps_back() -> Result<()> {
    hold_equal(600, false)
}

#[test]
fn a_share_of_a_window_is_exact_past_53_bits() -> Result<()> {
    // Both odd, so that the products below are whole shares of the window, and no double holds them.
    const SPENT: u64 = 999_999_937;
    const WINDOW_US: u64 = SPENT * 31_621;
    let bench = Bench::new()?;
    let quota = Quota { max: SPENT, window: Duration::from_micros(WINDOW_US), burst: SPENT };
    let limit = Limit::new("test", Algorithm::SlidingWindow, quota)?;
    let second_us = ORIGIN_US - ORIGIN_US % WINDOW_US + WINDOW_US;
    for number in 0..300 {
        // So many of those spent in the window before count still, and not one more.
        let counts = SPENT - 2 - number * 3_000_000;
        let charge = |cost| Charge { key: format!("share:{number}"), limit: limit.clone(), cost, mode: Mode::Enforce };
        let allowed = |cost, now_us| {
            bench.clock.set(Timestamp::from_micros(now_us));
            let outcomes = bench.runtime.block_on(bench.redis.charge(&[charge(cost)], SOON).outcomes());
            outcomes.map(|outcomes| outcomes[0].allowed)
        };
        let now_us = second_us + WINDOW_US - counts * 31_621;
        let answers =
            (allowed(SPENT, ORIGIN_US)?, allowed(SPENT - counts + 1, now_us)?, allowed(SPENT - counts, now_us)?);
        assert_eq!(answers, (true, false, true), "{counts}");
    }
    Ok(())
}
