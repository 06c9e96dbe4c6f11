//! Which routes are meant.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, de};

use crate::Problems;

/// A route, or with a `*` at its end every route that begins so.
///
/// # Example
///
/// ```
/// use tollgate_guest::Pattern;
///
/// let auth = Pattern::new("/api/auth/*")?;
/// assert!(auth.matches("/api/auth/login"));
/// assert!(!auth.matches("/api/auth"));
/// # Ok::<(), tollgate_guest::Problems>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    stem: String,
    open: bool,
}

impl Pattern {
    /// The pattern that `text` says.
    ///
    /// # Errors
    ///
    /// Fails if a `*` stands anywhere but at the end.
    pub fn new(text: &str) -> Result<Self, Problems> {
        let (stem, open) = text.strip_suffix('*').map_or((text, false), |stem| (stem, true));
        if stem.contains('*') {
            return Err(Problems::from(format!(
                "pattern `{text}` has a `*` before its end; only `/some/path/*` is understood"
            )));
        }
        Ok(Self { stem: stem.to_owned(), open })
    }

    /// Whether the pattern means `route`.
    #[must_use]
    pub fn matches(&self, route: &str) -> bool {
        if self.open { route.starts_with(&self.stem) } else { route == self.stem }
    }

    /// How precisely the pattern speaks: of two that match a route, the greater.
    const fn precision(&self) -> (usize, bool) {
        (self.stem.len(), !self.open)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What is said of each route, of which the most precise pattern counts: in JSON an object such as `{"/export": 5, "/api/*": 2}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes<T> {
    entries: Vec<(Pattern, T)>,
}

impl<T> Routes<T> {
    /// What is said of `route`, if anything.
    #[must_use]
    pub fn find(&self, route: &str) -> Option<&T> {
        let matches = self.entries.iter().filter(|(pattern, _)| pattern.matches(route));
        matches.max_by_key(|(pattern, _)| pattern.precision()).map(|(_, value)| value)
    }
}

/// Nothing is said of any route.
impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Routes<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RoutesVisitor(PhantomData))
    }
}

struct RoutesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for RoutesVisitor<T> {
    type Value = Routes<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of routes")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(Pattern, T)> = Vec::new();
        while let Some((pattern, value)) = map.next_entry::<Pattern, T>()? {
            if entries.iter().any(|(earlier, _)| *earlier == pattern) {
                return Err(de::Error::custom(format_args!("pattern `{}` stands twice", pattern.stem)));
            }
            entries.push((pattern, value));
        }
        Ok(Routes { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_opens_the_pattern() {
        for (pattern, route, expected) in [
            ("/export", "/export", true),
            ("/export", "/export/all", false),
            ("/export*", "/export/all", true),
            ("/export*", "/export", true),
            ("*", "", true),
            ("", "", true),
            ("", "/", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(route), expected, "{pattern} {route}");
        }
    }

    #[test]
    fn a_star_elsewhere_is_refused() {
        let problem = Pattern::new("/api/*/login").unwrap_err().to_string();
        assert_eq!(problem, "pattern `/api/*/login` has a `*` before its end; only `/some/path/*` is understood");
    }

    #[test]
    fn the_most_precise_pattern_counts_in_any_order() {
        for text in [
            r#"{"/api/*": 1, "/api/export*": 2, "/api/export": 3}"#,
            r#"{"/api/export": 3, "/api/export*": 2, "/api/*": 1}"#,
        ] {
            let routes: Routes<u64> = crate::Config::new(text).parse().unwrap();
            let found = ["/api/export", "/api/export/all", "/api/", "/"].map(|route| routes.find(route).copied());
            assert_eq!(found, [Some(3), Some(2), Some(1), None], "{text}");
        }
    }

    #[test]
    fn a_pattern_that_stands_twice_is_refused() {
        let problem = crate::Config::new(r#"{"/a": 1, "/a": 2}"#).parse::<Routes<u64>>().unwrap_err().to_string();
        assert_eq!(problem, "pattern `/a` stands twice (line 1, column 1)");
    }
}
