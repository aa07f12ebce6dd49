//! Addresses of this host that refuse or never answer, and peers that do not any more.

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};

use socket2::{SockFilter, SockRef};
use withy::net::TcpListener;

/// An address of this host at which nobody listens. Its owner keeps the port bound, so that nobody else gets it, neither to listen nor
/// to connect from.
pub(crate) fn closed_port() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // Whoever is told the address may listen there: listeners of std's and ours have this option, too.
    socket.set_reuse_address(true).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// A listener at such a port, which refuses again when the listener is closed.
pub(crate) fn kept_listener() -> (socket2::Socket, TcpListener, SocketAddr) {
    let (owner, addr) = closed_port();
    (owner, TcpListener::bind(addr).unwrap(), addr)
}

/// Whether a descriptor of this process listens there. Connecting says less: a child that was forked a moment ago, and does not run
/// its program yet, has the listeners of its parent open.
pub(crate) fn is_listened_to(addr: SocketAddr) -> bool {
    let listens_there = |fd: RawFd| {
        // SAFETY: it looks only. What is no descriptor any more, or no socket, is an error.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let socket = SockRef::from(&fd);
        socket.is_listener().unwrap_or(false)
            && socket
                .local_addr()
                .is_ok_and(|own| own.as_socket() == Some(addr))
    };
    std::fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .any(listens_there)
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

    /// How many of the fillers' own handshakes are not answered.
    pub(crate) fn handshakes(&self) -> usize {
        let unconnected = |filler: &&socket2::Socket| filler.peer_addr().is_err();
        self.fillers.iter().filter(unconnected).count()
    }
}

/// Fails unless so many handshakes of this host with an IPv4 address are not answered yet.
///
/// The kernel's table is read in pieces, and other tests change it meanwhile, so that a row may be missing or there twice: a number
/// that is right is seen sooner or later, and one that stays wrong is wrong.
pub(crate) fn assert_handshakes(addr: SocketAddr, expected: usize) {
    let mut seen = 0;
    for _ in 0..500 {
        seen = handshakes_to(addr);
        if seen == expected {
            return;
        }
        withy::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{seen} handshakes with {addr}, expected {expected}");
}

fn handshakes_to(addr: SocketAddr) -> usize {
    let SocketAddr::V4(addr) = addr else {
        panic!("got {addr}, expected an IPv4 address")
    };
    // As the kernel prints them: addresses in its byte order, ports in ours; state 2 is SYN_SENT.
    let ip = u32::from_ne_bytes(addr.ip().octets());
    let peer = format!("{ip:08X}:{:04X}", addr.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc is mounted");
    let rows = table
        .lines()
        .map(|line| line.split_ascii_whitespace().skip(2).take(2));
    rows.filter(|row| row.clone().eq([peer.as_str(), "02"]))
        .count()
}

/// Makes a peer one that is gone: its kernel drops, unanswered, all that comes for this socket.
pub(crate) fn mute(peer: &std::net::TcpStream) {
    let drop_all = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
    let filtered = SockRef::from(peer).attach_filter(&[drop_all]);
    filtered.expect("a filter can be attached");
}
