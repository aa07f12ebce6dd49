//! Rows of what makes connections, and of what looks names up.

use withy::net::{TcpSocket, TcpStream};

use crate::rows::{AGES, Row, connect, like, row};

/// One line each.
#[rustfmt::skip]
pub(crate) fn waits() -> Vec<Row> {
    vec![
        row("net::TcpStream::connect", || connect(|addr| drop(TcpStream::connect(&[addr, addr][..])))),
        row("net::TcpSocket::connect", || connect(|addr| drop(socket().connect(addr)))),
        row("net::TcpSocket::connect_timeout", || connect(|addr| drop(socket().connect_timeout(addr, AGES)))),
        // They wait for the resolver's answer in a channel: net/src/resolve/tests.rs has a resolver that hangs.
        like("sync::Receiver::recv", "net::lookup_host"),
        like("sync::Receiver::recv", "net::lookup_host_timeout"),
        like("net::lookup_host", "net::TcpListener::bind"),
    ]
}

fn socket() -> TcpSocket {
    TcpSocket::v4().expect("a descriptor is free")
}
