//! Watches a folder: a descriptor that withy knows nothing about, read in plain sequential code.
//!
//! `cargo run --example inotify -- FOLDER` prints what happens in it until Ctrl-C.
//! `cargo run --example inotify -- --demo` makes a folder of its own, changes it, and checks what it is told.

mod cli;

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use withy::net::Pollable;
use withy::sync::mpsc;

/// Room for many changes; one alone has at most 16 bytes and a name of 256.
const CHANGES_BYTES: usize = 4096;

/// What is told of the folder itself, when it was deleted: nothing comes after it.
const GONE: &str = "gone";

/// Prints what happens in a folder
#[derive(Parser)]
#[command(
    name = "inotify",
    after_help = "Exit codes: 0 the folder is gone, 1 failed, 2 wrong usage"
)]
struct Options {
    /// The folder to watch; what is in folders inside it is not watched
    #[arg(required_unless_present = "demo")]
    folder: Option<PathBuf>,

    /// Watch a new folder, change it, check what is told and end
    #[arg(long, conflicts_with = "folder")]
    demo: bool,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,
}

fn main() -> ExitCode {
    cli::main(run)
}

/// Runs on the main thread, which is no worker: printing, which blocks, happens only here.
fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.runtime.install()?;
    let Some(folder) = &options.folder else {
        return demo();
    };
    let changes =
        watch(folder).map_err(|error| format!("cannot watch {}: {error}", folder.display()))?;
    println!("watching {}", folder.display());
    // Ctrl-C ends the process, as it always does: also where nobody reads what it prints.
    for change in changes {
        println!("{}", change?);
    }
    Ok(())
}

/// Something that happened to a file in the folder.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Change {
    what: &'static str,
    name: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8} {}", self.what, self.name)
    }
}

/// Watches `folder` in a coroutine of its own, until that is gone, or until something happens that nobody receives.
fn watch(folder: &Path) -> io::Result<mpsc::Receiver<io::Result<Change>>> {
    let watcher = Watcher::new(folder)?;
    let (tell, changes) = mpsc::sync_channel(64);
    withy::spawn(move || {
        loop {
            match watcher.next() {
                Ok(told) => {
                    for change in told {
                        let is_last = change.what == GONE;
                        if tell.send(Ok(change)).is_err() || is_last {
                            return;
                        }
                    }
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return;
                }
            }
        }
    });
    Ok(changes)
}

/// An inotify instance, as [`Pollable`] makes it fit for coroutines.
struct Watcher {
    inotify: Pollable<OwnedFd>,
}

impl Watcher {
    fn new(folder: &Path) -> io::Result<Watcher> {
        let inotify = inotify::init(CreateFlags::CLOEXEC)?;
        let flags = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, folder, flags)?;
        Ok(Watcher {
            inotify: Pollable::new(inotify)?,
        })
    }

    /// Waits until something happens, and tells all that has happened by then.
    fn next(&self) -> io::Result<Vec<Change>> {
        let mut room = [MaybeUninit::uninit(); CHANGES_BYTES];
        // One read for all: `WouldBlock` comes before the first change, or not at all.
        self.inotify.read_with(|inotify| {
            let mut events = inotify::Reader::new(inotify, &mut room);
            let mut changes = Vec::new();
            loop {
                changes.extend(change(&events.next()?));
                if events.is_buffer_empty() {
                    return Ok(changes);
                }
            }
        })
    }
}

fn change(event: &inotify::Event<'_>) -> Option<Change> {
    const KINDS: [(ReadFlags, &str); 7] = [
        (ReadFlags::CREATE, "created"),
        (ReadFlags::CLOSE_WRITE, "written"),
        (ReadFlags::DELETE, "deleted"),
        (ReadFlags::MOVED_FROM, "moved"),
        (ReadFlags::MOVED_TO, "arrived"),
        // The kernel keeps so many changes and no more: some were lost.
        (ReadFlags::QUEUE_OVERFLOW, "missed"),
        (ReadFlags::IGNORED, GONE),
    ];
    let (_, what) = KINDS
        .into_iter()
        .find(|(kind, _)| event.events().contains(*kind))?;
    let name = event.file_name().unwrap_or_default().to_string_lossy();
    Some(Change {
        what,
        // A name may have line ends, and what terminals obey.
        name: name.replace(char::is_control, "\u{fffd}"),
    })
}

fn demo() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("withy-inotify-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let checked = check(&folder);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    checked
}

fn check(folder: &Path) -> Result<(), Box<dyn Error>> {
    let changes = watch(folder)?;
    fs::write(folder.join("one"), "1")?;
    fs::rename(folder.join("one"), folder.join("two"))?;
    fs::remove_file(folder.join("two"))?;

    for (what, name) in [
        ("created", "one"),
        ("written", "one"),
        ("moved", "one"),
        ("arrived", "two"),
        ("deleted", "two"),
    ] {
        let change = changes.recv_timeout(Duration::from_secs(10))??;
        println!("{change}");
        if (change.what, change.name.as_str()) != (what, name) {
            return Err(format!("got {change:?}, expected that {name} was {what}").into());
        }
    }
    if let Ok(change) = changes.try_recv() {
        return Err(format!("got {change:?}, expected nothing more").into());
    }
    println!("five changes, each told once and in order");

    fs::remove_dir(folder)?;
    let last = changes.recv_timeout(Duration::from_secs(10))??;
    if last.what != GONE || changes.recv().is_ok() {
        return Err(format!("got {last:?}, expected that the folder is gone, and no more").into());
    }
    println!("and the last of the folder");
    Ok(())
}
