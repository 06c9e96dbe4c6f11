//! What the scripts are told, as whole numbers in one MessagePack array.

use std::time::Duration;

use redis::Cmd;

use crate::counter::{Algorithm, Item, Mode, Numbers, OnChange, Rule};
use crate::model::Held;
use crate::time::{Timestamp, micros};

/// What counters are charged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The time; none for the server's.
    pub(super) now: Option<Timestamp>,
    /// How much longer than it counts a counter is kept.
    pub(super) grace: Duration,
}

/// The words of one call. The rules come first, each once.
pub(super) struct Words {
    words: Vec<u64>,
    rules: Vec<Rule>,
    holders: Vec<u64>,
}

/// Where the rules begin, counted from 1 as the scripts count.
const RULES_AT: u64 = 4;
const WORDS_PER_RULE: u64 = 10;

impl Words {
    pub(super) fn new(terms: &Terms, rules: impl Iterator<Item = Rule>) -> Self {
        let mut all = Self { words: Vec::with_capacity(512), rules: Vec::with_capacity(4), holders: Vec::new() };
        all.add([terms.now.map_or(0, Timestamp::as_micros), micros(terms.grace) / 1_000, 0]);
        for rule in rules {
            if !all.rules.contains(&rule) {
                all.rules.push(rule);
                all.add(of_rule(&rule));
            }
        }
        if let Some(count) = all.words.get_mut(2) {
            *count = all.rules.len() as u64;
        }
        all
    }

    pub(super) fn add(&mut self, words: impl IntoIterator<Item = u64>) {
        self.words.extend(words);
    }

    /// Lists of charges that are each on the next key, and how often each list is made.
    pub(super) fn runs<'a>(&mut self, lists: impl Iterator<Item = (&'a [Item], usize)>) {
        let (count_at, mut run_at) = (self.words.len(), self.words.len());
        self.add([0]);
        let mut last: Option<(&[Item], usize)> = None;
        for (items, times) in lists {
            if !last.is_some_and(|(like, often)| often == times && are_alike(like, items)) {
                last = Some((items, times));
                run_at = self.words.len();
                self.add([0, times as u64, items.len() as u64]);
                for item in items {
                    let (cost, part) = self.amount(&item.rule, item.cost, item.holder);
                    self.add([self.rule(&item.rule), cost, part]);
                }
                self.count(count_at);
            }
            self.count(run_at);
        }
    }

    fn count(&mut self, at: usize) {
        if let Some(count) = self.words.get_mut(at) {
            *count += 1;
        }
    }

    /// A charge on the key of this index, counted from 0.
    pub(super) fn charge(&mut self, item: &Item) {
        let mode = match item.mode {
            Mode::Enforce => 1,
            Mode::Shadow => 2,
            Mode::Peek => 3,
        };
        let (cost, part) = self.amount(&item.rule, item.cost, item.holder);
        // Slots are taken by their holder, if any are: a cost of 0 takes nothing.
        let part = if item.cost == 0 { 0 } else { part };
        self.add([item.slot as u64 + 1, self.rule(&item.rule), mode, cost, part]);
    }

    /// What is settled of a charge on the key of this index, counted from 0.
    pub(super) fn held(&mut self, held: &Held, slot: usize) {
        let rule = held.limit.rule();
        let is_bucket = matches!(rule.algorithm, Algorithm::TokenBucket | Algorithm::Delay);
        let amount = if is_bucket { held.taken.saturating_sub(held.unused) } else { held.unused };
        let (amount, part) = self.amount(rule, amount, held.holder);
        let (taken, taken_part) = if is_bucket { refill(rule, held.taken) } else { (0, 0) };
        self.add([slot as u64 + 1, self.rule(rule), amount, part, held.mark_us, taken, taken_part]);
    }

    /// An amount as the scripts count it, and its part of a microsecond or the index of its holder.
    fn amount(&mut self, rule: &Rule, amount: u64, holder: u64) -> (u64, u64) {
        // A cost that can never fit need not be exact, only too large; so it cannot be too large for a double.
        let amount = match rule.algorithm {
            // A holder may have more slots than there are now.
            Algorithm::Concurrency => amount.min(Rule::MAX_SLOTS + 1),
            _ => amount.min(rule.most() + 1),
        };
        match rule.algorithm {
            Algorithm::TokenBucket | Algorithm::Delay => refill(rule, amount),
            Algorithm::Concurrency => {
                self.holders.push(holder);
                (amount, self.holders.len() as u64 + 1)
            }
            _ => (amount, 0),
        }
    }

    fn rule(&self, rule: &Rule) -> u64 {
        let index = self.rules.iter().position(|known| known == rule).unwrap_or_default();
        RULES_AT + index as u64 * WORDS_PER_RULE
    }

    /// Adds the words to a call, and the holders after them.
    pub(super) fn add_to(&self, call: &mut Cmd) {
        let mut bytes = Vec::with_capacity(self.words.len() * 5 + 5);
        let written = rmp::encode::write_array_len(&mut bytes, u32::try_from(self.words.len()).unwrap_or(u32::MAX))
            .and_then(|_| self.words.iter().try_for_each(|word| rmp::encode::write_uint(&mut bytes, *word).map(drop)));
        written.expect("a vector takes every byte");
        call.arg(bytes);
        for holder in &self.holders {
            call.arg(holder.to_le_bytes().as_slice());
        }
    }
}

/// Whether the charges are the same, on whatever keys.
fn are_alike(some: &[Item], others: &[Item]) -> bool {
    let alike = |(one, other): (&Item, &Item)| one.rule == other.rule && one.cost == other.cost;
    some.len() == others.len() && some.iter().zip(others).all(alike)
}

fn of_rule(rule: &Rule) -> impl Iterator<Item = u64> {
    let mode = match rule.on_change {
        OnChange::Proportional => 1,
        OnChange::Additive => 2,
        OnChange::Reset => 3,
        _ => 0,
    };
    let mode = if rule.tells_numbers() { mode } else { 0 };
    let Numbers { amount, fill_us } = rule.numbers();
    counted(rule).into_iter().chain([mode, amount, fill_us])
}

/// What a rule counts by.
fn counted(rule: &Rule) -> [u64; 7] {
    let &Rule { max, window_us, longest_wait_us, hold_us, .. } = rule;
    match rule.algorithm {
        Algorithm::FixedWindow => [1, window_us, max, 0, 0, 0, 0],
        Algorithm::SlidingWindow => [2, window_us, max, 0, 0, 0, 0],
        Algorithm::TokenBucket | Algorithm::Delay => {
            let (capacity_us, part) = refill(rule, rule.burst);
            // What may be owed refills in whole microseconds.
            let owed_us = if rule.algorithm == Algorithm::Delay { longest_wait_us } else { 0 };
            [3, window_us, max, capacity_us + owed_us, part, slack_ms(capacity_us), hold_us]
        }
        Algorithm::Calendar => {
            let period = rule.period.expect("a limit of a calendar is made with its period");
            [4, period.start_us, max, period.end_us, period.next_end_us, 0, 0]
        }
        Algorithm::Concurrency => [5, window_us, max, 0, 0, 0, 0],
    }
}

/// How long the life of a bucket's key is stretched when it must be written anyway: some refills, so that it need not be written each time.
fn slack_ms(capacity_us: u64) -> u64 {
    capacity_us.max(capacity_us.saturating_mul(4).min(60_000_000)) / 1_000
}

/// How long so many tokens take to refill: whole microseconds, and the rest in parts of `max`.
fn refill(rule: &Rule, tokens: u64) -> (u64, u64) {
    let (window_us, max) = (rule.window_us, rule.max);
    match tokens.checked_mul(window_us) {
        Some(parts) => (parts / max, parts % max),
        None => {
            let parts = u128::from(tokens) * u128::from(window_us);
            (narrow(parts / u128::from(max)), narrow(parts % u128::from(max)))
        }
    }
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
