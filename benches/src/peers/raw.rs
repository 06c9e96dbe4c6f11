//! Bytes over sockets: what Redis can do for a client that costs nothing.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use redis::{Cmd, Script};

use super::{arguments, key, script};
use crate::gate::Algorithm;
use crate::keys::Keys;
use crate::load::process_time;
use crate::row::Sample;

/// What the raw client sends.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// `PING`: what the protocol costs.
    Ping,
    /// `INCR`: what the least counter costs.
    Incr,
    /// `EVALSHA` of the usual script.
    Script(Algorithm),
}

/// Four connections that each send 64 commands at once, written before the clock runs, and read four that came before.
pub struct Raw {
    connections: Vec<BufReader<TcpStream>>,
    batches: Vec<Vec<u8>>,
    lines: usize,
    sent: usize,
}

const CONNECTIONS: usize = 4;
const BATCH: usize = 64;
const BATCHES: usize = 1_024;

impl Raw {
    /// Connects, and writes the commands for `keys`.
    ///
    /// # Errors
    ///
    /// Fails if the server does not answer.
    pub fn connect(port: u16, command: Command, keys: &Keys) -> Result<Self> {
        let connect = || {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(BufReader::with_capacity(1 << 16, stream))
        };
        let connections = (0..CONNECTIONS).map(|_| connect()).collect::<Result<Vec<_>>>()?;
        let mut subjects = keys.round(0, 1);
        let mut batch = |_| subjects.by_ref().take(BATCH).flat_map(|subject| packed(command, subject)).collect();
        let batches = (0..BATCHES).map(&mut batch).collect();
        drop(subjects);
        // An answer that is a list has a line for its length and one for each number.
        let lines = match command {
            Command::Ping | Command::Incr => 1,
            Command::Script(Algorithm::Gcra) => 5,
            Command::Script(Algorithm::Window) => 3,
        };
        let mut raw = Self { connections, batches, lines, sent: 0 };
        if let Command::Script(algorithm) = command {
            raw.load(script(algorithm))?;
        }
        Ok(raw)
    }

    fn load(&mut self, script: &str) -> Result<()> {
        let Some(connection) = self.connections.first_mut() else { return Ok(()) };
        connection.get_mut().write_all(&redis::cmd("SCRIPT").arg("LOAD").arg(script).get_packed_command())?;
        skip_lines(connection, 2)
    }

    /// Sends and reads for this long.
    ///
    /// # Errors
    ///
    /// Fails if an answer is an error, or is missing.
    pub fn run(&mut self, time: Duration) -> Result<Sample> {
        let used = process_time();
        let began = Instant::now();
        let mut answered = 0;
        for index in 0..CONNECTIONS {
            self.send(index)?;
        }
        while began.elapsed() < time {
            for index in 0..CONNECTIONS {
                self.read(index)?;
                self.send(index)?;
                answered += BATCH;
            }
        }
        for index in 0..CONNECTIONS {
            self.read(index)?;
            answered += BATCH;
        }
        let (took, used) = (began.elapsed(), process_time() - used);
        Ok(Sample {
            decisions: answered as u64,
            per_second: answered as f64 / took.as_secs_f64(),
            client_cpu_us: Some(used.as_secs_f64() * 1e6 / answered as f64),
            ..Sample::default()
        })
    }

    fn send(&mut self, index: usize) -> Result<()> {
        let batch = self.batches.get(self.sent % BATCHES);
        self.sent += 1;
        if let (Some(connection), Some(batch)) = (self.connections.get_mut(index), batch) {
            connection.get_mut().write_all(batch)?;
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let lines = BATCH * self.lines;
        self.connections.get_mut(index).map_or(Ok(()), |connection| skip_lines(connection, lines))
    }
}

fn packed(command: Command, subject: &str) -> Vec<u8> {
    let command = match command {
        Command::Ping => Cmd::new().arg("PING").to_owned(),
        Command::Incr => {
            Cmd::new().arg("INCR").arg(format!("ratelimit:{{acme}}:raw:limit-0:incr:{subject}")).to_owned()
        }
        Command::Script(algorithm) => {
            let hash = Script::new(script(algorithm)).get_hash().to_owned();
            let call = Cmd::new().arg("EVALSHA").arg(hash).arg(1).arg(key("raw", algorithm, subject)).to_owned();
            arguments(algorithm).iter().fold(call, |mut call, argument| call.arg(*argument).to_owned())
        }
    };
    command.get_packed_command()
}

fn skip_lines(connection: &mut BufReader<TcpStream>, lines: usize) -> Result<()> {
    let mut left = lines;
    while left > 0 {
        let held = connection.fill_buf()?;
        ensure!(!held.is_empty(), "the server closed the connection");
        ensure!(held.first() != Some(&b'-'), "the server answered {:?}", String::from_utf8_lossy(held));
        let mut read = 0;
        for byte in held {
            read += 1;
            left -= usize::from(*byte == b'\n');
            if left == 0 {
                break;
            }
        }
        connection.consume(read);
    }
    Ok(())
}
