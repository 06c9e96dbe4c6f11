//! Plain charges, alone and three in a list, at the very microseconds where an answer changes: what the script has a short way for.

use super::*;

/// A list at a moment where something changes, made once or by three at once.
#[derive(Clone, Debug)]
struct Visit {
    moment: Moment,
    costs: [Cost; CHARGES],
    thrice: bool,
}

/// When: give or take a microsecond.
#[derive(Clone, Copy, Debug)]
struct Moment {
    of: Edge,
    charge: usize,
    more: i64,
}

#[derive(Clone, Copy, Debug)]
enum Edge {
    Now,
    /// When one more than is left would pass.
    Refill,
    /// When the counter is as if unused.
    Reset,
    /// When a window of the rule's length begins.
    Window,
}

const CHARGES: usize = 3;

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    let edges =
        prop_oneof![1 => Just(Edge::Now), 3 => Just(Edge::Refill), 2 => Just(Edge::Reset), 2 => Just(Edge::Window)];
    let moments = (edges, 0..CHARGES, -1..=1_i64).prop_map(|(of, charge, more)| Moment { of, charge, more });
    let costs = || {
        prop_oneof![
            3 => (1..3_u64).prop_map(Cost::Exactly),
            2 => shares().prop_map(Cost::Share),
            4 => (0..2_u64).prop_map(|more| Cost::Left { more }),
        ]
    };
    let visit = (moments, [costs(), costs(), costs()], any::<bool>());
    vec(visit.prop_map(|(moment, costs, thrice)| Visit { moment, costs, thrice }), 1..12)
}

fn plain_rules() -> impl Strategy<Value = Rule> {
    rules().prop_filter("a rule that counts time", |rule| rule.algorithm != Algorithm::Concurrency)
}

impl Moment {
    fn after(self, charges: &[Charge], oracle: &Oracle, now_us: u64) -> u64 {
        let charge = &charges[self.charge % charges.len()];
        let peek = |cost| oracle.clone().charge(&[Charge { cost, mode: Mode::Peek, ..charge.clone() }], now_us)[0];
        let window_us = charge.limit.rule().window_us;
        let wait = match self.of {
            Edge::Now => return now_us,
            Edge::Refill => peek(peek(0).remaining + 1).retry_after.unwrap_or_default(),
            Edge::Reset => peek(0).reset_after,
            Edge::Window => Duration::from_micros(window_us - now_us % window_us),
        };
        let wait_us = u64::try_from(wait.as_micros()).expect("a wait is below a few years");
        (now_us + wait_us).saturating_add_signed(self.more).max(now_us)
    }
}

impl Bench {
    /// Makes the lists on the oracle and on the server: every outcome must be the same, and what the counters tell afterwards.
    fn visit(&self, rules: &[Rule], visits: &[Visit]) -> TestCaseResult {
        let case = format!("case {}", self.number());
        let (mut oracle, mut now_us) = (Oracle::default(), ORIGIN_US);
        for visit in visits {
            now_us = visit.moment.after(&plain_charges(&case, rules, now_us), &oracle, now_us);
            self.clock.set(Timestamp::from_micros(now_us));
            let charges = plain_charges(&case, rules, now_us).into_iter().zip(visit.costs);
            let charges: Vec<Charge> = charges
                .map(|(charge, cost)| Charge { cost: cost.amount(&charge, &oracle, now_us).max(1), ..charge })
                .collect();
            let list = || self.redis.charge(&charges, SOON).outcomes();
            let found = self.runtime.block_on(async {
                if !visit.thrice {
                    return vec![list().await];
                }
                let (first, second, third) = tokio::join!(list(), list(), list());
                vec![first, second, third]
            });
            let expected: Vec<_> = found.iter().map(|_| Ok(oracle.charge(&charges, now_us))).collect();
            prop_assert_eq!(found, expected, "{:?} at {}", visit, now_us);
            let peeks: Vec<Charge> = charges.into_iter().map(|charge| Charge { mode: Mode::Peek, ..charge }).collect();
            let found = self.runtime.block_on(self.redis.charge(&peeks, SOON).outcomes());
            prop_assert_eq!(found, Ok(oracle.charge(&peeks, now_us)), "after {:?} at {}", visit, now_us);
        }
        Ok(())
    }
}

fn plain_charges(case: &str, rules: &[Rule], now_us: u64) -> Vec<Charge> {
    let charge = |(number, rule): (usize, &Rule)| Charge {
        key: format!("{case}:{number}"),
        limit: Limit::with_rule("test", at(rule, now_us)).expect("the rule is sound"),
        cost: 1,
        mode: Mode::Enforce,
        holder: 0,
    };
    rules.iter().enumerate().map(charge).collect()
}

fn hold_at_boundaries(limits: usize) -> Result<()> {
    let bench = Bench::new()?;
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(600) });
    runner
        .run(&(vec(plain_rules(), limits), visits()), |(rules, visits)| bench.visit(&rules, &visits))
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    keys_expire(&bench.server)
}

#[test]
fn a_plain_charge_is_exact_to_the_microsecond() -> Result<()> {
    hold_at_boundaries(1)
}

#[test]
fn three_plain_charges_are_exact_to_the_microsecond() -> Result<()> {
    hold_at_boundaries(CHARGES)
}
