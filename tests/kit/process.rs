//! Programs on the loopback, and waiting for what they do.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a server may take for anything.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A process that is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts `redis-server`, or what `TOLLGATE_REDIS_SERVER` names, or `valkey-server`, and waits until it says that it is `ready`; none if it
    /// ends instead. What it says is kept in `log`.
    pub(crate) fn start(arguments: &[String], log: &Path, ready: &str) -> Result<Option<Self>> {
        let file = fs::File::create(log).context("failed to make a log")?;
        let spawn = |program: &str| {
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(file.try_clone()?)
                .stderr(file.try_clone()?)
                .spawn()
        };
        let spawned = match program() {
            Some(program) => spawn(&program),
            None => spawn("redis-server").or_else(|_| spawn("valkey-server")),
        };
        let way_out = "failed to run `redis-server`; install it, for example with `apt-get install redis-server`";
        let mut process = Self(spawned.context(way_out)?);
        until("a server is ready", || {
            let said = fs::read_to_string(log).is_ok_and(|text| text.contains(ready));
            Ok(said || process.0.try_wait()?.is_some())
        })?;
        Ok(process.0.try_wait()?.is_none().then_some(process))
    }

    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let done = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.0.id())]).status()?;
        if done.success() { Ok(()) } else { bail!("kill -{name} {} failed", self.0.id()) }
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.kill();
    }
}

#[expect(clippy::disallowed_methods, reason = "says which server the tests are run against, and configures nothing")]
fn program() -> Option<String> {
    std::env::var("TOLLGATE_REDIS_SERVER").ok()
}

/// A free port whose neighbour ten thousand further on is free as well, where a server of a cluster speaks to the others.
pub(crate) fn cluster_port() -> Result<u16> {
    for _ in 0..1_000 {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if port.checked_add(10_000).is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return Ok(port);
        }
    }
    bail!("no port is free together with the one ten thousand further on")
}

/// Waits until `done`.
///
/// # Errors
///
/// Fails if it takes too long, or as `done` does.
#[expect(clippy::disallowed_methods, reason = "waits for processes, which know no clock but the real one")]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !done()? {
        if began.elapsed() > LONG {
            bail!("waited in vain until {what}");
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
