//! The table: every row, what must hold, and what tries it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::trial::Trial;
use crate::{
    clock, down, edge, engines, entry, firewall, keys, partition, refusing, sentinels, slow, slowloris, topology,
};

/// One row of the fault table.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// Its number.
    pub(crate) number: u16,
    /// The fault.
    pub(crate) name: &'static str,
    /// What must hold, beside what every row requires.
    pub(crate) must: &'static str,
    /// Whether it is one of the quick ones.
    pub(crate) is_quick: bool,
    /// What it cannot do without.
    pub(crate) needs: Needs,
    /// What tries it.
    pub(crate) run: Run,
}

/// What tries a row.
pub(crate) type Run = fn(&mut Trial) -> Result<()>;

/// What a row cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing but a server.
    Nothing,
    /// The rights of root, and iptables.
    Firewall,
    /// A file bound over `/etc/hosts`.
    Hosts,
    /// A C compiler, for the library that bends a server's clock.
    Compiler,
}

impl Needs {
    /// What is missing here; none if nothing is.
    pub(crate) fn missing(self, hosts: Option<&Path>) -> Option<&'static str> {
        let (is_here, missing) = match self {
            Self::Nothing => return None,
            Self::Firewall => (firewall::is_possible(), "needs root and iptables"),
            Self::Hosts => (hosts.is_some(), "needs root, for an /etc/hosts of its own (tests/run-faults makes it)"),
            Self::Compiler => (Command::new("cc").arg("--version").output().is_ok(), "needs cc"),
        };
        (!is_here).then_some(missing)
    }
}

const fn row(number: u16, name: &'static str, must: &'static str, run: Run) -> Row {
    Row { number, name, must, is_quick: false, needs: Needs::Nothing, run }
}

const fn quick(number: u16, name: &'static str, must: &'static str, run: Run) -> Row {
    Row { is_quick: true, ..row(number, name, must, run) }
}

const fn needing(needs: Needs, row: Row) -> Row {
    Row { needs, ..row }
}

/// Every row.
pub(crate) const TABLE: &[Row] = &[
    quick(
        1,
        "killed, back in 1 s",
        "100 ms after the port answers; with an append-only file nothing is lost",
        down::killed_for_a_second,
    ),
    row(2, "killed, back in 5 s", "as 1", down::killed_for_five_seconds),
    row(
        3,
        "killed for 10 min",
        "memory flat, one probe a second, few warnings; back within 1 s",
        down::killed_for_ten_minutes,
    ),
    quick(
        4,
        "absent at start",
        "says so within the connect timeout; starts where it need not have it",
        down::absent_at_start,
    ),
    quick(
        5,
        "suspended for 3 s",
        "100 ms after it goes on; counted beyond what was admitted: what timed out",
        down::suspended,
    ),
    row(6, "suspended for 45 s", "as 5; at most one connection tried a second", down::suspended_long),
    quick(7, "CLIENT PAUSE ALL", "as 5", down::clients_paused),
    row(8, "CLIENT PAUSE WRITE", "as 5; reads go on", down::writes_paused),
    quick(9, "half-open connection", "noticed within 1 s", slow::half_open),
    quick(
        10,
        "replies lost, one way",
        "within 1 s of the end; counted beyond what was admitted: what timed out",
        slow::replies_lost,
    ),
    quick(11, "RST amid calls", "the next call within 100 ms; nothing is asked twice", slow::reset_amid_calls),
    needing(
        Needs::Firewall,
        row(
            12,
            "connecting blackholed",
            "connecting is given up: within 500 ms of the end",
            slow::connecting_blackholed,
        ),
    ),
    needing(
        Needs::Firewall,
        quick(
            13,
            "5 % of packets lost",
            "in time; the share of rules is told; within 1 s of the end",
            slow::packets_lost,
        ),
    ),
    quick(
        14,
        "latency and jitter",
        "20 ms unfelt; at 200 ms the breaker opens within 1.5 s; within 1 s of the end",
        slow::latency,
    ),
    row(15, "a line of 64 kbit/s", "in time, no queue: within 1 s of the end", slow::narrow_line),
    quick(
        16,
        "replies cut and dribbled",
        "bytewise unfelt; a cut one drops the connection, and nobody has another's answer",
        slow::cut_within_replies,
    ),
    quick(17, "garbage, another protocol", "the connection is dropped: within 1 s of the end", slow::nonsense),
    row(
        18,
        "every connection killed, 1,000 rounds at 1,000 calls",
        "no wedge; each within 100 ms",
        slow::killed_connections,
    ),
    row(19, "maxclients", "who is in stays in; back-off; within 1 s of the end", refusing::too_many_clients),
    needing(Needs::Hosts, row(20, "the name moves", "looked up at each connection: within 2 s", clock::name_moves)),
    quick(21, "idle disconnect", "unfelt", refusing::idle_disconnect),
    quick(22, "out of memory", "`refused`; within 100 ms of the end", refusing::out_of_memory),
    row(23, "eviction storm", "volatile-ttl: no long-lived counter is lost", keys::eviction_storm),
    quick(24, "MISCONF: the disk is broken", "`refused`; within 100 ms of the end", refusing::disk_broken),
    row(25, "LOADING", "`refused`; 100 ms after it is ready", refusing::loading),
    quick(
        26,
        "BUSY: a neighbour's script spins",
        "`refused`; never killed by us; within 100 ms of the end",
        refusing::busy,
    ),
    quick(27, "SCRIPT FLUSH", "unfelt", keys::script_forgotten),
    row(28, "scripts and functions lost", "unfelt; taught again once for all who wait", keys::all_forgotten),
    quick(29, "keys of another type or form", "that key only: `poisoned`; at once after it is deleted", keys::poisoned),
    row(30, "FLUSHALL", "unfelt; the operator is told", keys::flushed),
    quick(31, "sentinel: master killed", "300 ms after the switch; what is lost is told", sentinels::master_killed),
    row(
        32,
        "sentinel: master hangs and returns",
        "300 ms after the switch; nothing is lost to the old one",
        sentinels::master_hangs_and_returns,
    ),
    row(
        33,
        "sentinel: SENTINEL FAILOVER",
        "300 ms after the switch; at most 1.2 s of hits lost, and told",
        sentinels::failover_asked_for,
    ),
    row(34, "sentinel: two of three die", "unfelt; the operator is told", sentinels::most_sentinels_die),
    row(
        35,
        "sentinel: two of them lie",
        "unfelt: the next one is asked, and the role checked",
        sentinels::sentinels_lie,
    ),
    quick(36, "READONLY", "one server: `refused`; within 100 ms of the end", refusing::demoted),
    row(37, "NOREPLICAS", "one server: `refused`; within 100 ms of the end", refusing::without_replicas),
    quick(
        38,
        "cluster: a master killed",
        "300 ms after the failover; the other shards feel nothing",
        topology::master_killed,
    ),
    row(39, "cluster: a master hangs", "as 38", topology::master_hangs),
    row(40, "cluster: a replica hangs", "unfelt; nothing is lost", topology::replica_hangs),
    row(41, "cluster: CLUSTER FAILOVER", "unfelt; nothing is lost", topology::failover_asked_for),
    row(42, "cluster: FAILOVER TAKEOVER", "as 38; what is lost is told", topology::takeover),
    quick(43, "cluster: slots move", "unfelt; nothing is lost", topology::slot_moves),
    row(
        44,
        "cluster: half of a list's keys move",
        "that tenant only; within 300 ms of the end; nothing is lost",
        topology::half_a_list_moves,
    ),
    row(45, "cluster: a shard is gone", "that shard's keys only; within 1 s of its return", topology::shard_gone),
    row(46, "cluster: all restart at once", "within 1 s of being in order", topology::all_restart),
    needing(
        Needs::Firewall,
        row(
            47,
            "cluster: a master cut off with its clients",
            "within 300 ms of the failover; lost: 1.5 s of its hits at most",
            partition::minority,
        ),
    ),
    row(
        48,
        "cluster: a storm of MOVED",
        "unfelt; the map is looked at ten times a second at most",
        topology::moved_storm,
    ),
    row(
        49,
        "rights, user and password withdrawn",
        "`denied`; within 1 s of the end, without a restart",
        entry::rights_withdrawn,
    ),
    row(50, "TLS: expired, strange, elsewhere, plain", "refused within 1 s, with the reason", entry::certificates),
    needing(
        Needs::Compiler,
        row(
            51,
            "the server's clock jumps",
            "no limit is frozen for more than a window and a second; keys are kept as docs/bounds.md says",
            clock::server_jumps,
        ),
    ),
    quick(52, "the host's clock jumps", "unfelt", clock::host_jumps),
    row(53, "two hosts 5 s apart", "they decide alike, and exactly", clock::hosts_disagree),
    row(54, "TIME moves within a script", "read once; every engine decides as memory does", engines::engines_agree),
    quick(
        65,
        "clients claim other addresses, in 20 ways",
        "each is counted as who it is: the rightmost address that a trusted gateway wrote",
        edge::addresses_claimed,
    ),
    quick(
        67,
        "500 slow, silent and deaf connections",
        "closed within 10 s, deaf ones 10 s after all is full; good clients' p99 at most twice as long",
        slowloris::slow_clients,
    ),
    quick(
        68,
        "5 MB bodies, 150 fields, 600 kB heads, gzip",
        "413, 431 and 400, which the client hears; nothing is unpacked; memory flat",
        edge::too_much,
    ),
    quick(
        69,
        "control characters in all that clients write",
        "no log holds them as they are; JSON stays JSON; no series of metrics more",
        edge::injections,
    ),
];

/// What tries a row in short, where trying all of it takes minutes.
pub(crate) const IN_SHORT: &[Row] = &[quick(
    18,
    "every connection killed, 30 rounds at 1,000 calls",
    "no wedge; each within 100 ms",
    slow::killed_connections_in_short,
)];
