//! The way of a policy's author: the README of the SDK, followed by the letter outside the workspace, to a tier that is served.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result};
use reqwest::Client;
use serde_json::{Value, json};
use tollgate::TierPlan;
use tollgate_guest::testing::Scenario;
use tollgate_tests::{RedisServer, Server, command};

use crate::prebuilt::workspace;
use crate::scenarios::{differences, told};

/// What a policy may weigh that an author writes after the README of the SDK.
const MOST_BYTES: usize = 45 * 1024;

/// A tier of the author's policy, beside one that is built in. Windows of 300 days, so that none ends within the test.
const CONFIGURATION: &str = r#"
[tiers.author]
policy = "per-route.wasm"
config = "4/300d"

[tiers.built-in]
policy = "tiered"
config.limits = [{ id = "only", limit = "1/300d" }]

[[keys]]
key = "key-of-a-customer"
tenant = "acme"
tier = "author"
id = "alice"
"#;

#[tokio::test]
async fn the_policy_of_the_readme_is_built_outside_the_workspace_and_serves_a_tier() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let readme = fs::read_to_string(workspace().join("guest/README.md"))?;
    lay_out(folder.path(), &readme)?;

    let built = succeeded(&program(folder.path(), &["policy", "build", ".", "--out", ".", "--json"])?)?;
    let path = folder.path().join("per-route.wasm");
    let bytes = fs::read(&path).with_context(|| format!("{built}"))?;
    assert_eq!(built["bytes"], json!(bytes.len()), "{built}");
    assert!(bytes.len() <= MOST_BYTES, "{} bytes", bytes.len());
    assert_tells_nothing(&bytes);

    let found = succeeded(&program(folder.path(), &["policy", "inspect", "per-route.wasm", "--json"])?)?;
    assert_eq!((&found["name"], &found["version"]), (&json!("per-route"), &json!("0.1.0")), "{found}");
    assert_eq!((&found["sha256"], &found["bytes"]), (&built["sha256"], &built["bytes"]), "{found}");

    let scenario = Scenario::parse(block(&readme, "text")?).map_err(anyhow::Error::msg)?;
    let plan = TierPlan::component("per-route.wasm", bytes, scenario.config.as_deref().unwrap_or("{}"));
    let problems = differences(&scenario, &plan, &RedisServer::start()?, "guest/README.md").await?;
    assert!(problems.is_empty(), "{}", told(&problems));

    serves(folder.path(), built["sha256"].as_str().context("the digest is a text")?).await
}

/// The files that the README tells an author to write.
fn lay_out(folder: &Path, readme: &str) -> Result<()> {
    let write = |file: &str, text: &str| -> Result<()> {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        Ok(fs::write(path, text)?)
    };
    let (guest, target) = (workspace().join("guest"), workspace().join("target"));
    let manifest = block(readme, "toml")?;
    let from_here = format!("tollgate-guest = {{ path = {guest:?} }}");
    let manifest = manifest.replace(r#"tollgate-guest = "0.1.0""#, &from_here);
    assert!(manifest.contains(&from_here), "{manifest}");
    write("Cargo.toml", &manifest)?;
    write("src/lib.rs", block(readme, "rust")?)?;
    write("tollgate.toml", CONFIGURATION)?;
    // The versions that this workspace has, and what it has compiled of them.
    write("Cargo.lock", &fs::read_to_string(workspace().join("Cargo.lock"))?)?;
    write(".cargo/config.toml", &format!("[build]\ntarget-dir = {target:?}\n"))
}

/// The first block of `language`.
fn block<'r>(readme: &'r str, language: &str) -> Result<&'r str> {
    let (_, after) =
        readme.split_once(&format!("```{language}\n")).with_context(|| format!("no block of {language}"))?;
    Ok(after.split_once("```").context("a block ends")?.0)
}

/// Runs the program in `folder`, with the environment that cargo needs.
fn program(folder: &Path, words: &[&str]) -> Result<Output> {
    Ok(command([])?.envs(std::env::vars_os()).current_dir(folder).args(words).output()?)
}

/// What it printed as JSON.
fn succeeded(output: &Output) -> Result<Value> {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("it printed no JSON")
}

/// Neither WASI nor a path of this machine stands in the component.
fn assert_tells_nothing(component: &[u8]) {
    let text = String::from_utf8_lossy(component);
    for private in ["wasi:", env!("CARGO_MANIFEST_DIR"), "/.cargo/", "/registry/"] {
        assert!(!text.contains(private), "it tells of {private}");
    }
}

async fn serves(folder: &Path, digest: &str) -> Result<()> {
    let file = folder.join("tollgate.toml");
    let server = Server::start([("TOLLGATE_CONFIG", file.to_str().context("a path of this test is UTF-8")?)])?;
    let client = Client::new();
    let mut answers = Vec::new();
    for route in ["/a", "/a", "/a", "/b", "/b", "/c"] {
        let question = json!({ "api_key": "key-of-a-customer", "route": route }).to_string();
        let reply = client.post(format!("{}/v1/check", server.url)).body(question).send().await?;
        let (status, answer) = (reply.status().as_u16(), reply.json::<Value>().await?);
        assert_eq!((&answer["source"], &answer["tier"]), (&json!("policy"), &json!("author")), "{answer}");
        assert_eq!(answer["policy"]["digest"], digest, "{answer}");
        answers.push((status, answer["binding"].as_str().unwrap_or_default().to_owned()));
    }
    // Two of each route, and four in all.
    let expected = [(200, "route"), (200, "route"), (429, "route"), (200, "all"), (200, "all"), (429, "all")];
    assert_eq!(answers, expected.map(|(status, binding)| (status, binding.to_owned())));
    Ok(())
}
