//! Where the files are: one, or all of a folder.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::rules::DescriptorRules;
use crate::error::{Error, ErrorKind, Result};

/// The files of envoyproxy/ratelimit in a folder, or one alone.
///
/// Of a folder every `*.yaml` and `*.yml` counts, but for those whose name begins with a dot: so the folder of a ConfigMap is read once, and not
/// once more by its `..data`. What lies in folders below does not count.
#[derive(Clone, Debug)]
pub struct RuleFiles {
    path: PathBuf,
}

/// When each file was changed, and its size: what tells that it should be read again.
#[cfg(feature = "server")]
pub(crate) type Stamps = std::collections::BTreeMap<PathBuf, (std::time::SystemTime, u64)>;

/// The largest file, in bytes.
const MOST_BYTES: u64 = 1024 * 1024;
/// The most files.
const MOST_FILES: usize = 256;

impl RuleFiles {
    /// The files at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads them.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] if there is none, if one cannot be read or is larger than a mebibyte, if there are more than 256, and
    /// as [`DescriptorRules::parse`] does.
    pub fn read(&self) -> Result<DescriptorRules> {
        let paths = self.paths()?;
        let texts = paths.iter().map(|path| text(path)).collect::<Result<Vec<_>>>()?;
        DescriptorRules::parse(paths.iter().map(PathBuf::as_path).zip(texts.iter().map(String::as_str)))
    }

    /// What tells that the files have changed; empty where they cannot be seen.
    #[cfg(feature = "server")]
    pub(crate) fn stamps(&self) -> Stamps {
        let stamp = |path: PathBuf| {
            let known = path.metadata().ok()?;
            Some((path, (known.modified().ok()?, known.len())))
        };
        self.paths().unwrap_or_default().into_iter().filter_map(stamp).collect()
    }

    fn paths(&self) -> Result<Vec<PathBuf>> {
        if !self.path.is_dir() {
            return Ok(vec![self.path.clone()]);
        }
        let entries = fs::read_dir(&self.path).map_err(|error| unread(&self.path, error))?;
        // A folder with a flood of other files is looked through, not kept.
        let mut paths: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| counts(path)).take(MOST_FILES + 1).collect();
        paths.sort();
        match paths.len() {
            0 => Err(wrong(format!("no rate limits are in {}; put a `*.yaml` there", self.path.display()))),
            files if files > MOST_FILES => {
                Err(wrong(format!("more than {MOST_FILES} files of rate limits are in {}", self.path.display())))
            }
            _ => Ok(paths),
        }
    }
}

fn counts(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_yaml = path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
    !is_hidden && is_yaml && path.is_file()
}

fn text(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| unread(path, error))?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| unread(path, error))?;
    if text.len() as u64 > MOST_BYTES {
        let message =
            format!("failed to read the rate limits of {}: it has more than {MOST_BYTES} bytes", path.display());
        return Err(wrong(message));
    }
    Ok(text)
}

fn unread(path: &Path, error: std::io::Error) -> Error {
    wrong(format!("failed to read the rate limits of {}", path.display())).because(error)
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}
