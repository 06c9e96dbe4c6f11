//! For development: files are watched, and what changes is put into effect as an operator would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::roster::{OwnRoster, own_roster};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::{Activation, Fleet, RosterDocument, Upload};
use crate::policy::Signature;

/// What is watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The folder with `roster.json`, or without one, and with the `*.wasm` that it names.
    pub folder: PathBuf,
    /// The configuration file, if there is one: what holds where there is no `roster.json`.
    pub file: Option<PathBuf>,
}

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(300);
const ROSTER: &str = "roster.json";
const BY: &str = "watch";

/// When each file was changed, and its size.
type Seen = BTreeMap<PathBuf, (SystemTime, u64)>;

/// Puts `roster.json` into effect at once if there is one, and from then on whatever changes, for ever. What is broken is told, and replaces nothing.
///
/// `configuration` reads the configuration again.
pub async fn watch(fleet: Fleet, watched: Watched, configuration: impl Fn() -> Result<Config>) {
    let mut before = Seen::new();
    let mut first = true;
    loop {
        let seen = seen(&watched);
        if seen != before {
            // What the configuration says is in effect already.
            let wanted = !first || watched.folder.join(ROSTER).is_file();
            before = seen;
            if wanted {
                tell(reload(&fleet, &watched, &configuration).await, &watched.folder);
            }
        }
        first = false;
        tokio::time::sleep(LOOK).await;
    }
}

fn tell(reloaded: Result<Activation>, folder: &Path) {
    match reloaded {
        Ok(now) => tracing::info!(generation = now.generation, "reloaded from {}", folder.display()),
        Err(error) => tracing::error!("nothing was reloaded from {}: {error:#}", folder.display()),
    }
}

fn seen(watched: &Watched) -> Seen {
    let inside = std::fs::read_dir(&watched.folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let counts = |path: &PathBuf| path.ends_with(ROSTER) || path.extension().is_some_and(|kind| kind == "wasm");
    let files = inside.filter(counts).chain(watched.file.clone());
    let stamp = |path: PathBuf| {
        let known = path.metadata().ok()?;
        Some((path, (known.modified().ok()?, known.len())))
    };
    files.filter_map(stamp).collect()
}

async fn reload(fleet: &Fleet, watched: &Watched, configuration: impl Fn() -> Result<Config>) -> Result<Activation> {
    let path = watched.folder.join(ROSTER);
    let OwnRoster { document, uploads } = match std::fs::read(&path) {
        Ok(text) => named(&watched.folder, RosterDocument::parse(&text)?)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => own_roster(&configuration()?)?,
        Err(error) => return Err(unread(&path, error)),
    };
    for upload in uploads {
        fleet.push(upload, BY).await?;
    }
    let note = format!("{} changed", watched.folder.display());
    let revision = fleet.propose(document, BY, &note).await?;
    fleet.activate(revision.revision, BY, &note, None).await
}

/// The roster with the digests of the files that it names.
fn named(folder: &Path, mut document: RosterDocument) -> Result<OwnRoster> {
    let mut uploads = Vec::new();
    let own = document.tenants.values_mut().filter_map(|tenant| tenant.own.as_mut());
    for tier in document.tiers.values_mut().chain(own) {
        let trial = tier.trial.as_mut().map(|trial| &mut trial.policy);
        for policy in [Some(&mut tier.policy), trial].into_iter().flatten() {
            if policy.ends_with(".wasm") {
                let path = folder.join(policy.as_str());
                let component = std::fs::read(&path).map_err(|error| unread(&path, error))?;
                *policy = format!("sha256:{}", crate::policy::digest(&component));
                let signatures = Signature::beside(&path)?.iter().map(ToString::to_string).collect();
                uploads.push(Upload { component, signatures, cases: None });
            }
        }
    }
    Ok(OwnRoster { document, uploads })
}

fn unread(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Config, format!("failed to read {}", path.display())).because(error)
}
