//! Which subjects a row asks for, and in what order.

use std::sync::Arc;

use crate::SUBJECTS;

/// The subjects `subject-0`, `subject-1`, … that the single decisions go round.
#[must_use]
pub fn subjects() -> Vec<String> {
    names(SUBJECTS)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("subject-{number}")).collect()
}

/// How often one subject is asked for beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Each as often as any other.
    Uniform,
    /// The n-th a n-th as often as the first: Zipf's law with exponent 1.
    Zipf,
    /// One alone.
    Hot,
}

impl Shape {
    /// The name in rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
            Self::Hot => "hot",
        }
    }
}

/// Subjects, and an order drawn before the clock runs. The same for all sides of a row, and the same in every run.
#[derive(Clone, Debug)]
pub struct Keys {
    subjects: Arc<[String]>,
    order: Arc<[u32]>,
}

/// How many draws there are before the order begins anew.
const DRAWS: usize = 1 << 20;

impl Keys {
    /// Draws from `count` subjects.
    #[must_use]
    pub fn draw(shape: Shape, count: usize) -> Self {
        let count = if shape == Shape::Hot { 1 } else { count };
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let weights = (1..=count).scan(0.0, |sum, rank| {
            *sum += if shape == Shape::Zipf { 1.0 / rank as f64 } else { 1.0 };
            Some(*sum)
        });
        let sums: Vec<f64> = weights.collect();
        let total = sums.last().copied().unwrap_or_default();
        let draw = |_| {
            let drawn = random.unit() * total;
            sums.partition_point(|sum| *sum <= drawn) as u32
        };
        Self { order: (0..DRAWS).map(draw).collect(), subjects: names(count).into() }
    }

    /// Each subject once, in order: what is asked before a row begins, so that it makes no counters.
    pub fn each(&self) -> impl Iterator<Item = &String> + Send {
        self.subjects.iter()
    }

    /// Subjects in the order drawn, for ever, for the `part`-th of `parts` that ask at the same time.
    ///
    /// # Panics
    ///
    /// Panics if `parts` is 0.
    pub fn round(&self, part: usize, parts: usize) -> impl Iterator<Item = &String> + Send {
        let begin = DRAWS / parts * part;
        let round = self.order.iter().cycle().skip(begin);
        round.filter_map(|index| self.subjects.get(*index as usize))
    }
}

/// xorshift64*: good enough to mix keys, and the same everywhere.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_subject_of_zipf_comes_half_as_often_as_the_first() {
        let keys = Keys::draw(Shape::Zipf, 1_000);
        let count =
            |subject: &str| keys.round(0, 1).take(DRAWS).filter(|drawn| drawn.as_str() == subject).count() as f64;
        let ratio = count("subject-0") / count("subject-1");
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn uniform_reaches_every_subject_and_hot_only_one() {
        let distinct = |shape| {
            let keys = Keys::draw(shape, 1_000);
            keys.round(3, 4).take(DRAWS).collect::<std::collections::HashSet<_>>().len()
        };
        assert_eq!([distinct(Shape::Uniform), distinct(Shape::Hot)], [1_000, 1]);
    }
}
