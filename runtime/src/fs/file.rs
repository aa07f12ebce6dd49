//! Open files.

use std::fmt;
use std::fs as std_fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;

use crate::blocking;
use crate::fs::{FileTimes, Metadata, OpenOptions, Permissions, TryLockError};

/// An open file. As [`std::fs::File`], its calls run by [`blocking`].
///
/// Reads, writes and seeks, also through `&File`; [`FileExt`](std::os::unix::fs::FileExt) reads and writes at an offset. Dropping it closes it on the
/// dropping thread.
///
/// Each call that reads, writes or seeks is a blocking call: a coroutine that is cancelled unwinds from it before it has begun or
/// after it has ended, so no byte is lost. Buffers are lent to the call.
///
/// # Examples
/// ```
/// use std::io::{Read, Seek, Write};
/// use withy_runtime::fs::{self, File};
///
/// let path = std::env::temp_dir().join(format!("withy-file-{}", std::process::id()));
/// withy_runtime::run(|| {
///     let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
///     file.write_all(b"some bytes")?;
///     file.rewind()?;
///     let mut text = String::new();
///     file.read_to_string(&mut text)?;
///     assert_eq!(text, "some bytes");
///     fs::remove_file(&path)
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct File {
    pub(super) std: std_fs::File,
}

impl File {
    /// Opens a file for reading. As [`std::fs::File::open`].
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        blocking(|| std_fs::File::open(path)).map(File::from_std)
    }

    /// Opens a file for writing; creates it, or cuts it to length 0. As [`std::fs::File::create`].
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        blocking(|| std_fs::File::create(path)).map(File::from_std)
    }

    /// Creates a file that must not exist, for reading and writing. As [`std::fs::File::create_new`].
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        blocking(|| std_fs::File::create_new(path)).map(File::from_std)
    }

    /// How a file shall be opened.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Writes content and metadata out to the disk.
    ///
    /// # Errors
    /// As [`std::fs::File::sync_all`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn sync_all(&self) -> io::Result<()> {
        blocking(|| self.std.sync_all())
    }

    /// Writes content out to the disk, and of the metadata what is needed to read it.
    ///
    /// # Errors
    /// As [`std::fs::File::sync_data`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn sync_data(&self) -> io::Result<()> {
        blocking(|| self.std.sync_data())
    }

    /// Waits for the file's exclusive lock, which holds a thread of the pool meanwhile.
    ///
    /// # Errors
    /// As [`std::fs::File::lock`].
    ///
    /// # Cancellation
    /// As [`blocking`]: while it waits on its thread it is not interrupted.
    pub fn lock(&self) -> io::Result<()> {
        blocking(|| self.std.lock())
    }

    /// Waits for a shared lock, which holds a thread of the pool meanwhile.
    ///
    /// # Errors
    /// As [`std::fs::File::lock_shared`].
    ///
    /// # Cancellation
    /// As [`blocking`]: while it waits on its thread it is not interrupted.
    pub fn lock_shared(&self) -> io::Result<()> {
        blocking(|| self.std.lock_shared())
    }

    /// Takes the file's exclusive lock if it is free.
    ///
    /// # Errors
    /// As [`std::fs::File::try_lock`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        blocking(|| self.std.try_lock())
    }

    /// Takes a shared lock if there is no exclusive one.
    ///
    /// # Errors
    /// As [`std::fs::File::try_lock_shared`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        blocking(|| self.std.try_lock_shared())
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// As [`std::fs::File::unlock`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn unlock(&self) -> io::Result<()> {
        blocking(|| self.std.unlock())
    }

    /// Cuts the file, or extends it by zeros, to `size` bytes.
    ///
    /// # Errors
    /// As [`std::fs::File::set_len`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        blocking(|| self.std.set_len(size))
    }

    /// What the system knows of the file.
    ///
    /// # Errors
    /// As [`std::fs::File::metadata`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking(|| self.std.metadata())
    }

    /// A second handle to the same open file: they share the position.
    ///
    /// # Errors
    /// As [`std::fs::File::try_clone`].
    pub fn try_clone(&self) -> io::Result<File> {
        self.std.try_clone().map(File::from_std)
    }

    /// Changes the file's permissions.
    ///
    /// # Errors
    /// As [`std::fs::File::set_permissions`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        blocking(|| self.std.set_permissions(permissions))
    }

    /// Changes the file's times.
    ///
    /// # Errors
    /// As [`std::fs::File::set_times`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        blocking(|| self.std.set_times(times))
    }

    /// Changes the time of the file's last change.
    ///
    /// # Errors
    /// As [`std::fs::File::set_modified`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        blocking(|| self.std.set_modified(time))
    }

    /// Takes over a file of std's, with its position.
    #[must_use]
    pub fn from_std(file: std_fs::File) -> File {
        File { std: file }
    }

    /// The file as std's, with its position.
    #[must_use]
    pub fn into_std(self) -> std_fs::File {
        self.std
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.std, f)
    }
}

// ---- conversions ----

impl From<std_fs::File> for File {
    fn from(file: std_fs::File) -> File {
        File::from_std(file)
    }
}

impl From<File> for std_fs::File {
    fn from(file: File) -> std_fs::File {
        file.into_std()
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File::from_std(fd.into())
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> OwnedFd {
        file.std.into()
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Stdio {
        file.std.into()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.std.as_raw_fd()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        self.std.into_raw_fd()
    }
}
