//! What is remembered of a counter, and its text in a store.

use std::fmt;

use super::fixed::Bounds;
use super::{Algorithm, Generation, Numbered, Numbers, Reserved, Rule};

/// What is remembered of a counter in use. An unused counter has none.
///
/// Its text, for people and tests, is decimal integers joined by colons, in the order of the fields, a bucket's `part` left out where it is 0. What is reserved of a
/// bucket follows after a plus, and each generation of it after another; the numbers it was counted by follow after a slash. Slots are joined by commas, each with its end, its holder in
/// hexadecimal, and how many they are if more than one, joined by points: `1700000000000000.9f,1700000000500000.a0.3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A count and the window or the calendar period it belongs to.
    FixedWindow {
        /// When the window began.
        start_us: u64,
        /// What was taken in it.
        used: u64,
    },
    /// The counts of two adjacent windows.
    SlidingWindow {
        /// When the later window began.
        start_us: u64,
        /// What was taken in the window before.
        earlier: u64,
        /// What was taken in the later window.
        used: u64,
    },
    /// When the bucket is full again: `tat_us` and `part / max` microseconds.
    TokenBucket {
        /// The whole microseconds.
        tat_us: u64,
        /// The rest, as so many parts of `max`. Always 0 where `max` divides the window.
        part: u64,
        /// What of it is taken for the time being only, if something is.
        reserve: Option<Box<Reserved>>,
    },
    /// The slots that are held, by the end of their lease.
    Slots(Box<[Slot]>),
    /// One of the others, and by which numbers it was counted.
    Numbered(Box<Numbered>),
}

/// Slots of one holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When the lease ends.
    pub until_us: u64,
    /// Whose they are.
    pub holder: u64,
    /// How many they are.
    pub count: u64,
}

/// What no moment reaches: doubles count exactly up to here.
const MOMENTS_END: u64 = 1 << 53;
/// The most that a limit can give, and more than any `part`.
const LARGEST_COUNT: u64 = 1_000_000_000;

impl State {
    /// Reads the text of a counter of `algorithm`; none if it is not one.
    #[must_use]
    pub fn parse(algorithm: Algorithm, text: &str) -> Option<Self> {
        if let Some((text, by)) = text.split_once('/') {
            let state = Self::parse(algorithm, text).filter(|_| algorithm != Algorithm::Concurrency)?;
            return Some(state.numbered(numbers(by)?));
        }
        if algorithm == Algorithm::Concurrency {
            return slots(text).map(Self::Slots);
        }
        if matches!(algorithm, Algorithm::TokenBucket | Algorithm::Delay) {
            return bucket(text);
        }
        let mut numbers = text.split(':').map(number);
        let moment_us = numbers.next()?.filter(|us| *us < MOMENTS_END)?;
        let mut count = || numbers.next().map(|number| number.filter(|count| *count <= LARGEST_COUNT));
        let state = match algorithm {
            Algorithm::FixedWindow | Algorithm::Calendar => Self::FixedWindow { start_us: moment_us, used: count()?? },
            Algorithm::SlidingWindow => {
                Self::SlidingWindow { start_us: moment_us, earlier: count()??, used: count()?? }
            }
            Algorithm::TokenBucket | Algorithm::Delay | Algorithm::Concurrency => return None,
        };
        numbers.next().is_none().then_some(state)
    }

    /// From when on nobody misses it, as long as `rule` counts it: the counter is as if unused, and nothing of it can be given back.
    #[must_use]
    pub fn ends_us(&self, rule: &Rule, now_us: u64) -> u64 {
        match self {
            Self::FixedWindow { start_us, .. } => match Bounds::at(rule, now_us) {
                present if *start_us >= present.end_us => present.next_end_us,
                present => present.end_us,
            },
            Self::SlidingWindow { start_us, .. } => start_us.saturating_add(rule.window_us.saturating_mul(2)),
            Self::TokenBucket { tat_us, .. } => tat_us.saturating_add(1),
            Self::Slots(slots) => slots.last().map_or(0, |slot| slot.until_us),
            Self::Numbered(numbered) => numbered.state.ends_us(rule, now_us),
        }
    }
}

/// A number as a script reads it: digits only.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn numbers(text: &str) -> Option<Numbers> {
    let (amount, fill_us) = text.split_once(':')?;
    let amount = number(amount).filter(|amount| (1..=LARGEST_COUNT).contains(amount))?;
    Some(Numbers { amount, fill_us: number(fill_us).filter(|us| *us < MOMENTS_END)? })
}

fn bucket(text: &str) -> Option<State> {
    let mut texts = text.split('+');
    let (tat_us, part) = moment(texts.next()?)?;
    let Some(settled) = texts.next() else { return Some(State::TokenBucket { tat_us, part, reserve: None }) };
    let (settled_us, settled_part) = moment(settled)?;
    let generations: Vec<Generation> = texts.map(generation).collect::<Option<_>>()?;
    if !(1..=Reserved::GENERATIONS).contains(&generations.len()) {
        return None;
    }
    Some(State::TokenBucket {
        tat_us,
        part,
        reserve: Some(Box::new(Reserved { settled_us, settled_part, generations })),
    })
}

fn moment(text: &str) -> Option<(u64, u64)> {
    let (us, part) = text.split_once(':').unwrap_or((text, "0"));
    let us = number(us).filter(|us| *us < MOMENTS_END)?;
    Some((us, number(part).filter(|part| *part <= LARGEST_COUNT)?))
}

fn generation(text: &str) -> Option<Generation> {
    let mut numbers = text.split(':').map(number);
    let mut next = || numbers.next()?.filter(|number| *number < MOMENTS_END);
    let (since_us, until_us, refill_us) = (next()?, next()?, next()?);
    let refill_part = next().filter(|part| *part <= LARGEST_COUNT)?;
    let generation = Generation { since_us, until_us, refill_us, refill_part };
    numbers.next().is_none().then_some(generation)
}

fn slots(text: &str) -> Option<Box<[Slot]>> {
    let slots: Box<[Slot]> = text.split(',').map(slot).collect::<Option<_>>()?;
    let in_order = slots.is_sorted_by_key(|slot| slot.until_us);
    let count = slots.iter().map(|slot| slot.count).sum::<u64>();
    (in_order && count <= Rule::MAX_SLOTS).then_some(slots)
}

fn slot(text: &str) -> Option<Slot> {
    let mut fields = text.split('.');
    let until_us = number(fields.next()?).filter(|us| *us < MOMENTS_END)?;
    let holder = fields.next()?;
    // As it is written, so that a script may compare the texts.
    let plain = holder == "0" || !holder.starts_with('0');
    let hexadecimal = plain && holder.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let holder = if hexadecimal { u64::from_str_radix(holder, 16).ok()? } else { return None };
    let count = match fields.next() {
        None => 1,
        Some(count) => number(count).filter(|count| (2..=Rule::MAX_SLOTS).contains(count))?,
    };
    fields.next().is_none().then_some(Slot { until_us, holder, count })
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FixedWindow { start_us, used } => write!(f, "{start_us}:{used}"),
            Self::SlidingWindow { start_us, earlier, used } => write!(f, "{start_us}:{earlier}:{used}"),
            Self::TokenBucket { tat_us, part, reserve } => {
                write!(f, "{}", Moment(*tat_us, *part))?;
                reserve.as_ref().map_or(Ok(()), |reserve| write!(f, "+{reserve}"))
            }
            Self::Numbered(numbered) => write!(f, "{}/{}:{}", numbered.state, numbered.by.amount, numbered.by.fill_us),
            Self::Slots(slots) => slots.iter().enumerate().try_for_each(|(at, slot)| {
                let comma = if at == 0 { "" } else { "," };
                write!(f, "{comma}{slot}")
            }),
        }
    }
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Moment(self.settled_us, self.settled_part))?;
        self.generations.iter().try_for_each(|Generation { since_us, until_us, refill_us, refill_part }| {
            write!(f, "+{since_us}:{until_us}:{refill_us}:{refill_part}")
        })
    }
}

/// Microseconds and the rest in parts.
struct Moment(u64, u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(us, 0) => write!(f, "{us}"),
            Self(us, part) => write!(f, "{us}:{part}"),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { until_us, holder, count } = self;
        match count {
            1 => write!(f, "{until_us}.{holder:x}"),
            _ => write!(f, "{until_us}.{holder:x}.{count}"),
        }
    }
}
