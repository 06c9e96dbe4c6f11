//! `tollgate policy keygen`, `sign` and `verify`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use tollgate::config::{PublicKey, Secret};
use tollgate::policy::{PrivateKey, Signature, sha256};

pub(super) const AFTER_KEYGEN: &str = "\
Examples:
  tollgate policy keygen --out release.key
  tollgate policy keygen --out night.key --json

`openssl genpkey -algorithm ed25519 -out release.key` writes such a key as well.";

pub(super) const AFTER_SIGN: &str = "\
Examples:
  tollgate policy sign mine.wasm --key release.key
  tollgate policy sign mine.wasm --key release.key --json";

pub(super) const AFTER_VERIFY: &str = "\
Examples:
  tollgate policy verify mine.wasm --public x26mE3z1Vo0v+abzV8TI5W/9F+C7B+15CLv8wT1EMZg=
  tollgate policy verify mine.wasm --public \"$KEY\" --json";

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Where to write the private half. The file must not exist, and only its owner may read it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Prints one JSON object instead of a line: `path`, `public_key`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The `.wasm` file.
    component: PathBuf,
    /// The private key, as `keygen` wrote it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Prints one JSON object instead of a line: `path`, `sha256`, `public_key`, `signature`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The `.wasm` file.
    component: PathBuf,
    /// The public key, as `keygen` printed it.
    #[arg(long, value_name = "KEY")]
    public: String,
    /// Prints one JSON object instead of a line: `sha256`, `public_key`.
    #[arg(long)]
    json: bool,
}

pub(super) fn keygen(Keygen { out, json }: &Keygen) -> anyhow::Result<ExitCode> {
    let pem = PrivateKey::generate()?;
    let public_key = PrivateKey::from_pem(&pem)?.public_key().to_string();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .and_then(|mut file| file.write_all(pem.reveal().as_bytes()));
    written.with_context(|| format!("failed to write the key to {}, where no file may be yet", out.display()))?;
    if *json {
        println!("{}", json!({ "path": out, "public_key": public_key }));
    } else {
        println!("{public_key}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn sign(Sign { component, key, json }: &Sign) -> anyhow::Result<ExitCode> {
    let digest = digest_of(component)?;
    let pem = fs::read_to_string(key).with_context(|| format!("failed to read the key {}", key.display()))?;
    let key = PrivateKey::from_pem(&Secret::new(pem)).with_context(|| format!("failed to use {}", key.display()))?;
    let (signature, path) = (key.sign(&digest), Signature::path_beside(component));
    fs::write(&path, format!("{signature}\n")).with_context(|| format!("failed to write {}", path.display()))?;
    let public_key = signature.key.to_string();
    if *json {
        let signed = json!({
            "path": path,
            "sha256": hex(&digest),
            "public_key": public_key,
            "signature": signature.to_string(),
        });
        println!("{signed}");
    } else {
        println!("{} (sha256 {}, by {public_key})", path.display(), hex(&digest));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn verify(Verify { component, public, json }: &Verify) -> anyhow::Result<ExitCode> {
    let public: PublicKey = public.parse().context("failed to read --public")?;
    let digest = digest_of(component)?;
    let signatures = Signature::beside(component)?;
    let path = Signature::path_beside(component);
    if signatures.is_empty() {
        bail!("{} holds no signature: `tollgate policy sign` writes one", path.display());
    }
    let Some(signature) = signatures.iter().find(|signature| signature.key == public) else {
        let keys: Vec<String> = signatures.iter().map(|signature| signature.key.to_string()).collect();
        bail!("{} holds no signature by {public}, but by {}", path.display(), keys.join(", "));
    };
    if !signature.is_of(&digest) {
        bail!(
            "the signature in {} is not of {}: one of the two was changed, or another file was signed",
            path.display(),
            component.display()
        );
    }
    if *json {
        println!("{}", json!({ "sha256": hex(&digest), "public_key": public.to_string() }));
    } else {
        println!("{} is signed by {public} (sha256 {})", component.display(), hex(&digest));
    }
    Ok(ExitCode::SUCCESS)
}

fn digest_of(component: &Path) -> anyhow::Result<[u8; 32]> {
    let bytes = fs::read(component).with_context(|| format!("failed to read {}", component.display()))?;
    Ok(sha256(&bytes))
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
