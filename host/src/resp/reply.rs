//! What is said back, in the version of the protocol that the client chose.

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame;

/// The version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// An answer to one command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// What both versions say alike.
    Plain(BytesFrame),
    /// Names and values: in the older version, a list.
    Map(Vec<(&'static str, BytesFrame)>),
    Nothing,
}

/// How much of what a client said an error repeats, in characters.
const MOST_REPEATED: usize = 64;

impl Reply {
    pub(super) const OK: Self = Self::said("OK");

    pub(super) const fn said(word: &'static str) -> Self {
        Self::Plain(BytesFrame::SimpleString(Bytes::from_static(word.as_bytes())))
    }

    /// An error: `text` begins with its code. It is one line, whatever it repeats.
    pub(super) fn error(text: &str) -> Self {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self::Plain(BytesFrame::Error(line.into()))
    }

    pub(super) fn number(number: i64) -> Self {
        Self::Plain(BytesFrame::Integer(number))
    }

    pub(super) fn text(text: Bytes) -> Self {
        Self::Plain(BytesFrame::BulkString(text))
    }

    pub(super) fn numbers(numbers: impl IntoIterator<Item = i64>) -> Self {
        Self::Plain(BytesFrame::Array(numbers.into_iter().map(BytesFrame::Integer).collect()))
    }

    /// Writes it at the end of `out`.
    pub(super) fn write(self, protocol: Protocol, out: &mut BytesMut) {
        match (self, protocol) {
            (Self::Plain(frame), _) => encode(out, &frame),
            (Self::Nothing, Protocol::Resp2) => encode(out, &BytesFrame::Null),
            (Self::Nothing, Protocol::Resp3) => out.extend_from_slice(b"_\r\n"),
            (Self::Map(entries), Protocol::Resp2) => encode(out, &BytesFrame::Array(flat(entries).collect())),
            (Self::Map(entries), Protocol::Resp3) => {
                out.extend_from_slice(format!("%{}\r\n", entries.len()).as_bytes());
                flat(entries).for_each(|frame| encode(out, &frame));
            }
        }
    }
}

fn flat(entries: Vec<(&'static str, BytesFrame)>) -> impl Iterator<Item = BytesFrame> {
    let named = |(name, value): (&'static str, _)| [BytesFrame::BulkString(Bytes::from_static(name.as_bytes())), value];
    entries.into_iter().flat_map(named)
}

fn encode(out: &mut BytesMut, frame: &BytesFrame) {
    // The encoder makes room first, and fails where there is none.
    let _ = extend_encode(out, frame, false);
}

/// Bytes of a client's as an error may repeat them.
pub(super) fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).escape_debug().take(MOST_REPEATED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: &Reply, in_2: &str, in_3: &str) {
        for (protocol, expected) in [(Protocol::Resp2, in_2), (Protocol::Resp3, in_3)] {
            let mut out = BytesMut::new();
            reply.clone().write(protocol, &mut out);
            assert_eq!(out, expected.as_bytes(), "{reply:?}");
        }
    }

    #[test]
    fn each_version_reads_what_it_knows() {
        check(&Reply::OK, "+OK\r\n", "+OK\r\n");
        check(&Reply::numbers([0, -1]), "*2\r\n:0\r\n:-1\r\n", "*2\r\n:0\r\n:-1\r\n");
        check(&Reply::Nothing, "$-1\r\n", "_\r\n");
        let map = Reply::Map(vec![("proto", BytesFrame::Integer(3))]);
        check(&map, "*2\r\n$5\r\nproto\r\n:3\r\n", "%1\r\n$5\r\nproto\r\n:3\r\n");
    }

    #[test]
    fn an_error_is_one_line_whatever_it_repeats() {
        check(&Reply::error("ERR a\r\n+OK\r\nb"), "-ERR a  +OK  b\r\n", "-ERR a  +OK  b\r\n");
        assert_eq!(shown(b"a\r\n\x1b[31m\xff"), "a\\r\\n\\u{1b}[31m\u{fffd}");
        assert_eq!(shown(&[b'x'; 1_000]).len(), 64);
    }
}
