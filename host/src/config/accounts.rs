//! Tiers, tenants and API keys: who may do how much.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::file::{KeySection, Sheet, SigningKeySection, TenantSection, TierSection, beside};
use super::findings::Findings;
use super::stated::{Place, Stated};
use super::suggest::did_you_mean;
use super::{Isolation, KeyDigest, OnFault, OnStoreFault, PerLimit, Precision, SigningKeyConfig, forms, signing};
use crate::counter::OnChange;
use crate::model::is_name;

/// A tier: a policy with its limits.
#[derive(Clone, Debug, PartialEq)]
pub struct TierConfig {
    /// The component that decides.
    pub policy: PolicySource,
    /// What the component is configured with; its own `configure` checks it.
    pub config: Value,
    /// The answer when the counters cannot be reached, if not the general one, for all limits or limit by limit.
    pub on_store_fault: PerLimit<OnStoreFault>,
    /// How exactly hosts that share a Redis count together, for all limits or limit by limit; exactly, if it says nothing.
    pub precision: PerLimit<Precision>,
    /// What becomes of counters when a limit gets other numbers, for all limits or limit by limit; what is used stays, if it says nothing.
    pub on_change: PerLimit<OnChange>,
    /// The answer when the policy fails, if not the general one.
    pub on_policy_fault: Option<OnFault>,
    /// Whom one instance of the policy may serve; if it says nothing, all tenants if the policy is built in, and otherwise one.
    pub isolation: Option<Isolation>,
}

impl TierConfig {
    /// The built-in policy of this name with an empty configuration, and the general rules: the tier of a listener, unless the operator has one.
    pub(super) fn built_in(policy: &str) -> Self {
        Self {
            policy: PolicySource::BuiltIn(policy.to_owned()),
            config: Value::Object(Map::new()),
            on_store_fault: PerLimit::default(),
            precision: PerLimit::default(),
            on_change: PerLimit::default(),
            on_policy_fault: None,
            isolation: None,
        }
    }
}

/// Where a policy's component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// In the program, under this name.
    BuiltIn(String),
    /// In this file. A relative path in the configuration file starts where that file is.
    File(PathBuf),
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantConfig {
    /// Its tier, which exists.
    pub tier: String,
}

/// An API key, known by its digest alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConfig {
    /// The digest of the key.
    pub key: KeyDigest,
    /// Whose key it is.
    pub tenant: String,
    /// Its tier, which exists; if none, the tenant's, and then [`Config::default_tier`](super::Config::default_tier).
    pub tier: Option<String>,
    /// Whom its limits count: the subject of its requests. Never the key itself.
    pub id: String,
}

/// Who may do how much.
#[derive(Default)]
pub(super) struct Accounts {
    pub(super) tiers: BTreeMap<String, TierConfig>,
    pub(super) default_tier: Option<String>,
    pub(super) tenants: BTreeMap<String, TenantConfig>,
    pub(super) keys: Vec<KeyConfig>,
    pub(super) signing_keys: Vec<SigningKeyConfig>,
}

/// The built-in policy that the variables `RATE_LIMIT_*` configure.
const ROUTE_CLASSES: &str = "route-classes";

impl Accounts {
    /// Reads them from the file; what it leaves out is taken from the built-in one.
    ///
    /// A file without tiers has the built-in tiers. The demo tenants and keys stand only in a file that says nothing of tiers, tenants
    /// and keys: whoever writes accounts of his own wants no strangers among them.
    pub(super) fn read(sheet: Sheet, built_in: Sheet, path: &Path, findings: &mut Findings) -> Self {
        let own =
            sheet.tiers.is_some() || sheet.tenants.is_some() || sheet.keys.is_some() || sheet.key_source.is_some();
        let (tenants, keys) = if own { (sheet.tenants, sheet.keys) } else { (built_in.tenants, built_in.keys) };
        let accounts = Self { default_tier: sheet.default_tier, ..Self::default() };
        let mut reader = Reader { accounts, path, findings };
        sheet.tiers.or(built_in.tiers).unwrap_or_default().into_iter().for_each(|(name, tier)| reader.tier(name, tier));
        if let Some(tier) = reader.accounts.default_tier.clone() {
            reader.check_tier("default_tier", &tier);
        }
        tenants.unwrap_or_default().into_iter().for_each(|(name, tenant)| reader.tenant(name, tenant));
        let keys = keys.unwrap_or_default().into_iter().enumerate();
        keys.for_each(|(index, key)| reader.key(&format!("keys[{index}]"), key));
        let keys = sheet.signing.keys.into_iter().enumerate();
        keys.for_each(|(index, key)| reader.signing_key(&format!("signing.keys[{index}]"), key));
        reader.accounts
    }

    /// Lays the rates of `RATE_LIMIT_*` over the configuration of every tier whose policy is `route-classes`.
    pub(super) fn override_classes(&mut self, classes: &[(&'static str, Stated<String>)], findings: &mut Findings) {
        let mut used = false;
        for (name, tier) in &mut self.tiers {
            if tier.policy == PolicySource::BuiltIn(ROUTE_CLASSES.to_owned()) {
                used = true;
                if !override_config(&mut tier.config, classes) {
                    findings.problem(
                        format!("`tiers.{name}.config.classes`"),
                        "it is not a table of class = \"count,seconds\"",
                    );
                }
            }
        }
        if !used && !classes.is_empty() {
            let names: Vec<_> = classes.iter().map(|(_, stated)| stated.place.to_string()).collect();
            findings.notice(format!(
                "no tier uses the policy `{ROUTE_CLASSES}`, so nothing is changed by {}",
                names.join(", ")
            ));
        }
    }
}

struct Reader<'a> {
    accounts: Accounts,
    path: &'a Path,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn problem(&mut self, key: &str, text: impl Into<String>) {
        let place = Place::Key { key: key.escape_debug().to_string(), file: self.path.display().to_string() };
        self.findings.problem(place, text);
    }

    /// The value, or its problem told and a stand-in, so that reading goes on to the next problem.
    fn good<T>(&mut self, key: &str, value: Result<T, String>, stand_in: T) -> T {
        value.unwrap_or_else(|problem| {
            self.problem(key, problem);
            stand_in
        })
    }

    fn tier(&mut self, name: String, section: TierSection) {
        let place = format!("tiers.{name}");
        if !is_name(&name) {
            self.problem(&place, "its name is not 1 to 64 of A-Z a-z 0-9 . _ -");
        }
        let TierSection { policy, config, on_store_fault, precision, on_change, on_policy_fault, isolation } = section;
        let nothing = Value::Object(Map::new());
        let config = config.map_or_else(|| Ok(nothing.clone()), json);
        let config = self.good(&format!("{place}.config"), config, nothing);
        let policy = policy_source(policy, self.path);
        let policy = self.good(&format!("{place}.policy"), policy, PolicySource::BuiltIn(String::new()));
        let tier = TierConfig { policy, config, on_store_fault, precision, on_change, on_policy_fault, isolation };
        self.accounts.tiers.insert(name, tier);
    }

    fn tenant(&mut self, name: String, TenantSection { tier }: TenantSection) {
        let place = format!("tenants.{name}");
        self.good(&place, forms::tenant(&name), ());
        self.check_tier(&format!("{place}.tier"), &tier);
        self.accounts.tenants.insert(name, TenantConfig { tier });
    }

    fn key(&mut self, place: &str, section: KeySection) {
        self.good(place, forms::tenant(&section.tenant), ());
        self.good(place, forms::subject(&section.id), ());
        let tenant_has_tier =
            self.accounts.tenants.contains_key(&section.tenant) || self.accounts.default_tier.is_some();
        match &section.tier {
            Some(tier) => self.check_tier(&format!("{place}.tier"), tier),
            None if tenant_has_tier => {}
            None => {
                let tenant = section.tenant.escape_debug();
                self.problem(
                    place,
                    format!("no tier: give it a `tier`, or one to tenant `{tenant}`, or a `default_tier`"),
                );
            }
        }
        let key = match digest(&section) {
            Ok(key) => key,
            Err(problem) => return self.problem(place, problem),
        };
        if self.accounts.keys.iter().any(|other| other.key == key) {
            self.problem(place, "the same key stands twice");
        }
        let KeySection { tenant, tier, id, .. } = section;
        self.accounts.keys.push(KeyConfig { key, tenant, tier, id });
    }

    fn signing_key(&mut self, place: &str, section: SigningKeySection) {
        match signing::key(section, &self.accounts.signing_keys) {
            Ok(key) => self.accounts.signing_keys.push(key),
            Err(problem) => self.problem(place, problem),
        }
    }

    fn check_tier(&mut self, place: &str, tier: &str) {
        if !self.accounts.tiers.contains_key(tier) {
            let hint = did_you_mean(tier, self.accounts.tiers.keys().map(String::as_str));
            self.problem(place, format!("there is no tier `{}`{hint}", tier.escape_debug()));
        }
    }
}

fn override_config(config: &mut Value, classes: &[(&'static str, Stated<String>)]) -> bool {
    let Some(config) = config.as_object_mut() else { return false };
    if classes.is_empty() {
        return true;
    }
    let table = config.entry("classes").or_insert_with(|| Value::Object(Map::new()));
    let Some(table) = table.as_object_mut() else { return false };
    for (class, rate) in classes {
        table.insert((*class).to_owned(), Value::String(rate.value.clone()));
    }
    true
}

fn policy_source(text: String, path: &Path) -> Result<PolicySource, String> {
    if text.ends_with(".wasm") || text.contains('/') {
        return Ok(PolicySource::File(beside(path, Path::new(&text))));
    }
    if is_name(&text) {
        return Ok(PolicySource::BuiltIn(text));
    }
    Err(format!("`{}` is neither the name of a built-in policy nor the path of a `.wasm` file", text.escape_debug()))
}

fn digest(section: &KeySection) -> Result<KeyDigest, String> {
    match (&section.key, &section.sha256) {
        (Some(key), None) => {
            let key = key.reveal();
            if key.is_empty() || key.len() > KeyDigest::MAX_KEY_BYTES || key.chars().any(char::is_control) {
                return Err(format!(
                    "its `key` is not 1 to {} bytes without control characters",
                    KeyDigest::MAX_KEY_BYTES
                ));
            }
            if section.id.contains(key) {
                return Err(
                    "its `id` repeats the key: an id stands in counters and logs, so it must not tell the key".into()
                );
            }
            Ok(KeyDigest::of(key))
        }
        (None, Some(hex)) => KeyDigest::from_hex(hex).ok_or("its `sha256` is not 64 hexadecimal digits".into()),
        (Some(_), Some(_)) => Err("it has both `key` and `sha256`: keep one".into()),
        (None, None) => Err("it has neither `key` nor `sha256`".into()),
    }
}

/// The same value as JSON, which is what policies read.
fn json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) if number.is_finite() => Value::from(number),
        toml::Value::Float(_) => return Err("JSON, which policies read, knows no infinite number".into()),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(_) => return Err("JSON, which policies read, knows no dates: write it in quotes".into()),
        toml::Value::Array(values) => Value::Array(values.into_iter().map(json).collect::<Result<_, _>>()?),
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| Ok((key, json(value)?)));
            Value::Object(entries.collect::<Result<_, String>>()?)
        }
    })
}
