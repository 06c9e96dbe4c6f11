//! Which slot a key belongs to.

/// How many slots a cluster has.
pub(in crate::store::redis) const SLOTS: u16 = 16_384;

/// The slot of a key: of what stands between its first `{` and the next `}`, or if that is nothing, of the whole.
pub(in crate::store::redis) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16 as XMODEM has it: polynomial 0x1021, nothing reflected, from 0.
fn crc16(bytes: &[u8]) -> u16 {
    let shift = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ (u16::from(*byte) << 8), shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_one_that_redis_documents() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn slots_are_those_that_redis_answers() {
        // As `CLUSTER KEYSLOT` of Redis 7.0.15 gives them.
        for (key, expected) in [
            ("foo", 12_182),
            ("bar", 5_061),
            ("", 0),
            ("ratelimit:{acme}:limit:alice", 11_304),
            ("{acme}", 11_304),
            ("acme", 11_304),
        ] {
            assert_eq!(slot(key), expected, "`{key}`");
        }
    }

    #[test]
    fn only_the_first_braces_with_something_between_them_make_a_tag() {
        let same = |one: &str, other: &str| assert_eq!(slot(one), slot(other), "`{one}` and `{other}`");
        same("{user1000}.following", "{user1000}.followers");
        same("foo{bar}{zap}", "bar");
        same("foo{{bar}}zap", "{bar");
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
        assert_ne!(slot("{}bar"), slot(""));
        assert_ne!(slot("foo}{bar"), slot("bar"));
    }
}
