//! A file of envoyproxy/ratelimit, key by key.

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

/// How deep descriptors may be nested is an eighth of this: a list, a table and their keys on each level.
const DEPTH: usize = 128;

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sheet {
    pub(super) domain: Spanned<String>,
    #[serde(default)]
    pub(super) descriptors: Option<Vec<DescriptorSheet>>,
}

/// One of `descriptors`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DescriptorSheet {
    pub(super) key: Spanned<String>,
    #[serde(default)]
    pub(super) value: Option<String>,
    #[serde(default)]
    pub(super) rate_limit: Option<RateLimitSheet>,
    #[serde(default)]
    pub(super) descriptors: Option<Vec<DescriptorSheet>>,
    #[serde(default)]
    pub(super) shadow_mode: bool,
    #[serde(default)]
    pub(super) quota_mode: bool,
    #[serde(default)]
    pub(super) share_threshold: bool,
    /// What the metrics of the other server are called. Ours are called by the limit.
    #[serde(default, rename = "detailed_metric")]
    pub(super) _detailed_metric: bool,
    #[serde(default, rename = "value_to_metric")]
    pub(super) _value_to_metric: bool,
    #[serde(default, rename = "metadata")]
    pub(super) _metadata: Option<IgnoredAny>,
}

/// One `rate_limit`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateLimitSheet {
    #[serde(default)]
    pub(super) unit: Option<String>,
    #[serde(default, deserialize_with = "count")]
    pub(super) requests_per_unit: Option<u64>,
    #[serde(default)]
    pub(super) unlimited: bool,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) replaces: Option<Vec<ReplacedSheet>>,
}

/// One of `replaces`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplacedSheet {
    pub(super) name: String,
}

/// Reads the text of a file. The problem says what is known there, its line and its column.
pub(super) fn read(text: &str) -> Result<Sheet, String> {
    let options = serde_saphyr::options! { with_snippet: false, budget: serde_saphyr::budget! { max_depth: DEPTH } };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key, location, .. } => {
            let key = key.as_deref().unwrap_or("a key");
            format!(
                "`{}` stands twice; keep one (line {}, column {})",
                key.escape_debug(),
                location.line(),
                location.column()
            )
        }
        serde_saphyr::Error::NullIntoString { location } => {
            format!("a text is missing (line {}, column {})", location.line(), location.column())
        }
        other => other.to_string(),
    })
}

/// A number that is a count. The reader's own words would name a type of ours.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let wrong = |_| D::Error::custom("`requests_per_unit` is not a whole number from 0 to 1000000000");
    u64::deserialize(deserializer).map(Some).map_err(wrong)
}
