//! Packets of the loopback that never arrive. Needs root and iptables.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

/// A rule that drops packets; gone when dropped.
pub(crate) struct Firewall(Vec<String>);

/// Whether this process may make such rules.
pub(crate) fn is_possible() -> bool {
    iptables(["-S", "INPUT"]).is_ok()
}

impl Firewall {
    /// Drops the TCP packets of the loopback that match.
    pub(crate) fn drops(matching: &[&str]) -> Result<Self> {
        let mut rule: Vec<String> = ["INPUT", "-i", "lo", "-p", "tcp"].map(str::to_owned).to_vec();
        rule.extend(matching.iter().map(ToString::to_string));
        rule.extend(["-j", "DROP"].map(str::to_owned));
        iptables(std::iter::once("-I").chain(rule.iter().map(String::as_str)))?;
        Ok(Self(rule))
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        // Nothing more can be done.
        let _ = iptables(std::iter::once("-D").chain(self.0.iter().map(String::as_str)));
    }
}

fn iptables<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut command = Command::new("iptables");
    command.arg("-w").args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    ensure!(command.status()?.success(), "iptables refuses");
    Ok(())
}
