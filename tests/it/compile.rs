//! Compiling in a child process: what fits is compiled as ever, what does not is stopped by the bound that it breaks.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tollgate::policy::{Compile, CompileBounds, Compiler, Component, Engine, built_in};
use tollgate::{ErrorKind, Request, Source, TierPlan, Tollgate};
use tollgate_tests::{command, program};

const WAY_OUT: &str = "make it smaller: fewer functions, shorter ones, less code that is generated";

/// A component with `module` inside that exports what a policy does.
pub(crate) fn component_around(module: &str) -> Vec<u8> {
    let exports: String =
        ["describe", "configure", "decide"].map(|name| format!("(export \"{name}\" (func $nothing))")).concat();
    let text = format!(
        "(component (core module $m {module} (func (export \"nothing\")))
           (core instance $i (instantiate $m))
           (func $nothing (canon lift (core func $i \"nothing\"))) {exports})"
    );
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// One function of a few kilobytes: loops within loops that all change the same locals.
fn slow_to_compile(loops: usize) -> Vec<u8> {
    let local = |index: usize| index % 50;
    let steps: String = (0..loops)
        .map(|index| {
            let (one, other, sum) = (local(index * 3), local(index * 5), local(index * 7));
            let asked = local(index);
            format!(
                "(local.set {sum} (i64.add (local.get {one}) (local.get {other}))) (br_if 0 (i64.eqz (local.get {asked}))) end "
            )
        })
        .collect();
    let locals = "i64 ".repeat(50);
    component_around(&format!("(func (local {locals}) {} {steps})", "loop ".repeat(loops)))
}

/// Many functions, each of which takes the compiler more memory than it takes room here.
fn large_to_compile(functions: usize) -> Vec<u8> {
    let sum = "(i32.const 1)".to_owned() + &"(i32.const 3) i32.add ".repeat(10);
    component_around(&format!("(func (result i32) {sum}) ").repeat(functions))
}

fn compiler(bounds: CompileBounds) -> Result<Compiler> {
    Ok(Compiler::new(Compile::InChild(program()?)).within(bounds))
}

async fn refused(engine: &Engine, bytes: Vec<u8>) -> String {
    let error = Component::load(engine, "bomb", bytes).await.expect_err("it is over a bound");
    assert_eq!(error.kind(), ErrorKind::Policy, "{error:#}");
    format!("{error:#}")
}

#[tokio::test]
async fn what_a_child_compiled_decides() -> Result<()> {
    let tier = TierPlan::built_in("tiered", r#"{"limits": [{"id": "only", "limit": "1/300d"}]}"#);
    let compiler = compiler(CompileBounds::default())?;
    let gate = Tollgate::builder()
        .compiler(compiler)
        .deadline(Duration::from_secs(5))
        .tier("tier", tier)
        .default_tier("tier")
        .build()
        .await?;
    let request = Request::new("acme", "alice")?;
    for allowed in [true, false] {
        let decision = gate.decide(&request).await;
        assert_eq!((decision.is_allowed(), decision.source), (allowed, Source::Policy), "{}", decision.reason);
    }
    Ok(())
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a child process knows no clock but the real one")]
async fn a_bomb_ends_with_the_bound_that_it_breaks() -> Result<()> {
    let generous = CompileBounds { time: Duration::from_secs(120), cpu_seconds: 60, memory_bytes: 8 << 30 };
    let in_time = CompileBounds { time: Duration::from_millis(800), ..generous };
    let cases = [
        (slow_to_compile(3_000), CompileBounds { cpu_seconds: 1, ..generous }, "more than 1 s of processor time"),
        (slow_to_compile(3_000), in_time, "longer than 800ms"),
        (
            large_to_compile(15_000),
            CompileBounds { memory_bytes: 384 << 20, ..generous },
            "more than 384 MiB of memory",
        ),
    ];
    for (bomb, bounds, broken) in cases {
        assert!(bomb.len() < 1 << 20, "{} bytes: a size that is let in", bomb.len());
        let engine = Engine::with(compiler(bounds)?)?;
        let began = Instant::now();
        let error = refused(&engine, bomb).await;
        let expected = format!("failed to load policy `bomb` at `compile`: compiling it takes {broken}: {WAY_OUT}");
        assert_eq!(error, expected);
        assert!(began.elapsed() < Duration::from_secs(60), "{broken}: {:?}", began.elapsed());
        if bounds.memory_bytes < generous.memory_bytes {
            // What is refused leaves nothing behind that the next one would trip over.
            Component::load(&engine, "tiered", built_in("tiered")?).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_component_is_refused_by_the_child_with_the_engines_reason() -> Result<()> {
    let engine = Engine::with(compiler(CompileBounds::default())?)?;
    let whole = component_around("(func (result i32) (i32.const 7))");
    Component::load(&engine, "whole", whole.clone()).await.expect_err("it is no policy, but a component");
    // The function's body without its constant: `end` at once, where a number is owed.
    let at = whole.windows(3).position(|bytes| bytes == [0x41, 7, 0x0b]).context("the body is there")?;
    let mut broken = whole;
    broken.splice(at..at + 2, [0x01, 0x01]);
    let error = refused(&engine, broken).await;
    let (head, cause) = error.split_once("it is not a component that this host runs: ").context(error.clone())?;
    assert_eq!(head, "failed to load policy `bomb` at `compile`: ");
    assert!(cause.contains("type mismatch") && cause.lines().count() == 1, "{cause}");
    Ok(())
}

#[test]
fn a_child_bounds_itself_before_it_reads() -> Result<()> {
    let arguments = ["policy", "compile-child", "--cpu-seconds", "7", "--memory-bytes", "987654321"];
    let mut child = command([])?.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    // Nothing is given to it to read.
    let limits = || fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap_or_default();
    let limit = |text: &str, name: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.trim_start_matches(name).split_whitespace().take(2).map(str::to_owned).collect()
    };
    let mut text = limits();
    for _ in 0..2_000 {
        if limit(&text, "Max cpu time").first().is_some_and(|soft| soft == "7") {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        text = limits();
    }
    let expected = [
        ("Max cpu time", ["7", "8"]),
        ("Max file size", ["0", "0"]),
        ("Max core file size", ["0", "0"]),
        ("Max open files", ["16", "16"]),
        ("Max address space", ["987654321", "987654321"]),
    ];
    for (name, bounds) in expected {
        assert_eq!(limit(&text, name), bounds, "{name}\n{text}");
    }
    assert_eq!(fs::read_to_string(format!("/proc/{}/oom_score_adj", child.id()))?.trim(), "1000");
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[test]
fn the_server_compiles_in_a_child_within_bounds() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("bomb.wasm"), slow_to_compile(3_000))?;
    let file = folder.path().join("tollgate.toml");
    fs::write(&file, "[tiers.free]\npolicy = \"bomb.wasm\"\n")?;
    let ended = command([("TOLLGATE_CONFIG", file.to_str().context("a path of this test is UTF-8")?)])?
        .args(["serve"])
        .output()?;
    let said = String::from_utf8(ended.stderr)?;
    assert_eq!(ended.status.code(), Some(2), "{said}");
    // On a busy machine its time is over before its processor time.
    let broken = ["takes more than 10 s of processor time", "takes longer than 30s"];
    assert!(
        broken.iter().any(|broken| said.contains(&format!("bomb.wasm` at `compile`: compiling it {broken}"))),
        "{said}"
    );
    Ok(())
}
