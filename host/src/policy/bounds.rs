//! What a policy may spend. Nothing a guest does is without a bound.

use std::time::Duration;

/// The bounds of one policy.
///
/// The defaults fit a policy written in Rust. All of them stand, with the reason, in `docs/bounds.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Time inside the guest for one decision, waiting for the store excluded, in whole milliseconds. A guest that a busy machine keeps from
    /// its core is given this much processor time more.
    pub time: Duration,
    /// Linear memory of one instance, in bytes, over all its memories.
    pub memory_bytes: usize,
    /// Table elements of one instance, over all its tables.
    pub table_elements: usize,
    /// Bytes copied between guest and host, for each call.
    pub copied_bytes: usize,
    /// Charges of one decision.
    pub charges: u32,
    /// Calls to `charge-all` of one decision.
    pub calls: u32,
    /// Lines of log of one call.
    pub log_lines: u32,
    /// Decisions that one instance serves before it is replaced; each instance draws its own number up to a quarter below this.
    pub decisions_per_instance: u32,
}

impl Bounds {
    /// The largest component that is loaded, in bytes.
    pub const COMPONENT_BYTES: usize = 1024 * 1024;
    /// The stack of a guest, in bytes.
    pub const STACK_BYTES: usize = 256 * 1024;
    /// Linear memories, tables and core instances of one component.
    pub const MEMORIES: usize = 2;
    /// See [`MEMORIES`](Self::MEMORIES).
    pub const TABLES: usize = 4;
    /// See [`MEMORIES`](Self::MEMORIES).
    pub const CORE_INSTANCES: usize = 8;
    /// Component-model handles of one instance. The world has no resources, so any use is odd.
    pub const HANDLES: usize = 64;
    /// Lines of log that all instances of one policy write in a second.
    pub const LOG_LINES_PER_SECOND: u32 = 32;
    /// The longest delay of a decision.
    pub const DELAY: Duration = Duration::from_secs(60 * 60);
    /// The longest line of log, in bytes.
    pub const LOG_LINE_BYTES: usize = 512;
    /// The longest reason of a decision, in bytes.
    pub const REASON_BYTES: usize = 512;
    /// The most attributes of a decision.
    pub const ATTRIBUTES: usize = 16;
    /// The longest name and value of an attribute of a decision, in bytes.
    pub const ATTRIBUTE_BYTES: usize = 256;
    /// Decisions under way at once in one engine. One more is answered by the rule for a broken policy.
    pub const IN_FLIGHT: u32 = 2048;
    /// How often a policy may use up its time or memory for one tenant within [`QUARANTINE_MEMORY`](Self::QUARANTINE_MEMORY). Then it is not
    /// asked for that tenant for a while.
    pub const STRIKES: u32 = 2;
    /// For how many tenants it may do so once until it is not asked for any.
    pub const STRUCK_TENANTS: usize = 4;
    /// How long that is remembered.
    pub const QUARANTINE_MEMORY: Duration = Duration::from_secs(10);
    /// How long a policy is not asked at first; twice as long each time that it fails the one decision by which it is tried then.
    pub const QUARANTINE_FIRST: Duration = Duration::from_secs(1);
    /// The longest that it is not asked.
    pub const QUARANTINE_LONGEST: Duration = Duration::from_secs(60);
    /// How many tenants of one policy are remembered for it. Where it uses up what it has for one more, it is not asked for any.
    pub const WARDS: usize = 64;
    /// Warm instances that one policy keeps for each core. None is held while a store is waited for.
    pub const WARM_PER_CORE: usize = 64;
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(5),
            memory_bytes: 4 * 1024 * 1024,
            table_elements: 4096,
            copied_bytes: 64 * 1024,
            charges: 8,
            calls: 8,
            log_lines: 4,
            decisions_per_instance: 100_000,
        }
    }
}
