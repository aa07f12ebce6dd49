//! Listening: ports used again, the backlog, what accept does when the kernel fails it.

mod rig;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use rig::child::alone;
use socket2::SockRef;
use support::sockets::kind;
use support::{Callers, Case, LIMIT, fault, matrix, within};
use withy::net::TcpListener;

/// A loopback address that no other process or test uses, so that nobody takes a port between close and bind.
fn own_loopback() -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 64, high, low], 0))
}

/// Promise 17. The first listener's connection is left in TIME_WAIT.
#[test]
fn a_port_can_be_listened_on_again_at_once() {
    matrix(LIMIT, "listen, close, listen", |case| {
        case.run(|| {
            let first = TcpListener::bind(own_loopback()).unwrap();
            let addr = first.local_addr().unwrap();
            let mut client = std::net::TcpStream::connect(addr).unwrap();
            let (server, _) = first.accept().unwrap();
            drop(server);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            drop((client, first));
            let second = TcpListener::bind(addr).unwrap();
            let client = std::net::TcpStream::connect(addr).unwrap();
            assert_eq!(second.accept().unwrap().1, client.local_addr().unwrap());
        });
    });
}

/// Promise 17. No SO_REUSEPORT unasked: two servers on one port are a mistake, and it shows.
#[test]
fn an_address_in_use_is_an_error() {
    within(LIMIT, "a second bind", || {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = first.local_addr().unwrap();
        assert_eq!(kind(&TcpListener::bind(addr)), Some(ErrorKind::AddrInUse));
        let options = SockRef::from(&first);
        assert!(options.reuse_address().unwrap());
        assert!(!options.reuse_port().unwrap());
    });
}

/// Promise 12, for bind.
#[test]
fn each_address_is_tried_in_order() {
    within(LIMIT, "a bind to the second address", || {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let used = first.local_addr().unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let second = TcpListener::bind(&[used, free][..]).unwrap();
        assert_ne!(second.local_addr().unwrap(), used);
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        let last = TcpListener::bind(&[used, foreign][..]);
        assert_eq!(kind(&last), Some(ErrorKind::AddrNotAvailable));
    });
}

/// Promise 20.
#[test]
fn the_backlog_is_the_kernels_maximum() {
    within(LIMIT, "the kernel's answer about a listener", || {
        let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(backlog(&listener).to_string(), somaxconn.trim());
    });
}

/// The kernel reports a listener's backlog where it reports selective acknowledgements for a connection.
fn backlog(listener: &TcpListener) -> u32 {
    // SAFETY: plain integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut len = mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` is writable for `len` bytes, which the kernel obeys.
    let got = unsafe {
        libc::getsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    assert_eq!(got, 0);
    info.tcpi_sacked
}

/// Promise 13. In a process of its own, in which the kernel's answers are made up.
#[test]
fn accept_passes_over_connections_that_died() {
    if !alone("accept_passes_over_connections_that_died", &[]) {
        return;
    }
    fault::trap_accept();
    matrix(LIMIT, "an accept after ECONNABORTED", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        fault::fail_accept(libc::ECONNABORTED, 3);
        let client = std::net::TcpStream::connect(addr).unwrap();
        let peer = case.run(move || listener.accept().unwrap().1);
        assert_eq!(peer, client.local_addr().unwrap());
    });
    assert!(fault::accept_calls() > 0, "the trap was never met");
}

/// Promise 14, for accept.
#[test]
fn accept_is_tried_again_when_it_was_interrupted() {
    if !alone("accept_is_tried_again_when_it_was_interrupted", &[]) {
        return;
    }
    fault::trap_accept();
    matrix(LIMIT, "an accept after EINTR", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        fault::fail_accept(libc::EINTR, 3);
        let client = std::net::TcpStream::connect(addr).unwrap();
        let peer = case.run(move || listener.accept().unwrap().1);
        assert_eq!(peer, client.local_addr().unwrap());
    });
    assert!(fault::accept_calls() > 0, "the trap was never met");
}

/// Promise 45. One call of ours is one call of the kernel's, and its error is ours; the connection stays for later.
#[test]
fn accept_returns_exhaustion_at_once_and_recovers() {
    if !alone("accept_returns_exhaustion_at_once_and_recovers", &[]) {
        return;
    }
    fault::trap_accept();
    matrix(LIMIT, "accepts of an exhausted system", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(addr).unwrap();
        let errors = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
        let peer = case.run(move || {
            for error in errors {
                let before = fault::accept_calls();
                fault::fail_accept(error, 1);
                let result = listener.accept();
                assert_eq!(result.unwrap_err().raw_os_error(), Some(error));
                assert_eq!(fault::accept_calls() - before, 1, "accept spun");
            }
            listener.accept().unwrap().1
        });
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

/// Promise 45, with a real limit: the acceptor waits in the netpoller when descriptors run out, and again afterwards.
#[test]
fn accept_recovers_when_a_descriptor_is_freed() {
    if !alone("accept_recovers_when_a_descriptor_is_freed", &[]) {
        return;
    }
    for (full_stealing, callers) in [
        (false, Callers::Coroutines),
        (true, Callers::Coroutines),
        (false, Callers::Threads),
    ] {
        within(LIMIT, "an accept at the descriptor limit", || {
            let case = Case::new(2, full_stealing, callers);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let fd = listener.as_raw_fd();
            let (report, reports) = std::sync::mpsc::channel();
            let (go_on, may_go_on) = std::sync::mpsc::channel();
            let acceptor = case.spawn(move || {
                report
                    .send(listener.accept().map(|(_, peer)| peer))
                    .unwrap();
                // A plain channel: this worker has nothing else to do.
                may_go_on.recv().unwrap();
                for byte in [b'1', b'2'] {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.write_all(&[byte]).unwrap();
                }
            });
            acceptor.until_waiting(fd);
            let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let client = client.unwrap();
            let hogs = exhaust_descriptors();
            client.connect(&addr.into()).unwrap();
            let error = reports.recv().unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            drop(hogs);
            go_on.send(()).unwrap();
            let mut client = std::net::TcpStream::from(client);
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"1");
            let mut second = std::net::TcpStream::connect(addr).unwrap();
            second.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"2");
            acceptor.join();
        });
    }
}

/// Takes every descriptor that this process may have.
fn exhaust_descriptors() -> Vec<std::fs::File> {
    let limit = libc::rlimit {
        rlim_cur: 256,
        rlim_max: 256,
    };
    // SAFETY: reads the limit that is passed. It is lowered for good: this runs in a child process.
    let lowered = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(lowered, 0);
    let mut hogs = Vec::new();
    while let Ok(hog) = std::fs::File::open("/dev/null") {
        hogs.push(hog);
    }
    hogs
}
