//! The keys of counters: the host writes every part but the last.

use super::Limit;

/// Where the counters of one tenant under one policy live.
///
/// A key reads `{prefix}:{tenant}:{space}:{limit id}:{algorithm}:{suffix}`, with braces around the tenant: `ratelimit:{acme}:tiered:minute:b1:alice`.
/// The braces make the tenant the hash tag of Redis Cluster, so the counters of one decision share a slot. No part but the suffix can
/// hold a colon outside the braces, so no two counters share a key, whatever a policy asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpace {
    head: String,
}

impl KeySpace {
    /// The longest suffix, in bytes.
    pub const MAX_SUFFIX_BYTES: usize = 128;

    /// The space of `tenant`'s counters under the policy space `space`. The parts are as the model checks them: `prefix` without
    /// braces, `tenant` without braces and control characters, `space` a name.
    #[must_use]
    pub fn new(prefix: &str, tenant: &str, space: &str) -> Self {
        let mut keys = Self { head: String::with_capacity(prefix.len() + tenant.len() + space.len() + 5) };
        keys.rename(prefix, tenant, space);
        keys
    }

    /// Becomes another space, in the memory of this one.
    pub(crate) fn rename(&mut self, prefix: &str, tenant: &str, space: &str) {
        self.head.clear();
        for part in [prefix, ":{", tenant, "}:", space, ":"] {
            self.head.push_str(part);
        }
    }

    /// The key of `limit`'s counter named `suffix`.
    #[must_use]
    pub fn key(&self, limit: &Limit, suffix: &str) -> String {
        let tag = limit.algorithm().key_tag();
        let mut key = String::with_capacity(self.head.len() + limit.id().len() + tag.len() + suffix.len() + 2);
        for part in [self.head.as_str(), limit.id(), ":", tag, ":", suffix] {
            key.push_str(part);
        }
        key
    }

    /// The key that remembers the answer to the `call`-th list of a request that may be asked again. No limit is called `~once`.
    pub(crate) fn once(&self, token: &str, call: u32) -> String {
        format!("{}~once:{call}:{token}", self.head)
    }

    /// The key that remembers what became of a receipt. No limit is called `~receipt`.
    pub(crate) fn receipt(&self, id: u128) -> String {
        format!("{}~receipt:{id:032x}", self.head)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::counter::Algorithm;
    use crate::model::{Quota, Request};

    /// Everything that tells one counter from another.
    type Name = (String, String, String, Algorithm, String);

    /// Names made of what stands between the parts of a key, so that two names are often almost the same key.
    fn names() -> impl Strategy<Value = Name> {
        let algorithms = prop_oneof![
            Just(Algorithm::FixedWindow),
            Just(Algorithm::SlidingWindow),
            Just(Algorithm::TokenBucket),
            Just(Algorithm::Concurrency)
        ];
        let tenant = prop_oneof![4 => "a(:a|:b1){0,2}", 1 => "[:a*é]{1,3}"];
        let suffix = prop_oneof![4 => "((b1|f1|s1|a|}):){0,3}a", 1 => "[:{}a*é]{0,3}"];
        (tenant, "a|b1", "a|b1", algorithms, suffix)
    }

    fn key((tenant, space, id, algorithm, suffix): &Name) -> String {
        let quota = Quota { max: 1, window: Duration::from_secs(1), burst: 1 };
        let limit = Limit::new(id.as_str(), *algorithm, quota).expect("the name is sound");
        Request::new(tenant, "alice").expect("the tenant is sound");
        KeySpace::new("ratelimit", tenant, space).key(&limit, suffix)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn no_two_counters_share_a_key(names in proptest::collection::vec(names(), 200)) {
            let mut owners: BTreeMap<String, Name> = BTreeMap::new();
            for name in names {
                let key = key(&name);
                if let Some(owner) = owners.insert(key.clone(), name.clone()) {
                    prop_assert_eq!(owner, name, "{}", key);
                }
            }
        }
    }

    #[test]
    fn the_braces_hold_the_tenant_and_nothing_else() {
        // Redis Cluster takes what stands between the first `{` and the next `}`.
        let tagged =
            |key: &str| key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag.to_owned());
        let keys = ["{other}", "}{other}", "a"].map(|suffix| {
            key(&("acme:x".to_owned(), "a".to_owned(), "a".to_owned(), Algorithm::FixedWindow, suffix.to_owned()))
        });
        assert_eq!(keys.iter().filter_map(|key| tagged(key)).collect::<BTreeSet<_>>(), ["acme:x".to_owned()].into());
    }

    #[test]
    fn a_key_names_tenant_space_limit_algorithm_and_suffix() {
        let quota = Quota { max: 1, window: Duration::from_secs(1), burst: 1 };
        let limit = Limit::new("minute", Algorithm::TokenBucket, quota).unwrap();
        let space = KeySpace::new("ratelimit", "acme", "tiered");
        assert_eq!(space.key(&limit, "2001:db8::1"), "ratelimit:{acme}:tiered:minute:b1:2001:db8::1");
    }
}
