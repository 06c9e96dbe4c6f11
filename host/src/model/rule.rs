//! What answers when a policy or a store cannot.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::counter::OnChange;

/// The answer to a request that the policy could not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnFault {
    /// Let it pass: better one request too many than one that should have passed.
    Allow,
    /// Refuse it: better one request too few than one that should not have passed.
    Deny,
}

impl OnFault {
    /// The name in configuration: `allow` or `deny`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// The answer to a charge that the store could not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnStoreFault {
    /// As if the limit had room.
    Allow,
    /// As if the limit had none.
    Deny,
    /// As this host counts by itself, with its share of the limit.
    Local,
}

impl OnStoreFault {
    /// The name in configuration: `allow`, `deny` or `local`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Local => "local",
        }
    }
}

impl From<OnFault> for OnStoreFault {
    fn from(rule: OnFault) -> Self {
        match rule {
            OnFault::Allow => Self::Allow,
            OnFault::Deny => Self::Deny,
        }
    }
}

/// How exactly hosts that share a store count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// Every charge asks the store.
    Exact,
    /// A host draws a share of the limit in advance and spends it without asking: never more than the limit, but another host may refuse a little early.
    Leased,
}

/// A rule of a tier, for all its limits or limit by limit.
///
/// # Example
///
/// ```
/// use tollgate::{OnStoreFault, StoreFaultRules};
///
/// let rules = StoreFaultRules::from(OnStoreFault::Allow).with("minute", OnStoreFault::Local);
/// assert_eq!((rules.of("minute"), rules.of("day")), (OnStoreFault::Local, OnStoreFault::Allow));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRules<T> {
    general: T,
    limits: BTreeMap<Box<str>, T>,
}

/// The answers of a tier to a broken store.
pub type StoreFaultRules = LimitRules<OnStoreFault>;

/// How exactly a tier is counted.
pub type PrecisionRules = LimitRules<Precision>;

/// What becomes of the counters of a tier when its limits get other numbers.
pub type ChangeRules = LimitRules<OnChange>;

impl<'de> Deserialize<'de> for OnChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const NAMES: &[&str] = &["keep", "proportional", "additive", "reset"];
        let name = String::deserialize(deserializer)?;
        let found = Self::ALL.into_iter().find(|rule| rule.name() == name);
        found.ok_or_else(|| D::Error::unknown_variant(&name, NAMES))
    }
}

impl Serialize for OnChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<T: Copy> LimitRules<T> {
    /// The same rules, but this one for the limit called `id`.
    #[must_use]
    pub fn with(mut self, id: impl Into<Box<str>>, rule: T) -> Self {
        self.limits.insert(id.into(), rule);
        self
    }

    /// The rule for the limit called `id`.
    #[must_use]
    pub fn of(&self, id: &str) -> T {
        self.limits.get(id).copied().unwrap_or(self.general)
    }

    /// The rule for limits that have none of their own, and for a decision as a whole.
    #[must_use]
    pub const fn general(&self) -> T {
        self.general
    }
}

impl StoreFaultRules {
    /// Whether the rules answer charge by charge, so that the policy decides in spite of the fault.
    ///
    /// Where all limits are to be allowed, or all denied, nothing is left for the policy to decide.
    #[must_use]
    pub fn answer_charges(&self) -> bool {
        self.general == OnStoreFault::Local || self.limits.values().any(|rule| *rule != self.general)
    }
}

impl PrecisionRules {
    /// Whether any limit is leased.
    #[must_use]
    pub fn any_leased(&self) -> bool {
        self.general == Precision::Leased || self.limits.values().any(|rule| *rule == Precision::Leased)
    }
}

impl<T> From<T> for LimitRules<T> {
    fn from(general: T) -> Self {
        Self { general, limits: BTreeMap::new() }
    }
}

impl From<OnFault> for StoreFaultRules {
    fn from(general: OnFault) -> Self {
        OnStoreFault::from(general).into()
    }
}
