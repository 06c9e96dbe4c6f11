//! The one error of the crate: opaque, with a kind to act on and a text that says what to do.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong when something was built, loaded or read.
///
/// Deciding a request raises none: `decide` always answers. The text is a lowercase fragment that names the value, the place and the
/// way out, and never a secret; `{:#}` adds the causes.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Whose fault it is, so that a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value in the configuration, the environment or a builder.
    Config,
    /// A field of a request; see [`Error::message`] for its name.
    Request,
    /// A policy that cannot be loaded, or that refuses its configuration.
    Policy,
    /// The store of the counters.
    Store,
    /// The machine: files, sockets, memory.
    System,
    /// Something that is not there: a policy, a revision.
    NotFound,
    /// Somebody else was faster, or things are not as was said.
    Conflict,
}

impl Error {
    /// An error of this kind that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same error, with what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What it says, without its causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            let mut cause = self.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
