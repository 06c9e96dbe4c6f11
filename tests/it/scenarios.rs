//! Every scenario of every policy, through the compiled component: over memory, and over a real Redis.
//!
//! Each policy crate runs the same files as native code. The three engines must read alike.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tollgate::store::{Memory, Redis, RedisOptions, RedisTime};
use tollgate::{Builder, Decision, ManualClock, Request, Source, TierPlan, Timestamp, Tollgate};
use tollgate_guest::Verdict;
use tollgate_guest::testing::{Answer, Scenario, Step};
use tollgate_tests::RedisServer;

use crate::prebuilt::workspace;

/// How long a decision may take: a busy machine changes no answer.
const SOON: Duration = Duration::from_secs(5);
/// One screen: more than so many differences would hide the first.
const MOST_TOLD: usize = 8;

#[tokio::test]
async fn every_scenario_reads_alike_through_the_component_over_memory_and_over_redis() -> Result<()> {
    let policies = workspace().join("policies");
    let server = RedisServer::start()?;
    let (mut run, mut problems) = (0, Vec::new());
    for policy in entries(&policies)? {
        for file in entries(&policy.join("scenarios"))? {
            let text = fs::read_to_string(&file)?;
            let place = file.strip_prefix(workspace())?.display().to_string();
            let scenario = Scenario::parse(&text).map_err(|problem| anyhow::anyhow!("{place}: {problem}"))?;
            let plan = TierPlan::built_in(&scenario.policy, scenario.config.as_deref().unwrap_or("{}"));
            problems.extend(differences(&scenario, &plan, &server, &place).await?);
            run += 1;
        }
    }
    assert!(problems.is_empty(), "{}", told(&problems));
    assert_eq!(run, scenario_files(&policies)?, "a scenario that lies elsewhere than policies/*/scenarios is not run");
    Ok(())
}

/// Runs `scenario` on `plan` over both stores, and answers each step that differs from the file or between them.
pub(crate) async fn differences(
    scenario: &Scenario,
    plan: &TierPlan,
    server: &RedisServer,
    place: &str,
) -> Result<Vec<String>> {
    let clock = ManualClock::at(Timestamp::from_micros(Scenario::BASE_MS * 1_000));
    let options = RedisOptions { time: RedisTime::Given(Arc::new(clock.clone())), ..RedisOptions::default() };
    let redis = Redis::connect(&server.target(), options).await?;
    let built = |builder: Builder| builder.clock(clock.clone()).deadline(SOON).tier("tier", plan.clone()).build();
    let over_memory = built(Tollgate::builder().store(Memory::new(clock.clone()))).await?;
    // Scenarios share the server, so each has a prefix of its own.
    let over_redis = built(Tollgate::builder().store(redis).key_prefix(prefix(place))).await?;
    let mut problems = Vec::new();
    for step in &scenario.steps {
        clock.set(Timestamp::from_micros(step.now_ms() * 1_000));
        let (memory, redis) = (answer(&over_memory, step).await, answer(&over_redis, step).await);
        let checked = |answer: &Result<Answer, String>| answer.clone().and_then(|answer| step.check(&answer)).err();
        let told: Vec<String> = if memory == redis {
            checked(&memory).into_iter().collect()
        } else {
            let apart = format!("{} is answered\nover memory: {memory:?}\nover redis:  {redis:?}", step.text);
            [Some(apart), checked(&memory), checked(&redis)].into_iter().flatten().collect()
        };
        problems.extend(told.iter().map(|problem| format!("{place}:{}: {problem}", step.line)));
    }
    Ok(problems)
}

/// The first differences, and how many there are.
pub(crate) fn told(problems: &[String]) -> String {
    let shown = problems.get(..MOST_TOLD).unwrap_or(problems).join("\n");
    match problems.len().saturating_sub(MOST_TOLD) {
        0 => shown,
        more => format!("{shown}\n… and {more} more"),
    }
}

async fn answer(gate: &Tollgate, step: &Step) -> Result<Answer, String> {
    let request = Request::new(&step.tenant, &step.subject)
        .and_then(|request| request.with_tier("tier")?.with_route(&step.route)?.with_cost(step.cost))
        .map_err(|error| format!("{}: {error}", step.text))?;
    told_by(&gate.decide(&request).await).map_err(|problem| format!("{}: {problem}", step.text))
}

/// What the decision says to whoever asked, in the words of scenarios.
fn told_by(decision: &Decision) -> Result<Answer, String> {
    let verdict = match (decision.verdict, decision.source) {
        (tollgate::Verdict::Allow, Source::Policy) => Verdict::Allow,
        (tollgate::Verdict::Delay(wait), Source::Policy) => Verdict::Delay(wait),
        (tollgate::Verdict::Deny, Source::Policy) => Verdict::Deny,
        (verdict, source) => return Err(format!("{} by {source:?}: {}", verdict.name(), decision.reason)),
    };
    let left = decision.limits.iter().map(|charged| (charged.limit.id().to_owned(), charged.outcome.remaining));
    Ok(Answer::told(verdict, decision.retry_after(), left))
}

fn prefix(place: &str) -> String {
    place.replace(['{', '}', ' '], "-")
}

/// What lies in `folder`, in order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    if paths.is_empty() {
        bail!("{} is empty", folder.display());
    }
    Ok(paths)
}

/// How many files anywhere below `folder` say which policy they are of.
fn scenario_files(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for path in entries(folder)? {
        if path.is_dir() {
            count += scenario_files(&path)?;
        } else if fs::read_to_string(&path).is_ok_and(|text| text.lines().any(|line| line.starts_with("policy "))) {
            count += 1;
        }
    }
    Ok(count)
}
