//! How a file shall be opened.

use std::fs as std_fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::blocking;
use crate::fs::File;

/// How a file shall be opened. As [`std::fs::OpenOptions`]; [`OpenOptionsExt`] has mode and flags.
///
/// # Examples
/// ```
/// use withy_runtime::fs::OpenOptions;
/// let error = OpenOptions::new().read(true).open("/does/not/exist").unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions(std_fs::OpenOptions);

impl OpenOptions {
    /// All of them off.
    #[must_use]
    pub fn new() -> OpenOptions {
        OpenOptions(std_fs::OpenOptions::new())
    }

    /// To read from it.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.0.read(read);
        self
    }

    /// To write to it.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.0.write(write);
        self
    }

    /// To write at its end, wherever that is then.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.0.append(append);
        self
    }

    /// To cut it to length 0.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.0.truncate(truncate);
        self
    }

    /// To create it if it does not exist.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.0.create(create);
        self
    }

    /// To create it, and fail if it exists.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.0.create_new(create_new);
        self
    }

    /// Opens a file so.
    ///
    /// # Errors
    /// As [`std::fs::OpenOptions::open`].
    ///
    /// # Cancellation
    /// As [`blocking`]: not begun, or done to the end.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        blocking(|| self.0.open(path)).map(File::from_std)
    }
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.0.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.0.custom_flags(flags);
        self
    }
}

impl From<std_fs::OpenOptions> for OpenOptions {
    fn from(options: std_fs::OpenOptions) -> OpenOptions {
        OpenOptions(options)
    }
}
