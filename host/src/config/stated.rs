//! A value and where it was stated, so that a message can name the place.

use std::fmt;

/// A value that the operator stated.
#[derive(Clone)]
pub(super) struct Stated<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Where.
#[derive(Clone)]
pub(super) enum Place {
    /// In this environment variable.
    Variable(&'static str),
    /// At this key of this file.
    Key {
        /// The key, with the tables it stands in.
        key: String,
        /// The file's name.
        file: String,
    },
}

impl Place {
    /// Whether both stand in the environment, or both in the file.
    pub(super) const fn same_level(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Variable(_), Self::Variable(_)) | (Self::Key { .. }, Self::Key { .. }))
    }

    /// Whether it is the environment, which wins over the file.
    pub(super) const fn is_variable(&self) -> bool {
        matches!(self, Self::Variable(_))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::Key { key, file } => write!(f, "`{key}` in {file}"),
        }
    }
}
