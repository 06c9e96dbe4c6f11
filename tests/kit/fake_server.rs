//! Servers and sentinels that let everybody in, and then answer nonsense.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::Result;

/// What answers nonsense on a port of the loopback, until the process ends.
#[derive(Debug)]
pub struct FakeServer {
    port: u16,
    asked: Arc<AtomicU64>,
}

/// What it answers to a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonsense {
    /// Bytes that are no reply at all.
    Garbage,
    /// The answer of another kind of server.
    Http,
    /// A reply that scripts of this kind do not give.
    WrongType,
    /// A list with too little in it.
    WrongShape,
    /// The announcement of more bytes than ever come.
    Endless,
}

impl Nonsense {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Garbage, Self::Http, Self::WrongType, Self::WrongShape, Self::Endless];

    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Garbage => b"\x00\xff\x13what is this\r\n\r\n",
            Self::Http => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            Self::WrongType => b":1\r\n",
            Self::WrongShape => b"*2\r\n:1\r\n$1\r\n1\r\n",
            Self::Endless => b"*3\r\n:1\r\n:1\r\n*1\r\n$536870911\r\nabc",
        }
    }
}

impl FakeServer {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub fn start(nonsense: Nonsense) -> Result<Self> {
        let bytes = nonsense.bytes().to_vec();
        let (port, asked) = serve(&["EVALSHA", "EVAL"], bytes)?;
        Ok(Self { port, asked })
    }

    /// Its port on the loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many scripts it has answered with nonsense.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A sentinel that names the wrong master on a port of the loopback, until the process ends.
#[derive(Debug)]
pub struct FakeSentinel {
    port: u16,
    asked: Arc<AtomicU64>,
}

impl FakeSentinel {
    /// Starts one that says that the master listens at `port`, or that it knows no such master.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub fn naming(port: Option<u16>) -> Result<Self> {
        let answer = port.map_or_else(
            || "*-1\r\n".to_owned(),
            |port| {
                let port = port.to_string();
                format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())
            },
        );
        let (port, asked) = serve(&["SENTINEL"], answer.into_bytes())?;
        Ok(Self { port, asked })
    }

    /// Its port on the loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often it has been asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Answers these commands with these bytes, and all others politely. The port, and how many of these commands there were.
fn serve(commands: &'static [&'static str], bytes: Vec<u8>) -> Result<(u16, Arc<AtomicU64>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    thread::spawn(move || {
        for connection in listener.incoming().map_while(io::Result::ok) {
            let (bytes, counted) = (bytes.clone(), Arc::clone(&counted));
            // Whoever hangs up has had enough.
            thread::spawn(move || answer(&connection, commands, &bytes, &counted));
        }
    });
    Ok((port, asked))
}

fn answer(connection: &TcpStream, commands: &[&str], bytes: &[u8], asked: &AtomicU64) -> io::Result<()> {
    let mut requests = BufReader::new(connection);
    let mut replies = connection;
    while let Some(command) = command(&mut requests)? {
        if commands.iter().any(|known| known.eq_ignore_ascii_case(&command)) {
            asked.fetch_add(1, Ordering::Relaxed);
            replies.write_all(bytes)?;
        } else if command.eq_ignore_ascii_case("PING") {
            replies.write_all(b"+PONG\r\n")?;
        } else {
            replies.write_all(b"+OK\r\n")?;
        }
    }
    Ok(())
}

/// The first word of the next command, which is a list of bulk strings.
fn command(requests: &mut impl BufRead) -> io::Result<Option<String>> {
    let Some(words) = number(requests, b'*')? else { return Ok(None) };
    let mut first = None;
    for _ in 0..words {
        let Some(length) = number(requests, b'$')? else { return Ok(None) };
        let mut word = Vec::new();
        requests.take(length + 2).read_to_end(&mut word)?;
        first.get_or_insert_with(|| String::from_utf8_lossy(&word).trim_end().to_owned());
    }
    Ok(first)
}

/// The number of a line such as `*3`; none at the end.
fn number(requests: &mut impl BufRead, sign: u8) -> io::Result<Option<u64>> {
    let mut line = Vec::new();
    requests.read_until(b'\n', &mut line)?;
    let digits = line.strip_prefix(&[sign]).and_then(|digits| std::str::from_utf8(digits).ok());
    Ok(digits.and_then(|digits| digits.trim().parse().ok()))
}
