//! The cells that windows are counted in where no script may run: a key for each window of a counter, which holds a plain number.

use redis::{Pipeline, RedisError, Value};

use crate::counter::{Algorithm, Item, Mode, Rule, State};
use crate::model::{Fault, FaultKind};
use crate::store::plan::Plan;
use crate::store::redis::fault;

/// A window of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start_us: u64,
    /// From when on nobody asks for its cell.
    forgotten_us: u64,
    /// How long it is, if it slides.
    slides_us: Option<u64>,
}

impl Window {
    /// The window that this moment lies in; none if the rule counts by none.
    pub(super) fn at(rule: &Rule, moment_us: u64) -> Option<Self> {
        let length_us = rule.window_us;
        let aligned_us = moment_us - moment_us % length_us;
        let (start_us, forgotten_us, slides_us) = match (rule.algorithm, rule.period) {
            (Algorithm::FixedWindow, _) => (aligned_us, aligned_us + length_us, None),
            (Algorithm::SlidingWindow, _) => (aligned_us, aligned_us + 2 * length_us, Some(length_us)),
            (Algorithm::Calendar, Some(period)) if moment_us < period.end_us => (period.start_us, period.end_us, None),
            (Algorithm::Calendar, Some(period)) => (period.end_us, period.next_end_us, None),
            _ => return None,
        };
        Some(Self { start_us, forgotten_us, slides_us })
    }

    pub(super) fn is_forgotten(&self, now_us: u64) -> bool {
        self.forgotten_us <= now_us
    }
}

/// How long cells live.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lives {
    pub(super) now_us: u64,
    /// How much longer than it is asked for.
    pub(super) grace_ms: u64,
}

impl Lives {
    fn of(self, window: &Window) -> u64 {
        window.forgotten_us.saturating_sub(self.now_us).div_ceil(1_000) + self.grace_ms
    }
}

/// The cell of a window.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    key: String,
    window: Window,
    /// How much a list takes before it knows whether there is so much.
    pub(super) wanted: u64,
    /// Whether another host's clock is in this window already, and ours in the one before.
    is_ahead: bool,
}

/// What came of asking for a cell.
pub(super) struct Found {
    /// Whether what was wanted was taken.
    pub(super) took: bool,
    pub(super) counts: Result<Counts, Fault>,
}

/// What a cell and those beside it held.
pub(super) struct Counts {
    before: u64,
    earlier: u64,
    later: u64,
}

impl Cell {
    pub(super) fn new(key: &str, window: Window) -> Self {
        Self { key: key.to_owned(), window, wanted: 0, is_ahead: false }
    }

    /// The cells of a list, and what it wants of each: nothing, if it cannot pass in any case.
    ///
    /// # Errors
    ///
    /// Fails with the algorithm that counts by no windows, or if one counter has two windows.
    pub(super) fn of_list(
        plan: &Plan<'_>,
        now_us: u64,
        refuse: impl Fn(Algorithm) -> Fault,
    ) -> Result<Vec<Self>, Fault> {
        let mut cells: Vec<Self> = Vec::with_capacity(plan.keys.len());
        let fits = |item: &Item| item.cost <= item.rule.most();
        let can_pass = plan.items.iter().all(|item| item.mode != Mode::Enforce || fits(item));
        for item in &plan.items {
            let window = Window::at(&item.rule, now_us).ok_or_else(|| refuse(item.rule.algorithm))?;
            if item.slot == cells.len() {
                cells.push(Self::new(plan.keys.get(item.slot).copied().unwrap_or_default(), window));
            }
            let Some(cell) = cells.get_mut(item.slot) else { continue };
            if cell.window != window {
                let key = cell.key.escape_debug();
                let message = format!(
                    "one list charges `{key}` by two windows, which takes a script; give each a key of its own"
                );
                return Err(Fault::new(FaultKind::Invalid, message));
            }
            if item.mode != Mode::Peek && can_pass && fits(item) {
                cell.wanted += item.cost;
            }
        }
        Ok(cells)
    }

    fn name(&self, start_us: u64) -> String {
        format!("{}:{start_us}", self.key)
    }

    /// Takes what is wanted.
    pub(super) fn take(&self, commands: &mut Pipeline, lives: Lives) {
        let name = self.name(self.window.start_us);
        if self.wanted == 0 {
            commands.cmd("GET").arg(name);
            return;
        }
        commands.cmd("INCRBY").arg(&name).arg(self.wanted);
        commands.cmd("PEXPIRE").arg(name).arg(lives.of(&self.window));
    }

    /// Asks for the cells beside it, after all was taken: of two hosts on both sides of a window's end at least one sees the other.
    pub(super) fn look_beside(&self, commands: &mut Pipeline) {
        if let Some(length_us) = self.window.slides_us {
            let start_us = self.window.start_us;
            commands.cmd("GET").arg(self.name(start_us.saturating_sub(length_us)));
            commands.cmd("GET").arg(self.name(start_us + length_us));
        }
    }

    /// Gives back so much.
    pub(super) fn give_back(&self, commands: &mut Pipeline, amount: u64, lives: Lives) {
        let name = self.name(self.window.start_us);
        commands.cmd("DECRBY").arg(&name).arg(amount);
        commands.cmd("PEXPIRE").arg(name).arg(lives.of(&self.window));
    }

    /// Reads the answers to [`take`](Self::take).
    pub(super) fn taken(&self, server: &str, answers: &mut impl Iterator<Item = Value>) -> Found {
        let held = self.number(server, answers.next());
        if self.wanted > 0 {
            answers.next();
        }
        let took = self.wanted > 0 && held.is_ok();
        let before = |held: u64| Counts { before: held.saturating_sub(self.wanted), earlier: 0, later: 0 };
        Found { took, counts: held.map(before) }
    }

    /// Reads the answers to [`look_beside`](Self::look_beside).
    pub(super) fn seen(&self, server: &str, answers: &mut impl Iterator<Item = Value>, found: &mut Found) {
        if self.window.slides_us.is_none() {
            return;
        }
        let beside = [answers.next(), answers.next()].map(|answer| self.number(server, answer));
        match (beside, &mut found.counts) {
            ([Ok(earlier), Ok(later)], Ok(counts)) => (counts.earlier, counts.later) = (earlier, later),
            ([Err(fault), _] | [_, Err(fault)], counts @ Ok(_)) => *counts = Err(fault),
            (_, Err(_)) => {}
        }
    }

    fn number(&self, server: &str, answer: Option<Value>) -> Result<u64, Fault> {
        let number = match answer {
            Some(Value::Int(number)) => Some(number),
            Some(Value::Nil) => Some(0),
            Some(Value::BulkString(text)) => std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()),
            Some(Value::ServerError(error)) => {
                let error = RedisError::from(error);
                // All that can be wrong about the command itself is what the key holds.
                if !matches!(error.code(), Some("ERR" | "WRONGTYPE")) {
                    return Err(fault::fault(server, &error));
                }
                None
            }
            _ => None,
        };
        let poisoned = || {
            let name = self.name(self.window.start_us);
            let message = format!("not a count; look at `{}`, and delete what is none", name.escape_debug());
            Fault::new(FaultKind::Poisoned, message)
        };
        // Less than nothing was left by somebody who gave back to a cell that was pushed out meanwhile.
        number.map(|number: i64| u64::try_from(number).unwrap_or(0)).ok_or_else(poisoned)
    }

    /// Goes to the next window if somebody counts there already; says whether it did.
    pub(super) fn follow(&mut self, counts: &Counts) -> bool {
        let Some(length_us) = self.window.slides_us.filter(|_| counts.later > 0 && !self.is_ahead) else {
            return false;
        };
        self.window.start_us += length_us;
        self.window.forgotten_us += length_us;
        self.is_ahead = true;
        true
    }

    /// The counter as the arithmetic takes it.
    pub(super) fn state(&self, counts: &Counts) -> State {
        let (start_us, used) = (self.window.start_us, counts.before);
        match self.window.slides_us {
            Some(_) => State::SlidingWindow { start_us, earlier: counts.earlier, used },
            None => State::FixedWindow { start_us, used },
        }
    }
}
