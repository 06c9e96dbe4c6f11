//! Which server has which slots.

use redis::{FromRedisValue, Value, from_redis_value_ref};

use super::slot::SLOTS;
use crate::config::Address;
use crate::store::redis::connect::Server;

/// The masters of a cluster, and the slots of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::redis) struct SlotMap {
    masters: Vec<Server>,
    /// For each slot the master's place in the list.
    slots: Vec<Option<u16>>,
}

impl SlotMap {
    /// The server that has `slot`, if anybody has.
    pub(in crate::store::redis) fn master(&self, slot: u16) -> Option<&Server> {
        let place = self.slots.get(usize::from(slot)).copied().flatten()?;
        self.masters.get(usize::from(place))
    }

    /// The servers that have slots.
    pub(in crate::store::redis) fn masters(&self) -> &[Server] {
        &self.masters
    }

    /// How many slots have a master.
    pub(in crate::store::redis) fn covered(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Whether every slot has a master.
    pub(in crate::store::redis) fn is_whole(&self) -> bool {
        self.covered() == usize::from(SLOTS)
    }

    /// Gives `slot` to `server`, as a redirection said, until the whole map is learned anew.
    pub(in crate::store::redis) fn give(&mut self, slot: u16, server: &Server) {
        let known = self.masters.iter().position(|master| master == server);
        let place = known.unwrap_or_else(|| {
            self.masters.push(server.clone());
            self.masters.len() - 1
        });
        if let Some(owner) = self.slots.get_mut(usize::from(slot)) {
            *owner = u16::try_from(place).ok();
        }
    }

    /// Reads what `asked` answered to `CLUSTER SLOTS`; `named` if servers had better be called by their names, since certificates hold those.
    ///
    /// A server that announces no host is where `asked` is. Ranges whose master cannot be told are left without one.
    pub(super) fn read(answer: &Value, asked: &Server, named: bool) -> Self {
        let mut map = Self { masters: Vec::new(), slots: vec![None; usize::from(SLOTS)] };
        let Value::Array(ranges) = answer else { return map };
        for range in ranges {
            let Some((first, last, master)) = range_of(range) else { continue };
            let Some(server) = server(master, asked, named) else { continue };
            (first..=last.min(SLOTS - 1)).for_each(|slot| map.give(slot, &server));
        }
        map
    }
}

/// The first and the last slot of a range, and its master. Its replicas follow.
fn range_of(value: &Value) -> Option<(u16, u16, &[Value])> {
    let Value::Array(fields) = value else { return None };
    let [first, last, Value::Array(master), ..] = fields.as_slice() else { return None };
    Some((field(first)?, field(last)?, master))
}

fn server(node: &[Value], asked: &Server, named: bool) -> Option<Server> {
    let [host, port, rest @ ..] = node else { return None };
    let port = field::<u16>(port).filter(|port| *port != 0)?;
    let announced = match host {
        Value::Nil => Some(String::new()),
        host => field(host),
    };
    let beside = |key| rest.get(1).and_then(|beside| metadata(beside, key)).filter(|host| is_host(host));
    let host = match announced {
        // It knows no address of its own, or keeps it to itself.
        Some(none) if none.is_empty() => return at_port(asked, port),
        // It is to be called by a name, and has none.
        Some(unknown) if unknown == "?" => beside("ip")?,
        Some(host) if named => beside("hostname").unwrap_or(host),
        host => host?,
    };
    Some(Server::Tcp(Address { host, port }))
}

/// The server at the host of `asked`; behind a socket there is one only.
pub(super) fn at_port(asked: &Server, port: u16) -> Option<Server> {
    match asked {
        Server::Tcp(Address { host, .. }) => Some(Server::Tcp(Address { host: host.clone(), port })),
        Server::Unix(_) => Some(asked.clone()),
    }
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text != "?"
}

/// What a server of 7.0 or later tells of itself beside its address, in pairs or as a map.
fn metadata(value: &Value, key: &str) -> Option<String> {
    let pairs: Vec<(String, String)> = field(value)?;
    pairs.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn field<T: FromRedisValue>(value: &Value) -> Option<T> {
    from_redis_value_ref(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Server {
        Server::Tcp(Address { host: host.to_owned(), port })
    }

    /// Reads an answer as it stands on the wire, asked of `seed:7000`.
    fn read(answer: &str, named: bool) -> SlotMap {
        let value = redis::parse_redis_value(answer.replace('\n', "\r\n").as_bytes());
        SlotMap::read(&value.expect("the test's answer is sound"), &tcp("seed", 7000), named)
    }

    /// Reads an answer, and tells who has the slots 0 and 16383.
    #[track_caller]
    fn check(answer: &str, named: bool, expected: [&str; 2]) {
        let map = read(answer, named);
        let owner = |slot| map.master(slot).map_or_else(|| "nobody".to_owned(), ToString::to_string);
        assert_eq!([owner(0), owner(SLOTS - 1)], expected, "{answer}");
    }

    /// A server as a range names it. Lines end as on the wire when the answer is read.
    fn node(host: &str, port: u16, beside: &str) -> String {
        format!("*4\n{host}:{port}\n+id{port}\n{beside}")
    }

    fn range(first: u16, last: u16, nodes: &[String]) -> String {
        format!("*{}\n:{first}\n:{last}\n{}", 2 + nodes.len(), nodes.concat())
    }

    fn whole(node: String) -> String {
        format!("*1\n{}", range(0, 16_383, &[node]))
    }

    const NONE: &str = "*0\n";
    const HERE: &str = "$9\n127.0.0.1\n";
    const NOBODY: [&str; 2] = ["nobody", "nobody"];

    #[test]
    fn each_range_has_its_master_and_replicas_are_passed_over() {
        let halves = [
            range(0, 8_191, &[node(HERE, 7001, NONE), node(HERE, 7004, NONE)]),
            range(8_192, 16_383, &[node(HERE, 7002, NONE)]),
        ];
        check(&format!("*2\n{}", halves.concat()), false, ["127.0.0.1:7001", "127.0.0.1:7002"]);
    }

    #[test]
    fn a_slot_without_a_master_has_none() {
        check(&format!("*1\n{}", range(1, 16_383, &[node(HERE, 7001, NONE)])), false, ["nobody", "127.0.0.1:7001"]);
        check(&format!("*1\n{}", range(0, 16_383, &[])), false, NOBODY);
        check(&whole(node(HERE, 0, NONE)), false, NOBODY);
        check(NONE, false, NOBODY);
        check("+OK\n", false, NOBODY);
    }

    #[test]
    fn a_server_that_announces_no_host_is_where_we_asked() {
        for host in ["$-1\n", "$0\n\n"] {
            check(&whole(node(host, 7001, NONE)), false, ["seed:7001", "seed:7001"]);
        }
    }

    #[test]
    fn a_server_that_should_have_a_name_and_has_none_is_called_by_its_address() {
        let unknown = "$1\n?\n";
        check(&whole(node(unknown, 7001, "*2\n+ip\n+10.0.0.9\n")), false, ["10.0.0.9:7001", "10.0.0.9:7001"]);
        check(&whole(node(unknown, 7001, NONE)), false, NOBODY);
    }

    #[test]
    fn a_name_is_preferred_where_certificates_count() {
        let answer = whole(node(HERE, 7001, "*2\n+hostname\n+one.example\n"));
        check(&answer, true, ["one.example:7001", "one.example:7001"]);
        check(&answer, false, ["127.0.0.1:7001", "127.0.0.1:7001"]);
        check(&whole(node(HERE, 7001, "*2\n+hostname\n$0\n\n")), true, ["127.0.0.1:7001", "127.0.0.1:7001"]);
    }

    #[test]
    fn a_redirection_moves_one_slot() {
        let mut map = read(&whole(node(HERE, 7001, NONE)), false);
        assert!(map.is_whole());
        map.give(5, &tcp("other", 7009));
        assert_eq!((map.master(4), map.master(5)), (Some(&tcp("127.0.0.1", 7001)), Some(&tcp("other", 7009))));
        assert_eq!(map.masters().len(), 2);
        map.give(u16::MAX, &tcp("other", 7009));
        assert!(map.is_whole());
    }
}
