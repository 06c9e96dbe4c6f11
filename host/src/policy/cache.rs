//! Machine code of policies, kept for the next start in a folder that nobody else may write.
//!
//! What lies there is run as it is, so each file is checked before it is believed: whose it is, who may write it, and the digests of the code, of the
//! component and of the engine with all its settings. A file that fails is compiled anew and replaced.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::geteuid;

use super::compile::Code;
use super::load::{hex, sha256};
use crate::error::{Error, ErrorKind, Result};
use crate::time::{Clock, SystemClock};

/// What every file begins with: what it is, and the version of its form.
const MAGIC: &[u8; 16] = b"tollgate code 1\n";
/// The magic and three digests.
const HEADER_BYTES: usize = 16 + 3 * 32;
/// How the name of a file ends, and of one that is being written.
const ENDINGS: [&str; 2] = ["code", "part"];
/// Who but the owner may write, in the bits of a mode.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A folder of machine code.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    most: Most,
    written: AtomicU64,
}

/// How much a cache keeps.
#[derive(Clone, Copy, Debug)]
struct Most {
    files: usize,
    bytes: u64,
}

/// What a file must be of to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The component.
    pub(super) component: [u8; 32],
    /// The engine with its settings, and the build of this program.
    pub(super) engine: [u8; 32],
}

impl Cache {
    /// The most files that are kept; those used least recently give way.
    pub const FILES: usize = 128;
    /// The most bytes that are kept, likewise.
    pub const BYTES: u64 = 256 * 1024 * 1024;

    /// A cache in `folder`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] if it cannot be made, is not this user's, or may be written by others: whoever can write there could have
    /// any machine code run.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::bounded(folder.into(), Arc::new(SystemClock::new()), Most { files: Self::FILES, bytes: Self::BYTES })
    }

    fn bounded(folder: PathBuf, clock: Arc<dyn Clock>, most: Most) -> Result<Self> {
        let refused = |problem: String| {
            let place = folder.display();
            Error::new(ErrorKind::Config, format!("failed to use {place} as the cache of policies: {problem}"))
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder).and_then(|()| fs::metadata(&folder));
        let metadata = made.map_err(|error| refused("it cannot be made or read".to_owned()).because(error))?;
        check_owner(&metadata).map_err(|problem| {
            refused(format!(
                "{problem}, and what lies there is run as machine code; name a folder that does not exist yet"
            ))
        })?;
        Ok(Self { folder, clock, most, written: AtomicU64::new(0) })
    }

    /// The machine code for `key`, if there is some that can be believed.
    pub(super) fn find(&self, key: &Key) -> Option<Code> {
        let path = self.path(key);
        match self.read(&path, key) {
            Ok(code) => Some(code),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("{} is not used, and is compiled anew: {error}", path.display());
                None
            }
        }
    }

    fn read(&self, path: &Path, key: &Key) -> io::Result<Code> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        check_owner(&metadata).map_err(io::Error::other)?;
        let most = (HEADER_BYTES + Code::MOST_BYTES) as u64;
        if !metadata.is_file() || metadata.len() > most {
            return Err(io::Error::other("it is no file of a size that was ever written"));
        }
        let mut header = [0; HEADER_BYTES];
        let mut code = Vec::new();
        (&file).read_exact(&mut header)?;
        (&file).take(most).read_to_end(&mut code)?;
        if header != key.header(&code) {
            return Err(io::Error::other("its digests are not those of its code, of the component and of this engine"));
        }
        // Only for what gives way first: a clock that cannot be set makes no code wrong.
        let _ = file.set_modified(self.now());
        Ok(Code(code))
    }

    /// Keeps `code`, and lets go what is too much. A cache that cannot be written is told about, and no more: the code is at hand.
    pub(super) fn keep(&self, key: &Key, code: &Code) {
        if let Err(error) = self.write(key, code).and_then(|()| self.let_go()) {
            tracing::warn!("failed to keep machine code in {}: {error}", self.folder.display());
        }
    }

    fn write(&self, key: &Key, code: &Code) -> io::Result<()> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let part = self.folder.join(format!("{}-{number}.part", std::process::id()));
        // What a process of the same number left behind.
        let _ = fs::remove_file(&part);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).and_then(|mut file| {
            file.write_all(&key.header(&code.0))?;
            file.write_all(&code.0)?;
            file.set_modified(self.now())
        });
        written.and_then(|()| fs::rename(&part, self.path(key))).inspect_err(|_| {
            // It is of no use to anybody.
            let _ = fs::remove_file(&part);
        })
    }

    /// Removes what was used least recently until the rest is within bounds.
    fn let_go(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if !path.extension().and_then(OsStr::to_str).is_some_and(|ending| ENDINGS.contains(&ending)) {
                continue;
            }
            // Another process may have removed it.
            if let Ok(metadata) = fs::symlink_metadata(&path) {
                files.push((metadata.modified()?, metadata.len(), path));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        let mut count = files.len();
        for (_, of_file, path) in files {
            if count <= self.most.files && bytes <= self.most.bytes {
                break;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (count, bytes) = (count - 1, bytes.saturating_sub(of_file)),
            }
        }
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let engine = hex(key.engine.get(..8).unwrap_or_default());
        self.folder.join(format!("{}-{engine}-{}.code", hex(&key.component), env!("CARGO_PKG_VERSION")))
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.clock.now().as_micros())
    }
}

impl Key {
    /// What stands before `code` in a file.
    fn header(&self, code: &[u8]) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let parts = [MAGIC.as_slice(), &self.component, &self.engine, &sha256(code)].concat();
        header.copy_from_slice(&parts);
        header
    }
}

/// Whether it is this user's and nobody else may write it.
fn check_owner(metadata: &Metadata) -> Result<(), String> {
    let (owner, user, mode) = (metadata.uid(), geteuid().as_raw(), metadata.mode() & 0o7777);
    if owner != user {
        return Err(format!("its owner is user {owner}, and this is user {user}"));
    }
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(format!("its group or others may write it (its mode is {mode:04o})"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::time::{ManualClock, Timestamp};

    fn cache(folder: &Path, clock: &ManualClock, most: Most) -> Cache {
        Cache::bounded(folder.join("cache"), Arc::new(clock.clone()), most).unwrap()
    }

    fn key(component: u8) -> Key {
        Key { component: [component; 32], engine: [9; 32] }
    }

    fn kept(cache: &Cache) -> Vec<u8> {
        (0..10).filter(|component| cache.path(&key(*component)).exists()).collect()
    }

    #[test]
    fn what_was_used_least_recently_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
        let second = || clock.advance(Duration::from_secs(1));
        let room = (HEADER_BYTES as u64 + 10) * 3;
        for most in [Most { files: 3, bytes: u64::MAX }, Most { files: usize::MAX, bytes: room }] {
            let cache = cache(folder.path(), &clock, most);
            fs::write(cache.folder.join("somebody's.txt"), "x").unwrap();
            for component in 0..3 {
                cache.keep(&key(component), &Code(vec![component; 10]));
                second();
            }
            assert_eq!(cache.find(&key(0)).unwrap().0, [0; 10]);
            second();
            cache.keep(&key(3), &Code(vec![3; 10]));
            assert_eq!(kept(&cache), [0, 2, 3]);
            assert!(cache.folder.join("somebody's.txt").exists(), "what is not the cache's stays");
            fs::remove_dir_all(&cache.folder).unwrap();
        }
    }

    #[test]
    fn what_a_process_left_unfinished_gives_way_too() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_micros(4_000_000_000_000_000));
        let cache = cache(folder.path(), &clock, Most { files: 1, bytes: u64::MAX });
        let part = cache.folder.join("1-1.part");
        fs::write(&part, "half").unwrap();
        cache.keep(&key(1), &Code(vec![1; 10]));
        assert!(!part.exists() && kept(&cache) == [1]);
    }

    #[test]
    fn a_file_of_another_engine_or_component_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_micros(0));
        let cache = cache(folder.path(), &clock, Most { files: 9, bytes: u64::MAX });
        cache.keep(&key(1), &Code(vec![1; 10]));
        let other_engine = Key { engine: [8; 32], ..key(1) };
        for other in [key(2), other_engine] {
            fs::copy(cache.path(&key(1)), cache.path(&other)).unwrap();
            assert!(cache.find(&other).is_none(), "{other:?}");
        }
        assert!(cache.find(&key(1)).is_some());
    }

    #[test]
    fn a_file_that_others_may_write_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_micros(0));
        let cache = cache(folder.path(), &clock, Most { files: 9, bytes: u64::MAX });
        cache.keep(&key(1), &Code(vec![1; 10]));
        let mode = |mode| fs::set_permissions(cache.path(&key(1)), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(fs::metadata(cache.path(&key(1))).unwrap().mode() & 0o777, 0o600);
        for (writable, believed) in [(0o620, false), (0o602, false), (0o644, true)] {
            mode(writable);
            assert_eq!(cache.find(&key(1)).is_some(), believed, "{writable:o}");
        }
    }
}
