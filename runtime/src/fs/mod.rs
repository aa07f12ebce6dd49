//! [`std::fs`] for coroutines: `use withy::fs` where it said `use std::fs`.
//!
//! The kernel has no readiness for files: a read that must wait for a disk or a file server holds its thread. So
//! everything here runs on the runtime's threads for [`blocking`](crate::blocking) work, and the calling coroutine is
//! parked meanwhile; from a plain thread it is what std does. Buffers are lent, not copied.
//!
//! The hand-over costs some 10 µs, much more than a read from the page cache: many small reads and writes go through
//! [`BufReader`](std::io::BufReader) and [`BufWriter`](std::io::BufWriter), and what consists of many small steps is done best
//! by one [`blocking`](crate::blocking) closure with `std::fs` in it. The helpers of [`std::io::Read`] and
//! [`Write`](std::io::Write) that loop (`read_to_end`, `read_exact`, `write_all`, …) are handed over once.
//!
//! Dropping a file closes it where it is dropped, as std's does.
//!
//! ```
//! use std::io::{Read, Seek, SeekFrom, Write};
//! use withy_runtime::fs;
//!
//! # fn main() -> std::io::Result<()> {
//! let folder = std::env::temp_dir().join(format!("withy-{}", std::process::id()));
//! withy_runtime::run(|| {
//!     fs::create_dir_all(&folder)?;
//!     let path = folder.join("notes");
//!     let mut file = fs::OpenOptions::new().read(true).write(true).create(true).open(&path)?;
//!     file.write_all(b"written without holding a worker")?;
//!     file.seek(SeekFrom::Start(8))?;
//!     let mut rest = String::new();
//!     file.read_to_string(&mut rest)?;
//!     assert_eq!(rest, "without holding a worker");
//!     assert_eq!(fs::copy(&path, folder.join("copy"))?, 32);
//!     assert_eq!(fs::read(folder.join("copy"))?.len() as u64, fs::metadata(&path)?.len());
//!     fs::remove_dir_all(&folder)
//! })
//! # }
//! ```
//!
//! Pipes, terminals and other files that may keep a call waiting for ever hold one of the pool's threads that long.

mod dir;
mod file;
mod ops;
mod options;
mod transfer;

pub use dir::{DirEntry, ReadDir, read_dir};
pub use file::File;
pub use ops::{
    canonicalize, copy, create_dir, create_dir_all, exists, hard_link, metadata, read, read_link,
    read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions,
    symlink_metadata, write,
};
pub use options::OpenOptions;
pub use std::fs::{FileTimes, FileType, Metadata, Permissions, TryLockError};
