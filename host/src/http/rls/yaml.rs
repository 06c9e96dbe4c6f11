//! A file of envoyproxy/ratelimit, key by key.

use serde::Deserialize;
use serde::de::IgnoredAny;
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
    #[serde(default)]
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

/// Reads the text of a file. The problem says its line, its column and what is known there.
pub(super) fn read(text: &str) -> Result<Sheet, String> {
    let options = serde_saphyr::options! { with_snippet: false, budget: serde_saphyr::budget! { max_depth: DEPTH } };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error
            .location()
            .map_or_else(String::new, |place| format!("line {}, column {}: ", place.line(), place.column()));
        format!("{place}{}", error.without_snippet())
    })
}
