//! The thing and its duplicate descriptor: how they come together and part.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::RefUnwindSafe;

use rustix::event::epoll;
use rustix::io::Errno;
use socket2::SockRef;
use withy_runtime::poll::{AsRegistration, Registration};

use crate::shell::{read_limits, write_limits};

/// Something with a descriptor (a timerfd, an inotify or tun device, a serial line, a C library's connection), so that
/// waiting for it parks the coroutine.
///
/// There are three ways to use it, from the plainest on:
///
/// * If the thing reads and writes, so does the `Pollable`: [`Read`](std::io::Read) and [`Write`](std::io::Write), as
///   for a socket.
/// * [`read_with`](Self::read_with) and [`write_with`](Self::write_with) make any call of it, and wait as often as
///   it gives `WouldBlock`. It has to have emptied (filled) the descriptor then: *what is waited for next is something
///   new*, as epoll's edge-triggered mode has it.
/// * [`wait_readable`](Self::wait_readable) and [`wait_writable`](Self::wait_writable) wait until the descriptor *is*
///   ready, however it came to be. That suits libraries that say "I need to read" and do it themselves (libpq,
///   libssh2), at the cost of a poll(2) for each wait.
///
/// As sockets do, it belongs to no runtime, serves plain threads too, has timeouts and deadlines, and
/// [`select!`](withy_runtime::select) takes it as `readable(&pollable)`.
///
/// # The descriptor
///
/// [`new`](Self::new) makes the open file description non-blocking, whoever else has it (a terminal is shared with the
/// shell); the mode is put back by [`into_inner`](Self::into_inner) and by a drop. So let there be one `Pollable` of a
/// description, shared by reference. [`new_nonblocking`](Self::new_nonblocking) leaves the mode alone.
///
/// A `Pollable` takes a descriptor of its own, a duplicate, to wait with. A thing that closes its own descriptor, or
/// opens another in its place, does no harm, but the `Pollable` goes on to wait for the old one: make a new `Pollable`
/// then.
///
/// # Examples
///
/// A timer of the kernel, which also runs while the machine sleeps:
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use rustix::time::{
///     Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
///     timerfd_settime,
/// };
/// use withy::net::Pollable;
///
/// # fn main() -> std::io::Result<()> {
/// let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
/// let once = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// let never = Timespec { tv_sec: 0, tv_nsec: 0 };
/// let when = Itimerspec { it_value: once, it_interval: never };
/// timerfd_settime(&timer, TimerfdTimerFlags::empty(), &when)?;
///
/// let timer = Pollable::new(timer)?;
/// let mut expirations = [0; 8];
/// timer.read_with(|timer| Ok(rustix::io::read(timer, &mut expirations)?))?;
/// assert_eq!(u64::from_ne_bytes(expirations), 1);
/// # Ok(())
/// # }
/// ```
pub struct Pollable<T> {
    // Before `io`: fields are dropped in this order, and the mode is put back while the description is open for sure.
    pub(super) watched: Watched,
    pub(super) io: T,
}

/// Our duplicate of a descriptor, and whether its mode has to be put back.
pub(super) struct Watched {
    registration: Registration,
    made_nonblocking: bool,
}

impl Watched {
    pub(super) fn registration(&self) -> &Registration {
        &self.registration
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.made_nonblocking {
            // It worked in the other direction, and if it fails nothing is left to be done.
            let _ = SockRef::from(&self.registration.fd()).set_nonblocking(false);
        }
    }
}

impl<T: AsFd> Pollable<T> {
    /// Makes the descriptor of `io` non-blocking, for as long as this lives.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if its descriptor is none that can be waited for, such as that of a file on disk: epoll(7)
    /// refuses it. Otherwise if there is no descriptor or memory left; it takes one for good, and one more for a
    /// moment.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::ErrorKind;
    /// use withy::net::Pollable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let error = Pollable::new(file).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(io: T) -> io::Result<Pollable<T>> {
        let mut pollable = Pollable::new_nonblocking(io)?;
        let watched = &mut pollable.watched;
        // O_NONBLOCK is a flag of any descriptor, though socket2 speaks of sockets.
        let fd = watched.registration.fd();
        let mode = SockRef::from(&fd);
        if !mode.nonblocking()? {
            mode.set_nonblocking(true)?;
            watched.made_nonblocking = true;
        }
        Ok(pollable)
    }

    /// As [`new`](Self::new), for an `io` that never blocks: since it is non-blocking already and stays so, or since
    /// its calls say `MSG_DONTWAIT`. The mode is left as it is.
    ///
    /// With one that blocks after all, every call holds up its worker, and all coroutines on that.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use rustix::event::{EventfdFlags, eventfd};
    /// use withy::net::Pollable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let counter = eventfd(7, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    /// let counter = Pollable::new_nonblocking(counter)?;
    /// counter.wait_readable()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new_nonblocking(io: T) -> io::Result<Pollable<T>> {
        let duplicate = io.as_fd().try_clone_to_owned()?;
        refuse_what_epoll_refuses(duplicate.as_fd())?;
        Ok(Pollable {
            watched: Watched {
                registration: Registration::new(duplicate),
                made_nonblocking: false,
            },
            io,
        })
    }
}

impl<T> Pollable<T> {
    /// The thing itself. What is read or written through it directly is not waited for.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// The thing itself, mutably. One that is put in its place is not waited for: make a new `Pollable` for it.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.io
    }

    /// Gives the thing back, deregistered and in the mode that it had.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::Pollable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (reader, _writer) = std::io::pipe()?;
    /// let reader = Pollable::new(reader)?;
    /// let reader: std::io::PipeReader = reader.into_inner();
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "it is closed otherwise"]
    pub fn into_inner(self) -> T {
        let Pollable { watched, io } = self;
        drop(watched);
        io
    }

    read_limits!(
        watched,
        "pollable",
        import: "use withy::net::Pollable;",
        new: "let (one, _other) = std::os::unix::net::UnixStream::pair()?;\nlet pollable = Pollable::new(one)?;",
        read: "std::io::Read::read(&mut &pollable, &mut [0; 8])"
    );
    write_limits!(
        watched,
        "pollable",
        import: "use withy::net::Pollable;",
        new: "let (one, _other) = std::os::unix::net::UnixStream::pair()?;\nlet pollable = Pollable::new(one)?;"
    );
}

/// What epoll refuses would otherwise fail at the first wait, of a coroutine only, and say no more than "not
/// permitted".
fn refuse_what_epoll_refuses(fd: BorrowedFd<'_>) -> io::Result<()> {
    let trial = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let nothing = epoll::EventData::new_u64(0);
    match epoll::add(&trial, fd, nothing, epoll::EventFlags::empty()) {
        Err(Errno::PERM) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "got a descriptor that epoll refuses, such as that of a file on disk; expected one that can be waited for; \
             use withy::fs, or withy::blocking, for what is always ready",
        )),
        added => Ok(added?),
    }
}

impl<T: AsFd> AsFd for Pollable<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T: AsRawFd> AsRawFd for Pollable<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }
}

impl<T> AsRegistration for Pollable<T> {
    fn registration(&self) -> Option<&Registration> {
        Some(&self.watched.registration)
    }
}

impl<T: fmt::Debug> fmt::Debug for Pollable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pollable")
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

// As sockets are: what a panic can leave half done is in the thing, which answers for itself, or in the kernel.
impl<T: RefUnwindSafe> RefUnwindSafe for Pollable<T> {}
