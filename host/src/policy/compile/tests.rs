//! Compilers that are not what they should be: each a script that the test writes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;
use crate::policy::{built_in, engine, sha256};

/// A folder with a program that is this script.
fn program(script: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compiler");
    // By another process: one that this process has open for writing could not be started while a test beside this one forks.
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod +x "$1""#;
    let status = Command::new("/bin/sh").args(["-c", write, "sh"]).arg(&path).arg(script).status().unwrap();
    assert!(status.success());
    (folder, path)
}

fn within(time: Duration) -> CompileBounds {
    CompileBounds { time, ..CompileBounds::default() }
}

/// What is wrong with the component that this compiler is given.
async fn problem(compiler: &Compiler) -> Problem {
    let engine = Engine::new().unwrap();
    let bytes = built_in("tiered").unwrap();
    compiler.component(&engine, bytes.to_vec(), sha256(bytes)).await.expect_err("no script compiles")
}

async fn said_by(script: &str) -> Problem {
    let (_folder, program) = program(script);
    problem(&Compiler::new(Compile::InChild(program))).await
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a process knows no clock but the real one")]
async fn a_compiler_that_hangs_is_ended() {
    let (folder, program) = program("echo $$ > \"${0%/*}/pid\"; exec /bin/sleep 600");
    let began = Instant::now();
    let compiler = Compiler::new(Compile::InChild(program)).within(within(Duration::from_millis(500)));
    let problem = problem(&compiler).await;
    assert_eq!(problem.text, format!("compiling it takes longer than 500ms: {}", child::WAY_OUT));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    let alive = Command::new("/bin/kill").args(["-0", pid.trim()]).status().unwrap().success();
    assert!(!alive, "process {pid} is still there");
}

#[tokio::test]
async fn what_a_compiler_says_is_cut_and_harmless() {
    let problem = said_by(r"printf 'bad \033[2J'; yes x | head -c 9000000 >&2; printf '\033[2J' >&2; exit 7").await;
    let cause = problem.cause.unwrap();
    assert_eq!(problem.text, "the compiler ended with exit status: 7");
    assert!((2048..2 * 2048 + 1).contains(&cause.len()), "{} bytes", cause.len());
    let problem = said_by(r"printf 'not \033[2J one' >&2; exit 3").await;
    assert_eq!((problem.text.as_str(), problem.cause.as_deref()), (NO_COMPONENT, Some(r"not \u{1b}[2J one")));
    assert_eq!(problem.kind, ErrorKind::Policy);
}

#[tokio::test]
async fn machine_code_without_end_is_not_read_to_the_end() {
    let problem = said_by("exec /bin/cat /dev/zero").await;
    assert_eq!(problem.text, format!("its machine code has more than 64 MiB: {}", child::WAY_OUT));
}

#[tokio::test]
async fn what_is_no_machine_code_is_not_run() {
    for script in ["exit 0", "echo machine code", "exec /bin/cat"] {
        let problem = said_by(script).await;
        assert_eq!(problem.text, NO_COMPONENT, "{script}");
    }
}

#[tokio::test]
async fn a_compiler_is_given_no_environment() {
    let problem = said_by("/usr/bin/env >&2; exit 1").await;
    let told = problem.cause.unwrap();
    // What a shell sets by itself.
    let own = ["PWD=", "OLDPWD=", "SHLVL=", "_="];
    let inherited: Vec<&str> = told.split("\\n").filter(|line| !own.iter().any(|own| line.starts_with(own))).collect();
    assert!(inherited.iter().all(|line| line.is_empty()), "{inherited:?}");
}

#[tokio::test]
async fn a_compiler_that_is_missing_is_the_machines_fault() {
    let problem = problem(&Compiler::new(Compile::InChild("/nowhere/tollgate".into()))).await;
    assert_eq!(
        (problem.kind, problem.text.as_str()),
        (ErrorKind::System, "failed to run the compiler, which is /nowhere/tollgate")
    );
}

#[tokio::test]
async fn components_are_compiled_one_at_a_time() {
    let script = "mkdir \"${0%/*}/lock\" || exit 9; sleep 0.05; rmdir \"${0%/*}/lock\"; echo alone >&2; exit 3";
    let (_folder, program) = program(script);
    let compiler = Compiler::new(Compile::InChild(program));
    let problems = tokio::join!(problem(&compiler), problem(&compiler), problem(&compiler));
    for problem in [problems.0, problems.1, problems.2] {
        assert_eq!(problem.cause.as_deref(), Some("alone"), "{}", problem.text);
    }
}

#[test]
fn machine_code_fits_the_engine_that_it_is_for_and_no_other() {
    let bytes = built_in("tiered").unwrap();
    for mapped in [false, true] {
        let compiling = wasmtime::Engine::new(&engine::compiling(mapped)).unwrap();
        let code = Code(compiling.precompile_component(bytes).unwrap());
        for runs_mapped in [false, true] {
            let engine = Engine::of_layout(runs_mapped).unwrap();
            let adopted = adopt(&engine, &code);
            assert_eq!(adopted.is_ok(), mapped == runs_mapped, "{mapped} {runs_mapped}");
        }
    }
}

#[test]
fn the_way_a_child_ended_is_told() {
    use std::process::ExitStatus;
    let bounds = CompileBounds { cpu_seconds: 3, memory_bytes: 5 << 20, ..CompileBounds::default() };
    let told = |raw: i32, said: &str| {
        let ended =
            child::Ended { status: Some(ExitStatus::from_raw(raw)), written: Vec::new(), said: said.to_owned() };
        let Err(problem) = child::judged(ended, &bounds) else { panic!("{raw} is no good end") };
        problem.text
    };
    let way_out = child::WAY_OUT;
    assert_eq!(told(24, ""), format!("compiling it takes more than 3 s of processor time: {way_out}"));
    let memory = "memory allocation of 99 bytes failed";
    assert_eq!(told(6, memory), format!("compiling it takes more than 5 MiB of memory: {way_out}"));
    assert!(told(6, "has overflowed its stack").starts_with("the compiler ended with signal: 6"));
    assert!(told(9, "").starts_with("the compiler ended with signal: 9"));
}
