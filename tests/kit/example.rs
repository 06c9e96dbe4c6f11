//! An example of the host, started as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result};

/// A running example; killed when dropped.
#[derive(Debug)]
pub struct Example {
    child: Child,
    /// `http://` and its address.
    pub url: String,
}

impl Example {
    /// Starts the example of this name on a free port, and waits until it says where it listens.
    ///
    /// # Errors
    ///
    /// Fails if it was not built, with the command that builds it, or if it ends instead.
    pub fn start(name: &str) -> Result<Self> {
        Self::start_in(name, [])
    }

    /// The same, with these variables in its environment.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_in<'a>(name: &str, environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let test = std::env::current_exe()?;
        let folder = test.parent().and_then(Path::parent).context("a test lies in target/PROFILE/deps")?;
        let program = folder.join("examples").join(name);
        let mut command = Command::new(&program);
        command.arg("127.0.0.1:0").envs(environment).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| {
            format!(
                "no {}: run `cargo build -p tollgate --examples --features axum,actix` first, as ./check does",
                program.display()
            )
        })?;
        let said = BufReader::new(child.stderr.take().context("its standard error is a pipe")?);
        let mut lines = said.lines().map_while(Result::ok);
        let url = lines.find_map(|line| Some(line.split_once("listening on ")?.1.to_owned()));
        let url = url.with_context(|| format!("{name} ended before it listened"))?;
        // Who writes into a pipe that nobody reads is ended.
        thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, url })
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
