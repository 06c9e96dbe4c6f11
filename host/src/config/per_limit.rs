//! A word for all limits of a tier, or one for each.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::model::is_name;

/// What a tier says of its limits: one word for all, or a table of limit ids, in which `*` stands for every other limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerLimit<T> {
    /// For limits that have no word of their own; none if the tier leaves that to the general rule.
    pub general: Option<T>,
    /// By the limit's id.
    pub limits: BTreeMap<String, T>,
}

impl<T> Default for PerLimit<T> {
    fn default() -> Self {
        Self { general: None, limits: BTreeMap::new() }
    }
}

impl<T> From<T> for PerLimit<T> {
    fn from(general: T) -> Self {
        Self { general: Some(general), limits: BTreeMap::new() }
    }
}

impl<T: Serialize> Serialize for PerLimit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.general {
            Some(general) if self.limits.is_empty() => general.serialize(serializer),
            general => {
                let others = general.iter().map(|general| ("*", general));
                serializer.collect_map(self.limits.iter().map(|(id, rule)| (id.as_str(), rule)).chain(others))
            }
        }
    }
}

impl<T> PerLimit<T> {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.general.is_none() && self.limits.is_empty()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for PerLimit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordOrTable(PhantomData))
    }
}

struct WordOrTable<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for WordOrTable<T> {
    type Value = PerLimit<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word for all limits, or a table with one for each limit's id")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        T::deserialize(StrDeserializer::new(word)).map(PerLimit::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        let mut limits = BTreeMap::<String, T>::deserialize(MapAccessDeserializer::new(table))?;
        let general = limits.remove("*");
        match limits.keys().find(|id| !is_name(id)) {
            Some(id) => Err(A::Error::custom(format!(
                "limit id `{}` is neither 1 to 64 of A-Z a-z 0-9 . _ - nor `*` for all others",
                id.escape_debug()
            ))),
            None => Ok(PerLimit { general, limits }),
        }
    }
}
