//! Unix listeners: acceptors, limits, names, paths.

mod rig;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net as std_unix;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rig::child::alone;
use rig::process::{descriptors, mappings, set_limit};
use socket2::SockRef;
use support::sockets::kind;
use support::{Callers, Case, LIMIT, matrix, pollers_of, within};
use withy::Cancelled;
use withy::net::unix::{SocketAddr, SocketAddrExt};
use withy::net::{UnixDatagram, UnixListener, UnixStream};

const SHORT: Duration = Duration::from_millis(15);

/// A path that is free, and removed in the end.
struct Free(PathBuf);

impl Free {
    fn new() -> Free {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let name = format!("withy-unix-{}-{number}.sock", std::process::id());
        Free(std::env::temp_dir().join(name))
    }
}

impl Drop for Free {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Promise 7.
#[test]
fn several_acceptors_get_each_connection_once() {
    const ACCEPTORS: usize = 4;
    const CONNECTIONS: usize = 200;
    matrix(LIMIT, "four acceptors of one listener", |case| {
        let listener = UnixListener::bind("").unwrap();
        let addr = listener.local_addr().unwrap();
        let left = Arc::new(AtomicUsize::new(CONNECTIONS));
        let acceptors: Vec<_> = (0..ACCEPTORS)
            .map(|_| {
                let (listener, left) = (listener.try_clone().unwrap(), left.clone());
                case.spawn(move || {
                    let mut got = Vec::new();
                    while left
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                            left.checked_sub(1)
                        })
                        .is_ok()
                    {
                        let mut number = [0; 8];
                        let (mut stream, _) = listener.accept().unwrap();
                        stream.read_exact(&mut number).unwrap();
                        got.push(usize::from_ne_bytes(number));
                    }
                    got
                })
            })
            .collect();
        for acceptor in &acceptors {
            acceptor.until_waiting(listener.as_raw_fd());
        }
        let peers: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let mut peer = std_unix::UnixStream::connect_addr(&addr).unwrap();
                peer.write_all(&number.to_ne_bytes()).unwrap();
                peer
            })
            .collect();
        let mut got: Vec<_> = acceptors
            .into_iter()
            .flat_map(support::Caller::join)
            .collect();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..CONNECTIONS));
        drop(peers);
    });
}

/// Promise 29. Acceptors are cancelled all the time while connections come: each one is accepted or in the backlog.
#[test]
fn cancelled_acceptors_lose_no_connection() {
    const CONNECTIONS: usize = 200;
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            within(LIMIT, "acceptors that are cancelled", || {
                let runtime = support::runtime(workers, full_stealing);
                let listener = Arc::new(UnixListener::bind("").unwrap());
                let addr = listener.local_addr().unwrap();
                let accepted = Arc::new(AtomicUsize::new(0));
                for _ in 0..CONNECTIONS {
                    let (accepts, count) = (listener.clone(), accepted.clone());
                    let acceptor = runtime.spawn(move || {
                        let _stream = accepts.accept().unwrap();
                        count.fetch_add(1, Ordering::SeqCst);
                    });
                    let peer = std_unix::UnixStream::connect_addr(&addr).unwrap();
                    acceptor.cancel();
                    if let Err(payload) = acceptor.join() {
                        assert!(payload.is::<Cancelled>());
                    }
                    drop(peer);
                }
                listener.set_nonblocking(true).unwrap();
                let left = std::iter::from_fn(|| listener.accept().ok()).count();
                assert_eq!(accepted.load(Ordering::SeqCst) + left, CONNECTIONS);
            });
        }
    }
}

/// Promises 22, 24, 25 and 26.
#[test]
fn accepts_end_at_their_limits() {
    matrix(LIMIT, "an accept with limits", |case| {
        let listener = Arc::new(UnixListener::bind("").unwrap());
        let accepts = listener.clone();
        case.run(move || {
            let listener = accepts;
            let zero = listener.set_accept_timeout(Some(Duration::ZERO));
            assert_eq!(kind(&zero), Some(ErrorKind::InvalidInput));
            listener.set_accept_timeout(Some(SHORT)).unwrap();
            assert_eq!(listener.accept_timeout().unwrap(), Some(SHORT));
            let start = Instant::now();
            assert_eq!(kind(&listener.accept()), Some(ErrorKind::WouldBlock));
            assert!(start.elapsed() >= SHORT, "the accept ended early");
            listener.set_accept_timeout(None).unwrap();
            let end = Instant::now() + SHORT;
            listener.set_accept_deadline(Some(end)).unwrap();
            assert_eq!(listener.accept_deadline().unwrap(), Some(end));
            assert_eq!(kind(&listener.accept()), Some(ErrorKind::TimedOut));
            assert!(Instant::now() >= end, "the accept ended early");
            // A connection in the backlog is accepted past the deadline.
            let addr = listener.local_addr().unwrap();
            let _peer = std_unix::UnixStream::connect_addr(&addr).unwrap();
            listener.accept().unwrap();
            assert_eq!(kind(&listener.accept()), Some(ErrorKind::TimedOut));
            listener.set_accept_deadline(None).unwrap();
        });
        let accepts = listener.clone();
        let acceptor = case.spawn(move || kind(&accepts.accept()));
        acceptor.until_waiting(listener.as_raw_fd());
        listener.set_accept_deadline(Some(Instant::now())).unwrap();
        assert_eq!(acceptor.join(), Some(ErrorKind::TimedOut));
    });
}

/// Promises 9, 18 and 43. A listener is readable when a connection is in the backlog; an accept that finds one needs no
/// event.
#[test]
fn a_listener_is_readable_when_a_connection_waits() {
    matrix(LIMIT, "a select of a listener", |case| {
        let listener = UnixListener::bind("").unwrap();
        let addr = listener.local_addr().unwrap();
        let peer = std_unix::UnixStream::connect_addr(&addr).unwrap();
        let listener = case.run(move || {
            listener.accept().unwrap();
            assert_eq!(pollers_of(listener.as_raw_fd()), 0);
            listener
        });
        let fd = listener.as_raw_fd();
        let selects = case.spawn(move || {
            withy::select! {
                readable(listener) => {}
            }
            listener.set_nonblocking(true).unwrap();
            listener.accept().unwrap();
        });
        selects.until_waiting(fd);
        let _peer = std_unix::UnixStream::connect_addr(&addr).unwrap();
        selects.join();
        drop(peer);
    });
}

/// Promise 10. Conversions keep the user's mode, and a clone that is left behind must not block its worker.
#[test]
fn conversions_keep_the_users_mode() {
    matrix(LIMIT, "listeners that are converted", |case| {
        let std_listener = std_unix::UnixListener::from(std::os::fd::OwnedFd::from(
            UnixListener::bind("").unwrap(),
        ));
        assert!(!SockRef::from(&std_listener).nonblocking().unwrap());
        let addr = std_listener.local_addr().unwrap();
        let listener = UnixListener::from(std_listener);
        let clone = listener.try_clone().unwrap();
        let duplicate = std_unix::UnixListener::from(listener);
        assert!(SockRef::from(&duplicate).nonblocking().unwrap());
        let fd = clone.as_raw_fd();
        let acceptor = case.spawn(move || {
            clone.accept().unwrap();
            clone
        });
        acceptor.until_waiting(fd);
        let _peer = std_unix::UnixStream::connect_addr(&addr).unwrap();
        let clone = acceptor.join();
        clone.set_nonblocking(true).unwrap();
        let back = std_unix::UnixListener::from(clone);
        assert!(SockRef::from(&back).nonblocking().unwrap());
        let listener = UnixListener::from(back);
        assert_eq!(kind(&listener.accept()), Some(ErrorKind::WouldBlock));
    });
}

/// Promise 54, of descriptors; and what withy makes is in blocking mode, as with std, but for listeners.
#[test]
fn every_descriptor_is_close_on_exec() {
    fn flags(fd: impl AsFd, command: i32) -> i32 {
        // SAFETY: both commands read flags of an open descriptor.
        unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command) }
    }
    let listener = UnixListener::bind("").unwrap();
    let client = UnixStream::connect_addr(&listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let (datagrams, same) = UnixDatagram::pair().unwrap();
    let unbound = UnixDatagram::unbound().unwrap();
    let bound = UnixDatagram::bind("").unwrap();
    let udp = withy::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_ne!(flags(&listener, libc::F_GETFD) & libc::FD_CLOEXEC, 0);
    let streams = [client, server, one, other].map(std::os::fd::OwnedFd::from);
    let datagrams = [datagrams, same, unbound, bound].map(std::os::fd::OwnedFd::from);
    for fd in streams.into_iter().chain(datagrams).chain([udp.into()]) {
        assert_ne!(flags(&fd, libc::F_GETFD) & libc::FD_CLOEXEC, 0);
        assert_eq!(flags(&fd, libc::F_GETFL) & libc::O_NONBLOCK, 0);
    }
}

/// Promise 17. A path stays when its listener closes, as with std; removed, it can be bound again.
#[test]
fn listen_close_and_listen_again() {
    matrix(LIMIT, "a path that is bound twice", |case| {
        let free = Free::new();
        let path = free.0.clone();
        case.run(move || {
            for _ in 0..2 {
                let listener = UnixListener::bind(&path).unwrap();
                assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
                let again = kind(&UnixListener::bind(&path));
                assert_eq!(again, Some(ErrorKind::AddrInUse));
                let mut client = UnixStream::connect(&path).unwrap();
                assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
                let (mut server, peer) = listener
                    .incoming()
                    .next()
                    .unwrap()
                    .map(|stream| {
                        let peer = stream.peer_addr().unwrap();
                        (stream, peer)
                    })
                    .unwrap();
                assert!(peer.is_unnamed());
                client.write_all(b"x").unwrap();
                server.read_exact(&mut [0]).unwrap();
                drop(listener);
                assert_eq!(
                    kind(&UnixStream::connect(&path)),
                    Some(ErrorKind::ConnectionRefused)
                );
                std::fs::remove_file(&path).unwrap();
                assert_eq!(kind(&UnixStream::connect(&path)), Some(ErrorKind::NotFound));
            }
        });
    });
}

/// Promise 12. Bad paths are refused as std refuses them, and abstract names may hold any byte.
#[test]
fn names_of_all_sorts() {
    let long = "x".repeat(108);
    for bad in [&long[..], "nul\0inside"] {
        let expected = kind(&std_unix::UnixListener::bind(bad));
        assert_eq!(expected, Some(ErrorKind::InvalidInput));
        assert_eq!(kind(&UnixListener::bind(bad)), expected);
        assert_eq!(kind(&UnixStream::connect(bad)), expected);
        assert_eq!(kind(&UnixDatagram::bind(bad)), expected);
        let socket = UnixDatagram::unbound().unwrap();
        assert_eq!(kind(&socket.connect(bad)), expected);
        assert_eq!(kind(&socket.send_to(b"x", bad)), expected);
    }
    let name = [&b"withy\0\xff "[..], &std::process::id().to_ne_bytes()].concat();
    let addr = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&addr).unwrap();
    assert_eq!(
        listener.local_addr().unwrap().as_abstract_name(),
        Some(&name[..])
    );
    let stream = UnixStream::connect_addr(&addr).unwrap();
    assert_eq!(
        stream.peer_addr().unwrap().as_abstract_name(),
        Some(&name[..])
    );
    let longest = SocketAddr::from_abstract_name([7; 107]).unwrap();
    let datagrams = UnixDatagram::bind_addr(&longest).unwrap();
    assert_eq!(
        datagrams.local_addr().unwrap().as_abstract_name(),
        Some(&[7; 107][..])
    );
    // The empty path is the system's choice when bound, and nobody when connected to.
    assert!(
        UnixListener::bind("")
            .unwrap()
            .local_addr()
            .unwrap()
            .as_abstract_name()
            .is_some()
    );
    assert_eq!(
        kind(&UnixStream::connect("")),
        kind(&std_unix::UnixStream::connect(""))
    );
}

/// Promise 29. The name of a sender that std's type cannot hold: the datagram arrives, from nobody.
#[test]
fn a_datagram_of_a_sender_with_the_longest_path_arrives() {
    let ours = UnixDatagram::bind("").unwrap();
    let path = format!(
        "{:x<108}",
        std::env::temp_dir()
            .join(format!("withy-{}-", std::process::id()))
            .display()
    );
    let sender = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None).unwrap();
    // Without a NUL, which socket2 would not do.
    let mut name: libc::sockaddr_un = empty_name();
    name.sun_family = libc::AF_UNIX as _;
    for (to, byte) in name.sun_path.iter_mut().zip(path.bytes()) {
        *to = byte as _;
    }
    // SAFETY: a sockaddr_un of its full length.
    let bound = unsafe {
        libc::bind(
            sender.as_raw_fd(),
            (&raw const name).cast(),
            size_of::<libc::sockaddr_un>() as _,
        )
    };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    let to = ours.local_addr().unwrap();
    let to = [b"\0", to.as_abstract_name().unwrap()].concat();
    let to = socket2::SockAddr::unix(std::str::from_utf8(&to).unwrap()).unwrap();
    sender.send_to(b"hello", &to).unwrap();
    let received = ours.recv_from(&mut [0; 8]);
    let _ = std::fs::remove_file(&path);
    let (len, _sender) = received.unwrap();
    assert_eq!(len, 5);
}

fn empty_name() -> libc::sockaddr_un {
    // SAFETY: numbers may all be zero.
    unsafe { std::mem::zeroed() }
}

/// Promise 21. A hundred connections at once, each of which gets its own bytes back.
#[test]
fn each_connections_bytes_are_its_own() {
    within(LIMIT, "an echo for a hundred connections", || {
        let case = Case::new(2, false, Callers::Coroutines);
        let listener = UnixListener::bind("").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = case.spawn(move || {
            withy::scope(|scope| {
                for stream in listener.incoming().take(100) {
                    let mut stream = stream.unwrap();
                    scope.spawn(move || {
                        let mut buf = [0; 100];
                        while let Ok(n @ 1..) = stream.read(&mut buf) {
                            stream.write_all(&buf[..n]).unwrap();
                        }
                    });
                }
            });
        });
        let clients: Vec<_> = (0..100_u8)
            .map(|number| {
                let addr = addr.clone();
                case.spawn(move || {
                    let mut stream = UnixStream::connect_addr(&addr).unwrap();
                    for round in 0..50 {
                        stream.write_all(&[number, round, number]).unwrap();
                        let mut back = [0; 3];
                        stream.read_exact(&mut back).unwrap();
                        assert_eq!(back, [number, round, number]);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(support::Caller::join);
        server.join();
    });
}

/// Promise 45. Out of descriptors: accept says so at once, the connection stays, and it goes on when one is free.
#[test]
fn an_accept_without_a_descriptor_says_so_and_recovers() {
    if !alone("an_accept_without_a_descriptor_says_so_and_recovers", &[]) {
        return;
    }
    within(LIMIT, "an accept at the limit of descriptors", || {
        let runtime = support::runtime(1, false);
        let listener = UnixListener::bind("").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut peer = std_unix::UnixStream::connect_addr(&addr).unwrap();
        peer.write_all(b"x").unwrap();
        let listener = runtime.spawn(move || {
            let highest = std::fs::File::open("/dev/null").unwrap();
            let before = set_limit(libc::RLIMIT_NOFILE, highest.as_raw_fd() as u64);
            drop(highest);
            let errors: Vec<_> = (0..3).map(|_| listener.accept().unwrap_err()).collect();
            set_limit(libc::RLIMIT_NOFILE, before);
            assert!(
                errors
                    .iter()
                    .all(|error| error.raw_os_error() == Some(libc::EMFILE))
            );
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
        });
        listener.join().unwrap();
    });
}

/// Promise 49. A thousand connections, datagrams and passed descriptors later, descriptors and mappings are back where
/// they were.
#[test]
fn a_thousand_cycles_leave_nothing_behind() {
    if !alone("a_thousand_cycles_leave_nothing_behind", &[]) {
        return;
    }
    within(2 * LIMIT, "a thousand cycles", || {
        let runtime = support::runtime(2, false);
        let listener = Arc::new(UnixListener::bind("").unwrap());
        let cycle = || {
            let (accepts, addr) = (listener.clone(), listener.local_addr().unwrap());
            let server = runtime.spawn(move || {
                let (stream, _) = accepts.accept().unwrap();
                let received = stream.recv_with_fds(&mut [0; 4], 4).unwrap();
                assert_eq!(received.fds.len(), 1);
            });
            let client = runtime.spawn(move || {
                let stream = UnixStream::connect_addr(&addr).unwrap();
                stream.send_with_fds(b"x", &[stream.as_fd()]).unwrap();
                // Left unread, with a descriptor on its way.
                let (one, _other) = UnixDatagram::pair().unwrap();
                one.send_with_fds(b"y", &[stream.as_fd()]).unwrap();
                let udp = withy::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                udp.set_read_timeout(Some(Duration::from_nanos(1))).unwrap();
                assert_eq!(kind(&udp.recv(&mut [0])), Some(ErrorKind::WouldBlock));
            });
            client.join().unwrap();
            server.join().unwrap();
        };
        (0..50).for_each(|_| cycle());
        let before = (descriptors(), mappings());
        (0..1000).for_each(|_| cycle());
        assert_eq!(descriptors(), before.0);
        assert!(
            mappings() <= before.1 + 8,
            "{} mappings, {} before",
            mappings(),
            before.1
        );
    });
}
