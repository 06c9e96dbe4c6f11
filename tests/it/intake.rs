//! The way of a component from bytes to ready: every step refuses what it is there for, by name.

use std::fs;

use anyhow::{Context as _, Result};
use tollgate::config::{SigningConfig, SigningKeyConfig};
use tollgate::policy::{
    Candidate, Cases, Compile, Compiler, Engine, Intake, Keyring, PrivateKey, Stage, built_in, cases, sha256,
};
use tollgate::{ErrorKind, policy};
use tollgate_tests::{command, program};

use crate::compile::component_around;
use crate::prebuilt::workspace;

const CONFIGURATION: &str = r#"{"limits": [{"id": "second", "limit": "1/s burst 3"}]}"#;
const GOOD: &str = "policy tiered\n@0s alice 3 -> allow remaining 0\n@0s alice -> deny 1s\n@1s alice -> allow";

/// The policy `tiered` with a section that nobody reads: as good, and nobody's own.
pub(crate) fn not_built_in() -> Vec<u8> {
    let mut bytes = built_in("tiered").expect("it comes with the host").to_vec();
    bytes.extend(b"\0\x05\x04mine");
    bytes
}

fn intake(config: &SigningConfig) -> Result<Intake> {
    let compiler = Compiler::new(Compile::InChild(program()?));
    Ok(Intake::new(Engine::with(compiler)?, Keyring::new(config)))
}

#[tokio::test]
async fn what_passes_every_step_is_ready() -> Result<()> {
    let private = PrivateKey::from_pem(&PrivateKey::generate()?)?;
    let key = SigningKeyConfig {
        name: "release".to_owned(),
        public_key: private.public_key(),
        tiers: Some(vec!["pro".to_owned()]),
        revoked: false,
    };
    let intake = intake(&SigningConfig { required: true, keys: vec![key] })?;
    let digest: String = sha256(&not_built_in()).iter().map(|byte| format!("{byte:02x}")).collect();
    let signatures = [private.sign(&sha256(&not_built_in()))];
    let candidate = |tier| Candidate {
        digest: Some(&digest),
        signatures: &signatures,
        configuration: Some(CONFIGURATION),
        cases: &[Cases { name: "mine.txt", text: GOOD }],
        ..Candidate::new("mine.wasm", tier, not_built_in())
    };
    let component = intake.examine(candidate("pro")).await.map_err(|refusal| refusal.error)?;
    assert_eq!((component.id().name.as_str(), &component.id().digest), ("tiered", &digest));
    let refusal = intake.examine(candidate("free")).await.expect_err("its key may not sign for this tier");
    assert_eq!(refusal.stage, Stage::Signature);
    Ok(())
}

#[tokio::test]
async fn each_step_refuses_what_it_is_there_for() -> Result<()> {
    let free = intake(&SigningConfig::default())?;
    let signed = intake(&SigningConfig { required: true, keys: Vec::new() })?;
    let tiered = || built_in("tiered").map(<[u8]>::to_vec);
    let wat = |text: &str| wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    let importing = |import: &str| {
        let text = "(import \"log\" (instance (export \"write\" (func))))".replace("log", import);
        let exports = ["describe", "configure", "decide"].map(|name| format!("(export \"{name}\" (func $f))")).concat();
        wat(&format!(
            "(component {text} (core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
               (func $f (canon lift (core func $i \"f\"))) {exports})"
        ))
    };
    let bad_body = {
        let mut bytes = component_around("(func (result i32) (i32.const 7))");
        let at = bytes.windows(3).position(|bytes| bytes == [0x41, 7, 0x0b]).context("the body is there")?;
        bytes.splice(at..at + 2, [0x01, 0x01]);
        bytes
    };
    let plain = |bytes| Candidate::new("mine.wasm", "pro", bytes);
    let wrong = [Cases { name: "good.txt", text: GOOD }, Cases { name: "bad.txt", text: &GOOD.replace("1s", "2s") }];
    let cases = [
        (&free, Stage::Size, plain(vec![0; 2 << 20]), "it has 2097152 bytes; at most 1048576"),
        (&free, Stage::Digest, Candidate { digest: Some("ab12"), ..plain(tiered()?) }, ", not ab12: fetch it again"),
        (&signed, Stage::Signature, plain(not_built_in()), "it is not signed"),
        (&free, Stage::Form, plain(b"\x7fELF".to_vec()), "it is precompiled machine code, which is never accepted"),
        (&free, Stage::Imports, plain(importing("wasi:sockets/tcp@0.2.6")), "(no network: charge counters instead"),
        (&free, Stage::Exports, plain(wat("(component)")), "it exports no `describe`"),
        (&free, Stage::Compile, plain(bad_body), "it is not a component that this host runs: "),
        (
            &free,
            Stage::Types,
            plain(importing("tollgate:policy/log@0.1.0")),
            "its types are not those of tollgate:policy@0.1.0",
        ),
        (
            &free,
            Stage::Describe,
            plain(component_around("")),
            "it could not describe itself: nonsense: its `describe` is not",
        ),
        (
            &free,
            Stage::Configure,
            Candidate { configuration: Some("{}"), ..plain(tiered()?) },
            "failed to configure policy `tiered`: missing field `limits`",
        ),
        (
            &free,
            Stage::Cases,
            Candidate { configuration: Some(CONFIGURATION), cases: &wrong, ..plain(tiered()?) },
            "bad.txt: line 3: @0s alice -> deny 2s\nanswered: @0s alice -> deny 1s",
        ),
    ];
    let mut last = None;
    for (intake, stage, candidate, problem) in cases {
        let refusal = intake.examine(candidate).await.expect_err(problem);
        assert_eq!(refusal.stage, stage, "{:#}", refusal.error);
        assert!(last < Some(stage), "the steps are tried in their order");
        last = Some(stage);
        let told = format!("{:#}", refusal.error);
        assert!(told.starts_with(&format!("failed to load policy `mine.wasm` at `{stage}`: ")), "{told}");
        assert!(told.contains(problem), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn golden_cases_run_with_their_own_configuration_or_the_one_at_hand() -> Result<()> {
    let component = policy::Component::load(&Engine::new()?, "tiered", built_in("tiered")?).await?;
    assert_eq!(cases::run(&component, CONFIGURATION, GOOD).await?, 3);
    let own = GOOD.replacen('\n', &format!("\nconfig {CONFIGURATION}\n"), 1);
    assert_eq!(cases::run(&component, "{}", &own).await?, 3);
    for (text, problem) in [
        (GOOD, "missing field `limits`"),
        ("policy penalty\n@0s alice -> allow", "the cases are of policy `penalty`, not of `tiered`"),
        ("policy tiered\n@0s alice", "line 2: `@0s alice` has no `-> allow` or `-> deny`"),
        ("policy tiered", "there is no step"),
    ] {
        let error = cases::run(&component, "{}", text).await.expect_err(problem);
        assert_eq!(error.kind(), ErrorKind::Policy);
        assert!(error.to_string().contains(problem), "{error}");
    }
    Ok(())
}

#[test]
fn the_command_line_runs_the_scenarios_of_a_policy() -> Result<()> {
    let scenarios = |name: &str| format!("policies/{name}");
    let test = |words: &[&str]| {
        command([])?.current_dir(workspace()).args(["policy", "test"]).args(words).output().context("it runs")
    };
    let (free, pro) = (scenarios("tiered/scenarios/free.txt"), scenarios("tiered/scenarios/pro.txt"));
    let ran = test(&["tiered", "--cases", &free, "--cases", &pro, "--json"])?;
    let printed: serde_json::Value = serde_json::from_slice(&ran.stdout)?;
    assert_eq!((&printed["name"], &printed["files"]), (&"tiered".into(), &2.into()), "{printed}");
    let steps = |file: &str| Ok::<_, anyhow::Error>(fs::read_to_string(workspace().join(file))?.matches("\n@").count());
    assert_eq!(printed["steps"], steps(&free)? + steps(&pro)?);

    let folder = tempfile::tempdir()?;
    let wrong = folder.path().join("wrong.txt");
    fs::write(
        &wrong,
        fs::read_to_string(workspace().join(&free))?.replace("remaining second=0 day=10", "remaining second=1"),
    )?;
    let ran = test(&["tiered", "--json", "--cases", wrong.to_str().context("a path of this test is UTF-8")?])?;
    let said = String::from_utf8(ran.stderr)?;
    assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{said}");
    assert!(
        said.contains("wrong.txt: line ") && said.contains("answered: @0s alice 10 -> allow remaining second=0"),
        "{said}"
    );
    Ok(())
}
