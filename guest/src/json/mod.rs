//! JSON as a configuration needs it, in a tenth of the code.
//!
//! Every policy carries its reader, and components of many policies stand side by side in a host, so its size matters. `serde_json` adds
//! more than 60 KB to a component, much of it the reading and printing of numbers with fractions, to a policy that weighs 48 KB with this
//! reader. Texts are first read into a tree of [`Node`]s, by code that exists once, so that what serde derives for each type stays thin. It
//! also knows the path of what it reads, which `serde_json` does not.

mod de;
mod read;

use std::fmt;

use serde::de::DeserializeOwned;

/// Reads `text` as a `T`.
///
/// The error is a sentence with the path and the place in the text.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    read::tree(text).and_then(|node| de::value(&node)).map_err(|error| error.describe(text))
}

/// A value and the byte of the text where it begins.
struct Node<'t> {
    at: usize,
    value: Value<'t>,
}

enum Value<'t> {
    Null,
    Bool(bool),
    /// As written, and known to be a number.
    Number(&'t str),
    Text(String),
    List(Vec<Node<'t>>),
    Object(Vec<(String, Node<'t>)>),
}

/// What is wrong, and where. Boxed, since every step of reading may answer one.
#[derive(Debug)]
struct Error(Box<Place>);

#[derive(Debug)]
struct Place {
    message: String,
    path: String,
    at: Option<usize>,
}

impl Error {
    fn new(message: impl fmt::Display) -> Self {
        Self(Box::new(Place { message: message.to_string(), path: String::new(), at: None }))
    }

    /// The same error, which happened at byte `at` unless a closer place is known.
    #[cold]
    fn at(mut self, at: usize) -> Self {
        self.0.at.get_or_insert(at);
        self
    }

    /// The same error, which happened at byte `at`, or closer, below `step`: a name, or an index in brackets.
    #[cold]
    fn below(self, step: &str, at: usize) -> Self {
        let mut error = self.at(at);
        let path = &mut error.0.path;
        if !path.is_empty() && !path.starts_with('[') {
            path.insert(0, '.');
        }
        path.insert_str(0, step);
        error
    }

    fn describe(self, text: &str) -> String {
        let Place { message, path, at } = *self.0;
        let before = text.get(..at.unwrap_or_default()).unwrap_or(text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
        let colon = if path.is_empty() { "" } else { ": " };
        format!("{path}{colon}{message} (line {line}, column {column})")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests;
