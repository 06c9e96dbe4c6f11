//! The policies that the host carries as components: that they are what their sources build, small, and tested.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use tollgate::policy::build::build;
use tollgate_guest::testing::Scenario;

/// What a built-in policy may weigh: warm instances of many policies stand side by side.
const MOST_BYTES: usize = 60 * 1024;

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}

/// The folders of `policies/`, sorted.
fn policies() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        files(&workspace().join("policies")).into_iter().filter(|path| path.join("Cargo.toml").is_file()).collect();
    folders.sort();
    folders
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("failed to read {}: {error}", folder.display()));
    entries.map(|entry| entry.expect("a folder that opened can be read").path()).collect()
}

fn name(path: &Path) -> &str {
    path.file_stem().and_then(OsStr::to_str).expect("names in this workspace are UTF-8")
}

/// `TOLLGATE_WRITE=1` in the environment makes this test refresh what it would complain about.
#[test]
fn the_prebuilt_components_are_what_their_sources_build() {
    let prebuilt = workspace().join("host/policies");
    let write = std::env::var_os("TOLLGATE_WRITE").is_some();
    let out = tempfile::tempdir().unwrap();
    for folder in policies() {
        let built = build(&folder, Some(if write { &prebuilt } else { out.path() }), |_| ()).unwrap();
        let (name, size) = (name(&folder), built.bytes.len());
        assert!(size <= MOST_BYTES, "{name}.wasm has {size} bytes, more than {MOST_BYTES}");
        let file = prebuilt.join(format!("{name}.wasm"));
        assert!(
            fs::read(&file).is_ok_and(|bytes| bytes == built.bytes),
            "host/policies/{name}.wasm is not what policies/{name} builds (sha256 {}) with the compiler of rust-toolchain.toml; \
             refresh it: cargo run -p tollgate -- policy build policies/{name} --out host/policies",
            built.digest,
        );
    }
}

#[test]
fn every_policy_is_prebuilt_and_nothing_else() {
    let stems = |paths: &[PathBuf]| paths.iter().map(|path| name(path).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(stems(&files(&workspace().join("host/policies"))), stems(&policies()));
}

#[test]
fn every_policy_has_a_scenario_of_its_own() {
    for folder in policies() {
        let scenarios = files(&folder.join("scenarios"));
        assert!(!scenarios.is_empty(), "{} has no scenario", folder.display());
        for file in scenarios {
            let scenario = Scenario::parse(&fs::read_to_string(&file).unwrap())
                .unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
            assert_eq!(scenario.policy, name(&folder), "{}", file.display());
        }
    }
}
