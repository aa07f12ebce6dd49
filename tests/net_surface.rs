//! `withy::net` in the place of `std::net`, and `withy::net::unix` in that of `std::os::unix::net`: every stable name
//! (Rust 1.95), with std's signatures and traits.
//!
//! Each part is code that a program might have, compiled and run with the one and with the other. What is unstable in
//! std is not here: `IntoIncoming`, `Ipv6MulticastScope`, `hostname`; `SocketAncillary` and its company, `UCred`,
//! `UnixSocketExt`.

#![allow(deprecated, reason = "std has them too")]
#![allow(
    clippy::type_complexity,
    clippy::too_many_lines,
    reason = "it is a list of what compiles"
)]

mod support;

use std::fmt::Debug;
use std::io::{Read, Result, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use support::{LIMIT, within};

fn socket<T>()
where
    T: AsFd + AsRawFd + FromRawFd + IntoRawFd + From<OwnedFd> + Into<OwnedFd>,
    T: Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe,
{
}
fn stream<T: Read + Write>() {}
fn sends<T: Send + Sync + Unpin>() {}
fn address<T: Copy + Eq + Ord + std::hash::Hash + Debug + std::fmt::Display + std::str::FromStr>() {
}
fn error<T: std::error::Error + Clone + Eq>() {}

/// As text, without descriptors, ports and names that the system chose.
fn printed(value: &impl Debug) -> String {
    let mut out = String::new();
    let mut digits = false;
    let mut quote = false;
    for letter in format!("{value:?}").chars() {
        let digit = letter.is_ascii_hexdigit() && (digits || quote || letter.is_ascii_digit());
        if !digit {
            out.push(letter);
        } else if !digits {
            out.push('N');
        }
        digits = digit;
        quote = letter == '"';
    }
    out
}

/// The same code for std's module and for withy's.
macro_rules! both {
    ($std:tt, $withy:tt, $($(#[$doc:meta])* fn $test:ident $body:block)*) => {$(
        mod $test {
            mod with_std {
                #[allow(unused_imports, reason = "some parts use little")]
                use super::super::*;
                both!(@use $std);
                pub(super) fn run() -> String $body
            }

            mod with_withy {
                #[allow(unused_imports, reason = "some parts use little")]
                use super::super::*;
                both!(@use $withy);
                pub(super) fn run() -> String $body
            }

            $(#[$doc])*
            #[test]
            fn is_there() {
                super::within(super::LIMIT, stringify!($test), || {
                    let expected = with_std::run();
                    assert_eq!(with_withy::run(), expected);
                    // And in a coroutine.
                    assert_eq!(::withy::run(with_withy::run), expected);
                });
            }
        }
    )*};
    (@use ($($module:ident)::+)) => {
        use ::$($module)::+ as net;
    };
}

both! { (std::net), (withy::net),
    /// Promise 19. What needs no change.
    fn addresses {
        use net::{
            AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs,
        };
        address::<IpAddr>();
        address::<Ipv4Addr>();
        address::<Ipv6Addr>();
        address::<SocketAddr>();
        address::<SocketAddrV4>();
        address::<SocketAddrV6>();
        error::<AddrParseError>();
        let addr: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let same: std::net::SocketAddr = addr;
        let _: [Shutdown; 3] = [Shutdown::Read, Shutdown::Write, Shutdown::Both];
        let found: Vec<SocketAddr> = ("127.0.0.1", 80).to_socket_addrs().unwrap().collect();
        format!("{same} {found:?}")
    }

    /// Promise 19. TCP: its behaviour is compared in tcp_surface.rs.
    fn tcp {
        use net::{Incoming, Shutdown, SocketAddr, TcpListener, TcpStream};
        socket::<TcpListener>();
        socket::<TcpStream>();
        stream::<TcpStream>();
        stream::<&TcpStream>();
        sends::<Incoming<'static>>();
        let _: fn(SocketAddr) -> Result<TcpListener> = TcpListener::bind;
        let _: fn(&TcpListener) -> Result<(TcpStream, SocketAddr)> = TcpListener::accept;
        let _: fn(&'static TcpListener) -> Incoming<'static> = TcpListener::incoming;
        let _: fn(&TcpListener) -> Result<TcpListener> = TcpListener::try_clone;
        let _: fn(&TcpListener) -> Result<SocketAddr> = TcpListener::local_addr;
        let _: fn(&TcpListener, u32) -> Result<()> = TcpListener::set_ttl;
        let _: fn(&TcpListener) -> Result<u32> = TcpListener::ttl;
        let _: [fn(&TcpListener, bool) -> Result<()>; 2] = [TcpListener::set_only_v6, TcpListener::set_nonblocking];
        let _: fn(&TcpListener) -> Result<bool> = TcpListener::only_v6;
        let _: fn(&TcpListener) -> Result<Option<std::io::Error>> = TcpListener::take_error;
        let _: fn(SocketAddr) -> Result<TcpStream> = TcpStream::connect;
        let _: fn(&SocketAddr, Duration) -> Result<TcpStream> = TcpStream::connect_timeout;
        let _: [fn(&TcpStream) -> Result<SocketAddr>; 2] = [TcpStream::local_addr, TcpStream::peer_addr];
        let _: fn(&TcpStream, Shutdown) -> Result<()> = TcpStream::shutdown;
        let _: fn(&TcpStream) -> Result<TcpStream> = TcpStream::try_clone;
        let _: [fn(&TcpStream, Option<Duration>) -> Result<()>; 2] =
            [TcpStream::set_read_timeout, TcpStream::set_write_timeout];
        let _: [fn(&TcpStream) -> Result<Option<Duration>>; 2] = [TcpStream::read_timeout, TcpStream::write_timeout];
        let _: fn(&TcpStream, &mut [u8]) -> Result<usize> = TcpStream::peek;
        let _: [fn(&TcpStream, bool) -> Result<()>; 2] = [TcpStream::set_nodelay, TcpStream::set_nonblocking];
        let _: fn(&TcpStream) -> Result<bool> = TcpStream::nodelay;
        let _: fn(&TcpStream, u32) -> Result<()> = TcpStream::set_ttl;
        let _: fn(&TcpStream) -> Result<u32> = TcpStream::ttl;
        let _: fn(&TcpStream) -> Result<Option<std::io::Error>> = TcpStream::take_error;
        String::new()
    }

    /// Promises 15 and 19. Every method of a UDP socket.
    fn udp {
        use net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
        socket::<UdpSocket>();
        let _: fn(SocketAddr) -> Result<UdpSocket> = UdpSocket::bind;
        let _: [fn(&UdpSocket, &mut [u8]) -> Result<(usize, SocketAddr)>; 2] = [UdpSocket::recv_from, UdpSocket::peek_from];
        let _: fn(&UdpSocket, &[u8], SocketAddr) -> Result<usize> = UdpSocket::send_to;
        let _: [fn(&UdpSocket, Option<Duration>) -> Result<()>; 2] =
            [UdpSocket::set_read_timeout, UdpSocket::set_write_timeout];
        let _: [fn(&UdpSocket) -> Result<Option<Duration>>; 2] = [UdpSocket::read_timeout, UdpSocket::write_timeout];
        let _: fn(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> Result<()> = UdpSocket::join_multicast_v4;
        let _: fn(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> Result<()> = UdpSocket::leave_multicast_v4;
        let _: fn(&UdpSocket, &Ipv6Addr, u32) -> Result<()> = UdpSocket::join_multicast_v6;
        let _: fn(&UdpSocket, &Ipv6Addr, u32) -> Result<()> = UdpSocket::leave_multicast_v6;

        let mut seen = Vec::new();
        let mut note = |value: &dyn Debug| seen.push(printed(&format!("{value:?}")));
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        note(&one);
        note(&one.peer_addr().map_err(|error| error.kind()));
        note(&one.send(b"x").map_err(|error| error.raw_os_error()));
        let to = other.local_addr().unwrap();
        note(&one.send_to(b"0123456789", to));
        note(&one.send_to(b"", &[to][..]));
        note(&one.send_to(b"x", &[] as &[SocketAddr]).map_err(|error| error.kind()));
        note(&one.send_to(&[0; 70_000], to).map_err(|error| error.raw_os_error()));
        let mut buf = [0; 4];
        let from = |got: Result<(usize, SocketAddr)>| got.map(|(len, addr)| (len, addr == one.local_addr().unwrap()));
        note(&from(other.peek_from(&mut buf)));
        note(&buf);
        note(&from(other.recv_from(&mut buf)));
        note(&from(other.recv_from(&mut buf)));
        note(&one.connect(to));
        note(&one);
        note(&(one.peer_addr().unwrap() == to));
        note(&one.send(b"connected"));
        note(&(other.peek(&mut buf).unwrap(), buf));
        note(&(other.recv(&mut buf).unwrap(), buf));
        let clone = one.try_clone().unwrap();
        note(&clone.take_error().unwrap().is_none());
        for set in [true, false] {
            note(&(one.set_broadcast(set), one.broadcast()));
            note(&(one.set_multicast_loop_v4(set), one.multicast_loop_v4()));
        }
        note(&(one.set_multicast_ttl_v4(7), one.multicast_ttl_v4()));
        note(&(one.set_ttl(9), one.ttl()));
        note(&one.set_ttl(0).map_err(|error| error.kind()));
        note(&one.multicast_loop_v6().map_err(|error| error.raw_os_error()));
        note(&one.set_multicast_loop_v6(true).map_err(|error| error.raw_os_error()));
        if let Ok(v6) = UdpSocket::bind("[::1]:0") {
            note(&(v6.set_multicast_loop_v6(false), v6.multicast_loop_v6()));
        }
        let group = Ipv4Addr::new(224, 0, 0, 123);
        note(&one.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).map_err(|error| error.kind()));
        note(&one.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST));
        note(&one.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).map_err(|error| error.kind()));
        note(&one.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST));
        note(&one.join_multicast_v4(&Ipv4Addr::LOCALHOST, &Ipv4Addr::LOCALHOST).map_err(|error| error.kind()));
        note(&other.set_read_timeout(Some(Duration::ZERO)).map_err(|error| error.kind()));
        other.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        other.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        note(&(other.read_timeout(), other.write_timeout()).1);
        note(&other.recv(&mut buf).map_err(|error| error.kind()));
        other.set_nonblocking(true).unwrap();
        note(&other.recv_from(&mut buf).map_err(|error| error.kind()));
        note(&other.peek(&mut []).map_err(|error| error.kind()));
        drop(other);
        // The first one finds nobody, which the second is told.
        note(&one.send(b"gone"));
        note(&one.send(b"gone").map_err(|error| error.kind()));
        note(&UdpSocket::bind("192.0.2.1:0").map_err(|error| error.kind()));
        seen.join("\n")
    }
}

both! { (std::os::unix::net), (withy::net::unix),
    /// Promise 19. Addresses are std's own.
    fn unix_addresses {
        use net::SocketAddr;
        use std::os::linux::net::SocketAddrExt;
        let path = SocketAddr::from_pathname("/a/b").unwrap();
        let name = SocketAddr::from_abstract_name("name").unwrap();
        let same: std::os::unix::net::SocketAddr = path.clone();
        format!("{path:?} {name:?} {:?} {:?}", same.is_unnamed(), same.as_pathname())
    }

    /// Promises 15 and 19. Every method of streams and listeners.
    fn unix_streams {
        use net::{Incoming, SocketAddr, UnixListener, UnixStream};
        use std::net::Shutdown;
        socket::<UnixListener>();
        socket::<UnixStream>();
        stream::<UnixStream>();
        stream::<&UnixStream>();
        sends::<Incoming<'static>>();
        let _: fn(&'static str) -> Result<UnixListener> = UnixListener::bind;
        let _: fn(&SocketAddr) -> Result<UnixListener> = UnixListener::bind_addr;
        let _: fn(&UnixListener) -> Result<(UnixStream, SocketAddr)> = UnixListener::accept;
        let _: fn(&'static UnixListener) -> Incoming<'static> = UnixListener::incoming;
        let _: fn(&'static str) -> Result<UnixStream> = UnixStream::connect;
        let _: fn(&UnixStream, Shutdown) -> Result<()> = UnixStream::shutdown;

        let mut seen = Vec::new();
        let mut note = |value: &dyn Debug| seen.push(printed(&format!("{value:?}")));
        let listener = UnixListener::bind("").unwrap();
        let addr = listener.local_addr().unwrap();
        note(&listener);
        note(&listener.incoming());
        note(&listener.incoming().size_hint());
        note(&listener.take_error().unwrap().is_none());
        let mut client = UnixStream::connect_addr(&addr).unwrap();
        let (mut server, peer) = listener.try_clone().unwrap().accept().unwrap();
        note(&(peer.is_unnamed(), client.local_addr(), client.peer_addr(), server.local_addr(), server.peer_addr()));
        note(&(&client, &server));
        note(&client.write(b"0123456789"));
        let mut buf = [0; 4];
        note(&(server.read(&mut buf).unwrap(), buf));
        note(&server.set_read_timeout(Some(Duration::ZERO)).map_err(|error| error.kind()));
        server.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        server.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        note(&(server.read_timeout(), server.write_timeout()));
        note(&server.take_error().unwrap().is_none());
        client.try_clone().unwrap().shutdown(Shutdown::Write).unwrap();
        note(&client.shutdown(Shutdown::Write));
        note(&client.write(b"x").map_err(|error| error.kind()));
        let mut rest = Vec::new();
        note(&(server.read_to_end(&mut rest), rest));
        client.set_nonblocking(true).unwrap();
        note(&client.read(&mut buf).map_err(|error| error.kind()));
        note(&client.flush());
        let _next = UnixStream::connect_addr(&addr).unwrap();
        for stream in (&listener).into_iter().take(1) {
            note(&stream.is_ok());
        }
        listener.set_nonblocking(true).unwrap();
        note(&listener.accept().map(drop).map_err(|error| error.kind()));
        note(&UnixListener::bind_addr(&addr).map(drop).map_err(|error| error.kind()));
        note(&UnixListener::bind("/no/such/folder/socket").map(drop).map_err(|error| error.kind()));
        note(&UnixStream::connect("/no/such/socket").map(drop).map_err(|error| error.kind()));
        note(&UnixStream::connect("/dev/null").map(drop).map_err(|error| error.kind()));
        let (one, mut other) = UnixStream::pair().unwrap();
        note(&one);
        drop(one);
        note(&(other.read(&mut buf), other.write(b"x").map_err(|error| error.kind())));
        seen.join("\n")
    }

    /// Promises 15 and 19. Every method of datagrams.
    fn unix_datagrams {
        use net::{SocketAddr, UnixDatagram};
        use std::net::Shutdown;
        socket::<UnixDatagram>();
        let _: fn(&'static str) -> Result<UnixDatagram> = UnixDatagram::bind;
        let _: fn(&UnixDatagram, &'static str) -> Result<()> = UnixDatagram::connect;
        let _: fn(&UnixDatagram, &[u8], &'static str) -> Result<usize> = UnixDatagram::send_to;
        let _: fn(&UnixDatagram, &[u8], &SocketAddr) -> Result<usize> = UnixDatagram::send_to_addr;

        let mut seen = Vec::new();
        let mut note = |value: &dyn Debug| seen.push(printed(&format!("{value:?}")));
        let server = UnixDatagram::bind("").unwrap();
        let addr = server.local_addr().unwrap();
        let client = UnixDatagram::unbound().unwrap();
        note(&(&server, &client));
        note(&client.peer_addr().map(drop).map_err(|error| error.kind()));
        note(&client.send(b"x").map_err(|error| error.kind()));
        note(&client.send_to_addr(b"0123456789", &addr));
        note(&client.send_to_addr(b"", &addr));
        note(&client.send_to(b"x", "/no/such/socket").map_err(|error| error.kind()));
        note(&client.send_to(b"x", "/dev/null").map_err(|error| error.kind()));
        note(&client.send_to_addr(&[0; 10_000_000], &addr).map_err(|error| error.raw_os_error()));
        let mut buf = [0; 4];
        note(&(server.recv_from(&mut buf).unwrap(), buf));
        note(&server.recv_from(&mut buf).unwrap());
        client.connect_addr(&addr).unwrap();
        note(&(&client, client.peer_addr()));
        note(&client.send(b"connected"));
        note(&(server.recv(&mut buf).unwrap(), buf));
        let named = UnixDatagram::bind_addr(&SocketAddr::from_pathname("").unwrap()).unwrap();
        named.send_to_addr(b"named", &addr).unwrap();
        note(&server.recv_from(&mut buf).unwrap());
        note(&client.connect("/no/such/socket").map_err(|error| error.kind()));
        let clone = server.try_clone().unwrap();
        note(&clone.take_error().unwrap().is_none());
        clone.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        clone.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        note(&(server.read_timeout().unwrap().is_some(), server.write_timeout()));
        note(&server.recv(&mut buf).map_err(|error| error.kind()));
        server.set_nonblocking(true).unwrap();
        note(&clone.recv(&mut buf).map_err(|error| error.kind()));
        note(&server.shutdown(Shutdown::Both).map_err(|error| error.kind()));
        let (one, other) = UnixDatagram::pair().unwrap();
        note(&one);
        one.shutdown(Shutdown::Write).unwrap();
        note(&one.send(b"x").map_err(|error| error.kind()));
        // Datagrams have no end: the other side just gets nothing.
        other.set_nonblocking(true).unwrap();
        note(&other.recv(&mut buf).map_err(|error| error.kind()));
        seen.join("\n")
    }
}

/// Promise 19. The names that do not clash are in `net`, too.
#[test]
fn the_types_are_reachable_from_net_too() {
    let same: withy::net::UnixStream = withy::net::unix::UnixStream::pair().unwrap().0;
    let _: (
        Option<withy::net::UnixListener>,
        Option<withy::net::unix::UnixListener>,
    ) = (None, None);
    let _: Option<withy::net::UnixDatagram> =
        Some(withy::net::unix::UnixDatagram::unbound().unwrap());
    drop(same);
}
