//! What the program says of itself is true, and what it prints for programs can be read by them.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tollgate_tests::{command, free_port, program};

/// Every command, by its words.
const COMMANDS: [&[&str]; 10] = [
    &[],
    &["serve"],
    &["check"],
    &["config", "check"],
    &["policy", "build"],
    &["policy", "inspect"],
    &["policy", "test"],
    &["policy", "keygen"],
    &["policy", "sign"],
    &["policy", "verify"],
];

/// Every command that asks the admin API; what they do is in `admin`.
const OPERATOR: [&[&str]; 19] = [
    &["policy", "push"],
    &["policy", "list"],
    &["policy", "activate"],
    &["policy", "shadow"],
    &["policy", "canary"],
    &["policy", "rollback"],
    &["policy", "diff"],
    &["policy", "remove"],
    &["roster", "show"],
    &["roster", "history"],
    &["roster", "propose"],
    &["roster", "activate"],
    &["tenants", "list"],
    &["tenants", "set"],
    &["tenants", "remove"],
    &["fleet"],
    &["tail"],
    &["explain"],
    &["audit"],
];

fn run(words: &[&str]) -> Result<Output> {
    Ok(command([])?.args(words).output()?)
}

fn help(words: &[&str]) -> Result<String> {
    let told = run(&[words, &["--help"]].concat())?;
    assert_eq!(told.status.code(), Some(0), "{words:?}");
    Ok(String::from_utf8(told.stdout)?)
}

/// The lines below `Examples:`, without what follows two spaces and more.
fn examples(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    lines.map(|line| line.trim().split("   ").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_command_shows_by_examples_how_it_is_used() -> Result<()> {
    for words in COMMANDS.into_iter().chain(OPERATOR) {
        let help = help(words)?;
        let examples = examples(&help);
        assert!(examples.len() > 1, "{words:?}: {help}");
        let told = words.iter().all(|word| examples.iter().all(|example| example.contains(word)));
        assert!(told, "{words:?}: {examples:?}");
    }
    Ok(())
}

#[test]
fn the_examples_that_need_nothing_work() -> Result<()> {
    let folder = tempfile::tempdir()?;
    symlink(program()?, folder.path().join("tollgate"))?;
    let mut worked = 0;
    for words in COMMANDS {
        for example in examples(&help(words)?) {
            // These listen, or want a server, a file, a crate, a Redis or a program of the reader's.
            let wants_more =
                ["serve", "fleet", "--server", "tollgate.toml", "mine.wasm", "policy build", "production", "&&"];
            if example == "tollgate" || wants_more.iter().any(|part| example.contains(part)) {
                continue;
            }
            let mut shell = Command::new("/bin/sh");
            shell.env_clear().env("PATH", folder.path()).current_dir(folder.path());
            let ran = shell.args(["-c", &example]).output()?;
            assert_eq!(ran.status.code(), Some(0), "{example}: {}", String::from_utf8_lossy(&ran.stderr));
            worked += 1;
        }
    }
    assert!(worked >= 5, "{worked}");
    Ok(())
}

#[test]
fn what_is_asked_for_in_json_is_one_object_in_json() -> Result<()> {
    for (words, status) in [
        (&["check", "demo-free", "--json"][..], 0),
        (&["check", "demo-free", "--cost", "11", "--json"], 1),
        (&["config", "check", "--json"], 0),
        (&["policy", "inspect", "tiered", "--json"], 0),
        (&["policy", "inspect", "penalty", "--configuration", "{}", "--json"], 0),
    ] {
        let ran = run(words)?;
        let printed: Value = serde_json::from_slice(&ran.stdout).with_context(|| format!("{words:?}"))?;
        assert_eq!((ran.status.code(), printed.is_object()), (Some(status), true), "{words:?}: {printed}");
        assert!(ran.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    Ok(())
}

#[test]
fn what_goes_wrong_has_the_status_2_and_is_told_on_standard_error_alone() -> Result<()> {
    let dead = format!("http://127.0.0.1:{}", free_port()?);
    let cases: [(&[&str], &str); 8] = [
        (&["check", "nobody", "--json"], "this API key is not in the configuration"),
        (&["check", "demo-free", "--cost", "0", "--json"], "`cost` is 0; give 1 to 1000000000"),
        (&["check", "demo-free", "--server", &dead, "--json"], "is `tollgate serve` running there?"),
        (
            &["config", "check", "--json", "--config", "nowhere.toml"],
            "failed to read the configuration file nowhere.toml",
        ),
        (&["policy", "inspect", "teired", "--json"], "there are descriptors, penalty, route-classes, throttle, tiered"),
        (&["policy", "inspect", "nowhere.wasm", "--json"], "failed to read nowhere.wasm"),
        (&["policy", "inspect", "tiered", "--configuration", "{}", "--json"], "missing field `limits`"),
        (&["policy", "build", "nowhere", "--json"], "nowhere is no crate: it holds no Cargo.toml"),
    ];
    for (words, told) in cases {
        let ran = run(words)?;
        let said = String::from_utf8(ran.stderr)?;
        assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(2), &b""[..]), "{words:?}: {said}");
        assert!(said.starts_with("tollgate: ") && said.contains(told), "{words:?}: {said}");
    }
    Ok(())
}

#[test]
fn a_refusal_says_why_and_how_long() -> Result<()> {
    let ran = run(&["check", "demo-free", "--cost", "11"])?;
    let said = String::from_utf8(ran.stdout)?;
    assert!(
        said.starts_with("denied (tier free, by policy)\n  limit `second` has 10 left and 11 was asked\n"),
        "{said}"
    );
    assert!(said.contains("\n  no waiting is known to help\n"), "{said}");
    Ok(())
}

#[test]
fn counters_are_said_to_be_where_they_are() -> Result<()> {
    let url = format!("redis://127.0.0.1:{}", free_port()?);
    let ran = command([("REDIS_URL", url.as_str())])?.args(["config", "check", "--json"]).output()?;
    let found: Value = serde_json::from_slice(&ran.stdout)?;
    assert_eq!(found["store"], json!(format!("memory, since {url} cannot be used")), "{found}");
    Ok(())
}
