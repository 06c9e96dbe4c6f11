//! From a Rust crate to a component.
//!
//! The same sources, `Cargo.lock` and compiler give the same bytes, wherever they are built: no path of the machine reaches the component.

mod cargo;
mod component;

use std::fs;
use std::path::{Path, PathBuf};

use super::digest;
use crate::error::{Error, ErrorKind, Result};

/// A component that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Where it was written.
    pub path: PathBuf,
    /// The component.
    pub bytes: Vec<u8>,
    /// The SHA-256 of the bytes, in hexadecimal digits.
    pub digest: String,
}

/// Compiles the policy crate in `folder` and encodes it as a component.
///
/// The file is called as the package is, without `policy-` before it. It is written to `out`: a folder, or a path that ends in `.wasm`; if none
/// is given, into the folder `tollgate` of the crate's target directory. `progress` is given each line that cargo says meanwhile.
///
/// The crate needs nothing but `tollgate-guest` and the crate types `["cdylib", "rlib"]`; its profiles are not asked. The machine needs cargo and the
/// target `wasm32-unknown-unknown`.
///
/// # Errors
///
/// Fails with [`ErrorKind::System`] if cargo or the target is missing or a file cannot be written, and with [`ErrorKind::Policy`] if the crate
/// cannot be compiled, is no `cdylib`, exports no policy, or imports what no policy is given.
pub fn build(folder: &Path, out: Option<&Path>, progress: impl FnMut(&str)) -> Result<Built> {
    let package = cargo::package(folder)?;
    let module = cargo::compile(&package, progress)?;
    let module = fs::read(&module).map_err(|error| system("read", &module, error))?;
    let bytes = component::encode(&module).map_err(|problem| {
        Error::new(ErrorKind::Policy, format!("failed to make a component of `{}`: {problem}", package.name))
    })?;
    let path = place(&package, out);
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(parent).map_err(|error| system("create", parent, error))?;
    fs::write(&path, &bytes).map_err(|error| system("write", &path, error))?;
    let digest = digest(&bytes);
    Ok(Built { path, bytes, digest })
}

fn place(package: &cargo::Package, out: Option<&Path>) -> PathBuf {
    let name = package.name.strip_prefix("policy-").unwrap_or(&package.name);
    let file = format!("{name}.wasm");
    match out {
        Some(path) if path.extension().is_some_and(|extension| extension == "wasm") => path.to_owned(),
        Some(folder) => folder.join(file),
        None => package.target_folder.join("tollgate").join(file),
    }
}

fn system(act: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::System, format!("failed to {act} {}", path.display())).because(error)
}
