//! Serving connections of this machine.

use std::io;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use super::listener::Listener;
use crate::{UnixListener, UnixStream};

/// Refused connections are closed: there is no reset to send.
impl Listener for UnixListener {
    type Connection = UnixStream;
    type Peer = SocketAddr;

    fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        UnixListener::accept(self)
    }

    fn set_idle_timeout(connection: &UnixStream, limit: Duration) -> io::Result<()> {
        connection.set_read_timeout(Some(limit))?;
        connection.set_write_timeout(Some(limit))
    }
}
