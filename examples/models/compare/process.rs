//! A server as a process of its own: started on its cores, stopped, and what it has used from its start to its end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::retry_on_intr;

/// A server that has not said that it is ready by then is killed.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A server that was told to stop, and does not, is killed then.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The exit code of a model that the system has no means for.
pub(crate) const UNSUPPORTED: i32 = 77;

pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it says to standard error: told if it fails, and not in the middle of the progress bar.
    stderr: File,
    /// It was waited for: its number may be another's.
    has_ended: bool,
    pub(crate) addr: SocketAddr,
}

/// What a server and its children have used in their lives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) context_switches: u64,
    /// What a model says of itself when it ends.
    pub(crate) wasted_wake_ups: Option<u64>,
}

/// Cores, by number.
#[derive(Clone, Debug)]
pub(crate) struct Cores {
    pub(crate) server: Vec<usize>,
    pub(crate) client: Vec<usize>,
}

impl Cores {
    /// Half for the server, half for its clients; all for both where there is but one.
    pub(crate) fn split() -> Cores {
        let mut all = allowed();
        if all.len() < 2 {
            return Cores {
                server: all.clone(),
                client: all,
            };
        }
        let client = all.split_off(all.len() / 2);
        Cores {
            server: all,
            client,
        }
    }
}

impl Server {
    /// Starts this program once more, with those arguments, and waits until it is ready.
    ///
    /// # Errors
    /// If it ends before; `Unsupported` if it says that the system has no means for it.
    pub(crate) fn start(arguments: &[String], cores: &[usize]) -> io::Result<Server> {
        let stderr = File::from(memfd_create("stderr", MemfdFlags::CLOEXEC)?);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone()?)
            // Ctrl-C is for us: what is measured is measured to the end.
            .process_group(0);
        let set = cpu_set(cores);
        // SAFETY: between fork and exec: two system calls, on memory of our own.
        unsafe {
            command.pre_exec(move || {
                // Nothing is left behind, however we end.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                match libc::sched_setaffinity(0, size_of_val(&set), &raw const set) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().expect("piped");
        let mut server = Server {
            child,
            stdout: BufReader::new(stdout),
            stderr,
            has_ended: false,
            addr: ([127, 0, 0, 1], 0).into(),
        };
        match server.first_line()?.strip_prefix("ready ").map(str::parse) {
            Some(Ok(addr)) => server.addr = addr,
            _ => return Err(server.not_ready(arguments)),
        }
        Ok(server)
    }

    /// Empty if it ends before, or says nothing for too long.
    fn first_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let mut said = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
        let limit = Timespec::try_from(START_LIMIT).map_err(io::Error::other)?;
        if retry_on_intr(|| poll(&mut said, Some(&limit)))? > 0 {
            // Lines are written whole.
            self.stdout.read_line(&mut line)?;
        }
        Ok(line.trim_end().to_owned())
    }

    /// Why: what it says itself, if it does.
    fn not_ready(&mut self, arguments: &[String]) -> io::Error {
        // Who still runs had time enough.
        let _ = self.child.kill();
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return error,
        };
        self.has_ended = true;
        let kind = match status.code() {
            Some(UNSUPPORTED) => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        let why = self
            .last_words()
            .unwrap_or_else(|| format!("`models {}` was not ready: {status}", arguments.join(" ")));
        io::Error::new(kind, why)
    }

    /// The last line that it has said to standard error.
    fn last_words(&mut self) -> Option<String> {
        let mut said = Vec::new();
        self.stderr.rewind().ok()?;
        self.stderr.read_to_end(&mut said).ok()?;
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().rfind(|line| !line.trim().is_empty())?;
        Some(last.strip_prefix("models: ").unwrap_or(last).to_owned())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it as a user would, and says what it has used.
    ///
    /// # Errors
    /// If it did not stop in time, or not well.
    pub(crate) fn stop(mut self) -> io::Result<Usage> {
        let pid = libc::pid_t::try_from(self.child.id()).map_err(io::Error::other)?;
        // SAFETY: our own child, which was not waited for yet.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let (status, used) = wait(pid, Instant::now() + STOP_LIMIT)?;
        self.has_ended = true;
        let mut lines = String::new();
        self.stdout.read_to_string(&mut lines)?;
        let status = ExitStatus::from_raw(status);
        if !status.success() {
            let said = self.last_words().unwrap_or_default();
            return Err(io::Error::other(format!(
                "the server ended with {status}, expected 0 {said}"
            )));
        }
        let said = lines.lines().find_map(|line| line.strip_prefix("wasted "));
        Ok(Usage {
            wasted_wake_ups: said.and_then(|said| said.trim().parse().ok()),
            ..used
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.has_ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for a child's end: its status, and what it and those it has waited for have used.
fn wait(pid: libc::pid_t, limit: Instant) -> io::Result<(libc::c_int, Usage)> {
    let mut status = 0;
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: status and usage are our own; a usage of zeroes is valid.
        match unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, used.as_mut_ptr()) } {
            0 if Instant::now() >= limit => {
                let text = format!("the server did not end within {STOP_LIMIT:?} of SIGTERM");
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            0 => thread::sleep(Duration::from_millis(1)),
            -1 => return Err(io::Error::last_os_error()),
            _ => break,
        }
    }
    // SAFETY: zeroes, or what the kernel has written.
    let used = unsafe { used.assume_init() };
    let switches = used.ru_nvcsw + used.ru_nivcsw;
    Ok((
        status,
        Usage {
            cpu: duration(used.ru_utime) + duration(used.ru_stime),
            context_switches: u64::try_from(switches).unwrap_or(0),
            wasted_wake_ups: None,
        },
    ))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Binds the calling thread, and those that it starts, to cores.
pub(crate) fn bind(cores: &[usize]) -> io::Result<()> {
    let set = cpu_set(cores);
    // SAFETY: a set of our own.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn cpu_set(cores: &[usize]) -> libc::cpu_set_t {
    // SAFETY: a set of bits, none of which is set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        // SAFETY: `allowed` gives only cores that have a bit in a set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    set
}

/// The cores that this process may use.
fn allowed() -> Vec<usize> {
    // SAFETY: as above.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set of our own.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) } != 0 {
        return vec![0];
    }
    let bits = 8 * size_of_val(&set);
    // SAFETY: below the number of bits.
    (0..bits)
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect()
}
