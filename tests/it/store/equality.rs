//! Random lists at random times: memory and Redis answer exactly as the arithmetic does.

mod boundaries;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use tokio::runtime::Runtime;
use tollgate::counter::{GiveBack, Item, OnChange, State, charge_all, give_back, renew};
use tollgate::store::{Memory, Redis, RedisOptions, RedisTime, Store};
use tollgate::{
    Action, Algorithm, Charge, Held, Limit, ManualClock, Mode, Outcome, Quota, Rule, Settled, Settlement, Timestamp,
};
use tollgate_tests::RedisServer;

use super::{SOON, keys_expire};
use crate::counter::{Share, at, capacity, rules, shares};

const ORIGIN_US: u64 = 1_700_000_000_000_000;

/// A list at a moment, in terms of the rules that a case draws.
#[derive(Clone, Debug)]
struct Step {
    wait: Wait,
    charges: Vec<Draft>,
    /// One of the charges before, and what becomes of it.
    end: Option<(usize, End)>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// So many eighths are given back.
    Settle(u64),
    Renew,
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
    holder: u64,
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
    let end = prop_oneof![3 => (0..=8_u64).prop_map(End::Settle), 1 => Just(End::Renew)];
    let end = proptest::option::of((0..100_usize, end));
    let step = (waits, vec(drafts(), 0..6), end).prop_map(|(wait, charges, end)| Step { wait, charges, end });
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
    let holders = prop_oneof![0..3_u64, Just(u64::MAX), Just(1 << 53)];
    (0..RULES, 0..2_usize, costs, modes, holders).prop_map(|(rule, key, cost, mode, holder)| Draft {
        rule,
        key,
        cost,
        mode,
        holder,
    })
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
            holder: charge.holder,
            slot: slot(&charge.key),
        };
        let items: Vec<Item> = charges.iter().map(item).collect();
        let mut states: Vec<Option<State>> = keys.iter().map(|key| self.0.get(*key).cloned().flatten()).collect();
        let (_, outcomes) = charge_all(&items, &mut states, now_us);
        self.0.extend(keys.iter().map(|key| (*key).to_owned()).zip(states));
        outcomes
    }

    /// Ends one charge, as a settlement that is asked for once and in time.
    fn settle(&mut self, held: &Held, end: End, now_us: u64) -> Settled {
        let state = self.0.remove(&held.key).flatten();
        let rule = held.limit.rule();
        let back = GiveBack { taken: held.taken, amount: held.unused, mark_us: held.mark_us, holder: held.holder };
        let after = match end {
            End::Settle(_) => give_back(rule, state, &back, now_us),
            End::Renew => match renew(rule, state.clone(), &back, now_us) {
                None if rule.algorithm == Algorithm::Concurrency => {
                    self.0.insert(held.key.clone(), state);
                    return Settled::Late;
                }
                after => after,
            },
        };
        self.0.insert(held.key.clone(), after);
        Settled::Done
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
        let mut taken: Vec<Held> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            now_us = moment(step.wait, rules, now_us, latest_us);
            latest_us = latest_us.max(now_us);
            self.clock.set(Timestamp::from_micros(now_us));
            let charges: Vec<Charge> = step
                .charges
                .iter()
                .map(|draft| draft.charge(&case, rules, with_memory, now_us))
                .map(|(charge, cost)| Charge { cost: cost.amount(&charge, &oracle, now_us), ..charge })
                .collect();
            let expected = oracle.charge(&charges, now_us);
            let on = |store: &dyn Store| self.runtime.block_on(store.charge(&charges, SOON).outcomes());
            prop_assert_eq!(on(&self.redis), Ok(expected.clone()), "redis, {:?}", step);
            if with_memory {
                prop_assert_eq!(on(&memory), Ok(expected.clone()), "memory, {:?}", step);
            }
            keep_taken(&mut taken, &charges, &expected);
            if let Some((which, end)) = step.end.filter(|_| !taken.is_empty()) {
                let held = taken.remove(which % taken.len());
                let settlement = settlement(format!("{case}:marker:{number}"), held, end, now_us);
                let expected = oracle.settle(&settlement.held[0], end, now_us);
                let on = |store: &dyn Store| self.runtime.block_on(store.settle(&settlement, SOON).answer());
                prop_assert_eq!(on(&self.redis), Ok(expected), "redis, {:?}", settlement);
                if with_memory {
                    prop_assert_eq!(on(&memory), Ok(expected), "memory, {:?}", settlement);
                }
            }
        }
        Ok(())
    }

    /// A number that no other case has.
    fn number(&self) -> u64 {
        self.server.run(&["INCR", "cases"]).expect("the server runs")
    }
}

/// Keeps what was taken of a list, if it was admitted.
fn keep_taken(taken: &mut Vec<Held>, charges: &[Charge], outcomes: &[Outcome]) {
    let all = || charges.iter().zip(outcomes);
    if all().any(|(charge, outcome)| charge.mode == Mode::Enforce && !outcome.allowed) {
        return;
    }
    for (charge, outcome) in all().filter(|(charge, outcome)| outcome.allowed && charge.mode != Mode::Peek) {
        let Charge { key, limit, cost, holder, .. } = charge.clone();
        taken.push(Held { key, limit, taken: cost, unused: cost, mark_us: outcome.mark_us, holder });
    }
}

fn settlement(marker: String, held: Held, end: End, now_us: u64) -> Settlement {
    let until = Timestamp::from_micros(now_us + 1);
    let (action, unused) = match end {
        End::Settle(eighths) => (Action::Settle, held.taken / 8 * eighths),
        End::Renew => (Action::Renew { until: Timestamp::from_micros(now_us + 2) }, 0),
    };
    Settlement { marker: Some(marker), until, remembered_us: 0, action, held: vec![Held { unused, ..held }] }
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
    fn charge(&self, case: &str, rules: &[Rule], by_window: bool, now_us: u64) -> (Charge, Cost) {
        let rule = &rules[self.rule];
        // Some are held, for a part of their window.
        let hold_us = if self.rule.is_multiple_of(2) { rule.window_us / 4 + 1 } else { 0 };
        let on_change = OnChange::ALL[self.rule % OnChange::ALL.len()];
        let rule = &Rule { hold_us, on_change, ..at(rule, now_us) };
        let limit = Limit::with_rule("test", *rule).expect("the rule is sound");
        // Rules of one algorithm share their keys, as if the limit had changed. A store keeps a counter for as long as the limit counts
        // that charged it last, so what a longer window would still remember may be gone.
        let by_window = by_window || rule.algorithm == Algorithm::Calendar;
        let window = if by_window { rule.window_us } else { 0 };
        let key = format!("{case}:{}:{window}:{}", rule.algorithm.key_tag(), self.key);
        (Charge { key, limit, cost: 0, mode: self.mode, holder: self.holder }, self.cost)
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
        let charge = |cost| Charge {
            key: format!("share:{number}"),
            limit: limit.clone(),
            cost,
            mode: Mode::Enforce,
            holder: 0,
        };
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
