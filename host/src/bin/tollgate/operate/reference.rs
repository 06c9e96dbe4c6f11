//! How people name a policy: by the beginning of its digest, its name, or its name and version.

use anyhow::bail;
use serde_json::Value;
use tollgate::policy::built_in;

use super::table::short;
use super::text;

const BUILT_IN: &str = "built-in:";
/// The shortest beginning of a digest that counts as one.
const LEAST_DIGITS: usize = 4;

/// What a roster calls the policy that `reference` means, among those of the registry.
pub(super) fn resolve(reference: &str, policies: &[Value]) -> anyhow::Result<String> {
    if let Some(name) = reference.strip_prefix(BUILT_IN) {
        built_in(name)?;
        return Ok(name.to_owned());
    }
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    let is_digest = digits.len() >= LEAST_DIGITS && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    let by_digest = policies.iter().filter(|policy| is_digest && text(policy, "digest").starts_with(digits));
    let by_name = policies.iter().filter(|policy| {
        let (name, version) = (text(policy, "name"), text(policy, "version"));
        reference == name || reference.split_once('@') == Some((name, version))
    });
    let mut found: Vec<&Value> = by_digest.collect();
    if found.is_empty() {
        found = by_name.collect();
    }
    match found.as_slice() {
        [policy] => Ok(format!("sha256:{}", text(policy, "digest"))),
        [] => match built_in(reference) {
            Ok(_) => Ok(reference.to_owned()),
            Err(_) => {
                let reference = reference.escape_debug();
                bail!(
                    "no policy is called `{reference}`; `tollgate policy list` shows those there are, `tollgate policy push` brings one"
                )
            }
        },
        several => {
            let told = |policy: &&Value| {
                format!("{} ({}@{})", short(text(policy, "digest")), text(policy, "name"), text(policy, "version"))
            };
            let several: Vec<String> = several.iter().map(told).collect();
            bail!("`{}` may be {}; give more of the digest", reference.escape_debug(), several.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(reference: &str) -> String {
        let policies = [
            json!({ "digest": "abcd1", "name": "mine", "version": "1.0.0" }),
            json!({ "digest": "abce2", "name": "mine", "version": "2.0.0" }),
            json!({ "digest": "ff003", "name": "tiered", "version": "9.0.0" }),
        ];
        resolve(reference, &policies).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_policy_is_named_by_digest_name_or_version() {
        assert_eq!(check("abcd"), "sha256:abcd1");
        assert_eq!(check("sha256:abce2"), "sha256:abce2");
        assert_eq!(check("mine@2.0.0"), "sha256:abce2");
        assert_eq!(check("tiered"), "sha256:ff003");
        assert_eq!(check("built-in:tiered"), "tiered");
        assert_eq!(check("penalty"), "penalty");
        assert!(check("mine").contains("may be abcd1 (mine@1.0.0), abce2 (mine@2.0.0)"), "{}", check("mine"));
        assert!(check("abc").contains("no policy is called `abc`"));
        assert!(check("built-in:mine").contains("there are"));
    }
}
