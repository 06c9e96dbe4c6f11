//! Machine code that is kept: used when it is what was written, and compiled anew when it is anything else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tollgate::ErrorKind;
use tollgate::policy::{Cache, Compile, Compiler, Component, Engine, built_in};
use tollgate_tests::{Server, program};

/// A compiler that is not there: whoever asks it was not served from the cache.
fn none() -> Compile {
    Compile::InChild("/nowhere/tollgate".into())
}

async fn load(compile: Compile, folder: &Path, name: &str) -> Result<Component, tollgate::Error> {
    let engine = Engine::with(Compiler::new(compile).cached(Cache::open(folder)?))?;
    Component::load(&engine, name, built_in(name)?).await
}

/// The files of the cache.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn only(files: &[PathBuf]) -> Result<&PathBuf> {
    let [file] = files else { anyhow::bail!("there are {files:?}") };
    Ok(file)
}

#[tokio::test]
async fn the_same_component_is_compiled_once() -> Result<()> {
    for compile in [Compile::Here, Compile::InChild(program()?)] {
        let folder = tempfile::tempdir()?;
        let cache = folder.path().join("a/cache");
        let first = load(compile, &cache, "tiered").await?;
        assert_eq!(fs::metadata(&cache)?.mode() & 0o777, 0o700);
        let second = load(none(), &cache, "tiered").await?;
        assert_eq!(first.id(), second.id());
        let error = load(none(), &cache, "penalty").await.expect_err("it is not in the cache");
        assert_eq!(error.kind(), ErrorKind::System);
        let told = error.to_string();
        assert!(told.contains("at `compile`: failed to run the compiler, which is /nowhere/tollgate"), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_not_what_was_written_is_compiled_anew_and_never_loaded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cache = folder.path().join("cache");
    let real = || Ok::<_, anyhow::Error>(Compile::InChild(program()?));
    load(real()?, &cache, "penalty").await?;
    let foreign = fs::read(only(&files(&cache)?)?)?;
    fs::remove_dir_all(&cache)?;
    load(real()?, &cache, "tiered").await?;
    let file = only(&files(&cache)?)?.clone();
    let whole = fs::read(&file)?;
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let broken = [
        ("empty", Vec::new()),
        ("cut in the header", whole[..100].to_vec()),
        ("cut in the code", whole[..whole.len() - 1].to_vec()),
        ("longer", [whole.as_slice(), b"x"].concat()),
        ("of another form", flipped(0)),
        ("of another component", flipped(20)),
        ("of another engine", flipped(50)),
        ("of another digest", flipped(90)),
        ("changed at its beginning", flipped(112)),
        ("changed at its end", flipped(whole.len() - 1)),
        ("another component's", foreign),
        ("bare machine code", whole[112..].to_vec()),
    ];
    for (what, bytes) in broken {
        fs::write(&file, bytes)?;
        let error = load(none(), &cache, "tiered").await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::System, "{what}: {error:#}");
        load(real()?, &cache, "tiered").await.with_context(|| what.to_owned())?;
        assert!(fs::read(&file)? == whole, "{what}: it is not replaced");
        load(none(), &cache, "tiered").await.with_context(|| what.to_owned())?;
    }
    assert_eq!(only(&files(&cache)?)?, &file, "nothing else was left there");
    Ok(())
}

#[tokio::test]
async fn a_folder_that_somebody_else_may_write_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let refused = |path: &Path| Cache::open(path).expect_err("it is not safe");
    for mode in [0o770, 0o707, 0o777, 0o1777] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode))?;
        let error = refused(folder.path());
        assert_eq!(error.kind(), ErrorKind::Config);
        let told = error.to_string();
        let expected = format!("its group or others may write it (its mode is {mode:04o}), and what lies there is run");
        assert!(told.contains(&expected) && told.contains("name a folder that does not exist yet"), "{told}");
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    Cache::open(folder.path())?;
    // Who may give it away does; for everybody else the root of the machine is somebody else's.
    let elses = match chown(folder.path(), Some(12_345), None) {
        Ok(()) => folder.path(),
        Err(_) => Path::new("/"),
    };
    let told = refused(elses).to_string();
    assert!(told.contains("its owner is user "), "{told}");
    let file = tempfile::NamedTempFile::new()?;
    let told = format!("{:#}", refused(&file.path().join("cache")));
    assert!(told.contains("as the cache of policies: it cannot be made or read: "), "{told}");
    Ok(())
}

#[test]
fn the_server_keeps_what_it_compiled() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cache = folder.path().join("cache");
    let variables = [("TOLLGATE_CACHE_DIR", cache.to_str().context("a path of this test is UTF-8")?)];
    drop(Server::start(variables)?);
    // The built-in configuration has two policies.
    let kept = files(&cache)?;
    assert_eq!(kept.len(), 2, "{kept:?}");
    let written = |file: &PathBuf| Ok::<_, anyhow::Error>(fs::metadata(file)?.ino());
    let before = kept.iter().map(written).collect::<Result<Vec<_>>>()?;
    drop(Server::start(variables)?);
    assert_eq!(kept.iter().map(written).collect::<Result<Vec<_>>>()?, before, "they are written once");
    Ok(())
}
