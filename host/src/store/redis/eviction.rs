//! Counters that a server lost while it lived: pushed out to make room, or flushed. Each of them is a limit that began anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::{Instant, sleep};

use super::Way;
use super::job::Job;
use super::node::Node;
use crate::model::{Fault, FaultKind};

/// How often servers are asked what they lost.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// How long they may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// What is wrong with how a server makes room, by its `INFO memory`; none if nothing is.
pub(super) fn problem(memory: &str) -> Option<String> {
    let most: u64 = field(memory, "maxmemory")?.parse().ok()?;
    let policy = field(memory, "maxmemory_policy")?;
    if most == 0 || matches!(policy, "volatile-ttl" | "noeviction") {
        return None;
    }
    Some(format!(
        "maxmemory-policy is `{policy}`: when memory is full, a flood of new keys pushes out limits that are used up, and they begin anew; set \
         it to `volatile-ttl`, which pushes out what ends soonest"
    ))
}

/// The value of a line of `INFO`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// Watches the servers for as long as they are counted in; what is answered counts what they pushed out meanwhile.
pub(super) fn watch(way: &Arc<Way>) -> Arc<AtomicU64> {
    let (evicted, way) = (Arc::new(AtomicU64::new(0)), Arc::downgrade(way));
    let told = Arc::clone(&evicted);
    tokio::spawn(async move {
        let mut known = HashMap::new();
        while let Some(nodes) = way.upgrade().map(|way| way.nodes()) {
            for node in nodes {
                match look(&node).await {
                    Ok(Some((server, lost))) => tell(&told, &mut known, server, lost),
                    // Who may not ask, would have its connection opened anew each time.
                    Err(fault) if fault.kind == FaultKind::Denied => return,
                    Ok(None) | Err(_) => {}
                }
            }
            sleep(BETWEEN_LOOKS).await;
        }
    });
    evicted
}

/// What a server has lost since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lost {
    /// How many keys it pushed out.
    evicted: u64,
    /// How often somebody flushed it.
    flushed: u64,
}

/// Which run of which server it is, and what it has lost since it began.
async fn look(node: &Node) -> Result<Option<(String, Lost)>, Fault> {
    let mut commands = Pipeline::new();
    for section in ["server", "stats", "commandstats"] {
        commands.cmd("INFO").arg(section);
    }
    let answers =
        node.ask(Job::run(commands, Instant::now() + ANSWERS_WITHIN)).await.map_err(|failure| failure.fault)?;
    let mut texts = answers.into_iter().filter_map(|answer: Value| redis::from_redis_value::<String>(answer).ok());
    let (Some(server), Some(stats), Some(commands)) = (texts.next(), texts.next(), texts.next()) else {
        return Ok(None);
    };
    let evicted = field(&stats, "evicted_keys").and_then(|count| count.parse().ok());
    let flushed = calls(&commands, "flushall") + calls(&commands, "flushdb");
    Ok(field(&server, "run_id").map(str::to_owned).zip(evicted.map(|evicted| Lost { evicted, flushed })))
}

/// How often a command was called, by `INFO commandstats`.
fn calls(stats: &str, command: &str) -> u64 {
    let line = field(stats, &format!("cmdstat_{command}"));
    let calls = line.and_then(|line| line.strip_prefix("calls=")?.split(',').next()?.parse().ok());
    calls.unwrap_or_default()
}

/// Adds what is new. What a server lost before it was known, may have been anybody's.
fn tell(evicted: &AtomicU64, known: &mut HashMap<String, Lost>, server: String, now: Lost) {
    let before = known.insert(server, now).unwrap_or(now);
    // Somebody may have reset the statistics.
    let new = |now: u64, before: u64| if now < before { now } else { now - before };
    if new(now.flushed, before.flushed) > 0 {
        tracing::error!(
            "somebody flushed Redis: every limit may have begun anew; keep FLUSHALL and FLUSHDB from all users but one by ACL, and give Tollgate a \
             Redis of its own"
        );
    }
    let new = new(now.evicted, before.evicted);
    if new > 0 && evicted.fetch_add(new, Ordering::Relaxed) == 0 {
        tracing::error!(
            "Redis pushed out {new} keys to make room: limits that were used up may have begun anew; raise maxmemory, give Tollgate a Redis of its \
             own, and set maxmemory-policy to volatile-ttl"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_pushes_out_used_up_limits_is_a_problem() {
        let memory = |most: u64, policy: &str| {
            format!("# Memory\r\nmaxmemory:{most}\r\nmaxmemory_human:1M\r\nmaxmemory_policy:{policy}\r\n")
        };
        for policy in ["volatile-ttl", "noeviction"] {
            assert_eq!(problem(&memory(1, policy)), None);
        }
        assert_eq!(problem(&memory(0, "allkeys-lru")), None, "it never has to make room");
        for policy in ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-lfu"] {
            let text = problem(&memory(1, policy)).unwrap();
            assert!(text.contains(policy) && text.contains("set it to `volatile-ttl`"), "{text}");
        }
        assert_eq!(problem("# Memory\r\n"), None);
    }

    #[test]
    fn only_what_is_pushed_out_from_now_on_counts() {
        let (evicted, mut known) = (AtomicU64::new(0), HashMap::new());
        let mut look = |server: &str, count| {
            tell(&evicted, &mut known, server.to_owned(), Lost { evicted: count, flushed: 0 });
            evicted.load(Ordering::Relaxed)
        };
        assert_eq!([look("a", 100), look("a", 100), look("a", 103), look("b", 9), look("b", 10)], [0, 0, 3, 3, 4]);
        assert_eq!(look("a", 2), 6, "after a reset of the statistics");
    }

    #[test]
    fn calls_are_read_of_the_command_alone() {
        let stats = "# Commandstats\r\ncmdstat_flushall:calls=3,usec=10,usec_per_call=3.33\r\ncmdstat_flushdb:calls=1,usec=1\r\n";
        assert_eq!([calls(stats, "flushall"), calls(stats, "flushdb"), calls(stats, "flush")], [3, 1, 0]);
    }
}
