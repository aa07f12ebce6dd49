//! Functions on paths: each is std's, handed over to a thread that may block.

use std::fs as std_fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::blocking;
use crate::fs::{Metadata, Permissions};

/// The absolute form of a path, symbolic links and `..` resolved. As [`std::fs::canonicalize`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking(|| std_fs::canonicalize(path))
}

/// Copies a file's content and permissions, and returns the number of bytes. As [`std::fs::copy`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    blocking(|| std_fs::copy(from, to))
}

/// Creates an empty directory. As [`std::fs::create_dir`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std_fs::create_dir(path))
}

/// Creates a directory and those above it that are missing. As [`std::fs::create_dir_all`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std_fs::create_dir_all(path))
}

/// Whether there is something at `path`. As [`std::fs::exists`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref();
    blocking(|| std_fs::exists(path))
}

/// Creates a further name of a file. As [`std::fs::hard_link`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    blocking(|| std_fs::hard_link(original, link))
}

/// What the system knows of a file; symbolic links are followed. As [`std::fs::metadata`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking(|| std_fs::metadata(path))
}

/// The whole content of a file. As [`std::fs::read`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    blocking(|| std_fs::read(path))
}

/// What a symbolic link points to. As [`std::fs::read_link`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking(|| std_fs::read_link(path))
}

/// The whole content of a file, as UTF-8. As [`std::fs::read_to_string`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    blocking(|| std_fs::read_to_string(path))
}

/// Removes an empty directory. As [`std::fs::remove_dir`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std_fs::remove_dir(path))
}

/// Removes a directory and all that is in it; symbolic links are not followed. As [`std::fs::remove_dir_all`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std_fs::remove_dir_all(path))
}

/// Removes a file. As [`std::fs::remove_file`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std_fs::remove_file(path))
}

/// Renames a file or directory; what was there is replaced. As [`std::fs::rename`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    blocking(|| std_fs::rename(from, to))
}

/// Changes the permissions of a file or directory. As [`std::fs::set_permissions`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std_fs::set_permissions(path, permissions))
}

/// What the system knows of a file; of a symbolic link itself, if it is one. As [`std::fs::symlink_metadata`].
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking(|| std_fs::symlink_metadata(path))
}

/// Makes `contents` the whole content of a file, which is created if need be. As [`std::fs::write`].
///
/// # Examples
/// ```
/// use withy_runtime::fs;
/// withy_runtime::run(|| {
///     let path = std::env::temp_dir().join(format!("withy-write-{}", std::process::id()));
///     fs::write(&path, "some bytes")?;
///     assert_eq!(fs::read_to_string(&path)?, "some bytes");
///     fs::remove_file(&path)
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// As std's.
///
/// # Cancellation
/// As [`blocking`]: not begun, or done to the end.
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    blocking(|| std_fs::write(path, contents))
}
