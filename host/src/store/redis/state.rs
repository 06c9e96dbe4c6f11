//! The form in which the scripts hold a counter.

use crate::counter::{Algorithm, Generation, Numbered, Numbers, Reserved, Slot, State};

/// Until when the key lives, in milliseconds: of use to the scripts alone.
const LIFE_BYTES: usize = 6;
const MOMENT_BYTES: usize = 7;
const COUNT_BYTES: usize = 4;
const HOLDER_BYTES: usize = 8;
const SLOTS_BYTES: usize = 2;
/// What is reserved of a bucket, in one generation or two.
const RESERVED_BYTES: [usize; 2] = [36, 61];
const MOMENTS_END: u64 = 1 << 53;
const LARGEST_COUNT: u64 = 1_000_000_000;

/// Reads what a key holds; none if it is no counter of this algorithm.
pub(super) fn read(algorithm: Algorithm, held: &[u8]) -> Option<State> {
    let (mut rest, by) = numbered(algorithm, held)?;
    number(&mut rest, LIFE_BYTES)?;
    let state = match algorithm {
        Algorithm::FixedWindow | Algorithm::Calendar => {
            State::FixedWindow { start_us: moment(&mut rest)?, used: count(&mut rest)? }
        }
        Algorithm::SlidingWindow => {
            let (start_us, earlier) = (moment(&mut rest)?, count(&mut rest)?);
            State::SlidingWindow { start_us, earlier, used: count(&mut rest)? }
        }
        Algorithm::TokenBucket | Algorithm::Delay => {
            let (tat_us, part) = (moment(&mut rest)?, count(&mut rest)?);
            let reserve = if rest.is_empty() { None } else { Some(Box::new(reserved(&mut rest)?)) };
            State::TokenBucket { tat_us, part, reserve }
        }
        Algorithm::Concurrency => {
            let mut slots = Vec::with_capacity(rest.len() / (MOMENT_BYTES + HOLDER_BYTES + SLOTS_BYTES));
            while !rest.is_empty() {
                let (until_us, holder) = (moment(&mut rest)?, number(&mut rest, HOLDER_BYTES)?);
                slots.push(Slot { until_us, holder, count: number(&mut rest, SLOTS_BYTES)? });
            }
            State::Slots(slots.into_boxed_slice())
        }
    };
    let state = match by {
        Some(by) => State::Numbered(Box::new(Numbered { by, state })),
        None => state,
    };
    rest.is_empty().then_some(state)
}

/// Takes the numbers off that the counter was counted by, if it tells them: its length says so.
fn numbered(algorithm: Algorithm, held: &[u8]) -> Option<(&[u8], Option<Numbers>)> {
    let plain = LIFE_BYTES + MOMENT_BYTES + COUNT_BYTES;
    let lengths = match algorithm {
        Algorithm::FixedWindow | Algorithm::Calendar => [plain; 3],
        Algorithm::SlidingWindow => [plain + COUNT_BYTES; 3],
        Algorithm::TokenBucket | Algorithm::Delay => [plain, plain + RESERVED_BYTES[0], plain + RESERVED_BYTES[1]],
        Algorithm::Concurrency => return Some((held, None)),
    };
    match held.len().checked_sub(COUNT_BYTES + MOMENT_BYTES) {
        Some(length) if lengths.contains(&length) => {
            let (rest, mut numbers) = held.split_at_checked(length)?;
            let numbers = Numbers { amount: count(&mut numbers)?, fill_us: moment(&mut numbers)? };
            Some((rest, Some(numbers)))
        }
        _ => Some((held, None)),
    }
}

/// Reads what is reserved of a bucket: all that is left.
fn reserved(rest: &mut &[u8]) -> Option<Reserved> {
    let (settled_us, settled_part) = (moment(rest)?, count(rest)?);
    let mut generations = Vec::with_capacity(2);
    while !rest.is_empty() && generations.len() < 2 {
        let (since_us, until_us, refill_us) = (moment(rest)?, moment(rest)?, moment(rest)?);
        generations.push(Generation { since_us, until_us, refill_us, refill_part: count(rest)? });
    }
    Some(Reserved { settled_us, settled_part, generations })
}

fn moment(rest: &mut &[u8]) -> Option<u64> {
    number(rest, MOMENT_BYTES).filter(|moment| *moment < MOMENTS_END)
}

fn count(rest: &mut &[u8]) -> Option<u64> {
    number(rest, COUNT_BYTES).filter(|count| *count <= LARGEST_COUNT)
}

/// Takes a little-endian number of so many bytes off the front.
fn number(rest: &mut &[u8], bytes: usize) -> Option<u64> {
    let (number, after) = rest.split_at_checked(bytes)?;
    *rest = after;
    Some(number.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// What a list found that is remembered under a key: when it was charged, and what each of its counters held.
pub(super) fn remembered(
    mut held: &[u8],
    algorithms: impl Iterator<Item = Algorithm>,
) -> Option<(u64, Vec<Option<State>>)> {
    let now_us = number(&mut held, MOMENT_BYTES)?;
    let mut states = Vec::new();
    for algorithm in algorithms {
        let bytes = usize::try_from(number(&mut held, 2)?).ok()?;
        let (state, after) = held.split_at_checked(bytes)?;
        held = after;
        states.push(if state.is_empty() { None } else { Some(read(algorithm, state)?) });
    }
    held.is_empty().then_some((now_us, states))
}
