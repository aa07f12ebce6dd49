//! Timeouts and deadlines of a stream in memory.

use std::io;
use std::time::{Duration, Instant};

use super::Duplex;
use super::pipe::Side;
use crate::options::zero_timeout;

impl Duplex {
    /// Limits how long each read and peek waits, through every clone; `None` removes the limit. Those that wait now
    /// are bound by it too, counted from now.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is zero. Reads that time out fail with `WouldBlock`, as those of a `TcpStream` do.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{ErrorKind, Read};
    /// use std::time::Duration;
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut client, _server) = duplex(16);
    /// client.set_read_timeout(Some(Duration::from_millis(10)))?;
    /// assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        nonzero(timeout)?;
        self.end.incoming.set_timeout(Side::Readers, timeout);
        Ok(())
    }

    /// Limits how long each write waits for room. What [`set_read_timeout`](Self::set_read_timeout) says holds here
    /// too.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{ErrorKind, Write};
    /// use std::time::Duration;
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut one, _other) = duplex(4);
    /// one.set_write_timeout(Some(Duration::from_millis(10)))?;
    /// one.write_all(b"full")?;
    /// assert_eq!(one.write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        nonzero(timeout)?;
        self.end.outgoing.set_timeout(Side::Writers, timeout);
        Ok(())
    }

    /// The limit that [`set_read_timeout`](Self::set_read_timeout) set.
    ///
    /// # Errors
    ///
    /// None; the signature is `TcpStream`'s.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = duplex(4);
    /// assert_eq!(one.read_timeout()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.end.incoming.limits(Side::Readers).timeout())
    }

    /// The limit that [`set_write_timeout`](Self::set_write_timeout) set.
    ///
    /// # Errors
    ///
    /// None; the signature is `TcpStream`'s.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = duplex(4);
    /// assert_eq!(one.write_timeout()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.end.outgoing.limits(Side::Writers).timeout())
    }

    /// Sets the point in time after which no read or peek waits, as
    /// [`TcpStream::set_read_deadline`](crate::TcpStream::set_read_deadline) does.
    ///
    /// # Errors
    ///
    /// None. Reads past the deadline fail with `TimedOut`.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{ErrorKind, Read};
    /// use std::time::{Duration, Instant};
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut one, _other) = duplex(4);
    /// one.set_read_deadline(Some(Instant::now() + Duration::from_millis(10)))?;
    /// assert_eq!(one.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_read_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.end.incoming.set_deadline(Side::Readers, deadline);
        Ok(())
    }

    /// Sets the point in time after which no write waits for room, as
    /// [`TcpStream::set_write_deadline`](crate::TcpStream::set_write_deadline) does.
    ///
    /// # Errors
    ///
    /// None. Writes past the deadline fail with `TimedOut`.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{ErrorKind, Write};
    /// use std::time::Instant;
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut one, _other) = duplex(4);
    /// one.set_write_deadline(Some(Instant::now()))?;
    /// one.write_all(b"full")?;
    /// assert_eq!(one.write(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_write_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.end.outgoing.set_deadline(Side::Writers, deadline);
        Ok(())
    }

    /// Sets both deadlines, one after the other.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::time::{Duration, Instant};
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = duplex(4);
    /// let deadline = Some(Instant::now() + Duration::from_secs(30));
    /// one.set_deadline(deadline)?;
    /// assert_eq!(one.read_deadline()?, deadline);
    /// assert_eq!(one.write_deadline()?, deadline);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.set_read_deadline(deadline)?;
        self.set_write_deadline(deadline)
    }

    /// The deadline that [`set_read_deadline`](Self::set_read_deadline) set.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = duplex(4);
    /// assert_eq!(one.read_deadline()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_deadline(&self) -> io::Result<Option<Instant>> {
        Ok(self.end.incoming.limits(Side::Readers).deadline())
    }

    /// The deadline that [`set_write_deadline`](Self::set_write_deadline) set.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = duplex(4);
    /// assert_eq!(one.write_deadline()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_deadline(&self) -> io::Result<Option<Instant>> {
        Ok(self.end.outgoing.limits(Side::Writers).deadline())
    }
}

fn nonzero(timeout: Option<Duration>) -> io::Result<()> {
    match timeout {
        Some(Duration::ZERO) => Err(zero_timeout()),
        _ => Ok(()),
    }
}
