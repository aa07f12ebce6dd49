//! Several listeners at one address: SO_REUSEPORT.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use withy::net::{TcpListener, TcpSocket};

use crate::rig::network::{in_own_network, set_sysctl, sysctl};
use crate::rig::{tools, until};
use crate::support::sockets::{kind, reset};
use crate::support::{LIMIT, within};

type Client = std::net::TcpStream;

/// Another user's number, whoever that is.
const SOMEBODY: libc::uid_t = 65_534;

fn try_sharing(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::for_addr(addr)?;
    socket.set_reuse_port(true)?;
    socket.bind(addr)?;
    socket.listen(128)
}

fn sharing(addr: SocketAddr) -> TcpListener {
    try_sharing(addr).unwrap()
}

/// Two listeners at one address.
fn two() -> ([TcpListener; 2], SocketAddr) {
    let one = sharing(SocketAddr::from(([127, 0, 0, 1], 0)));
    let addr = one.local_addr().unwrap();
    ([one, sharing(addr)], addr)
}

/// How many connections wait to be accepted.
fn waiting(listener: &TcpListener) -> usize {
    listener.set_nonblocking(true).unwrap();
    std::iter::from_fn(|| listener.accept().ok()).count()
}

/// How many of them somebody has to look at.
fn ready(listeners: &[TcpListener; 2]) -> usize {
    let mut polled = listeners.each_ref().map(|listener| libc::pollfd {
        fd: listener.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: two of them are passed, and they live longer than the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), 2, 0) };
    usize::try_from(ready).expect("the descriptors are open")
}

/// SO_REUSEPORT.
#[test]
fn all_sockets_at_a_port_must_agree_to_share_it() {
    let ([_one, _other], addr) = two();
    let plain = TcpSocket::for_addr(addr).unwrap();
    assert_eq!(kind(&plain.bind(addr)), Some(ErrorKind::AddrInUse));
    let alone = TcpListener::bind("127.0.0.1:0").unwrap();
    let late = try_sharing(alone.local_addr().unwrap());
    assert_eq!(kind(&late), Some(ErrorKind::AddrInUse));
}

/// SO_REUSEPORT. A thread becomes another user, which concerns this thread alone, and ends with it.
#[test]
fn another_user_cannot_share_the_port() {
    let mut trial = Command::new("true");
    if !tools::need_that("the right to become another user", trial.uid(SOMEBODY)) {
        return;
    }
    let ([_one, _other], addr) = two();
    let somebody = std::thread::spawn(move || {
        // SAFETY: the system call takes numbers. It is not the C library's function, which changes all threads.
        let done = unsafe { libc::syscall(libc::SYS_setresuid, -1, SOMEBODY, -1) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        try_sharing(addr).map(drop)
    });
    let shared = somebody.join().unwrap();
    assert_eq!(kind(&shared), Some(ErrorKind::AddrInUse));
}

/// SO_REUSEPORT. Of 64 connections each of two listeners gets some, but for one time in 2⁶³.
#[test]
fn listeners_that_share_a_port_share_its_connections() {
    within(LIMIT, "connections to a shared port", || {
        let (listeners, addr) = two();
        let clients = [(); 64].map(|()| Client::connect(addr).unwrap());
        let counts = listeners.each_ref().map(waiting);
        assert_eq!(counts[0] + counts[1], clients.len());
        assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
    });
}

/// SO_REUSEPORT. No herd: a connection is an event of one socket.
#[test]
fn a_connection_wakes_one_listener() {
    within(LIMIT, "connections to a shared port", || {
        let (listeners, addr) = two();
        for _ in 0..16 {
            assert_eq!(ready(&listeners), 0);
            let _client = Client::connect(addr).unwrap();
            until(|| ready(&listeners) > 0);
            assert_eq!(ready(&listeners), 1);
            assert_eq!(listeners.each_ref().map(waiting).iter().sum::<usize>(), 1);
        }
    });
}

/// SO_REUSEPORT. From each of 16 ports, four times.
#[test]
fn the_four_numbers_choose_the_listener() {
    if !in_own_network("sharing::the_four_numbers_choose_the_listener") {
        return;
    }
    within(LIMIT, "connections from the same ports", || {
        let (listeners, addr) = two();
        for port in 20_000..20_016 {
            let chosen = [(); 4].map(|()| {
                let client =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
                let client = client.unwrap();
                let from = SocketAddr::from(([127, 0, 0, 1], port));
                client.bind(&from.into()).unwrap();
                client.connect(&addr.into()).unwrap();
                let counts = listeners.each_ref().map(waiting);
                reset(client.into());
                counts
            });
            assert!([[1, 0], [0, 1]].contains(&chosen[0]), "{chosen:?}");
            assert_eq!(chosen, [chosen[0]; 4]);
        }
    });
}

/// SO_REUSEPORT. One is accepted from at once, the other not at all.
#[test]
fn a_busy_acceptors_connections_wait_while_others_idle() {
    within(LIMIT, "connections to a shared port", || {
        let ([eager, busy], addr) = two();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = accepted.clone();
        let acceptor = withy::spawn(move || {
            while eager.accept().is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        let _clients = [(); 64].map(|()| Client::connect(addr).unwrap());
        // What the other has got still waits when the one has nothing left to do: some, but for one time in 2⁶⁴.
        let unserved = waiting(&busy);
        until(|| accepted.load(Ordering::SeqCst) + unserved == 64);
        assert!(unserved > 0);
        acceptor.cancel();
        acceptor.join().unwrap_err();
    });
}

/// SO_REUSEPORT.
#[test]
fn closing_one_listener_resets_what_waits_in_its_queue() {
    const MIGRATES: &str = "net.ipv4.tcp_migrate_req";
    if !in_own_network("sharing::closing_one_listener_resets_what_waits_in_its_queue") {
        return;
    }
    // How many of 64 clients are served, and how many are reset, if one listener is closed.
    let outcomes = || {
        let ([one, other], addr) = two();
        let clients = [(); 64].map(|()| Client::connect(addr).unwrap());
        drop(one);
        let served = waiting(&other);
        let outcomes = clients.map(|mut client| client.read(&mut [0]));
        let is_reset =
            |outcome: &&io::Result<usize>| kind(outcome) == Some(ErrorKind::ConnectionReset);
        (served, outcomes.iter().filter(is_reset).count())
    };
    within(LIMIT, "connections that nobody accepts any more", || {
        let (served, reset) = outcomes();
        assert_eq!((served + reset, reset > 0), (64, true));
        // From Linux 5.14 on.
        if sysctl(MIGRATES).is_some() {
            set_sysctl(MIGRATES, 1);
            assert_eq!(outcomes(), (64, 0));
        }
    });
}
