//! What the user of Redis has to be granted.

use crate::config::Topology;

/// The lines that grant it.
#[derive(Clone, Debug)]
pub(super) struct Rights {
    head: String,
    tail: &'static str,
    commands_suffice: bool,
}

impl Rights {
    /// The rights of `user` on the keys of `prefix`.
    pub(super) fn new(user: &str, prefix: &str, topology: &Topology) -> Self {
        let tail = match topology {
            Topology::Single(_) | Topology::Unix(_) => "",
            Topology::Sentinel { .. } => " +role",
            Topology::Cluster(_) => " +cluster|slots +cluster|info +asking",
        };
        let commands_suffice = !matches!(topology, Topology::Cluster(_));
        Self { head: format!("ACL SETUSER {user} ~{prefix}:*"), tail, commands_suffice }
    }

    /// What the scripts and their driver need.
    pub(super) fn scripts(&self) -> String {
        self.line("+eval +evalsha +get +mget +set +setrange +time")
    }

    /// What counting without scripts needs.
    pub(super) fn plain(&self) -> String {
        self.line("+incrby +decrby +pexpire +get +set")
    }

    /// What the documents that hosts share need.
    pub(super) fn documents(&self) -> String {
        self.line("&* +eval +time +hget +hset +hgetall +hdel +rpush +ltrim +lrange +publish +subscribe")
    }

    /// Whether there is counting without scripts at all: not in a cluster.
    pub(super) fn can_do_without_scripts(&self) -> bool {
        self.commands_suffice
    }

    fn line(&self, commands: &str) -> String {
        format!("{} {commands}{}", self.head, self.tail)
    }
}
