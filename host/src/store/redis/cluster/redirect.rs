//! What a server says of a slot that is elsewhere.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::map::at_port;
use crate::config::Address;
use crate::store::redis::connect::Server;

/// Where a slot is that the server asked does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::redis) enum Redirect {
    /// For good: the map of slots is out of date.
    Moved {
        /// The slot.
        slot: u16,
        /// Who has it.
        server: Server,
    },
    /// For this one call, which `ASKING` must precede: the slot is on the way.
    Ask {
        /// The slot.
        slot: u16,
        /// Where it goes.
        server: Server,
    },
}

impl Redirect {
    /// Reads an error that `asked` answered; none if it redirects nobody, or to nowhere.
    pub(in crate::store::redis) fn parse(error: &RedisError, asked: &Server) -> Option<Self> {
        let (address, slot) = error.redirect_node()?;
        // An IPv6 address stands there without brackets.
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let server = match host {
            "" => at_port(asked, port)?,
            "?" => return None,
            host => Server::Tcp(Address { host: host.to_owned(), port }),
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => Some(Self::Moved { slot, server }),
            _ => Some(Self::Ask { slot, server }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an error that `seed:7000` answered, and tells where it sends us.
    #[track_caller]
    fn check(answer: &str, expected: &str) {
        let value = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()).expect("the test's answer is sound");
        let error = value.extract_error().expect_err("the answer is an error");
        let asked = Server::Tcp(Address { host: "seed".to_owned(), port: 7000 });
        let told = match Redirect::parse(&error, &asked) {
            Some(Redirect::Moved { slot, server }) => format!("{slot} moved to {server}"),
            Some(Redirect::Ask { slot, server }) => format!("{slot} for once at {server}"),
            None => "nowhere".to_owned(),
        };
        assert_eq!(told, expected, "`{answer}`");
    }

    #[test]
    fn a_redirection_says_where_the_slot_is_and_whether_for_good() {
        check("MOVED 3999 127.0.0.1:6381", "3999 moved to 127.0.0.1:6381");
        check("ASK 3999 one.example:6381", "3999 for once at one.example:6381");
        check("MOVED 1 ::1:6381", "1 moved to [::1]:6381");
        check("MOVED 1 :6381", "1 moved to seed:6381");
        check("MOVED 1 ?:6381", "nowhere");
        check("MOVED 1", "nowhere");
        check("ERR no such thing 1 a:1", "nowhere");
        check("CLUSTERDOWN Hash slot not served", "nowhere");
    }
}
