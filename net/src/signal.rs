//! Waiting for signals: [`ctrl_c`] for the usual one, [`Signals`] for several, one after another.
//!
//! A waiting coroutine is parked, a waiting thread is blocked, as if they read from a socket; and that is what they
//! do: the handler notes the signal and writes a byte to a socket pair.
//!
//! # What changes for the process
//!
//! The first use of a signal here installs a handler (signal-hook's, which calls the one that was there before), and
//! *that stays*: from then on the signal does no longer what it does by default. So after [`ctrl_c`] has returned, a
//! further SIGINT does not end the process. Signals are the process's: every [`Signals`] that was made for one gets it,
//! in whichever runtime.
//!
//! # Examples
//!
//! A server that ends when it is told to:
//!
//! ```
//! # mod withy { pub use withy_net::signal; pub use withy_runtime::*; }
//! use withy::signal::{Signal, Signals};
//!
//! # fn main() -> std::io::Result<()> {
//! let signals = Signals::new([Signal::INTERRUPT, Signal::TERMINATE])?;
//! let server = withy::spawn(|| { /* accept, serve … */ });
//! # // SAFETY: raise has no preconditions.
//! # unsafe { libc::raise(libc::SIGTERM) };
//! let signal = signals.wait()?;
//! assert_eq!(signal.to_string(), "SIGTERM");
//! // … stop accepting, and:
//! server.join().unwrap();
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, c_int};
use signal_hook::{SigId, consts::FORBIDDEN, flag, low_level};
use socket2::SockRef;
use withy_runtime::poll::{Direction, Registration};

use crate::interop;

/// Waits for the next SIGINT, which Ctrl-C at the terminal sends.
///
/// Signals from before the call do not count. Several callers that wait all get it. A further SIGINT while nobody
/// waits is lost, and does not end the process (see the [module](self)); for a program that wants each of them, one
/// [`Signals`] that lives on is better.
///
/// # Errors
///
/// If there is no descriptor or memory left for it.
///
/// # Cancellation
///
/// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses.
///
/// # Examples
///
/// ```no_run
/// # mod withy { pub use withy_net::signal; }
/// # fn main() -> std::io::Result<()> {
/// withy::signal::ctrl_c()?;
/// println!("shutting down");
/// # Ok(())
/// # }
/// ```
pub fn ctrl_c() -> io::Result<()> {
    Signals::new([Signal::INTERRUPT])?.wait().map(drop)
}

/// The number of a signal, with the name that the system gives it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signal(c_int);

impl Signal {
    /// SIGALRM: a timer of alarm(2) or setitimer(2).
    pub const ALARM: Signal = Signal(libc::SIGALRM);
    /// SIGCHLD: a child process has stopped or ended.
    pub const CHILD: Signal = Signal(libc::SIGCHLD);
    /// SIGCONT: the process goes on after a stop.
    pub const CONTINUE: Signal = Signal(libc::SIGCONT);
    /// SIGHUP: the terminal was closed; to a daemon, read your configuration again.
    pub const HANGUP: Signal = Signal(libc::SIGHUP);
    /// SIGINT: Ctrl-C at the terminal.
    pub const INTERRUPT: Signal = Signal(libc::SIGINT);
    /// SIGQUIT: Ctrl-\ at the terminal.
    pub const QUIT: Signal = Signal(libc::SIGQUIT);
    /// SIGTERM: end, please.
    pub const TERMINATE: Signal = Signal(libc::SIGTERM);
    /// SIGTSTP: Ctrl-Z at the terminal.
    pub const TERMINAL_STOP: Signal = Signal(libc::SIGTSTP);
    /// SIGUSR1: the program's own.
    pub const USER1: Signal = Signal(libc::SIGUSR1);
    /// SIGUSR2: the program's own.
    pub const USER2: Signal = Signal(libc::SIGUSR2);
    /// SIGWINCH: the terminal's window has another size.
    pub const WINDOW_CHANGE: Signal = Signal(libc::SIGWINCH);

    /// The signal of that number. Whether there is one, [`Signals::new`] finds out.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net::signal; }
    /// use withy::signal::Signal;
    ///
    /// assert_eq!(Signal::from_raw(15), Signal::TERMINATE);
    /// ```
    #[must_use]
    pub const fn from_raw(number: i32) -> Signal {
        Signal(number)
    }

    /// Its number.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net::signal; }
    /// use withy::signal::Signal;
    ///
    /// assert_eq!(Signal::INTERRUPT.as_raw(), 2);
    /// ```
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

/// Its name, as `SIGTERM`, or its number if it has none.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match low_level::signal_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// A set of signals that are waited for, from when this is made until it is dropped.
///
/// It may be shared: each signal is given to one of those who wait, be they coroutines or threads. A signal that comes
/// again before it was given to anybody counts once, as it does to the kernel; and different ones have no order.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net::signal; }
/// use withy::signal::{Signal, Signals};
///
/// # fn main() -> std::io::Result<()> {
/// let signals = Signals::new([Signal::HANGUP, Signal::TERMINATE])?;
/// # // SAFETY: raise has no preconditions.
/// # unsafe { libc::raise(libc::SIGHUP); }
/// # let mut seen = 0;
/// for signal in &signals {
///     match signal? {
///         Signal::HANGUP => println!("reading the configuration again"),
///         _ => break,
///     }
/// #   seen += 1;
/// #   unsafe { libc::raise(libc::SIGTERM); }
/// }
/// # assert_eq!(seen, 1);
/// # Ok(())
/// # }
/// ```
pub struct Signals {
    watched: Vec<Watched>,
    /// What the handlers wake waiters through: an end to read from, and one to write to.
    bell: Registration,
    ringer: UnixStream,
}

/// One signal, from its registration until it is dropped.
struct Watched {
    signal: Signal,
    pending: Arc<AtomicBool>,
    actions: Vec<SigId>,
}

impl Signals {
    /// Begins to wait for these signals. Naming one twice is naming it once.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there are none; if one is SIGKILL or SIGSTOP, which cannot be caught, or SIGSEGV, SIGBUS,
    /// SIGILL or SIGFPE, which concern the thread that they happen on; or if there is no signal of that number. Or if
    /// there is no descriptor left: it takes two, and one more for each signal, all close-on-exec.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net::signal; }
    /// use std::io::ErrorKind;
    /// use withy::signal::{Signal, Signals};
    ///
    /// let kill = Signal::from_raw(9);
    /// assert_eq!(Signals::new([kill]).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// ```
    pub fn new(signals: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
        let (bell, ringer) = UnixStream::pair()?;
        let mut watched: Vec<Watched> = Vec::new();
        for signal in signals {
            if watched.iter().all(|watched| watched.signal != signal) {
                watched.push(Watched::new(signal, &ringer)?);
            }
        }
        if watched.is_empty() {
            return Err(invalid("got no signals, expected one at least"));
        }
        Ok(Signals {
            watched,
            bell: Registration::new(OwnedFd::from(bell)),
            ringer,
        })
    }

    /// Waits for one of the signals, or gives one that has come since this was made and was given to nobody yet.
    ///
    /// # Errors
    ///
    /// If the waiting fails: no memory for the netpoller, or the runtime is shutting down.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. No
    /// signal is lost: one that was not returned is given to the next who waits.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net::signal; }
    /// use withy::signal::{Signal, Signals};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let signals = Signals::new([Signal::USER1])?;
    /// # // SAFETY: raise has no preconditions.
    /// # unsafe { libc::raise(libc::SIGUSR1) };
    /// assert_eq!(signals.wait()?, Signal::USER1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self) -> io::Result<Signal> {
        // Nothing that was taken says that nothing is left: only `WouldBlock` does.
        self.bell
            .io(Direction::Read, |bell| self.take(bell), |_| false)
    }

    /// An iterator that waits for one signal after another; it never gives `None`. See [`Signals`] for an
    /// example.
    pub fn iter(&self) -> Iter<'_> {
        Iter { signals: self }
    }

    /// A signal that has come, or `WouldBlock`.
    ///
    /// Nobody sleeps over a signal, neither a coroutine, which waits for bytes to come, nor a thread, which waits for
    /// bytes to be there: a handler notes the signal first, and writes a byte then. Bytes are taken out only here, and
    /// before a look at what is noted; whoever has taken some and leaves a signal to others, writes one again.
    fn take(&self, bell: BorrowedFd<'_>) -> io::Result<Signal> {
        let mut emptied = false;
        loop {
            if let Some(signal) = self.take_noted() {
                if emptied && self.watched.iter().any(Watched::is_noted) {
                    self.ring();
                }
                return Ok(signal);
            }
            interop::recv(&SockRef::from(&bell), &mut [0; 64], MSG_DONTWAIT)?;
            emptied = true;
        }
    }

    fn take_noted(&self) -> Option<Signal> {
        self.watched
            .iter()
            .find(|watched| watched.is_noted() && watched.pending.swap(false, Ordering::SeqCst))
            .map(|watched| watched.signal)
    }

    fn ring(&self) {
        // It fails only where the buffer is full, of bytes that wake as well.
        let _ = SockRef::from(&self.ringer).send_with_flags(b"X", MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

impl Watched {
    fn new(signal: Signal, ringer: &UnixStream) -> io::Result<Watched> {
        // SIGBUS: ours, for overflows of stacks, as SIGSEGV is.
        if FORBIDDEN.contains(&signal.0) || signal.0 == libc::SIGBUS {
            return Err(invalid(&format!(
                "got {signal}, which cannot be waited for; expected one that is sent to the process as a whole"
            )));
        }
        let pending = Arc::new(AtomicBool::new(false));
        let mut watched = Watched {
            signal,
            pending: Arc::clone(&pending),
            actions: Vec::with_capacity(2),
        };
        // Actions run in the order of their registration.
        watched.actions.push(flag::register(signal.0, pending)?);
        let ringer = ringer.as_fd().try_clone_to_owned()?;
        watched
            .actions
            .push(low_level::pipe::register(signal.0, ringer)?);
        interop::handle_on_alternate_stack(signal.0)?;
        Ok(watched)
    }

    fn is_noted(&self) -> bool {
        self.pending.load(Ordering::SeqCst)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for action in self.actions.drain(..) {
            low_level::unregister(action);
        }
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signals = self.watched.iter().map(|watched| watched.signal);
        f.debug_set().entries(signals).finish()
    }
}

impl<'a> IntoIterator for &'a Signals {
    type Item = io::Result<Signal>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// An iterator that [waits](Signals::wait) for signals for ever; see [`Signals::iter`].
#[must_use = "iterators are lazy and do nothing unless consumed"]
#[derive(Debug)]
pub struct Iter<'a> {
    signals: &'a Signals,
}

impl Iterator for Iter<'_> {
    type Item = io::Result<Signal>;

    /// The next signal.
    ///
    /// # Cancellation
    ///
    /// As [`Signals::wait`].
    fn next(&mut self) -> Option<io::Result<Signal>> {
        Some(self.signals.wait())
    }
}

impl FusedIterator for Iter<'_> {}
