//! Receivers and backlogs that are full: what the kernel tells a sender, and that none waits for ever.

mod rig;
mod support;

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rig::process::thread_id;
use support::sockets::kind;
use support::{Callers, Case, LIMIT, matrix, within};
use withy::Cancelled;
use withy::net::{UnixDatagram, UnixListener, UnixStream};

const SHORT: Duration = Duration::from_millis(15);

/// A receiver of std's with an abstract name.
fn receiver() -> (
    std::os::unix::net::UnixDatagram,
    withy::net::unix::SocketAddr,
) {
    let receiver = std::os::unix::net::UnixDatagram::from(std::os::fd::OwnedFd::from(
        UnixDatagram::bind("").expect("the system has names"),
    ));
    let addr = receiver.local_addr().expect("it is bound");
    (receiver, addr)
}

/// Sends numbered datagrams until the receiver has no room, and gives how many that were.
fn fill(sender: &UnixDatagram, addr: Option<&withy::net::unix::SocketAddr>) -> usize {
    sender.set_nonblocking(true).expect("it is open");
    let full = (0..).find(|number: &usize| {
        let text = number.to_string();
        let sent = match addr {
            Some(addr) => sender.send_to_addr(text.as_bytes(), addr),
            None => sender.send(text.as_bytes()),
        };
        match sent {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                true
            }
        }
    });
    sender.set_nonblocking(false).expect("it is open");
    full.expect("a receiver's queue has a bound")
}

fn number(receiver: &std::os::unix::net::UnixDatagram) -> usize {
    let mut buf = [0; 32];
    let len = receiver.recv(&mut buf).expect("it is open");
    let text = std::str::from_utf8(&buf[..len]).expect("the sender sends digits");
    text.parse().expect("the sender sends digits")
}

/// Promise 5. Why `send_to` cannot wait for an event: to poll(2), a sender that is not connected to the full receiver is
/// writable. If a kernel ever changes that, this says so.
#[test]
fn the_kernel_tells_an_unconnected_sender_nothing() {
    let (_receiver, addr) = receiver();
    let sender = UnixDatagram::unbound().unwrap();
    fill(&sender, Some(&addr));
    assert!(is_writable(&sender), "poll(2) knows of full receivers now");
    let connected = UnixDatagram::unbound().unwrap();
    connected.connect_addr(&addr).unwrap();
    assert!(!is_writable(&connected), "a connected sender is not told");
}

fn is_writable(socket: &UnixDatagram) -> bool {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one writable pollfd.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}

/// Promise 5. A blocked `send_to` goes on when the receiver drains, of one datagram only.
#[test]
fn a_blocked_send_to_goes_on_when_the_receiver_drains() {
    matrix(LIMIT, "a send_to to a full receiver", |case| {
        let (receiver, addr) = receiver();
        let sender = UnixDatagram::unbound().unwrap();
        let full = fill(&sender, Some(&addr));
        let started = Arc::new(AtomicUsize::new(0));
        let starts = started.clone();
        let blocked = case.spawn(move || {
            for number in full..full + 20 {
                starts.store(number, Ordering::SeqCst);
                sender
                    .send_to_addr(number.to_string().as_bytes(), &addr)
                    .unwrap();
            }
        });
        while started.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        for expected in 0..full + 20 {
            assert_eq!(number(&receiver), expected);
        }
        blocked.join();
    });
}

/// Promise 5. The same where others have filled the receiver, so that none of the sender's own is taken.
#[test]
fn a_blocked_send_to_goes_on_when_the_datagrams_of_others_are_taken() {
    matrix(LIMIT, "a send_to behind the datagrams of others", |case| {
        let (receiver, addr) = receiver();
        let full = fill(&UnixDatagram::unbound().unwrap(), Some(&addr));
        let started = Arc::new(AtomicUsize::new(0));
        let starts = started.clone();
        let blocked = case.spawn(move || {
            let sender = UnixDatagram::unbound().unwrap();
            starts.store(1, Ordering::SeqCst);
            sender
                .send_to_addr(full.to_string().as_bytes(), &addr)
                .unwrap();
        });
        while started.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        // Nothing but the order that is meant to be tried depends on it.
        std::thread::sleep(Duration::from_millis(2));
        for expected in 0..=full {
            assert_eq!(number(&receiver), expected);
        }
        blocked.join();
    });
}

/// Promise 5. The same of a connected sender, which has an event.
#[test]
fn a_blocked_send_goes_on_when_the_receiver_drains() {
    matrix(LIMIT, "a send to a full receiver", |case| {
        let (receiver, addr) = receiver();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect_addr(&addr).unwrap();
        let full = fill(&sender, None);
        let fd = sender.as_raw_fd();
        let blocked = case.spawn(move || {
            for number in full..full + 200 {
                sender.send(number.to_string().as_bytes()).unwrap();
            }
        });
        blocked.until_waiting(fd);
        for expected in 0..full + 200 {
            assert_eq!(number(&receiver), expected);
        }
        blocked.join();
    });
}

/// Promise 7. Several senders, connected or not, all come to their turn; each datagram arrives once.
#[test]
fn several_senders_to_a_full_receiver_all_make_progress() {
    matrix(LIMIT, "senders to a full receiver", |case| {
        let (receiver, addr) = receiver();
        let senders: Vec<_> = (0..6)
            .map(|index| {
                let addr = addr.clone();
                case.spawn(move || {
                    let sender = UnixDatagram::unbound().unwrap();
                    if index % 2 == 0 {
                        sender.connect_addr(&addr).unwrap();
                    }
                    for round in 0..50 {
                        let text = (index * 1000 + round).to_string();
                        match index % 2 {
                            0 => sender.send(text.as_bytes()).unwrap(),
                            _ => sender.send_to_addr(text.as_bytes(), &addr).unwrap(),
                        };
                    }
                })
            })
            .collect();
        let mut next = [0; 6];
        for _ in 0..6 * 50 {
            let number = number(&receiver);
            let (sender, round) = (number / 1000, number % 1000);
            assert_eq!(
                round, next[sender],
                "datagrams of one sender changed places"
            );
            next[sender] += 1;
        }
        assert_eq!(next, [50; 6]);
        senders.into_iter().for_each(support::Caller::join);
    });
}

/// Promises 9 and 36. For `send_to` to wait for events would be to spin: a send that fails frees its buffer, which is an
/// event for the sender. Who waits uses next to no time of its core; nor does a connected sender.
#[test]
fn a_sender_that_waits_does_not_spin() {
    const WAIT: Duration = Duration::from_millis(200);
    /// Of the time that it waits.
    const CPU_MAX: u32 = 10;
    let both = [Callers::Coroutines, Callers::Threads];
    for (callers, connected) in both.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        within(LIMIT, "a sender that waits", || {
            let (receiver, addr) = receiver();
            let full = fill(&UnixDatagram::unbound().unwrap(), Some(&addr));
            let case = Case::new(1, false, callers);
            let (begins, begun) = mpsc::channel();
            let blocked = case.spawn(move || {
                begins.send(thread_id()).unwrap();
                let sender = UnixDatagram::unbound().unwrap();
                if connected {
                    sender.connect_addr(&addr).unwrap();
                    sender.send(b"0").unwrap();
                } else {
                    sender.send_to_addr(b"0", &addr).unwrap();
                }
            });
            let thread = begun.recv().unwrap();
            let (begun, before) = (Instant::now(), cpu_time(thread));
            std::thread::sleep(WAIT);
            let used = cpu_time(thread) - before;
            let waited = begun.elapsed();
            assert!(
                used < waited / CPU_MAX,
                "{callers:?}, connected {connected}, used {used:?} of {waited:?}"
            );
            for _ in 0..=full {
                number(&receiver);
            }
            blocked.join();
        });
    }
}

/// What that thread of this process has run.
fn cpu_time(thread: libc::pid_t) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
    let text = text.expect("the thread lives");
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first number is the time"))
}

/// Promises 22, 24 and 26. The limits of writing hold where there is no event, too; none comes early.
#[test]
fn limits_end_a_send_to_that_waits() {
    matrix(LIMIT, "a send_to with limits", |case| {
        let (_receiver, addr) = receiver();
        let sender = Arc::new(UnixDatagram::unbound().unwrap());
        fill(&sender, Some(&addr));
        let (sends, to) = (sender.clone(), addr.clone());
        case.run(move || {
            let send = || kind(&sends.send_to_addr(b"x", &to));
            sends.set_write_timeout(Some(SHORT)).unwrap();
            let began = Instant::now();
            assert_eq!(send(), Some(ErrorKind::WouldBlock));
            assert!(began.elapsed() >= SHORT, "the send ended early");
            let end = Instant::now() + SHORT;
            sends.set_write_deadline(Some(end)).unwrap();
            sends.set_write_timeout(None).unwrap();
            assert_eq!(send(), Some(ErrorKind::TimedOut));
            assert!(Instant::now() >= end, "the send ended early");
            // In the past: at once, each time.
            for _ in 0..3 {
                assert_eq!(send(), Some(ErrorKind::TimedOut));
            }
            sends.set_write_deadline(None).unwrap();
        });
        let (sends, to) = (sender.clone(), addr);
        let blocked = case.spawn(move || kind(&sends.send_to_addr(b"x", &to)));
        sender.set_write_deadline(Some(Instant::now())).unwrap();
        assert_eq!(blocked.join(), Some(ErrorKind::TimedOut));
    });
}

/// Promises 28 and 29. A cancelled send_to has sent nothing.
#[test]
fn a_cancelled_send_to_sends_nothing() {
    for workers in [1, 2, 8] {
        within(LIMIT, "a send_to that is cancelled", || {
            let runtime = support::runtime(workers, false);
            let (receiver, addr) = receiver();
            let sender = Arc::new(UnixDatagram::unbound().unwrap());
            let full = fill(&sender, Some(&addr));
            for _ in 0..20 {
                let (sends, to) = (sender.clone(), addr.clone());
                let blocked = runtime.spawn(move || sends.send_to_addr(b"x", &to).map(drop));
                blocked.cancel();
                assert!(blocked.join().unwrap_err().is::<Cancelled>());
            }
            for expected in 0..full {
                assert_eq!(number(&receiver), expected);
            }
            receiver.set_nonblocking(true).unwrap();
            assert_eq!(kind(&receiver.recv(&mut [0])), Some(ErrorKind::WouldBlock));
        });
    }
}

/// Promise 12. A receiver that goes away meanwhile is an error for those who wait, not an endless wait.
#[test]
fn a_receiver_that_closes_ends_those_who_wait() {
    matrix(LIMIT, "senders whose receiver closes", |case| {
        let (receiver, addr) = receiver();
        let (one, other) = (
            UnixDatagram::unbound().unwrap(),
            UnixDatagram::unbound().unwrap(),
        );
        one.connect_addr(&addr).unwrap();
        fill(&one, None);
        let fd = one.as_raw_fd();
        let connected = case.spawn(move || kind(&one.send(b"x")));
        let unconnected = case.spawn(move || kind(&other.send_to_addr(b"x", &addr)));
        connected.until_waiting(fd);
        drop(receiver);
        assert_eq!(connected.join(), Some(ErrorKind::ConnectionRefused));
        assert_eq!(unconnected.join(), Some(ErrorKind::ConnectionRefused));
    });
}

/// Promise 39. A coroutine that waits so lets the others of its worker run.
#[test]
fn a_send_to_that_waits_does_not_hold_its_worker() {
    within(LIMIT, "a neighbour of a send_to that waits", || {
        let runtime = support::runtime(1, false);
        let (receiver, addr) = receiver();
        let sender = UnixDatagram::unbound().unwrap();
        let full = fill(&sender, Some(&addr));
        let blocked = runtime.spawn(move || sender.send_to_addr(b"0", &addr).unwrap());
        // On the same worker.
        let drains = runtime.spawn(move || {
            let receiver = UnixDatagram::from(receiver);
            for _ in 0..=full {
                receiver.recv(&mut [0; 32]).unwrap();
            }
        });
        drains.join().unwrap();
        blocked.join().unwrap();
    });
}

/// Promise 39. One that always finds room lets them run, too.
#[test]
fn a_send_to_that_finds_room_does_not_hold_its_worker() {
    within(LIMIT, "a neighbour of a busy sender", || {
        let runtime = support::runtime(1, false);
        let (receiver, addr) = receiver();
        let sender = UnixDatagram::unbound().unwrap();
        let over = Arc::new(AtomicUsize::new(0));
        let goes_on = over.clone();
        let busy = runtime.spawn(move || {
            while goes_on.load(Ordering::SeqCst) == 0 {
                sender.send_to_addr(b"0", &addr).unwrap();
                // std's: no call of the runtime's.
                receiver.recv(&mut [0; 4]).unwrap();
            }
        });
        let neighbour = runtime.spawn(move || over.store(1, Ordering::SeqCst));
        neighbour.join().unwrap();
        busy.join().unwrap();
    });
}

/// Promise 53. A send_to in a destructor, while its coroutine unwinds from a cancellation, does not wait.
#[test]
fn a_send_to_does_not_wait_while_its_caller_unwinds() {
    struct Farewell(UnixDatagram, withy::net::unix::SocketAddr, Arc<AtomicUsize>);
    impl Drop for Farewell {
        fn drop(&mut self) {
            let sent = self.0.send_to_addr(b"bye", &self.1);
            if kind(&sent) == Some(ErrorKind::TimedOut) {
                self.2.store(1, Ordering::SeqCst);
            }
        }
    }
    within(LIMIT, "a send_to in a destructor", || {
        let runtime = support::runtime(1, false);
        let (_receiver, addr) = receiver();
        let sender = UnixDatagram::unbound().unwrap();
        fill(&sender, Some(&addr));
        let refused = Arc::new(AtomicUsize::new(0));
        let farewell = Farewell(sender, addr, refused.clone());
        let waits = runtime.spawn(move || {
            let _farewell = farewell;
            withy::park();
        });
        waits.cancel();
        assert!(waits.join().unwrap_err().is::<Cancelled>());
        assert_eq!(refused.load(Ordering::SeqCst), 1);
    });
}

/// A listener whose backlog has no room.
fn full_listener() -> (
    std::os::unix::net::UnixListener,
    withy::net::unix::SocketAddr,
    usize,
) {
    let listener = UnixListener::bind("").expect("the system has names");
    // listen(2) again changes the backlog.
    // SAFETY: it takes two numbers.
    unsafe { libc::listen(listener.as_raw_fd(), 1) };
    let addr = listener.local_addr().expect("it is bound");
    let listener = std::os::unix::net::UnixListener::from(listener);
    let mut waiting = 0;
    loop {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)
            .expect("a descriptor is free");
        socket.set_nonblocking(true).expect("it is open");
        let name =
            withy::net::unix::SocketAddrExt::as_abstract_name(&addr).expect("it is abstract");
        let name: Vec<u8> = [b"\0", name].concat();
        let to = socket2::SockAddr::unix(std::str::from_utf8(&name).expect("hexadecimal digits"))
            .expect("it is short");
        match socket.connect(&to) {
            // A connection that was closed stays in the backlog.
            Ok(()) => waiting += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                return (listener, addr, waiting);
            }
        }
    }
}

/// Promise 12. A connect to a full backlog waits, as std's does, although the kernel has no event for it.
#[test]
fn a_connect_to_a_full_backlog_waits_for_room() {
    matrix(LIMIT, "a connect to a full backlog", |case| {
        let (listener, addr, waiting) = full_listener();
        let connects: Vec<_> = (0..3)
            .map(|_| {
                let addr = addr.clone();
                case.spawn(move || UnixStream::connect_addr(&addr).unwrap())
            })
            .collect();
        for _ in 0..waiting + 3 {
            listener.accept().unwrap();
        }
        for stream in connects {
            assert!(stream.join().peer_addr().is_ok());
        }
    });
}

/// Promise 12. It ends when the listener does.
#[test]
fn a_connect_to_a_full_backlog_ends_with_the_listener() {
    matrix(LIMIT, "a connect to a listener that closes", |case| {
        let (listener, addr, _) = full_listener();
        let connect = case.spawn(move || kind(&UnixStream::connect_addr(&addr)));
        drop(listener);
        assert_eq!(connect.join(), Some(ErrorKind::ConnectionRefused));
    });
}
