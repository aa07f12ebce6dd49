//! One face for all sockets that have a peer, so that a behaviour is written down once: ours on this side, std's on the
//! other.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net as std_unix;
use std::time::{Duration, Instant};

use socket2::SockRef;
use withy::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};
use withy_runtime::poll::AsRegistration;

use crate::support::sockets;

/// A connected socket of ours, and what std's at the other end does.
pub(crate) trait Endpoint:
    AsFd
    + AsRawFd
    + AsRegistration
    + FromRawFd
    + IntoRawFd
    + From<OwnedFd>
    + Into<OwnedFd>
    + Send
    + Sync
    + Sized
    + 'static
{
    type Peer: AsFd + Into<OwnedFd> + Send + 'static;
    /// Whether a message keeps its length, and an empty one is one.
    const MESSAGES: bool;
    /// Whether a writer can be made to wait: over loopback, UDP drops instead.
    const BLOCKS_WRITERS: bool;

    fn pair() -> (Self, Self::Peer);
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn peek(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn write(&self, buf: &[u8]) -> io::Result<usize>;
    fn clone(&self) -> Self;
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn read_timeout(&self) -> Option<Duration>;
    fn write_timeout(&self) -> Option<Duration>;
    fn set_read_deadline(&self, deadline: Option<Instant>);
    fn set_write_deadline(&self, deadline: Option<Instant>);
    fn read_deadline(&self) -> Option<Instant>;
    fn set_nonblocking(&self, nonblocking: bool);
    fn through_std(self) -> Self;
    fn peer_read(peer: &Self::Peer, buf: &mut [u8]) -> usize;
    fn peer_write(peer: &Self::Peer, buf: &[u8]);

    /// With buffers as small as the kernel allows.
    fn narrow_pair() -> (Self, Self::Peer) {
        let (ours, peer) = Self::pair();
        for size in [
            SockRef::from(&ours).set_send_buffer_size(4096),
            SockRef::from(&peer).set_send_buffer_size(4096),
        ] {
            size.expect("the size can be set");
        }
        (ours, peer)
    }
}

/// One that is a stream of bytes, as is what std has at the other end.
pub(crate) trait Stream: Endpoint<Peer: Read + Write> + Read + Write {
    fn shutdown(&self, how: Shutdown);
}

/// What has the same words in each type, but is not the same function.
macro_rules! same_words {
    ($std:ty) => {
        fn clone(&self) -> Self {
            self.try_clone().expect("it cannot fail")
        }
        fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.set_read_timeout(timeout)
        }
        fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.set_write_timeout(timeout)
        }
        fn read_timeout(&self) -> Option<Duration> {
            self.read_timeout().expect("it cannot fail")
        }
        fn write_timeout(&self) -> Option<Duration> {
            self.write_timeout().expect("it cannot fail")
        }
        fn set_read_deadline(&self, deadline: Option<Instant>) {
            self.set_read_deadline(deadline).expect("it cannot fail");
        }
        fn set_write_deadline(&self, deadline: Option<Instant>) {
            self.set_write_deadline(deadline).expect("it cannot fail");
        }
        fn read_deadline(&self) -> Option<Instant> {
            self.read_deadline().expect("it cannot fail")
        }
        fn set_nonblocking(&self, nonblocking: bool) {
            self.set_nonblocking(nonblocking).expect("it is open");
        }
        fn through_std(self) -> Self {
            Self::from(<$std>::from(self))
        }
    };
}

macro_rules! datagrams {
    ($std:ty) => {
        const MESSAGES: bool = true;

        fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
            self.recv(buf)
        }
        fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
            self.peek(buf)
        }
        fn write(&self, buf: &[u8]) -> io::Result<usize> {
            self.send(buf)
        }
        fn peer_read(peer: &Self::Peer, buf: &mut [u8]) -> usize {
            uninterrupted(|| peer.recv(buf))
        }
        fn peer_write(peer: &Self::Peer, buf: &[u8]) {
            assert_eq!(peer.send(buf).expect("the other end is there"), buf.len());
        }
    };
}

macro_rules! streams {
    () => {
        const MESSAGES: bool = false;
        const BLOCKS_WRITERS: bool = true;

        fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
            Read::read(&mut &*self, buf)
        }
        fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
            self.peek(buf)
        }
        fn write(&self, buf: &[u8]) -> io::Result<usize> {
            Write::write(&mut &*self, buf)
        }
        fn peer_read(mut peer: &Self::Peer, buf: &mut [u8]) -> usize {
            uninterrupted(|| peer.read(buf))
        }
        fn peer_write(mut peer: &Self::Peer, buf: &[u8]) {
            peer.write_all(buf).expect("the other end is there");
        }
    };
}

impl Endpoint for TcpStream {
    type Peer = std::net::TcpStream;

    fn pair() -> (Self, Self::Peer) {
        let (ours, peer) = sockets::pair();
        // As those of the others do, messages of the peer leave at once.
        peer.set_nodelay(true).expect("the option can be set");
        (ours, peer)
    }
    fn narrow_pair() -> (Self, Self::Peer) {
        sockets::narrow_pair()
    }

    streams!();
    same_words!(std::net::TcpStream);
}

impl Stream for TcpStream {
    fn shutdown(&self, how: Shutdown) {
        self.shutdown(how).expect("it is connected");
    }
}

impl Endpoint for UdpSocket {
    type Peer = std::net::UdpSocket;
    const BLOCKS_WRITERS: bool = false;

    fn pair() -> (Self, Self::Peer) {
        let ours = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        peer.connect(ours.local_addr().expect("it is bound"))
            .expect("an address");
        ours.connect(peer.local_addr().expect("it is bound"))
            .expect("an address");
        (ours, peer)
    }

    datagrams!(std::net::UdpSocket);
    same_words!(std::net::UdpSocket);
}

impl Endpoint for UnixDatagram {
    type Peer = std_unix::UnixDatagram;
    const BLOCKS_WRITERS: bool = true;

    fn pair() -> (Self, Self::Peer) {
        let (ours, peer) = std_unix::UnixDatagram::pair().expect("a descriptor is free");
        (ours.into(), peer)
    }

    datagrams!(std_unix::UnixDatagram);
    same_words!(std_unix::UnixDatagram);
}

impl Endpoint for UnixStream {
    type Peer = std_unix::UnixStream;

    fn pair() -> (Self, Self::Peer) {
        let (ours, peer) = std_unix::UnixStream::pair().expect("a descriptor is free");
        (ours.into(), peer)
    }

    streams!();
    same_words!(std_unix::UnixStream);
}

impl Stream for UnixStream {
    fn shutdown(&self, how: Shutdown) {
        self.shutdown(how).expect("it is connected");
    }
}

/// std lets EINTR through.
fn uninterrupted(mut read: impl FnMut() -> io::Result<usize>) -> usize {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome.expect("the other end is there"),
        }
    }
}

/// A test for each type: `each! { fn name<E: Stream>() for [TcpStream, UnixStream] {…} }`.
#[allow(unused_macros, reason = "each test crate uses its own part")]
macro_rules! each {
    ($($(#[$doc:meta])* fn $name:ident<$endpoint:ident: $bound:ident>() for [$($type:ident),*] $body:block)*) => {$(
        mod $name {
            use super::*;

            fn check<$endpoint: $bound>() $body

            each!(@tests [$(#[$doc])*] $($type),*);
        }
    )*};
    (@tests $docs:tt $($type:ident),*) => {
        $(each!(@test $docs $type);)*
    };
    (@test [$(#[$doc:meta])*] TcpStream) => {
        $(#[$doc])*
        #[test]
        fn of_tcp_streams() {
            check::<withy::net::TcpStream>();
        }
    };
    (@test [$(#[$doc:meta])*] UdpSocket) => {
        $(#[$doc])*
        #[test]
        fn of_udp() {
            check::<withy::net::UdpSocket>();
        }
    };
    (@test [$(#[$doc:meta])*] UnixDatagram) => {
        $(#[$doc])*
        #[test]
        fn of_unix_datagrams() {
            check::<withy::net::UnixDatagram>();
        }
    };
    (@test [$(#[$doc:meta])*] UnixStream) => {
        $(#[$doc])*
        #[test]
        fn of_unix_streams() {
            check::<withy::net::UnixStream>();
        }
    };
}
#[allow(unused_imports, reason = "each test crate uses its own part")]
pub(crate) use each;
