//! Addresses of this host that refuse, or that never answer.

use std::net::SocketAddr;

/// An address of this host at which nobody listens. Its owner keeps the port bound, so that nobody else gets it.
pub(crate) fn closed_port() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// An address that answers to no SYN: a listener whose backlog is full.
pub(crate) struct FullBacklog {
    pub(crate) listener: socket2::Socket,
    pub(crate) fillers: Vec<socket2::Socket>,
    pub(crate) addr: SocketAddr,
}

impl FullBacklog {
    pub(crate) fn new() -> FullBacklog {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        // A backlog of 0 takes one connection; more of them stay in the handshake.
        let fillers = (0..4)
            .map(|_| {
                let filler =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                        .unwrap();
                filler.set_nonblocking(true).unwrap();
                let _ = filler.connect(&addr.into());
                filler
            })
            .collect();
        FullBacklog {
            listener,
            fillers,
            addr,
        }
    }
}
