//! Commands out of bytes: bounded before anything is decoded.

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::BytesFrame;

/// How long a command may be, with all that surrounds its words, in bytes.
pub(super) const MOST_BYTES: usize = 16 * 1024;
/// How many words a command may have.
const MOST_WORDS: usize = 64;
/// More digits has no number that is accepted.
const MOST_DIGITS: usize = 6;

/// Why what was sent is no command; nothing after it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

/// Takes the next command out of the buffer, if it is whole: its words.
pub(super) fn next(buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, Broken> {
    if !is_whole(buffer)? {
        return Ok(None);
    }
    let Ok(Some((BytesFrame::Array(words), ..))) = decode_bytes_mut(buffer) else { return Err(Broken("no command")) };
    let words = words.into_iter().map(|word| match word {
        BytesFrame::BulkString(word) => Ok(word),
        _ => Err(Broken("no word")),
    });
    words.collect::<Result<_, _>>().map(Some)
}

/// Whether a command stands whole at the beginning.
///
/// The decoder follows arrays in arrays, as deep as they go, and reads what it knows already again each time; so it gets only what is known to be a flat
/// array of words, and only once.
fn is_whole(bytes: &[u8]) -> Result<bool, Broken> {
    let Some((words, mut rest)) = head(bytes, b'*', "expected '*'")? else { return Ok(false) };
    if !(1..=MOST_WORDS).contains(&words) {
        return Err(Broken("invalid multibulk length"));
    }
    for _ in 0..words {
        let Some((length, after)) = head(rest, b'$', "expected '$'")? else { return Ok(false) };
        let so_far = bytes.len() - after.len();
        if so_far + length > MOST_BYTES {
            return Err(Broken("invalid bulk length"));
        }
        match after.get(length..).unwrap_or_default() {
            [] | [b'\r'] => return Ok(false),
            [b'\r', b'\n', further @ ..] => rest = further,
            _ => return Err(Broken("expected the end of a word")),
        }
    }
    Ok(true)
}

/// The number of a line that begins with `kind`, and what follows; none if the line has not arrived.
fn head<'a>(bytes: &'a [u8], kind: u8, otherwise: &'static str) -> Result<Option<(usize, &'a [u8])>, Broken> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    if *first != kind {
        return Err(Broken(otherwise));
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, after) = rest.split_at_checked(digits).unwrap_or((rest, &[]));
    match (digits, after) {
        (0..=MOST_DIGITS, [] | [b'\r']) => Ok(None),
        (1..=MOST_DIGITS, [b'\r', b'\n', after @ ..]) => {
            let number = number.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
            Ok(Some((number, after)))
        }
        _ => Err(Broken("invalid length")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(words: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
        bytes
    }

    /// What is read of bytes that arrive in such pieces.
    fn read(bytes: &[u8], piece: usize) -> (Vec<Vec<Bytes>>, Option<Broken>, usize) {
        let (mut buffer, mut commands, mut most) = (BytesMut::new(), Vec::new(), 0);
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            loop {
                match next(&mut buffer) {
                    Ok(Some(words)) => commands.push(words),
                    Ok(None) => break,
                    Err(broken) => return (commands, Some(broken), most),
                }
            }
            most = most.max(buffer.len());
        }
        (commands, None, most)
    }

    #[track_caller]
    fn refuses(bytes: &[u8], because: &'static str) {
        assert_eq!(read(bytes, bytes.len()), (Vec::new(), Some(Broken(because)), 0), "{}", bytes.escape_ascii());
    }

    #[test]
    fn what_is_no_command_is_refused_at_once() {
        refuses(b"GET / HTTP/1.1\r\n\r\n", "expected '*'");
        refuses(b"PING\r\n", "expected '*'");
        refuses(b"*0\r\n", "invalid multibulk length");
        refuses(b"*65\r\n", "invalid multibulk length");
        refuses(b"*-1\r\n", "invalid length");
        refuses(b"*1000000000\r\n", "invalid length");
        refuses(b"*1\r\n$-1\r\n", "invalid length");
        refuses(b"*1\r\n:1\r\n", "expected '$'");
        refuses(b"*1\r\n$17000\r\n", "invalid bulk length");
        refuses(b"*1\r\n$4\r\nPINGPONG", "expected the end of a word");
        refuses(&b"*1\r\n".repeat(4_000), "expected '$'");
    }

    #[test]
    fn a_command_without_end_is_not_kept() {
        let word = [b"$9999\r\n".as_slice(), &[b'x'; 9_999], b"\r\n"].concat();
        let (commands, broken, most) = read(&[b"*64\r\n".as_slice(), &word.repeat(64)].concat(), 1_000);
        assert_eq!((commands.len(), broken), (0, Some(Broken("invalid bulk length"))));
        assert!(most <= MOST_BYTES, "{most} bytes wait");
    }

    proptest! {
        #[test]
        fn commands_are_read_as_they_were_written_however_they_arrive(
            commands in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8), 0..5),
            piece in 1_usize..50,
        ) {
            let bytes: Vec<u8> = commands.iter().flat_map(|words| written(words)).collect();
            let (found, broken, _) = read(&bytes, piece);
            prop_assert_eq!(broken, None);
            let found: Vec<Vec<Vec<u8>>> =
                found.into_iter().map(|words| words.into_iter().map(|word| word.to_vec()).collect()).collect();
            prop_assert_eq!(found, commands);
        }

        #[test]
        fn no_bytes_break_anything_or_pile_up(
            noise in prop::collection::vec(prop_oneof![
                any::<u8>().prop_map(|byte| vec![byte]),
                prop::sample::select(vec![&b"*1\r\n"[..], b"*3\r\n", b"$4\r\n", b"$9999\r\n", b"\r\n", b"PING", b"$0\r\n\r\n"])
                    .prop_map(<[u8]>::to_vec),
            ], 0..200),
            piece in 1_usize..300,
        ) {
            let bytes = noise.concat();
            let (.., most) = read(&bytes, piece);
            prop_assert!(most <= MOST_BYTES + MOST_WORDS * 10, "{most} bytes wait");
            // In other pieces it is the same.
            prop_assert_eq!(read(&bytes, 1).0, read(&bytes, piece).0);
        }
    }
}
