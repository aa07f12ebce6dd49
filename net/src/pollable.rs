//! Any descriptor that can be waited for.
//!
//! # Whose descriptor is registered
//!
//! A netpoller's registration must be taken back before its descriptor is closed, or the number may be somebody
//! else's by then, whose registration would be taken back instead: a neighbour's socket that never wakes again. But a `T`
//! is safe code of others: it may close or replace its descriptor at any time, by [`Pollable::get_mut`], by interior
//! mutability, in a C library. So what is registered is a *duplicate* that nobody else knows. It refers to the same open
//! file description, which is what readiness belongs to; and it is ours to close, after it was deregistered. The price is
//! a descriptor for each `Pollable`, and that a `T` which opens something else underneath goes unnoticed: that is
//! documented, and harms nobody else. Borrowing the descriptor (tokio's `AsyncFd`) cannot be made safe, and
//! looking at the number before each use would still race with threads that reuse it.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::RefUnwindSafe;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use socket2::SockRef;
use withy_runtime::poll::{AsRegistration, Direction, Registration};

use crate::shell::{read_limits, write_limits};

/// Something with a descriptor (a timerfd, an inotify or tun device, a serial line, a C library's connection), so that
/// waiting for it parks the coroutine.
///
/// There are three ways to use it, from the plainest on:
///
/// * If the thing reads and writes, so does the `Pollable`: [`Read`] and [`Write`], as for a socket.
/// * [`read_with`](Self::read_with) and [`write_with`](Self::write_with) make any call of it, and wait as often as
///   it gives `WouldBlock`. It has to have emptied (filled) the descriptor then: *what is waited for next is something
///   new*, as epoll's edge-triggered mode has it.
/// * [`wait_readable`](Self::wait_readable) and [`wait_writable`](Self::wait_writable) wait until the descriptor *is* ready,
///   however it came to be. That suits libraries that say "I need to read" and do it themselves (libpq, libssh2), at
///   the cost of a poll(2) for each wait.
///
/// As sockets do, it belongs to no runtime, serves plain threads too, has timeouts and deadlines, and
/// [`select!`](withy_runtime::select) takes it as `readable(&pollable)`.
///
/// # The descriptor
///
/// [`new`](Self::new) makes the open file description non-blocking, whoever else has it (a terminal is shared with the shell);
/// the mode is put back by [`into_inner`](Self::into_inner) and by a drop. So let there be one `Pollable` of a
/// description, shared by reference. [`new_nonblocking`](Self::new_nonblocking) leaves the mode alone.
///
/// A `Pollable` takes a descriptor of its own, a duplicate, to wait with. A thing that closes its own descriptor, or opens
/// another in its place, does no harm, but the `Pollable` goes on to wait for the old one: make a new `Pollable` then.
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
    watched: Watched,
    io: T,
}

/// Our duplicate of a descriptor, and whether its mode has to be put back.
struct Watched {
    registration: Registration,
    made_nonblocking: bool,
}

impl Watched {
    fn registration(&self) -> &Registration {
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
    /// `InvalidInput` if its descriptor is none that can be waited for, such as that of a file on disk: epoll(7) refuses
    /// it. Otherwise if there is no descriptor or memory left; it takes one for good, and one more for a moment.
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

    /// As [`new`](Self::new), for an `io` that never blocks: since it is non-blocking already and stays so, or since its calls
    /// say `MSG_DONTWAIT`. The mode is left as it is.
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
    /// Waits until the descriptor can be read: data, the end of the stream, or an error that a read would give. It takes
    /// nothing, and asks poll(2), so it also tells of what came before.
    ///
    /// That it is readable may be history when this returns, if others read, too: so a call that follows has to be
    /// prepared for `WouldBlock`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` past the [timeout](Self::set_read_timeout), `TimedOut` past the [deadline](Self::set_read_deadline). No
    /// memory for the netpoller, or the runtime shuts down.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost, since nothing is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use withy::net::Pollable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, mut peer) = UnixStream::pair()?;
    /// let ours = Pollable::new(ours)?;
    /// peer.write_all(b"x")?;
    /// ours.wait_readable()?;
    /// assert_eq!(ours.get_ref().read(&mut [0; 8])?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_readable(&self) -> io::Result<()> {
        self.wait(Direction::Read, PollFlags::IN)
    }

    /// Waits until the descriptor has room for writing, or an error that a write would give. What
    /// [`wait_readable`](Self::wait_readable) says holds here too.
    ///
    /// # Errors
    ///
    /// `WouldBlock` past the [timeout](Self::set_write_timeout), `TimedOut` past the [deadline](Self::set_write_deadline).
    /// No memory for the netpoller, or the runtime shuts down.
    ///
    /// # Cancellation
    ///
    /// As [`wait_readable`](Self::wait_readable).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::os::unix::net::UnixStream;
    /// use withy::net::Pollable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _peer) = UnixStream::pair()?;
    /// Pollable::new(ours)?.wait_writable()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_writable(&self) -> io::Result<()> {
        self.wait(Direction::Write, PollFlags::OUT)
    }

    /// Makes a call that reads, and as often as that gives `WouldBlock` waits for something new to read, and makes it
    /// again. Other results are the caller's; `Interrupted` makes it again at once.
    ///
    /// The call must not block, and *its `WouldBlock` must mean that the descriptor is empty*: one that leaves bytes there
    /// would be waited for until more of them come. What cannot keep to that, waits by
    /// [`wait_readable`](Self::wait_readable).
    ///
    /// # Errors
    ///
    /// Those of the call, and of [`wait_readable`](Self::wait_readable).
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. It does
    /// so between calls of `call`, never after one that succeeded.
    ///
    /// # Examples
    ///
    /// Seen from std's side, a datagram:
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::os::unix::net::UnixDatagram;
    /// use withy::net::Pollable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, peer) = UnixDatagram::pair()?;
    /// let ours = Pollable::new(ours)?;
    /// peer.send(b"hello")?;
    /// let mut buf = [0; 64];
    /// assert_eq!(ours.read_with(|socket| socket.recv(&mut buf))?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_with<R>(&self, call: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.with(Direction::Read, call)
    }

    /// As [`read_with`](Self::read_with), for a call that writes, whose `WouldBlock` must mean that the descriptor is full.
    ///
    /// # Errors
    ///
    /// Those of the call, and of [`wait_writable`](Self::wait_writable).
    ///
    /// # Cancellation
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::os::unix::net::UnixDatagram;
    /// use withy::net::Pollable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, peer) = UnixDatagram::pair()?;
    /// let ours = Pollable::new(ours)?;
    /// ours.write_with(|socket| socket.send(b"hello"))?;
    /// assert_eq!(peer.recv(&mut [0; 64])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_with<R>(&self, call: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.with(Direction::Write, call)
    }

    /// [`read_with`](Self::read_with) for a call that needs the thing mutably.
    ///
    /// # Errors
    ///
    /// Those of [`read_with`](Self::read_with).
    ///
    /// # Cancellation
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{Read, Write};
    /// use withy::net::Pollable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (reader, mut writer) = std::io::pipe()?;
    /// let mut reader = Pollable::new(reader)?;
    /// writer.write_all(b"x")?;
    /// assert_eq!(reader.read_with_mut(|reader| reader.read(&mut [0; 8]))?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_with_mut<R>(&mut self, call: impl FnMut(&mut T) -> io::Result<R>) -> io::Result<R> {
        self.with_mut(Direction::Read, call)
    }

    /// [`write_with`](Self::write_with) for a call that needs the thing mutably.
    ///
    /// # Errors
    ///
    /// Those of [`write_with`](Self::write_with).
    ///
    /// # Cancellation
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::Write;
    /// use withy::net::Pollable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (_reader, writer) = std::io::pipe()?;
    /// let mut writer = Pollable::new(writer)?;
    /// assert_eq!(writer.write_with_mut(|writer| writer.write(b"x"))?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_with_mut<R>(
        &mut self,
        call: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.with_mut(Direction::Write, call)
    }

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
        "let it = withy::net::Pollable::new(std::os::unix::net::UnixStream::pair()?.0)?;"
    );
    write_limits!(
        watched,
        "let it = withy::net::Pollable::new(std::os::unix::net::UnixStream::pair()?.0)?;"
    );

    fn wait(&self, direction: Direction, events: PollFlags) -> io::Result<()> {
        let registration = &self.watched.registration;
        registration.io(direction, |fd| poll_now(fd, events), |()| false)
    }

    /// Only `WouldBlock` says that a descriptor of any sort is empty, or full (law 7). The lifetime is what `&T: Read` asks
    /// for.
    fn with<'a, R>(
        &'a self,
        direction: Direction,
        mut call: impl FnMut(&'a T) -> io::Result<R>,
    ) -> io::Result<R> {
        let registration = &self.watched.registration;
        registration.io(direction, |_| call(&self.io), |_| false)
    }

    fn with_mut<R>(
        &mut self,
        direction: Direction,
        mut call: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        let registration = &self.watched.registration;
        registration.io(direction, |_| call(&mut self.io), |_| false)
    }
}

/// `WouldBlock` unless `fd` has one of these events, or has failed.
fn poll_now(fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut [PollFd::from_borrowed_fd(fd, events)], Some(&now))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

/// What epoll refuses would otherwise fail at the first wait, of a coroutine only, and say no more than "not permitted".
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

impl<T: Read> Read for Pollable<T> {
    /// Reads what is there, and waits while there is nothing.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with_mut(|io| io.read(buf))
    }

    /// As `read`, into several buffers.
    ///
    /// # Cancellation
    ///
    /// As `read`.
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_with_mut(|io| io.read_vectored(bufs))
    }
}

impl<'a, T> Read for &'a Pollable<T>
where
    &'a T: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.with(Direction::Read, |mut io| io.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.with(Direction::Read, |mut io| io.read_vectored(bufs))
    }
}

impl<T: Write> Write for Pollable<T> {
    /// Writes what there is room for, and waits while there is none.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Then
    /// nothing of `buf` was written.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_with_mut(|io| io.write(buf))
    }

    /// As `write`, from several buffers.
    ///
    /// # Cancellation
    ///
    /// As `write`.
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_with_mut(|io| io.write_vectored(bufs))
    }

    /// Flushes the thing, and waits while there is no room for what it keeps back.
    ///
    /// # Cancellation
    ///
    /// As `write`.
    fn flush(&mut self) -> io::Result<()> {
        self.write_with_mut(Write::flush)
    }
}

impl<'a, T> Write for &'a Pollable<T>
where
    &'a T: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.with(Direction::Write, |mut io| io.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(Direction::Write, |mut io| io.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(Direction::Write, |mut io| io.flush())
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
