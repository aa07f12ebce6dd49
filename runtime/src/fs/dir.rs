//! Directories, read in batches.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs as std_fs;
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use crate::blocking;
use crate::fs::{FileType, Metadata};

/// How many entries are fetched at a time: one hand-over is then little beside what they cost.
const BATCH: usize = 64;

/// The entries of a directory, in the system's order. As [`std::fs::read_dir`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`](crate::blocking); the iterator's `next` too. No entry is lost by it.
///
/// # Examples
/// ```
/// let folder = std::env::temp_dir().join(format!("withy-read-dir-{}", std::process::id()));
/// withy_runtime::run(|| {
///     use withy_runtime::fs;
///     fs::create_dir(&folder)?;
///     fs::write(folder.join("a"), "")?;
///     for entry in fs::read_dir(&folder)? {
///         assert_eq!(entry?.file_name(), "a");
///     }
///     fs::remove_dir_all(&folder)
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    blocking(|| {
        let mut dir = ReadDir {
            rest: Some(std_fs::read_dir(path)?),
            batch: VecDeque::new(),
        };
        dir.fetch();
        Ok(dir)
    })
}

/// The entries of a directory: what [`read_dir`] returns.
pub struct ReadDir {
    /// None once it has come to its end.
    rest: Option<std_fs::ReadDir>,
    batch: VecDeque<io::Result<DirEntry>>,
}

impl ReadDir {
    fn fetch(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        let entries = rest.take(BATCH).map(|entry| entry.map(DirEntry::new));
        self.batch.extend(entries);
        if self.batch.len() < BATCH {
            self.rest = None;
        }
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.batch.is_empty() && self.rest.is_some() {
            blocking(|| self.fetch());
        }
        self.batch.pop_front()
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir").finish_non_exhaustive()
    }
}

/// An entry of a directory. As [`std::fs::DirEntry`].
pub struct DirEntry {
    entry: std_fs::DirEntry,
    /// Mostly the directory itself has it, so it is fetched along.
    file_type: Option<FileType>,
}

impl DirEntry {
    fn new(entry: std_fs::DirEntry) -> DirEntry {
        let file_type = entry.file_type().ok();
        DirEntry { entry, file_type }
    }

    /// The path of the directory as it was given, and the entry's name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// What the system knows of the entry; of a symbolic link itself, if it is one.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Cancellation
    /// As [`blocking`](crate::blocking).
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking(|| self.entry.metadata())
    }

    /// Whether it is a file, a directory, a symbolic link or something else. Known from reading the directory, unless
    /// that failed.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Cancellation
    /// As [`blocking`](crate::blocking), where it must ask the system.
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => blocking(|| self.entry.file_type()),
        }
    }

    /// The entry's name, without the path to it.
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.entry.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.entry, f)
    }
}
