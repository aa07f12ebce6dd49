//! `net::Server` over Unix sockets.

mod rig;
mod support;

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};

use rig::serving::assert_is_whole;
use rig::until;
use support::{LIMIT, matrix};
use withy::CancelToken;
use withy::net::{Server, UnixListener};

/// Promise 7. The same server, whatever it listens on: each connection by itself, and an orderly end.
#[test]
fn unix_connections_are_served_and_drained() {
    matrix(LIMIT, "Unix connections", |case| {
        let name = format!("withy-serve-{}-{:p}", std::process::id(), case);
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let close = CancelToken::new();
        let server = Server::new().until(&close).connections_max(2);
        let counters = server.counters();
        let serving = case.spawn(move || {
            server.serve(listener, |mut stream, _| {
                let mut request = [0; 6];
                stream.read_exact(&mut request)?;
                stream.write_all(&request)
            })
        });
        let mut clients: Vec<_> = (0..6)
            .map(|_| StdStream::connect_addr(&address).unwrap())
            .collect();
        for client in &mut clients {
            let mut answer = [0; 6];
            client.write_all(b"there?").unwrap();
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"there?");
        }
        until(|| counters.read().finished == 6);
        close.cancel();
        assert_is_whole(serving.join().unwrap());
        assert!(StdStream::connect_addr(&address).is_err());
    });
}
