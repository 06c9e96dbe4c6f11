//! The program under test, started as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::until;

/// A running `tollgate serve` on a port of its own; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `http://` and its address.
    pub url: String,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// The program, as the workspace's build left it.
///
/// # Errors
///
/// Fails if it is missing or older than a file it was built from, with the command that builds it.
pub fn program() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    // A test lies in target/PROFILE/deps, a program beside ours.
    let folder = test.parent().and_then(|folder| if folder.ends_with("deps") { folder.parent() } else { Some(folder) });
    let folder = folder.context("a test lies in a folder")?;
    let program = folder.join("tollgate");
    let way_out = "run `cargo build --workspace --all-targets` first, as ./check does";
    let built = modified(&program).with_context(|| format!("no {}: {way_out}", program.display()))?;
    // What cargo writes beside a program: `program: source source …`, with a backslash before each space of a path.
    let sources = std::fs::read_to_string(folder.join("tollgate.d"))?.replace("\\ ", "\0");
    for source in sources.split_whitespace().skip(1).map(|path| PathBuf::from(path.replace('\0', " "))) {
        ensure!(
            modified(&source).is_ok_and(|at| at <= built),
            "{} is newer than the program: {way_out}",
            source.display()
        );
    }
    Ok(program)
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    path.metadata()?.modified()
}

/// A command that runs the program with nothing of this process's environment but what `variables` gives.
///
/// # Errors
///
/// As [`program`].
pub fn command<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Command> {
    let mut command = Command::new(program()?);
    command.env_clear().envs(variables);
    Ok(command)
}

impl Server {
    /// Starts it with these environment variables, without an admin API unless they ask for one, and waits until it listens.
    ///
    /// # Errors
    ///
    /// Fails with what it printed if it ends instead.
    pub fn start<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        Self::start_with(&[], variables)
    }

    /// The same, with these arguments as well.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with<'a>(arguments: &[&str], variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut command = command([("TOLLGATE_LISTEN", "127.0.0.1:0"), ("TOLLGATE_ADMIN_LISTEN", "off")])?;
        command.envs(variables).arg("serve").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let output = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().context("its standard output is a pipe")?;
        let stderr = child.stderr.take().context("its standard error is a pipe")?;
        let mut lines = BufReader::new(stdout);
        let mut readers = vec![keep_reading(stderr, &output)];
        let mut first = String::new();
        lines.read_line(&mut first)?;
        append(&output, &first);
        let Some(url) = first.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned) else {
            let status = child.wait()?;
            readers.into_iter().for_each(|reader| drop(reader.join()));
            bail!("tollgate serve ended with {status}:\n{}", text(&output));
        };
        readers.push(keep_reading(lines, &output));
        Ok(Self { child, url, output, readers })
    }

    /// Everything that it has printed so far, log lines included.
    #[must_use]
    pub fn output(&self) -> String {
        text(&self.output)
    }

    /// Where its admin API is, once it has said so.
    ///
    /// # Errors
    ///
    /// Fails if it says nothing of one.
    pub fn admin_url(&self) -> Result<String> {
        self.said("  admin     ")
    }

    /// The rest of the line that begins so, once it has been printed.
    ///
    /// # Errors
    ///
    /// Fails if no line does.
    pub fn said(&self, beginning: &str) -> Result<String> {
        self.line(beginning, |line| line.strip_prefix(beginning).map(str::to_owned))
    }

    /// The line that holds this text, once it has been printed.
    ///
    /// # Errors
    ///
    /// Fails if no line does.
    pub fn said_anywhere(&self, text: &str) -> Result<String> {
        self.line(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    fn line(&self, what: &str, found: impl Fn(&str) -> Option<String>) -> Result<String> {
        // A line may still be on its way until it has an end.
        let whole = || self.output().split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).find_map(&found);
        until(&format!("it says `{what}`"), || Ok(whole().is_some()))?;
        whole().context("it said so")
    }

    /// Where it answers the commands of redis-cell.
    ///
    /// # Errors
    ///
    /// Fails if it says nothing of that.
    pub fn resp_port(&self) -> Result<u16> {
        let output = || self.output();
        until("the listener for commands is said to be somewhere", || Ok(output().contains(" answers CL.THROTTLE\n")))?;
        let output = output();
        let line = output.lines().find(|line| line.ends_with(" answers CL.THROTTLE")).context("it said so")?;
        let port = line.split_whitespace().nth(1).and_then(|address| address.rsplit(':').next());
        Ok(port.context("an address has a port")?.parse()?)
    }

    /// How much memory it has in use.
    ///
    /// # Errors
    ///
    /// Fails if the system does not tell.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the system tells it")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
    }

    /// Sends it `signal`, such as `TERM`.
    ///
    /// # Errors
    ///
    /// Fails if the process cannot be signalled.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status()?;
        ensure!(sent.success(), "failed to send {signal}");
        Ok(())
    }

    /// Waits for it to end, and answers how it did and everything it printed.
    ///
    /// # Errors
    ///
    /// Fails if the process cannot be waited for.
    pub fn wait(mut self) -> Result<(ExitStatus, String)> {
        let status = self.child.wait()?;
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        Ok((status, self.output()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep_reading(from: impl Read + Send + 'static, output: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(std::result::Result::ok) {
            append(&output, &line);
            append(&output, "\n");
        }
    })
}

fn append(output: &Mutex<String>, more: &str) {
    output.lock().unwrap_or_else(PoisonError::into_inner).push_str(more);
}

fn text(output: &Mutex<String>) -> String {
    output.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
