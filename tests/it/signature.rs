//! Signing by the command line, and a server that asks for signatures.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tollgate_tests::{Server, command};

use crate::intake::not_built_in;

fn run(folder: &Path, words: &[&str]) -> Result<Output> {
    Ok(command([])?.current_dir(folder).args(words).output()?)
}

fn printed(folder: &Path, words: &[&str]) -> Result<Value> {
    let ran = run(folder, words)?;
    assert_eq!(ran.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).with_context(|| format!("{words:?}"))
}

fn told(folder: &Path, words: &[&str]) -> Result<String> {
    let ran = run(folder, words)?;
    assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{words:?}");
    Ok(String::from_utf8(ran.stderr)?)
}

/// Draws a key called `name`, and answers its public half.
fn keygen(folder: &Path, name: &str) -> Result<String> {
    let drawn = printed(folder, &["policy", "keygen", "--out", name, "--json"])?;
    assert_eq!(drawn["path"], json!(name));
    Ok(drawn["public_key"].as_str().context("it is a text")?.to_owned())
}

#[test]
fn a_component_is_signed_and_verified_by_the_command_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    fs::write(folder.join("mine.wasm"), not_built_in())?;
    let public = keygen(folder, "release.key")?;
    assert_eq!(fs::metadata(folder.join("release.key"))?.permissions().mode() & 0o777, 0o600);
    let verify = ["policy", "verify", "mine.wasm", "--json", "--public", &public];
    assert!(told(folder, &verify)?.contains("mine.wasm.sig holds no signature: `tollgate policy sign` writes one"));

    let sign = ["policy", "sign", "mine.wasm", "--key", "release.key", "--json"];
    let signed = printed(folder, &sign)?;
    assert_eq!((&signed["path"], &signed["public_key"]), (&json!("mine.wasm.sig"), &json!(public)));
    assert_eq!(fs::read_to_string(folder.join("mine.wasm.sig"))?.trim(), signed["signature"]);
    let verified = printed(folder, &verify)?;
    assert_eq!(verified, json!({ "sha256": signed["sha256"], "public_key": public }));

    let other = keygen(folder, "other.key")?;
    let by_another = told(folder, &["policy", "verify", "mine.wasm", "--public", &other])?;
    assert!(by_another.contains(&format!("holds no signature by {other}, but by {public}")), "{by_another}");
    fs::write(folder.join("mine.wasm"), "changed")?;
    assert!(told(folder, &verify)?.contains("the signature in mine.wasm.sig is not of mine.wasm"));
    Ok(())
}

#[test]
fn a_key_is_neither_overwritten_nor_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    keygen(folder, "release.key")?;
    let pem = fs::read_to_string(folder.join("release.key"))?;
    let again = told(folder, &["policy", "keygen", "--out", "release.key"])?;
    assert!(again.contains("failed to write the key to release.key, where no file may be yet"), "{again}");
    assert_eq!(fs::read_to_string(folder.join("release.key"))?, pem);

    fs::write(folder.join("mine.wasm"), "x")?;
    let secret = pem.lines().nth(1).context("a key has a body")?.to_owned();
    fs::write(folder.join("broken.key"), pem.replace("-----END", "----END"))?;
    let broken = told(folder, &["policy", "sign", "mine.wasm", "--key", "broken.key"])?;
    assert!(broken.contains("failed to use broken.key: it is no Ed25519 key in PKCS#8 (PEM)"), "{broken}");
    let pasted = told(folder, &["policy", "verify", "mine.wasm", "--public", &secret])?;
    assert!(pasted.contains("failed to read --public: it is no public key"), "{pasted}");
    assert!(!broken.contains(&secret) && !pasted.contains(&secret));
    Ok(())
}

/// What a server that asks for signatures says of `mine.wasm`, with these fields of the key; nothing if it serves.
fn refusal(folder: &Path, public: &str, fields: &str) -> Result<String> {
    let file = folder.join("tollgate.toml");
    let text = format!(
        "[signing]\nrequired = true\nkeys = [{{ name = \"release\", public_key = \"{public}\"{fields} }}]\n\
         [tiers.pro]\npolicy = \"mine.wasm\"\nconfig.limits = [{{ id = \"only\", limit = \"9/s\" }}]\n\
         [tiers.classes]\npolicy = \"route-classes\"\n"
    );
    fs::write(&file, text)?;
    let served = Server::start([("TOLLGATE_CONFIG", file.to_str().context("a path of this test is UTF-8")?)]);
    Ok(served.err().map(|error| error.to_string()).unwrap_or_default())
}

#[test]
fn a_server_that_asks_for_signatures_serves_what_is_signed_for_its_tier_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    fs::write(folder.join("mine.wasm"), not_built_in())?;
    let (public, other) = (keygen(folder, "release.key")?, keygen(folder, "other.key")?);
    let refused = |public: &str, fields: &str, reason: &str| -> Result<()> {
        let said = refusal(folder, public, fields)?;
        assert!(
            said.contains("tier `pro`: failed to load policy `") && said.contains("/mine.wasm` at `signature`: "),
            "{said}"
        );
        assert!(said.contains(reason), "{said}");
        Ok(())
    };
    refused(&public, "", "it is not signed: `tollgate policy sign` writes its .sig file")?;
    printed(folder, &["policy", "sign", "mine.wasm", "--key", "release.key", "--json"])?;
    assert_eq!(refusal(folder, &public, "")?, "");
    assert_eq!(refusal(folder, &public, ", tiers = [\"free\", \"pro\"]")?, "");
    refused(&public, ", revoked = true", "by the key `release`, which is revoked")?;
    refused(&public, ", tiers = [\"free\"]", "which may sign for free and not for the tier `pro`")?;
    refused(&other, "", &format!("by the key {public}, which is not among `signing.keys`"))?;
    let mut changed = not_built_in();
    changed.extend(b"\0\x05\x04more");
    fs::write(folder.join("mine.wasm"), changed)?;
    refused(&public, "", "its signature by the key `release` is not of these bytes")?;
    fs::write(folder.join("mine.wasm.sig"), "hunter2")?;
    let said = refusal(folder, &public, "")?;
    assert!(said.contains("mine.wasm.sig, line 1: it is no signature") && !said.contains("hunter2"), "{said}");
    Ok(())
}
