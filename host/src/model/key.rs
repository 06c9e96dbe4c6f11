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
        let mut head = String::with_capacity(prefix.len() + tenant.len() + space.len() + 5);
        for part in [prefix, ":{", tenant, "}:", space, ":"] {
            head.push_str(part);
        }
        Self { head }
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::counter::Algorithm;
    use crate::model::Quota;

    #[test]
    fn a_key_names_tenant_space_limit_algorithm_and_suffix() {
        let quota = Quota { max: 1, window: Duration::from_secs(1), burst: 1 };
        let limit = Limit::new("minute", Algorithm::TokenBucket, quota).unwrap();
        let space = KeySpace::new("ratelimit", "acme", "tiered");
        assert_eq!(space.key(&limit, "2001:db8::1"), "ratelimit:{acme}:tiered:minute:b1:2001:db8::1");
    }
}
