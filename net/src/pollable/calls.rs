//! Waiting for a thing, and calls of it that wait.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use withy_runtime::poll::Direction;

use super::thing::Pollable;

impl<T> Pollable<T> {
    /// Waits until the descriptor can be read: data, the end of the stream, or an error that a read would give. It
    /// takes nothing, and asks poll(2), so it also tells of what came before.
    ///
    /// That it is readable may be history when this returns, if others read, too: so a call that follows has to be
    /// prepared for `WouldBlock`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` past the [timeout](Self::set_read_timeout), `TimedOut` past the
    /// [deadline](Self::set_read_deadline). No memory for the netpoller, or the runtime shuts down.
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
    /// `WouldBlock` past the [timeout](Self::set_write_timeout), `TimedOut` past the
    /// [deadline](Self::set_write_deadline). No memory for the netpoller, or the runtime shuts down.
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
    /// The call must not block, and *its `WouldBlock` must mean that the descriptor is empty*: one that leaves bytes
    /// there would be waited for until more of them come. What cannot keep to that, waits by
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

    /// As [`read_with`](Self::read_with), for a call that writes, whose `WouldBlock` must mean that the descriptor is
    /// full.
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

    fn wait(&self, direction: Direction, events: PollFlags) -> io::Result<()> {
        let registration = self.watched.registration();
        // Once whatever is known of the readiness: a call of the thing may have given `WouldBlock` and left something there.
        match registration.attempt(|fd| poll_now(fd, events)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                registration.io(direction, |fd| poll_now(fd, events), |()| false)
            }
            polled => polled,
        }
    }

    /// Only `WouldBlock` says that a descriptor of any sort is empty, or full (law 7). The lifetime is what `&T: Read`
    /// asks for.
    pub(super) fn with<'a, R>(
        &'a self,
        direction: Direction,
        mut call: impl FnMut(&'a T) -> io::Result<R>,
    ) -> io::Result<R> {
        let registration = self.watched.registration();
        registration.io(direction, |_| call(&self.io), |_| false)
    }

    fn with_mut<R>(
        &mut self,
        direction: Direction,
        mut call: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        let registration = self.watched.registration();
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
