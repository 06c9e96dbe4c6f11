//! Row 54: every engine decides alike, even one that lets the clock run on within a script.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tollgate::store::{Memory, Redis, RedisOptions, RedisTime};
use tollgate::{ManualClock, Request, Source, TierPlan, Timestamp, Tollgate};

use crate::clock::{D, runtime_of_one};
use crate::load;
use crate::server::{self, Launch, Server};
use crate::trial::Trial;

/// Row 54.
pub(crate) fn engines_agree(trial: &mut Trial) -> Result<()> {
    let mut streams = Vec::new();
    for program in ["redis-server", "valkey-server"] {
        if Command::new(program).arg("--version").output().is_err() {
            trial.note(format!("no {program} here"));
            continue;
        }
        let server = Server::launch(&Launch { program: Some(program.to_owned()), ..Launch::default() })?;
        streams.push((program, verdicts(&Counters::Of(&server))?));
        reads_the_clock_once(trial, &server)?;
    }
    let oracle = verdicts(&Counters::Here)?;
    for (program, stream) in streams {
        let differ = stream.iter().zip(&oracle).filter(|(theirs, ours)| theirs != ours).count();
        trial.must(differ == 0, || format!("{program} decides {differ} of {} otherwise than memory", oracle.len()));
        trial.note(format!("{program} decides {} as memory does", stream.len() - differ));
    }
    Ok(())
}

enum Counters<'a> {
    Here,
    Of(&'a Server),
}

/// What 300 questions at given moments are answered.
fn verdicts(counters: &Counters<'_>) -> Result<Vec<String>> {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_123_456));
    let runtime = runtime_of_one()?;
    let limits = r#"{"limits": [{"id": "a", "limit": "7/s burst 9"}, {"id": "b", "limit": "11/2s sliding"}, {"id": "c", "limit": "13/3s"}]}"#;
    let builder = Tollgate::builder().tier("all", TierPlan::built_in("tiered", limits)).default_tier("all");
    let builder = builder.clock(clock.clone()).deadline(Duration::from_secs(5));
    let gate = runtime.block_on(async {
        anyhow::Ok(match counters {
            Counters::Here => builder.store(Memory::new(clock.clone())).build().await?,
            Counters::Of(server) => {
                let time = RedisTime::Given(Arc::new(clock.clone()));
                let options = RedisOptions { time, ..RedisOptions::default() };
                builder.store(Redis::connect(&server.target()?, options).await?).build().await?
            }
        })
    })?;
    let mut answers = Vec::new();
    for number in 0..300_u64 {
        clock.advance(Duration::from_micros(number * 7_919 % 211_007));
        let request = Request::new("acme", "alice")?.with_cost(1 + number % 3)?;
        let decision = runtime.block_on(gate.decide(&request));
        ensure!(decision.source == Source::Policy, "a healthy store does not answer: {decision:?}");
        answers.push(format!("{:?} {:?}", decision.verdict, decision.limits));
    }
    Ok(answers)
}

/// A script that read the clock twice could see it move: Redis 7.0 does not hold it still.
fn reads_the_clock_once(trial: &mut Trial, server: &Server) -> Result<()> {
    let runtime = runtime_of_one()?;
    let gate = runtime.block_on(async { anyhow::Ok(load::builder(&server.target()?, D).await?.build().await?) })?;
    let mut connection = server.connect()?;
    server::run::<()>(&mut connection, &["CONFIG", "RESETSTAT"])?;
    for _ in 0..50 {
        runtime.block_on(gate.decide(&Request::new("acme", "alice")?));
    }
    let info: String = server::run(&mut connection, &["INFO", "commandstats"])?;
    let calls = |command: &str| -> u64 {
        let line = info.lines().find_map(|line| line.strip_prefix(command)?.strip_prefix(":calls="));
        line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
    };
    let (scripts, readings) = (calls("cmdstat_evalsha") + calls("cmdstat_eval"), calls("cmdstat_time"));
    trial.must(readings == scripts && scripts > 0, || format!("{scripts} scripts read the clock {readings} times"));
    Ok(())
}
