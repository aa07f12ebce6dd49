//! How full a connection's queues are: `Recv-Q` and `Send-Q` of ss(8).

use std::io;

use super::stream::TcpStream;
use crate::interop::Queue;

impl TcpStream {
    /// The bytes that have arrived and were not read yet (`SIOCINQ`): the `Recv-Q` of ss(8).
    ///
    /// If it keeps growing, *this* program reads more slowly than its peer writes: it computes, waits for something
    /// else, or has forgotten the stream. At the receive buffer's size the kernel lets the peer send no more. The end of the
    /// stream counts nothing.
    ///
    /// # Errors
    ///
    /// Those of ioctl(2).
    ///
    /// # Differences from std
    ///
    /// std has no such method. See tcp(7), `SIOCINQ`.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::Write;
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let (server, _) = listener.accept()?;
    /// client.write_all(b"not read")?;
    /// server.peek(&mut [0])?; // it has arrived
    /// assert_eq!(server.recv_queue()?, 8);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_queue(&self) -> io::Result<usize> {
        self.socket.queued(Queue::Received)
    }

    /// The bytes that were written and that the peer's kernel has not acknowledged yet (`SIOCOUTQ`): the `Send-Q` of
    /// ss(8).
    ///
    /// If it keeps growing, the *peer* does not read fast enough, the network loses packets, or the peer is
    /// gone: [`set_user_timeout`](Self::set_user_timeout) ends the last case. At the send buffer's size writes wait. If it is
    /// zero the peer's *kernel* has all bytes; whether its program has read them, only that program can say.
    ///
    /// # Errors
    ///
    /// Those of ioctl(2).
    ///
    /// # Differences from std
    ///
    /// std has no such method. See tcp(7), `SIOCOUTQ`.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::Write;
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(client.send_queue()?, 0);
    /// client.set_nonblocking(true)?;
    /// while client.write(&[0; 65536]).is_ok() {} // nobody reads
    /// assert!(client.send_queue()? > 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_queue(&self) -> io::Result<usize> {
        self.socket.queued(Queue::Sent)
    }
}
