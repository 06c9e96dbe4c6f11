//! What reading the configuration found: every problem, not only the first, and what the operator should know.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Problems and notices, gathered while the configuration is read.
#[derive(Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    pub(super) notices: Vec<String>,
}

struct Problem {
    place: String,
    text: String,
}

impl Findings {
    /// Notes that what stands at `place` will not do.
    pub(super) fn problem(&mut self, place: impl fmt::Display, text: impl Into<String>) {
        self.problems.push(Problem { place: place.to_string(), text: text.into() });
    }

    /// Notes what the operator should know.
    pub(super) fn notice(&mut self, text: impl Into<String>) {
        self.notices.push(text.into());
    }

    /// Whether something is wrong at a place that is called so.
    pub(super) fn blames(&self, names: &[&str]) -> bool {
        self.problems.iter().any(|problem| names.iter().any(|name| problem.place.contains(name)))
    }

    /// Whether anything is wrong.
    pub(super) const fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// One error that tells all problems.
    pub(super) fn into_error(self) -> Error {
        let message = match self.problems.as_slice() {
            [Problem { place, text }] => format!("failed to read {place}: {text}"),
            problems => {
                let lines: String =
                    problems.iter().map(|Problem { place, text }| format!("\n- {place}: {text}")).collect();
                format!("failed to read the configuration, which has {} problems:{lines}", problems.len())
            }
        };
        Error::new(ErrorKind::Config, message)
    }
}
