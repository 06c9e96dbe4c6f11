//! A server that says what a test wants it to say: it knows the few commands by which servers are found.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use super::connect::Server;
use crate::config::Address;

/// A server on a free port of the loopback.
pub(super) struct Fake {
    pub(super) server: Server,
    said: Arc<Mutex<Said>>,
}

/// What it says.
#[derive(Default)]
pub(super) struct Said {
    /// What it answers to a command, as on the wire; to a sentinel's, by the second word.
    pub(super) answers: HashMap<&'static str, String>,
    /// How often it was asked anything.
    pub(super) asked: usize,
    /// Whether it takes commands, and never answers.
    pub(super) hangs: bool,
    /// Who has subscribed.
    listeners: Vec<TcpStream>,
    open: Vec<TcpStream>,
}

impl Fake {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let said = Arc::new(Mutex::new(Said::default()));
        let fake = Self { server: at(port), said: Arc::clone(&said) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let said = Arc::clone(&said);
                said.lock().expect("no test failed").open.push(stream.try_clone().expect("a stream has a handle"));
                thread::spawn(move || serve(stream, &said));
            }
        });
        fake.says("HELLO", "%1\r\n$5\r\nproto\r\n:3\r\n");
        fake.says("SUBSCRIBE", ">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n");
        fake
    }

    /// One that says that it is a `master`, or a `slave`.
    pub(super) fn with_role(role: &str) -> Self {
        let fake = Self::start();
        fake.says("ROLE", &format!("*1\r\n${}\r\n{role}\r\n", role.len()));
        fake
    }

    /// A sentinel that names this master, and knows of so many elections.
    pub(super) fn naming(server: &Server, epoch: u64) -> Self {
        let fake = Self::start();
        fake.names(server, epoch);
        fake
    }

    pub(super) fn names(&self, server: &Server, epoch: u64) {
        let Address { host, port } = address(server);
        self.says("GET-MASTER-ADDR-BY-NAME", &format!("*2\r\n+{host}\r\n+{port}\r\n"));
        self.says("MASTER", &format!("*2\r\n+config-epoch\r\n+{epoch}\r\n"));
        self.says("SENTINELS", "*0\r\n");
    }

    pub(super) fn says(&self, command: &'static str, answer: &str) {
        self.said().answers.insert(command, answer.to_owned());
    }

    pub(super) fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("no test failed")
    }

    /// Tells all who have subscribed that the master is now elsewhere.
    pub(super) fn tells(&self, from: &Server, to: &Server) {
        let (from, to) = (address(from), address(to));
        let message = format!("mymaster {} {} {} {}", from.host, from.port, to.host, to.port);
        let push = format!(">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n${}\r\n{message}\r\n", message.len());
        for listener in &mut self.said().listeners {
            // Whoever is gone hears nothing.
            let _ = listener.write_all(push.as_bytes());
        }
    }

    pub(super) fn has_listeners(&self) -> bool {
        !self.said().listeners.is_empty()
    }

    /// Hangs up on everybody.
    pub(super) fn hang_up(&self) {
        let mut said = self.said();
        said.listeners.clear();
        said.open.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }
}

/// A server where nothing is.
pub(super) fn nowhere() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    at(listener.local_addr().expect("it has an address").port())
}

fn at(port: u16) -> Server {
    Server::Tcp(Address { host: "127.0.0.1".to_owned(), port })
}

pub(super) fn address(server: &Server) -> Address {
    match server {
        Server::Tcp(address) => address.clone(),
        Server::Unix(path) => panic!("{} is no address", path.display()),
    }
}

fn serve(mut stream: TcpStream, said: &Mutex<Said>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream has a handle"));
    while let Ok(words) = command(&mut reader) {
        let mut said = said.lock().expect("no test failed");
        said.asked += 1;
        let word = |place: usize| words.get(place).map(String::as_str).unwrap_or_default();
        let name = if word(0) == "SENTINEL" { word(1) } else { word(0) };
        let answer = said.answers.get(name).cloned().unwrap_or_else(|| "-ERR unknown\r\n".to_owned());
        if name == "SUBSCRIBE" {
            said.listeners.push(stream.try_clone().expect("a stream has a handle"));
        }
        if !said.hangs && stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads an array of strings.
fn command(reader: &mut impl BufRead) -> Result<Vec<String>> {
    let words = number(reader)?;
    (0..words).map(|_| word(reader)).collect()
}

fn word(reader: &mut impl BufRead) -> Result<String> {
    let mut bytes = vec![0; number(reader)? + 2];
    reader.read_exact(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

fn number(reader: &mut impl BufRead) -> Result<usize> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let digits = line.trim_start_matches(['*', '$']).trim_end();
    digits.parse().map_err(|_| std::io::ErrorKind::UnexpectedEof.into())
}
