//! The rows of `withy::net::Server`.

use std::io::Read;
use std::net::{SocketAddr, TcpStream as StdStream};

use withy::net::{Server, TcpListener, TcpStream};

use crate::rows::{Call, Row, like, row};
use crate::support::addresses::{is_listened_to, kept_listener};

/// One line each.
#[rustfmt::skip]
pub(crate) fn waits() -> Vec<Row> {
    vec![
        row("net::serve", || server(|listener| drop(withy::net::serve(listener, be_served)))),
        row("net::Server::serve", || server(|listener| drop(Server::new().serve(listener, be_served)))),
        row("net::Server::serve_each", || server(|listener| drop(Server::new().serve_each([listener], be_served)))),
        like("blocking", "net::TcpListener::bind_per_worker"),
    ]
}

fn be_served(mut stream: TcpStream, _: SocketAddr) {
    let _ = stream.read(&mut [0]);
}

/// A server with a client. However it ends, neither its port nor a handler is left.
fn server(wait: fn(TcpListener)) -> Call {
    let (owner, listener, address) = kept_listener();
    assert!(is_listened_to(address));
    let mut client = StdStream::connect(address).expect("the backlog has room");
    Call {
        wait: Box::new(move || wait(listener)),
        after: Box::new(move || {
            // The end, or a reset if it was never accepted.
            assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
            assert!(!is_listened_to(address));
            drop(owner);
        }),
    }
}
