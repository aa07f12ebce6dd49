//! The rows of UDP and Unix sockets.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net as std_unix;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use withy::net::unix::SocketAddr;
use withy::net::{UdpSocket, UnixDatagram, UnixListener, UnixStream};

use crate::rows::{Call, Row, like, row};

/// One line each.
#[rustfmt::skip]
pub(crate) fn waits() -> Vec<Row> {
    vec![
        row("net::UdpSocket::recv_from", || udp(|socket| drop(socket.recv_from(&mut [0])))),
        row("net::UdpSocket::recv", || udp(|socket| drop(socket.recv(&mut [0])))),
        row("net::UdpSocket::peek_from", || udp(|socket| drop(socket.peek_from(&mut [0])))),
        row("net::UdpSocket::peek", || udp(|socket| drop(socket.peek(&mut [0])))),
        // Over loopback a sender never waits: what does not fit is dropped.
        like("net::UdpSocket::recv", "net::UdpSocket::send"),
        like("net::UdpSocket::recv", "net::UdpSocket::send_to"),
        like("blocking", "net::UdpSocket::bind"),
        like("blocking", "net::UdpSocket::connect"),
        row("net::unix::UnixStream::connect", || connect(|addr| drop(UnixStream::connect_addr(addr)))),
        like("net::unix::UnixStream::connect", "net::unix::UnixStream::connect_addr"),
        row("net::unix::UnixListener::accept", || accept(|listener| drop(listener.accept()))),
        row("net::unix::Incoming::next", || accept(|listener| drop(listener.incoming().next()))),
        row("net::unix::UnixStream::peek", || stream(|stream| drop(stream.peek(&mut [0])))),
        row("net::unix::UnixStream::recv_with_fds", || stream(|stream| drop(stream.recv_with_fds(&mut [0], 1)))),
        row("net::$stream::read", || stream(|mut stream| drop(stream.read(&mut [0])))),
        row("net::unix::UnixStream::send_with_fds", || full_stream(|stream| stream.send_with_fds(&[7; 4096], &[stream.as_fd()]))),
        row("net::$stream::write", || full_stream(|mut stream| stream.write(&[7; 4096]))),
        row("net::unix::UnixDatagram::recv_from", || datagram(|socket| drop(socket.recv_from(&mut [0])))),
        row("net::unix::UnixDatagram::recv", || datagram(|socket| drop(socket.recv(&mut [0])))),
        row("net::unix::UnixDatagram::peek_from", || datagram(|socket| drop(socket.peek_from(&mut [0])))),
        row("net::unix::UnixDatagram::peek", || datagram(|socket| drop(socket.peek(&mut [0])))),
        row("net::unix::UnixDatagram::recv_with_fds", || datagram(|socket| drop(socket.recv_with_fds(&mut [0], 1)))),
        row("net::unix::UnixDatagram::send", || full_datagram(|socket, _| socket.send(b"x"))),
        row("net::unix::UnixDatagram::send_to_addr", || full_datagram(|socket, addr| socket.send_to_addr(b"x", addr))),
        like("net::unix::UnixDatagram::send_to_addr", "net::unix::UnixDatagram::send_to"),
        row("net::unix::UnixDatagram::send_with_fds", || full_datagram(|socket, _| socket.send_with_fds(b"x", &[socket.as_fd()]))),
    ]
}

/// A datagram that comes later is received.
fn udp(wait: fn(&UdpSocket)) -> Call {
    let ours = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a port is free"));
    let waits = ours.clone();
    Call {
        wait: Box::new(move || wait(&waits)),
        after: Box::new(move || {
            let addr = ours.local_addr().expect("it is bound");
            let peer = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
            peer.send_to(b"x", addr).expect("there is room");
            assert_eq!(ours.recv(&mut [0; 4]).expect("it comes"), 1);
        }),
    }
}

/// The same.
fn datagram(wait: fn(&UnixDatagram)) -> Call {
    let (ours, peer) = UnixDatagram::pair().expect("a descriptor is free");
    let ours = Arc::new(ours);
    let waits = ours.clone();
    Call {
        wait: Box::new(move || wait(&waits)),
        after: Box::new(move || {
            peer.send(b"x").expect("there is room");
            assert_eq!(ours.recv(&mut [0; 4]).expect("it comes"), 1);
        }),
    }
}

/// A byte that comes later is read.
fn stream(wait: fn(&UnixStream)) -> Call {
    let (ours, mut peer) = UnixStream::pair().expect("a descriptor is free");
    let ours = Arc::new(ours);
    let waits = ours.clone();
    Call {
        wait: Box::new(move || wait(&waits)),
        after: Box::new(move || {
            peer.write_all(b"x").expect("there is room");
            assert_eq!((&*ours).read(&mut [0; 4]).expect("it comes"), 1);
        }),
    }
}

/// What was written before is all that arrives.
fn full_stream(write: fn(&UnixStream) -> std::io::Result<usize>) -> Call {
    let (ours, mut peer) = UnixStream::pair().expect("a descriptor is free");
    socket2::SockRef::from(&ours)
        .set_send_buffer_size(4096)
        .expect("the size can be set");
    let written = Arc::new(AtomicUsize::new(0));
    let counts = written.clone();
    Call {
        wait: Box::new(move || {
            loop {
                counts.fetch_add(write(&ours).expect("it is connected"), Ordering::SeqCst);
            }
        }),
        after: Box::new(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).expect("the other end is closed");
            assert_eq!(all.len(), written.load(Ordering::SeqCst));
        }),
    }
}

/// The same of datagrams to a receiver that has no room.
fn full_datagram(send: fn(&UnixDatagram, &SocketAddr) -> std::io::Result<usize>) -> Call {
    let peer = UnixDatagram::bind("").expect("the system has names");
    let addr = peer.local_addr().expect("it is bound");
    let ours = UnixDatagram::unbound().expect("a descriptor is free");
    ours.connect_addr(&addr).expect("it is there");
    let sent = Arc::new(AtomicUsize::new(0));
    let counts = sent.clone();
    Call {
        wait: Box::new(move || {
            loop {
                send(&ours, &addr).expect("it is there");
                counts.fetch_add(1, Ordering::SeqCst);
            }
        }),
        after: Box::new(move || {
            peer.set_nonblocking(true).expect("it is open");
            let received = std::iter::from_fn(|| peer.recv(&mut [0; 4]).ok()).count();
            assert_eq!(received, sent.load(Ordering::SeqCst));
        }),
    }
}

/// A connection that comes later is accepted.
fn accept(wait: fn(&UnixListener)) -> Call {
    let listener = Arc::new(UnixListener::bind("").expect("the system has names"));
    let waits = listener.clone();
    Call {
        wait: Box::new(move || wait(&waits)),
        after: Box::new(move || {
            let addr = listener.local_addr().expect("it is bound");
            let _peer = std_unix::UnixStream::connect_addr(&addr).expect("the backlog has room");
            listener.accept().expect("a connection is in the backlog");
        }),
    }
}

/// To a listener that nobody accepts from and whose backlog is full.
fn connect(wait: fn(&SocketAddr)) -> Call {
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)
        .expect("a descriptor is free");
    let any = socket2::SockAddr::unix("").expect("it is short");
    listener.bind(&any).expect("the system has names");
    listener.listen(0).expect("it is bound");
    let listener = std_unix::UnixListener::from(std::os::fd::OwnedFd::from(listener));
    let addr = listener.local_addr().expect("it is bound");
    // One has room.
    let first = std_unix::UnixStream::connect_addr(&addr).expect("the backlog has room");
    Call {
        wait: Box::new(move || wait(&addr)),
        after: Box::new(move || drop((first, listener))),
    }
}
