//! The configuration a policy is given, and what can be wrong with it.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::json;

/// A policy's configuration: a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    text: String,
}

impl Config {
    /// The configuration that `text` says.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The JSON text itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads the text as a `T`.
    ///
    /// Give `T` `#[serde(deny_unknown_fields)]`, so that a misspelt name is a problem and not silence.
    ///
    /// # Errors
    ///
    /// Fails if the text is not a `T`; the problem names the path, the line and the column.
    ///
    /// # Example
    ///
    /// ```
    /// use tollgate_guest::{Config, Rule};
    ///
    /// #[derive(Debug, serde::Deserialize)]
    /// struct Numbers {
    ///     limits: Vec<Rule>,
    /// }
    ///
    /// let problems = Config::new(r#"{"limits": ["10/s burst 20", "1000/fortnight"]}"#).parse::<Numbers>().unwrap_err();
    /// assert!(problems.to_string().starts_with("limits[1]: `1000/fortnight` is not a limit"));
    /// ```
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        json::parse(&self.text).map_err(Problems::from)
    }
}

/// Everything that is wrong with a configuration, as lowercase fragments that name the value, the place and the way out.
///
/// # Example
///
/// ```
/// use tollgate_guest::Problems;
///
/// let mut problems = Problems::none();
/// problems.push("`limits` is empty; give at least one");
/// assert_eq!(problems.into_result(()).unwrap_err().to_string(), "`limits` is empty; give at least one");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<String>,
}

impl Problems {
    /// Nothing is wrong so far.
    #[must_use]
    pub const fn none() -> Self {
        Self { list: Vec::new() }
    }

    /// Notes one more problem.
    pub fn push(&mut self, problem: impl Into<String>) {
        self.list.push(problem.into());
    }

    /// The value of `result`, or none with its problems noted.
    pub fn note<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        result.map_err(|problems| self.list.extend(problems.list)).ok()
    }

    /// `value` if nothing is wrong.
    ///
    /// # Errors
    ///
    /// Fails with these problems if there are any.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.list.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The problems in the order they were found.
    #[must_use]
    pub fn into_list(self) -> Vec<String> {
        self.list
    }
}

impl From<String> for Problems {
    fn from(problem: String) -> Self {
        Self { list: vec![problem] }
    }
}

impl From<&str> for Problems {
    fn from(problem: &str) -> Self {
        Self::from(problem.to_owned())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "; " })?;
            f.write_str(problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
