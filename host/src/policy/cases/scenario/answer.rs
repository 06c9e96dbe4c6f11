//! What an engine answered, and whether it is what was expected.

use std::time::Duration;

use super::{Expected, RetryAfter, Step, Verdict, whole_ms};

/// What an engine answered to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it may pass.
    pub verdict: Verdict,
    /// For a denied request: when it would pass.
    pub retry_after: Option<RetryAfter>,
    /// What every charged limit has left, by id, in the order of the charges.
    pub remaining: Vec<(String, u64)>,
}

impl Answer {
    /// The answer of an engine that tells the wait itself, and by id what each charge left, in the order of the charges.
    ///
    /// The wait is rounded up to whole milliseconds; none means that no waiting helps.
    #[must_use]
    pub fn told(verdict: Verdict, wait: Option<Duration>, left: impl IntoIterator<Item = (String, u64)>) -> Self {
        let wait = wait.map_or(RetryAfter::Never, |wait| RetryAfter::After(whole_ms(wait)));
        let mut remaining: Vec<(String, u64)> = Vec::new();
        for (id, left) in left {
            remaining.retain(|(earlier, _)| *earlier != id);
            remaining.push((id, left));
        }
        Self { verdict, retry_after: (verdict == Verdict::Deny).then_some(wait), remaining }
    }

    fn least_remaining(&self) -> Option<u64> {
        self.remaining.iter().map(|(_, remaining)| *remaining).min()
    }

    /// What was answered of all that is expected.
    fn as_expected(&self, expected: &Expected) -> Expected {
        let answered = |id: &String| self.remaining.iter().find(|(answered, _)| answered == id).cloned();
        Expected {
            verdict: self.verdict,
            retry_after: self
                .retry_after
                .filter(|_| expected.verdict != self.verdict || expected.retry_after.is_some()),
            least_remaining: expected.least_remaining.and(self.least_remaining()),
            remaining: expected.remaining.iter().filter_map(|(id, _)| answered(id)).collect(),
        }
    }
}

impl Step {
    /// Compares what an engine answered with what is expected.
    ///
    /// # Errors
    ///
    /// Fails with the step as it stands and as it was answered, to be copied into the file if the answer is right.
    pub fn check(&self, answer: &Answer) -> Result<(), String> {
        let answered = answer.as_expected(&self.expected);
        if answered == self.expected {
            return Ok(());
        }
        let text = &self.text;
        Err(format!("{text} -> {}\nanswered: {text} -> {}", in_words(&self.expected), in_words(&answered)))
    }
}

fn in_words(expected: &Expected) -> String {
    let mut words = match (expected.verdict, expected.retry_after) {
        (Verdict::Allow, _) => "allow".to_owned(),
        (Verdict::Delay(wait), _) => format!("delay {}", duration_in_words(wait)),
        (Verdict::Deny, None) => "deny".to_owned(),
        (Verdict::Deny, Some(RetryAfter::Never)) => "deny never".to_owned(),
        (Verdict::Deny, Some(RetryAfter::After(wait))) => format!("deny {}", duration_in_words(wait)),
    };
    if expected.least_remaining.is_some() || !expected.remaining.is_empty() {
        words.push_str(" remaining");
    }
    words.extend(expected.least_remaining.map(|least| format!(" {least}")));
    words.extend(expected.remaining.iter().map(|(id, remaining)| format!(" {id}={remaining}")));
    words
}

/// A duration as scenarios write it: `1h30m`, in whole milliseconds.
fn duration_in_words(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut words = String::new();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= length {
            words.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words }
}
