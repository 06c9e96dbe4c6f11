//! Why a component is not taken, and at which step on its way from bytes to serving.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// The steps from bytes to a policy that is ready, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// How many bytes there are.
    Size,
    /// Whether they are those that were meant.
    Digest,
    /// Whether somebody vouches for them.
    Signature,
    /// Whether they are a component.
    Form,
    /// What it imports.
    Imports,
    /// What it exports.
    Exports,
    /// From WebAssembly to machine code.
    Compile,
    /// Whether its types are those of the contract.
    Types,
    /// What it says of itself.
    Describe,
    /// Whether it takes its configuration.
    Configure,
    /// Whether it answers its golden cases as it should.
    Cases,
}

impl Stage {
    /// The name in errors and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Digest => "digest",
            Self::Signature => "signature",
            Self::Form => "form",
            Self::Imports => "imports",
            Self::Exports => "exports",
            Self::Compile => "compile",
            Self::Types => "types",
            Self::Describe => "describe",
            Self::Configure => "configure",
            Self::Cases => "cases",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A component that was not taken: the step that it failed at, and the error, which names the component, the step and the way out.
#[derive(Debug)]
pub struct Refusal {
    /// The step.
    pub stage: Stage,
    /// What is wrong.
    pub error: Error,
}

impl Refusal {
    pub(crate) fn new(name: &str, stage: Stage, problem: impl Into<Problem>) -> Self {
        let Problem { kind, text, cause } = problem.into();
        let error = Error::new(kind, format!("failed to load policy `{name}` at `{stage}`: {text}"));
        let error = match cause {
            Some(cause) => error.because(cause),
            None => error,
        };
        Self { stage, error }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

/// How much is told of what the engine says, which may quote the component.
const TOLD_BYTES: usize = 2048;

/// What is wrong with a component, before it is said with which.
pub(crate) struct Problem {
    pub(super) kind: ErrorKind,
    pub(super) text: String,
    pub(super) cause: Option<String>,
}

impl Problem {
    /// The machine's fault, not the component's.
    pub(super) fn of_the_machine(text: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::System, text: text.into(), cause: Some(cause.to_string()) }
    }

    /// The component's fault, as the engine tells it: cut, in one line, and harmless on a terminal, since it may quote names that the component chose.
    pub(super) fn told_by(error: impl fmt::Display, text: impl Into<String>) -> Self {
        let told = format!("{error:#}");
        let cut = told.get(..told.floor_char_boundary(TOLD_BYTES)).unwrap_or("");
        let cause = cut.escape_debug().collect();
        Self { kind: ErrorKind::Policy, text: text.into(), cause: Some(cause) }
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self { kind: ErrorKind::Policy, text, cause: None }
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}
