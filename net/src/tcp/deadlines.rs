//! Limits that std does not have: deadlines, which are points in time, and limits of `accept`.

use std::io;
use std::time::{Duration, Instant};

use withy_runtime::poll::Direction;

use super::listener::TcpListener;
use super::stream::TcpStream;

impl TcpStream {
    /// Sets the point in time after which no read or peek waits: the one that is blocked now, and all later ones,
    /// through every clone, until the deadline is changed. `None` removes it.
    ///
    /// Where a [timeout](Self::set_read_timeout) limits each wait anew, a deadline limits all of them together: a
    /// whole request, however many reads it takes. With both, the earlier one decides. A change takes effect on
    /// reads that are blocked already.
    ///
    /// Past the deadline a read still makes one attempt, so bytes that have arrived are returned, and so is the
    /// end of the stream; what would have to wait fails at once, and loses nothing. A peer that never pauses can
    /// thus keep a loop of reads going: such a loop looks at the clock itself.
    ///
    /// # Errors
    ///
    /// None today. Reads past the deadline fail with `TimedOut`, where those past a timeout fail with `WouldBlock`
    /// as std's do.
    ///
    /// # Differences from std
    ///
    /// std has no such method. It is Go's `SetReadDeadline`, but for the attempt that is made past the deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{ErrorKind, Read, Write};
    /// use std::time::{Duration, Instant};
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut server, _) = listener.accept()?;
    ///
    /// server.set_read_deadline(Some(Instant::now() + Duration::from_millis(20)))?;
    /// assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
    ///
    /// server.set_read_deadline(None)?;
    /// client.write_all(b"late")?;
    /// assert_eq!(server.read(&mut [0; 8])?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_read_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.socket.set_deadline(Direction::Read, deadline);
        Ok(())
    }

    /// Sets the point in time after which no write waits for room.
    ///
    /// What [`set_read_deadline`](Self::set_read_deadline) says holds here too: past the deadline, what fits into the
    /// kernel's buffer is still taken.
    ///
    /// # Errors
    ///
    /// None today. Writes past the deadline fail with `TimedOut`.
    ///
    /// # Differences from std
    ///
    /// std has no such method.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{ErrorKind, Write};
    /// use std::time::{Duration, Instant};
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let (_server, _) = listener.accept()?;
    ///
    /// client.set_write_deadline(Some(Instant::now() + Duration::from_millis(20)))?;
    /// // Nobody reads: at some point the buffers are full.
    /// let error = loop {
    ///     if let Err(error) = client.write(&[0; 65536]) {
    ///         break error;
    ///     }
    /// };
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_write_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.socket.set_deadline(Direction::Write, deadline);
        Ok(())
    }

    /// Sets [`read_deadline`](Self::read_deadline) and [`write_deadline`](Self::write_deadline), one after the other.
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Differences from std
    ///
    /// std has no such method.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::time::{Duration, Instant};
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// let deadline = Some(Instant::now() + Duration::from_secs(30));
    /// stream.set_deadline(deadline)?;
    /// assert_eq!(stream.read_deadline()?, deadline);
    /// assert_eq!(stream.write_deadline()?, deadline);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.set_read_deadline(deadline)?;
        self.set_write_deadline(deadline)
    }

    /// The deadline that [`set_read_deadline`](Self::set_read_deadline) set. More than 400 years from now are `None`.
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.read_deadline()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_deadline(&self) -> io::Result<Option<Instant>> {
        Ok(self.socket.deadline(Direction::Read))
    }

    /// The deadline that [`set_write_deadline`](Self::set_write_deadline) set. More than 400 years from now are
    /// `None`.
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.write_deadline()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_deadline(&self) -> io::Result<Option<Instant>> {
        Ok(self.socket.deadline(Direction::Write))
    }
}

impl TcpListener {
    /// Limits how long each [`accept`](Self::accept) waits for a connection, through every clone; `None` removes the
    /// limit. Those that wait now are bound by it too, counted from now.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is zero. Accepts that time out fail with `WouldBlock`, as reads do.
    ///
    /// # Differences from std
    ///
    /// std has no such method. This is what `SO_RCVTIMEO` is to accept(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    /// use withy::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_accept_timeout(Some(Duration::from_millis(10)))?;
    /// assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_accept_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_timeout(Direction::Read, timeout)
    }

    /// Sets the point in time after which no [`accept`](Self::accept) waits: those that are blocked now, and all later
    /// ones, through every clone. `None` removes it.
    ///
    /// As [`TcpStream::set_read_deadline`]: a connection that is in the backlog is accepted past the deadline too.
    ///
    /// # Errors
    ///
    /// None today. Accepts past the deadline fail with `TimedOut`.
    ///
    /// # Differences from std
    ///
    /// std has no such method.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::ErrorKind;
    /// use std::time::Instant;
    /// use withy::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_accept_deadline(Some(Instant::now()))?;
    /// assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_accept_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.socket.set_deadline(Direction::Read, deadline);
        Ok(())
    }

    /// The limit that [`set_accept_timeout`](Self::set_accept_timeout) set.
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert_eq!(listener.accept_timeout()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.socket.timeout(Direction::Read))
    }

    /// The deadline that [`set_accept_deadline`](Self::set_accept_deadline) set.
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert_eq!(listener.accept_deadline()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept_deadline(&self) -> io::Result<Option<Instant>> {
        Ok(self.socket.deadline(Direction::Read))
    }
}
