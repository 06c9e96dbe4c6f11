//! What no guest is likely to do on purpose: damaged components, and answers made of noise.
//!
//! Whatever is loaded is refused or works, in bounded time, and never takes the host with it. What was found once lies in
//! `tests/guests/corpus` and is tried first. `PROPTEST_CASES=20000 cargo test -p tollgate-tests --test it fuzz::` tries more than the few that
//! each check does.

mod components;
mod values;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::test_runner::Config;
use tokio::runtime::Runtime;
use tollgate::store::Memory;
use tollgate::{Decision, OnFault, Plan, Request, Source, SystemClock, TierPlan, Tollgate, Verdict};
use tollgate_tests::guests::Guest;

use crate::policy::Remote;

const DEADLINE: Duration = Duration::from_millis(50);
/// What even a machine that is busy with other things keeps; a guest that hangs does not.
const DECIDES_WITHIN: Duration = Duration::from_secs(1);
const LOADS_WITHIN: Duration = Duration::from_secs(10);

/// Two gates, over a store that answers at once and over one that must be waited for, each with an honest tier beside what is tried.
struct Trial {
    runtime: Runtime,
    gates: [Tollgate; 2],
}

impl Trial {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let memory = || Memory::new(SystemClock::new());
        let builder = || Tollgate::builder().deadline(DEADLINE).plan(plan(None));
        let gates = runtime.block_on(async {
            [
                builder().store(memory()).build().await.unwrap(),
                builder().store(Remote::answering(memory())).build().await.unwrap(),
            ]
        });
        Self { runtime, gates }
    }

    /// Loads `bytes` as a policy and asks it. Answers what it came to; the problem, if something is not as it must be.
    fn tries(&self, bytes: &[u8]) -> Result<Vec<String>, String> {
        self.gates.iter().map(|gate| self.runtime.block_on(tries(gate, bytes))).collect()
    }
}

fn plan(tried: Option<&[u8]>) -> Plan {
    let mut plan = Plan::default();
    plan.tiers.insert("honest".to_owned(), Guest::HONEST.tier(OnFault::Deny));
    let component =
        |bytes: &[u8]| TierPlan::component("tried", bytes, r#"{"limits": [{"id": "a", "limit": "9/day"}]}"#);
    plan.tiers.extend(tried.map(|bytes| ("tried".to_owned(), component(bytes))));
    plan
}

async fn tries(gate: &Tollgate, bytes: &[u8]) -> Result<String, String> {
    let began = Instant::now();
    let loaded = gate.replace(plan(Some(bytes))).await.map_err(|error| error.to_string());
    let took = began.elapsed();
    if took > LOADS_WITHIN {
        return Err(format!("loading it took {took:?}"));
    }
    let mut came_to = match loaded {
        Ok(_) => "loaded".to_owned(),
        // A panic while it was compiled comes as this error.
        Err(error) if error.contains("cut short") => return Err(error),
        Err(error) => return Ok(error),
    };
    for (tenant, route) in [("acme", "/evil"), ("acme", ""), ("rival", "/evil")] {
        let began = Instant::now();
        let decision = gate.decide(&request(tenant, "tried", route)).await;
        let took = began.elapsed();
        if took > DECIDES_WITHIN {
            return Err(format!("deciding took {took:?}"));
        }
        is_sound(&decision)?;
        came_to = format!(
            "{came_to}, {} {}",
            decision.source.name(),
            decision.source.fault().unwrap_or(decision.verdict.name())
        );
    }
    let honest = gate.decide(&request(&format!("neighbour-{}", decisions()), "honest", "")).await;
    let remaining: Vec<u64> = honest.limits.iter().map(|charged| charged.outcome.remaining).collect();
    if (honest.source, honest.verdict, &remaining[..]) != (Source::Policy, Verdict::Allow, &[999]) {
        return Err(format!("its neighbour is harmed: {honest:?}"));
    }
    Ok(came_to)
}

/// A number that was never answered before, so that each neighbour's counter is its own.
fn decisions() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static DECISIONS: AtomicU64 = AtomicU64::new(0);
    DECISIONS.fetch_add(1, Ordering::Relaxed)
}

fn request<'a>(tenant: &'a str, tier: &'a str, route: &'a str) -> Request<'a> {
    Request::new(tenant, "alice").unwrap().with_tier(tier).unwrap().with_route(route).unwrap()
}

/// Nothing that a guest says is over its bound.
fn is_sound(decision: &Decision) -> Result<(), String> {
    let delays = |verdict| matches!(verdict, Verdict::Delay(delay) if delay > Duration::from_secs(3_600));
    let long = |text: &str, most: usize| text.len() > most;
    let is_sound = !delays(decision.verdict)
        && !long(&decision.reason, 512)
        && decision.attributes.len() <= 16
        && !decision.attributes.iter().any(|(name, value)| long(name, 256) || long(value, 256))
        && decision.limits.len() <= 8
        && decision.limits.iter().all(|charged| charged.outcome.remaining <= 1_000_000_000)
        && matches!(decision.source, Source::Policy | Source::PolicyFault(_));
    if is_sound { Ok(()) } else { Err(format!("what must not be: {decision:?}")) }
}

/// How many cases there are: a share of what `PROPTEST_CASES` says, since each compiles something.
fn config(share: u32) -> Config {
    let cases = Config::default().cases / share;
    Config { cases: cases.max(1), failure_persistence: None, max_shrink_iters: 200, ..Config::default() }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/corpus")
}

/// The files of the corpus of one kind, by name.
fn kept(extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ends| ends == extension)).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus holds no .{extension}");
    files
}

/// Where to find what was found.
fn save(bytes: &[u8], extension: &str) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("found.{extension}"));
    fs::write(&file, bytes).unwrap();
    format!("it lies in {}: keep it in tests/guests/corpus", file.display())
}
