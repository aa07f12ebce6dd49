//! `withy::fs` beside `std::fs`: the same outcomes, from coroutines and plain threads.

mod rig;
mod support;

use std::collections::BTreeSet;
use std::fs as std_fs;
use std::io::{
    self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write,
};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{
    DirEntryExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use support::{LIMIT, matrix, within};
use withy::fs::{self, File, OpenOptions};

/// A directory that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::SeqCst);
        let name = format!("withy-fs-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std_fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std_fs::remove_dir_all(&self.0);
    }
}

/// Runs `body` with a folder of its own for every sort of runtime and caller.
fn in_each_case(what: &str, body: fn(&Folder)) {
    matrix(LIMIT, what, |case| {
        let folder = Folder::new();
        case.run(move || body(&folder));
    });
}

/// What can be compared of an outcome.
fn outcome<T>(result: io::Result<T>) -> Result<T, (ErrorKind, Option<i32>)> {
    result.map_err(|error| (error.kind(), error.raw_os_error()))
}

/// Each function on paths does what std's does: the same is there afterwards, and the same is returned.
#[test]
fn functions_on_paths_do_what_stds_do() {
    in_each_case("functions on paths", |folder| {
        let (file, copy) = (folder.path("file"), folder.path("copy"));
        fs::write(&file, "bytes").unwrap();
        assert_eq!(std_fs::read(&file).unwrap(), b"bytes");
        assert_eq!(fs::read(&file).unwrap(), b"bytes");
        assert_eq!(fs::read_to_string(&file).unwrap(), "bytes");
        assert!(fs::exists(&file).unwrap() && !fs::exists(&copy).unwrap());

        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(fs::copy(&file, &copy).unwrap(), 5);
        let (ours, stds) = (fs::metadata(&copy).unwrap(), std_fs::metadata(&copy));
        let stds = stds.unwrap();
        assert_eq!((ours.len(), ours.ino()), (5, stds.ino()));
        assert_eq!(ours.mode() & 0o777, 0o640);

        let (link, hard) = (folder.path("link"), folder.path("hard"));
        symlink(&file, &link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::metadata(&link).unwrap().is_file());
        assert_eq!(fs::read_link(&link).unwrap(), file);
        assert_eq!(
            fs::canonicalize(&link).unwrap(),
            std_fs::canonicalize(&file).unwrap()
        );
        fs::hard_link(&file, &hard).unwrap();
        assert_eq!(std_fs::metadata(&file).unwrap().nlink(), 2);
        fs::remove_file(&hard).unwrap();
        assert_eq!(std_fs::metadata(&file).unwrap().nlink(), 1);
        fs::rename(&copy, &hard).unwrap();
        assert!(!copy.exists() && hard.exists());

        let deep = folder.path("a").join("b").join("c");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(deep.join("d")).unwrap();
        assert!(deep.join("d").is_dir());
        fs::remove_dir(deep.join("d")).unwrap();
        assert!(!deep.join("d").exists());
        fs::remove_dir_all(folder.path("a")).unwrap();
        assert!(!folder.path("a").exists());
    });
}

/// What fails, fails as std's does: kind and number.
#[test]
fn errors_are_stds() {
    macro_rules! alike {
        ($($($name:ident)::+ ($($argument:expr),*)),+ $(,)?) => {$(
            assert_eq!(
                outcome(fs::$($name)::+($($argument),*).map(drop)),
                outcome(std_fs::$($name)::+($($argument),*).map(drop)),
                stringify!($($name)::+ ($($argument),*))
            );
        )+};
    }
    in_each_case("errors of files", |folder| {
        let file = folder.path("file");
        std_fs::write(&file, b"\xff").unwrap();
        for path in [&folder.path("none"), &file, &PathBuf::from("a\0b")] {
            let deep = &path.join("deep");
            alike! {
                canonicalize(deep), copy(deep, path), create_dir(deep), exists(deep),
                File::create(deep), File::create_new(deep), File::open(deep),
                hard_link(deep, path), metadata(deep), read(deep), read_dir(deep),
                read_link(deep), read_to_string(deep), remove_dir(deep), remove_dir_all(deep),
                remove_file(deep), rename(deep, path), symlink_metadata(deep), write(deep, ""),
                set_permissions(deep, fs::Permissions::from_mode(0o600)),
            }
        }
        alike! {
            create_dir(&file), create_dir_all(&file), File::create_new(&file), read_dir(&file),
            read_link(&file), read_to_string(&file), remove_dir(&file), read(&folder.0),
            remove_file(&folder.0),
        }
        let mut closed_to_writes = File::open(&file).unwrap();
        assert_eq!(
            outcome(closed_to_writes.write(b"x")),
            outcome(std_fs::File::open(&file).unwrap().write(b"x"))
        );
        assert_eq!(
            outcome(closed_to_writes.seek(SeekFrom::Current(-1))),
            Err((ErrorKind::InvalidInput, Some(libc::EINVAL)))
        );
    });
}

/// Reads, writes and seeks move one position, whichever way they are made, and give what a file of std's gives.
#[test]
fn a_file_reads_writes_and_seeks() {
    in_each_case("a file's position", |folder| {
        let path = folder.path("file");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        let all: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&all[..50_000]).unwrap();
        assert_eq!((&file).write(&all[50_000..]).unwrap(), 50_000);
        file.flush().unwrap();
        assert_eq!(std_fs::read(&path).unwrap(), all);

        assert_eq!(file.stream_position().unwrap(), 100_000);
        assert_eq!(file.read(&mut [0; 10]).unwrap(), 0);
        assert_eq!((&file).seek(SeekFrom::End(-10)).unwrap(), 99_990);
        let mut end = Vec::new();
        assert_eq!(file.read_to_end(&mut end).unwrap(), 10);
        assert_eq!(end, all[99_990..]);
        file.rewind().unwrap();
        let mut half = vec![0; 50_000];
        file.read_exact(&mut half).unwrap();
        assert_eq!(half, all[..50_000]);
        let mut rest = vec![0; 60_000];
        assert_eq!(
            file.read_exact(&mut rest).unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );

        file.rewind().unwrap();
        let parts = [
            IoSlice::new(b"one "),
            IoSlice::new(b""),
            IoSlice::new(b"two"),
        ];
        assert_eq!(file.write_vectored(&parts).unwrap(), 7);
        file.set_len(7).unwrap();
        file.rewind().unwrap();
        let (mut first, mut second) = ([0; 3], [0; 10]);
        let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(file.read_vectored(&mut parts).unwrap(), 7);
        assert_eq!((&first, &second[..4]), (b"one", &b" two"[..]));
        file.rewind().unwrap();
        let mut text = String::from("> ");
        assert_eq!(file.read_to_string(&mut text).unwrap(), 7);
        assert_eq!(text, "> one two");
    });
}

/// Reads and writes at an offset leave the position alone.
#[test]
fn a_file_is_read_and_written_at_offsets() {
    in_each_case("offsets", |folder| {
        let path = folder.path("file");
        let mut file = File::create_new(&path).unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        assert_eq!(file.write_at(b"ab", 4).unwrap(), 2);
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 3).unwrap();
        assert_eq!(&bytes, b"3ab6");
        assert_eq!(file.read_at(&mut bytes, 9).unwrap(), 1);
        assert_eq!(file.stream_position().unwrap(), 0);
        assert_eq!(
            file.read_exact_at(&mut bytes, 9).unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
    });
}

/// What else std's file can do: sizes, times, permissions, locks, synchronisation, clones.
#[test]
fn a_file_has_what_stds_has() {
    in_each_case("the rest of a file", |folder| {
        let path = folder.path("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"12345").unwrap();
        file.sync_data().unwrap();
        file.sync_all().unwrap();
        file.set_len(1_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1_000);
        file.set_permissions(fs::Permissions::from_mode(0o600))
            .unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        file.set_modified(time).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), time);
        file.set_times(fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH))
            .unwrap();
        assert_eq!(file.metadata().unwrap().mtime(), 0);

        let mut clone = file.try_clone().unwrap();
        assert_eq!(clone.stream_position().unwrap(), 5);
        clone.rewind().unwrap();
        assert_eq!(file.stream_position().unwrap(), 0);

        let second = File::open(&path).unwrap();
        file.lock().unwrap();
        assert!(matches!(
            second.try_lock_shared(),
            Err(fs::TryLockError::WouldBlock)
        ));
        file.unlock().unwrap();
        second.lock_shared().unwrap();
        assert!(matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)));
        file.try_lock_shared().unwrap();
        let debug = format!("{file:?}");
        assert!(debug.contains("file"), "{debug}");
    });
}

/// Options mean what std's mean, the Unix ones too.
#[test]
fn options_are_stds() {
    in_each_case("options", |folder| {
        let path = folder.path("file");
        let open = |options: &OpenOptions| outcome(options.open(&path).map(drop));
        let stds = std_fs::OpenOptions::new().open(&path).map(drop);
        assert_eq!(open(&OpenOptions::new()), outcome(stds));
        let mut options = File::options();
        options.write(true).create(true).mode(0o600);
        options.open(&path).unwrap().write_all(b"first").unwrap();
        assert_eq!(std_fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let mut append = OpenOptions::default();
        append.append(true);
        append.open(&path).unwrap().write_all(b" last").unwrap();
        assert_eq!(std_fs::read(&path).unwrap(), b"first last");
        options.truncate(true).open(&path).unwrap();
        assert_eq!(std_fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(
            open(options.create_new(true)),
            Err((ErrorKind::AlreadyExists, Some(libc::EEXIST)))
        );
        let mut folder_only = OpenOptions::from(std_fs::File::options());
        folder_only.read(true).custom_flags(libc::O_DIRECTORY);
        assert_eq!(
            open(&folder_only),
            Err((ErrorKind::NotADirectory, Some(libc::ENOTDIR)))
        );
    });
}

/// Files come from and go to std, descriptors and child processes, with their position.
#[test]
fn a_file_converts_from_and_to_std() {
    in_each_case("conversions", |folder| {
        let path = folder.path("file");
        std_fs::write(&path, "0123456789").unwrap();
        let mut std_file = std_fs::File::open(&path).unwrap();
        std_file.seek(SeekFrom::Start(2)).unwrap();
        let mut file = File::from(std_file);
        let mut two = [0; 2];
        file.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"23");
        assert_eq!(file.as_fd().as_raw_fd(), file.as_raw_fd());
        let fd = OwnedFd::from(file);
        let mut file = File::from(fd);
        file.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"45");
        // SAFETY: the descriptor was given up the moment before.
        let fd = unsafe { OwnedFd::from_raw_fd(file.into_raw_fd()) };
        let mut std_file = File::from_std(fd.into()).into_std();
        std_file.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"67");
        let std_file = std_fs::File::from(File::from_std(std_file));
        let output = std::process::Command::new("cat")
            .stdin(File::from(std_file))
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"89");
    });
}

/// A directory of more entries than a batch has: each comes once, with its type, and the end stays the end.
#[test]
fn a_directory_gives_each_entry_once() {
    in_each_case("entries of a directory", |folder| {
        for number in [0, 1, 63, 64, 65, 300] {
            let path = folder.path(&format!("with-{number}"));
            std_fs::create_dir(&path).unwrap();
            for n in 0..number {
                if n % 3 == 0 {
                    std_fs::create_dir(path.join(n.to_string())).unwrap();
                } else {
                    std_fs::write(path.join(n.to_string()), "x").unwrap();
                }
            }
            let stds: BTreeSet<_> = std_fs::read_dir(&path)
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    (
                        entry.path(),
                        entry.ino(),
                        entry.file_type().unwrap().is_dir(),
                    )
                })
                .collect();
            let mut entries = fs::read_dir(&path).unwrap();
            let ours: Vec<_> = entries.by_ref().map(Result::unwrap).collect();
            assert!(entries.next().is_none() && entries.next().is_none());
            assert_eq!((ours.len(), stds.len()), (number, number));
            for entry in ours {
                let is_dir = entry.file_type().unwrap().is_dir();
                assert!(stds.contains(&(entry.path(), entry.ino(), is_dir)));
                assert_eq!(entry.metadata().unwrap().is_dir(), is_dir);
                assert_eq!(Some(&*entry.file_name()), entry.path().file_name());
            }
        }
    });
}

/// A read that waits (here for a pipe's writer) leaves the worker to others: on one worker the reader is fed by a coroutine.
#[test]
fn a_file_that_waits_does_not_hold_its_worker() {
    for full_stealing in [false, true] {
        within(LIMIT, "a named pipe", || {
            let folder = Folder::new();
            let path = folder.path("pipe");
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.unwrap().success());
            support::runtime(1, full_stealing).run(|| {
                let reader = withy::spawn({
                    let path = path.clone();
                    move || {
                        let lines = BufReader::new(File::open(path)?).lines();
                        lines.collect::<io::Result<Vec<_>>>()
                    }
                });
                // Opening a pipe waits for the other end: the reader comes first.
                withy::yield_now();
                let mut pipe = File::options().write(true).open(&path).unwrap();
                pipe.write_all(b"one\ntwo\n").unwrap();
                drop(pipe);
                assert_eq!(reader.join().unwrap().unwrap(), ["one", "two"]);
            });
        });
    }
}

/// Law 6: a coroutine that unwinds while its write runs has written it: no byte is lost or written in part.
#[test]
fn a_write_that_has_begun_is_not_cut_short() {
    for workers in [1, 2, 8] {
        within(LIMIT, "writes at the end of a runtime", || {
            let folder = Folder::new();
            let runtime = support::runtime(workers, false);
            let (started, start) = std::sync::mpsc::channel();
            let path = folder.path("file");
            let mut file = File::create(&path).unwrap();
            let writer = runtime.spawn(move || {
                let record = [7_u8; 10_000];
                loop {
                    file.write_all(&record).unwrap();
                    let _ = started.send(());
                }
            });
            start.recv().unwrap();
            runtime.shutdown(LIMIT).unwrap();
            assert!(writer.join().map(|never: ()| never).is_err());
            let len = std_fs::metadata(&path).unwrap().len();
            assert!(len > 0 && len.is_multiple_of(10_000), "{len} bytes");
        });
    }
}
