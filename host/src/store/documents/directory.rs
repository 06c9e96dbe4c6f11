//! Documents in a directory, for hosts of one machine.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind as IoErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::{Document, Documents, Promise, check_name};
use crate::error::{Error, ErrorKind, Result};

/// Documents in a directory: a file each, in a folder for each shelf. They outlive the process, and several processes may share them.
///
/// A document is replaced as a whole, by renaming; who changes one holds a lock on the file `lock` meanwhile.
#[derive(Debug)]
pub struct DocumentDirectory {
    root: PathBuf,
    changes: watch::Sender<u64>,
}

impl DocumentDirectory {
    /// The documents at `root`, which is made if it is not there, for this user only.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::System`] if it cannot be made or written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let opened = make(&root).and_then(|()| File::options().create(true).append(true).open(root.join(LOCK)));
        opened.map_err(|error| {
            let message = format!("cannot keep documents in {}: {error}; give a directory to write to", root.display());
            Error::new(ErrorKind::System, message)
        })?;
        Ok(Self { root, changes: watch::Sender::new(0) })
    }

    fn run<'a, T: Send + 'static>(
        &self,
        names: &[&str],
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Promise<'a, T> {
        let checked: Result<()> = names.iter().try_for_each(|name| check_name(name));
        let root = self.root.clone();
        Box::pin(async move {
            checked?;
            let told = format!("the documents in {}", root.display());
            let done = spawn_blocking(move || work(&root)).await;
            done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| {
                Error::new(ErrorKind::Store, format!("{told}: {error}; look at the disk and at who owns them"))
            })
        })
    }

    fn write<'a>(
        &self,
        shelf: &str,
        name: &str,
        bytes: &[u8],
        may: impl FnOnce(Option<&[u8]>) -> bool + Send + 'static,
    ) -> Promise<'a, bool> {
        let (folder, file, bytes) = (shelf.to_owned(), name.to_owned(), bytes.to_vec());
        self.run(&[shelf, name], move |root| {
            let _lock = lock(root)?;
            let (folder, path) = (root.join(&folder), root.join(&folder).join(&file));
            if !may(read(&path)?.as_deref()) {
                return Ok(false);
            }
            make(&folder)?;
            // A name that no document can have.
            let fresh = folder.join(format!(".{file}"));
            let mut written = File::create(&fresh)?;
            written.write_all(&bytes)?;
            written.sync_all()?;
            fs::rename(&fresh, &path)?;
            Ok(true)
        })
    }
}

const LOCK: &str = "lock";

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Waits until nobody else changes anything. The lock ends with the file.
fn lock(root: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(root.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == IoErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn listed(folder: &Path) -> io::Result<Vec<Document>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut documents = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if check_name(&name).is_err() {
            continue;
        }
        // It may be taken away while we look.
        if let Some(bytes) = read(&entry.path())? {
            let put = entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            documents.push(Document { name, bytes, age: put.elapsed().unwrap_or(Duration::ZERO) });
        }
    }
    documents.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(documents)
}

/// The entries of a log: a line each, as JSON writes a text.
fn entries(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let text = read(path)?.unwrap_or_default();
    Ok(text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
}

impl Documents for DocumentDirectory {
    fn get<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, Option<Vec<u8>>> {
        let path = Path::new(shelf).join(name);
        self.run(&[shelf, name], move |root| read(&root.join(path)))
    }

    fn put<'a>(&'a self, shelf: &'a str, name: &'a str, bytes: &'a [u8]) -> Promise<'a, ()> {
        let written = self.write(shelf, name, bytes, |_| true);
        Box::pin(async move { written.await.map(drop) })
    }

    fn replace<'a>(
        &'a self,
        shelf: &'a str,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Promise<'a, bool> {
        let expected = expected.map(<[u8]>::to_vec);
        self.write(shelf, name, bytes, move |there| there == expected.as_deref())
    }

    fn remove<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, ()> {
        let path = Path::new(shelf).join(name);
        self.run(&[shelf, name], move |root| {
            let _lock = lock(root)?;
            match fs::remove_file(root.join(path)) {
                Err(error) if error.kind() == IoErrorKind::NotFound => Ok(()),
                removed => removed,
            }
        })
    }

    fn list<'a>(&'a self, shelf: &'a str) -> Promise<'a, Vec<Document>> {
        let folder = shelf.to_owned();
        self.run(&[shelf], move |root| listed(&root.join(folder)))
    }

    fn append<'a>(&'a self, log: &'a str, entry: &'a [u8], keep: usize) -> Promise<'a, ()> {
        let (name, entry) = (format!("{log}.log"), entry.to_vec());
        self.run(&[log], move |root| {
            let _lock = lock(root)?;
            let path = root.join(name);
            let kept = entries(&path)?;
            // Half as many again before it is cut: not the whole file for each entry.
            if kept.len() >= keep + keep / 2 {
                let last = kept.get(kept.len() - keep.min(kept.len())..).unwrap_or_default();
                let fresh = path.with_extension("cut");
                fs::write(&fresh, [last.join(&b'\n'), b"\n".to_vec()].concat())?;
                fs::rename(&fresh, &path)?;
            }
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(&[entry, b"\n".to_vec()].concat())
        })
    }

    fn tail<'a>(&'a self, log: &'a str, count: usize) -> Promise<'a, Vec<Vec<u8>>> {
        let name = format!("{log}.log");
        self.run(&[log], move |root| {
            let mut entries = entries(&root.join(name))?;
            Ok(entries.split_off(entries.len().saturating_sub(count)))
        })
    }

    fn announce(&self) -> Promise<'_, ()> {
        self.changes.send_modify(|count| *count += 1);
        Box::pin(std::future::ready(Ok(())))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
