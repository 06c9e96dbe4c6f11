//! Rows 20 and 51 to 53: names that move, and clocks that jump or disagree.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Runtime;
use tollgate::{Clock, ManualClock, Request, Source, SystemClock, TierPlan, Timestamp, Tollgate, Verdict};
use tollgate_tests::Proxy;

use crate::load::{self, Load, Shape};
use crate::noise::Threads;
use crate::outage;
use crate::server::{self, Launch, Server};
use crate::trial::Trial;

pub(crate) const D: Duration = Duration::from_millis(50);

/// Row 20.
pub(crate) fn name_moves(trial: &mut Trial) -> Result<()> {
    const NAME: &str = "counters.tollgate.test";
    let hosts = trial.hosts.clone().context("this row needs --hosts")?;
    let before = fs::read_to_string(&hosts)?;
    let points_to = |address: Ipv4Addr| fs::write(&hosts, format!("{before}\n{address} {NAME}\n"));
    let (old, new) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let server = Server::start()?;
    let leaving = Proxy::start_at(SocketAddr::from((old, 0)), server.port())?;
    points_to(old)?;
    let load = Load::start(&format!("redis://{NAME}:{}", leaving.port()))?;
    points_to(new)?;
    let arriving = Proxy::start_at(SocketAddr::from((new, leaving.port())), server.port())?;
    let moved = load.now();
    drop(leaving);
    load.recovers(moved, Duration::from_secs(10));
    let log = outage::end(trial, load)?;
    fs::write(&hosts, before)?;
    trial.must(arriving.accepted() > 0, || "nobody came to the new address".to_owned());
    trial.recovered(&log, moved, Duration::from_secs(2));
    trial.counted(&log, &server)
}

/// Row 51.
pub(crate) fn server_jumps(trial: &mut Trial) -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(2);
    // What was spent is never forgotten: a window at most, and then the fifth of one that a unit takes. A refusal from before the jump is remembered
    // for a second.
    const FROZEN: Duration = Duration::from_millis(1_000 + 2_400 + 50);
    // Two windows, and the second for which counters outlive their use. A bucket's life is written again only when it must be.
    let longest_ms = |tier: &str| if tier == "bucket" { 5 * 2_000 + 1_000 } else { 2 * 2_000 + 1_000 };
    let bent = Bent::start()?;
    let load = Load::start(&bent.server.url())?;
    let began = load.now();
    let limits = [("fixed", "5/2s"), ("sliding", "5/2s sliding"), ("bucket", "5/2s burst 5")];
    let asked = Asked::of(&bent.server, limits)?;
    for (jump_s, name) in [(30, "+30 s"), (-3_600, "-1 h"), (86_400, "+1 d"), (0, "back")] {
        for (tier, _) in limits {
            asked.exhausts(tier)?;
        }
        bent.is_ahead(jump_s)?;
        let jumped = Instant::now();
        for (tier, thawed) in asked.thaw(limits, jumped + 3 * WINDOW)? {
            let frozen = thawed.map(|thawed| thawed - jumped);
            let is_brief = frozen.is_some_and(|frozen| frozen <= FROZEN);
            trial.must(is_brief, || format!("{tier} is frozen for {frozen:?} after a jump of {name}"));
            let ttl_ms: i64 = bent.longest_ttl_ms(tier)?;
            trial.must(ttl_ms <= longest_ms(tier), || format!("{tier} is kept for {ttl_ms} ms after a jump of {name}"));
        }
    }
    let log = outage::end(trial, load)?;
    trial.unfelt(&log, began, log.ended);
    Ok(())
}

/// Row 52.
pub(crate) fn host_jumps(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let clock = ManualClock::at(SystemClock::new().now());
    let threads = Threads::default();
    let runtime = load::runtime(&threads)?;
    let gate = runtime.block_on(async {
        let builder = load::builder(&server.target()?, D).await?.tier("five", day_of(5)).clock(clock.clone());
        anyhow::Ok(builder.build().await?)
    })?;
    let load = Load::on(runtime, threads, gate, Shape::default())?;
    let began = load.now();
    let ask = runtime_of_one()?;
    let mut admitted = 0;
    let now = clock.now().as_micros();
    for jump_s in [0, 30, 86_400, 31_536_000] {
        for moment in [now + jump_s * 1_000_000, now - jump_s * 1_000_000] {
            clock.set(Timestamp::from_micros(moment));
            for _ in 0..3 {
                let request = Request::new("acme", "alice")?.with_tier("five")?;
                admitted += u64::from(ask.block_on(load.gate().decide(&request)).verdict == Verdict::Allow);
            }
        }
    }
    let log = outage::end(trial, load)?;
    trial.must(admitted == 5, || format!("{admitted} of 5 a day were admitted while the host's clock jumped"));
    trial.unfelt(&log, began, log.ended);
    trial.counted(&log, &server)
}

/// Row 53.
pub(crate) fn hosts_disagree(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let runtime = load::runtime(&Threads::default())?;
    let now = SystemClock::new().now();
    let mut hosts = Vec::new();
    for clock in [now, now.plus(Duration::from_secs(5))] {
        let builder = runtime.block_on(load::builder(&server.target()?, D))?;
        let builder = builder.tier("day", day_of(100)).clock(ManualClock::at(clock));
        hosts.push(runtime.block_on(builder.tier("short", tier("20/2s")).build())?);
    }
    let request = |tier| Request::new("acme", "alice")?.with_tier(tier);
    let mut admitted = 0;
    for _ in 0..75 {
        for host in &hosts {
            admitted += u64::from(runtime.block_on(host.decide(&request("day")?)).verdict == Verdict::Allow);
        }
    }
    trial.must(admitted == 100, || format!("two hosts admit {admitted} of 100"));
    // One sees the window as the other does.
    let mut windows = Vec::new();
    for host in hosts.iter().cycle().take(20) {
        let decision = runtime.block_on(host.decide(&request("short")?));
        ensure!(decision.source == Source::Policy, "a healthy server does not answer: {decision:?}");
        windows.extend(decision.limits.first().map(|charged| charged.outcome.reset_after));
    }
    let span = windows.iter().max().zip(windows.iter().min()).map(|(most, least)| *most - *least);
    trial.must(span.is_some_and(|span| span <= Duration::from_secs(2)), || format!("windows end {span:?} apart"));
    Ok(())
}

/// A server whose calendar can be bent.
struct Bent {
    server: Server,
    offset: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bent {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (source, library) = (folder.path().join("clock.c"), folder.path().join("clock.so"));
        fs::write(&source, include_str!("clock.c"))?;
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).status()?;
        ensure!(built.success(), "cc cannot build the library that bends a clock");
        let offset = folder.path().join("offset");
        fs::write(&offset, 0_i64.to_ne_bytes())?;
        let variables = vec![("LD_PRELOAD", library), ("CLOCK_OFFSET", offset.clone())];
        let server = Server::launch(&Launch { variables, ..Launch::default() })?;
        let bent = Self { server, offset, _folder: folder };
        let (before, _): (i64, i64) = bent.server.run(&["TIME"])?;
        bent.is_ahead(1_000)?;
        let (after, _): (i64, i64) = bent.server.run(&["TIME"])?;
        bent.is_ahead(0)?;
        ensure!((1_000..1_100).contains(&(after - before)), "the server's clock does not bend: {before}, {after}");
        Ok(bent)
    }

    /// Moves the server's calendar to so many seconds ahead of the machine's.
    fn is_ahead(&self, seconds: i64) -> Result<()> {
        let mut offset = fs::OpenOptions::new().write(true).open(&self.offset)?;
        Ok(offset.write_all(&seconds.to_ne_bytes())?)
    }

    /// How long the longest-lived counter of a tier is kept.
    fn longest_ttl_ms(&self, limit: &str) -> Result<i64> {
        let mut connection = self.server.connect()?;
        let keys: Vec<String> = server::run(&mut connection, &["KEYS", &format!("*:{limit}:*")])?;
        let mut longest = -1;
        for key in keys {
            longest = longest.max(server::run(&mut connection, &["PTTL", &key])?);
        }
        Ok(longest)
    }
}

/// Somebody who asks one question after another.
struct Asked {
    runtime: Runtime,
    gate: Tollgate,
}

impl Asked {
    fn of(server: &Server, limits: [(&str, &str); 3]) -> Result<Self> {
        let runtime = runtime_of_one()?;
        let gate = runtime.block_on(async {
            let mut builder = load::builder(&server.target()?, D).await?;
            for (name, limit) in limits {
                let limits = format!(r#"{{"limits": [{{"id": "{name}", "limit": "{limit}"}}]}}"#);
                builder = builder.tier(name, TierPlan::built_in("tiered", limits));
            }
            anyhow::Ok(builder.build().await?)
        })?;
        Ok(Self { runtime, gate })
    }

    fn passes(&self, tier: &str) -> Result<bool> {
        let decision = self.runtime.block_on(self.gate.decide(&Request::new("acme", "alice")?.with_tier(tier)?));
        ensure!(decision.source == Source::Policy, "a healthy server does not answer: {decision:?}");
        Ok(decision.verdict == Verdict::Allow)
    }

    /// Asks until nothing passes.
    fn exhausts(&self, tier: &str) -> Result<()> {
        for _ in 0..100 {
            if !self.passes(tier)? {
                return Ok(());
            }
        }
        anyhow::bail!("{tier} never ends")
    }

    /// When something of each tier passes again; none if nothing does until `give_up`.
    fn thaw<'a>(&self, limits: [(&'a str, &str); 3], give_up: Instant) -> Result<Vec<(&'a str, Option<Instant>)>> {
        let mut tiers = limits.map(|(tier, _)| (tier, None)).to_vec();
        while tiers.iter().any(|(_, thawed)| thawed.is_none()) && Instant::now() < give_up {
            for (tier, thawed) in tiers.iter_mut().filter(|(_, thawed)| thawed.is_none()) {
                *thawed = self.passes(tier)?.then(Instant::now);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(tiers)
    }
}

pub(crate) fn runtime_of_one() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

fn tier(limit: &str) -> TierPlan {
    TierPlan::built_in("tiered", format!(r#"{{"limits": [{{"id": "only", "limit": "{limit}"}}]}}"#))
}

fn day_of(max: u64) -> TierPlan {
    tier(&format!("{max}/day"))
}
