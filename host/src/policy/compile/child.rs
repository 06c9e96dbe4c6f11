//! Compiling in a child process, which is stopped when it takes too long.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::{Code, CompileBounds, NO_COMPONENT};
use crate::policy::refusal::Problem;
use crate::time::{Clock as _, SystemClock};

/// The status of a child that refuses a component: what it says is the reason.
const REFUSES: i32 = 3;
/// How much is kept of what it says.
const SAID_BYTES: usize = 2048;
/// How long to wait before looking again whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
pub(super) const WAY_OUT: &str = "make it smaller: fewer functions, shorter ones, less code that is generated";

/// The machine code of the component `bytes`.
pub(super) fn compile(program: &Path, bounds: &CompileBounds, mapped: bool, bytes: &[u8]) -> Result<Code, Problem> {
    let failed = |error: io::Error| {
        Problem::of_the_machine(format!("failed to run the compiler, which is {}", program.display()), error)
    };
    let ended = run(program, bounds, mapped, bytes).map_err(failed)?;
    judged(ended, bounds)
}

/// How a child ended, and what it left.
pub(super) struct Ended {
    /// None if its time was over.
    pub(super) status: Option<ExitStatus>,
    pub(super) written: Vec<u8>,
    pub(super) said: String,
}

fn run(program: &Path, bounds: &CompileBounds, mapped: bool, bytes: &[u8]) -> io::Result<Ended> {
    let mut command = Command::new(program);
    command.args(["policy", "compile-child"]);
    command.args(["--cpu-seconds", &bounds.cpu_seconds.to_string()]);
    command.args(["--memory-bytes", &bounds.memory_bytes.to_string()]);
    if mapped {
        command.arg("--mapped");
    }
    command.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    thread::scope(|scope| {
        // Killed when this is left, so that the threads below come to their ends.
        let mut running = Running(child);
        let (stdin, stdout, stderr) = (running.0.stdin.take(), running.0.stdout.take(), running.0.stderr.take());
        let thread = || thread::Builder::new().name("tollgate-compile".to_owned());
        thread().spawn_scoped(scope, move || feed(stdin, bytes))?;
        let written = thread().spawn_scoped(scope, move || first(stdout, Code::MOST_BYTES + 1))?;
        let said = thread().spawn_scoped(scope, move || all_but_keep(stderr, SAID_BYTES))?;
        let status = running.wait(bounds.time)?;
        drop(running);
        let joined = |read: thread::ScopedJoinHandle<'_, io::Result<Vec<u8>>>| {
            read.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        };
        Ok(Ended { status, written: joined(written)?, said: String::from_utf8_lossy(&joined(said)?).into_owned() })
    })
}

/// A child that does not outlive this value.
struct Running(Child);

impl Running {
    /// Waits until it ends, or for `time`, and then no longer.
    fn wait(&mut self, time: Duration) -> io::Result<Option<ExitStatus>> {
        let clock = SystemClock::new();
        let began = clock.now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if clock.now().since(began) >= time {
                return Ok(None);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn feed(stdin: Option<impl Write>, bytes: &[u8]) {
    if let Some(mut stdin) = stdin {
        // A child that does not listen ends with a status that says why.
        let _ = stdin.write_all(bytes);
    }
}

/// The first `most` bytes. A child that has more to say is no longer heard.
fn first(from: Option<impl Read>, most: usize) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(from) = from {
        from.take(most as u64).read_to_end(&mut read)?;
    }
    Ok(read)
}

/// The first `kept` bytes, once everything is read.
fn all_but_keep(from: Option<impl Read>, kept: usize) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(mut from) = from {
        from.by_ref().take(kept as u64).read_to_end(&mut read)?;
        io::copy(&mut from, &mut io::sink())?;
    }
    Ok(read)
}

/// The machine code, or why there is none.
pub(super) fn judged(ended: Ended, bounds: &CompileBounds) -> Result<Code, Problem> {
    let Ended { status, written, said } = ended;
    let Some(status) = status else {
        return Err(format!("compiling it takes longer than {:?}: {WAY_OUT}", bounds.time).into());
    };
    let signal = status.signal();
    if signal == Some(Signal::XCPU.as_raw()) {
        return Err(
            format!("compiling it takes more than {} s of processor time: {WAY_OUT}", bounds.cpu_seconds).into()
        );
    }
    if written.len() > Code::MOST_BYTES {
        return Err(format!("its machine code has more than {} MiB: {WAY_OUT}", Code::MOST_BYTES >> 20).into());
    }
    // The standard library's words as it gives up.
    if signal == Some(Signal::ABORT.as_raw()) && said.contains("memory allocation of") {
        return Err(
            format!("compiling it takes more than {} MiB of memory: {WAY_OUT}", bounds.memory_bytes >> 20).into()
        );
    }
    match status.code() {
        Some(0) => Ok(Code(written)),
        Some(REFUSES) => Err(Problem::told_by(said.trim(), NO_COMPONENT)),
        _ => Err(Problem::told_by(said.trim(), format!("the compiler ended with {status}"))),
    }
}
