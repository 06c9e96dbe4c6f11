//! From text to tree, as RFC 8259 says.

use super::{Error, Node, Value};

/// How deep lists and objects may stand in one another: a guest's stack is small.
const MAX_DEPTH: usize = 64;

/// Reads the one value of `text`.
pub(super) fn tree(text: &str) -> Result<Node<'_>, Error> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let node = reader.node()?;
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err(reader.error("expected nothing after the value")),
    }
}

struct Reader<'t> {
    text: &'t str,
    /// The next byte. Between values it always stands at the beginning of a character.
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn node(&mut self) -> Result<Node<'t>, Error> {
        let first = self.peek();
        let at = self.at;
        let value = match first {
            Some(b'{') => self.object()?,
            Some(b'[') => self.list()?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node { at, value })
    }

    fn object(&mut self) -> Result<Value<'t>, Error> {
        let mut entries = Vec::new();
        self.items(b'}', |reader| {
            if reader.peek() != Some(b'"') {
                return Err(reader.error("expected a name in double quotes"));
            }
            let name = reader.string()?;
            if reader.peek() != Some(b':') {
                return Err(reader.error("expected `:`"));
            }
            reader.at += 1;
            entries.push((name, reader.node()?));
            Ok(())
        })?;
        Ok(Value::Object(entries))
    }

    fn list(&mut self) -> Result<Value<'t>, Error> {
        let mut nodes = Vec::new();
        self.items(b']', |reader| {
            nodes.push(reader.node()?);
            Ok(())
        })?;
        Ok(Value::List(nodes))
    }

    /// Reads from the opening bracket to `close`, with `item` for what stands between commas.
    fn items(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("expected at most 64 levels of lists and objects"));
        }
        self.at += 1;
        if self.peek() != Some(close) {
            loop {
                item(self)?;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == close => break,
                    _ if close == b']' => return Err(self.error("expected `,` or `]`")),
                    _ => return Err(self.error("expected `,` or `}`")),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    fn string(&mut self) -> Result<String, Error> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let start = self.at;
            while !matches!(self.byte(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            text.push_str(self.since(start));
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.error("expected the text to end with `\"`")),
            }
        }
        self.at += 1;
        Ok(text)
    }

    fn escape(&mut self) -> Result<char, Error> {
        self.at += 1;
        let letter = self.byte();
        let char = match letter {
            Some(b'"' | b'\\' | b'/') => letter.map(char::from),
            Some(b'b') => Some('\u{8}'),
            Some(b'f') => Some('\u{c}'),
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            Some(b't') => Some('\t'),
            Some(b'u') => {
                self.at += 1;
                return self.unicode().ok_or_else(|| self.error("expected four hexadecimal digits of a character"));
            }
            _ => None,
        };
        let char = char.ok_or_else(|| self.error("expected one of \" \\ / b f n r t u after `\\`"))?;
        self.at += 1;
        Ok(char)
    }

    /// One character, which may be written as two halves.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if self.byte()? != b'\\' {
            return None;
        }
        self.at += 1;
        if self.byte()? != b'u' {
            return None;
        }
        self.at += 1;
        let second = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)
    }

    fn hex(&mut self) -> Option<u32> {
        let mut code = 0;
        for _ in 0..4 {
            code = code * 16 + char::from(self.byte()?).to_digit(16)?;
            self.at += 1;
        }
        Some(code)
    }

    fn number(&mut self) -> Result<Value<'t>, Error> {
        let start = self.at;
        self.skip(b"-");
        let mut sound = self.skip(b"0") || self.digits();
        if self.skip(b".") {
            sound &= self.digits();
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            sound &= self.digits();
        }
        if sound { Ok(Value::Number(self.since(start))) } else { Err(self.error("expected a digit")) }
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > start
    }

    /// Steps over the next byte if it is one of `bytes`.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let found = self.byte().is_some_and(|byte| bytes.contains(&byte));
        self.at += usize::from(found);
        found
    }

    fn word(&mut self) -> Result<Value<'t>, Error> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error("expected a value"))
    }

    /// The next byte that is not a space.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn error(&self, message: &str) -> Error {
        Error::new(message).at(self.at)
    }
}
