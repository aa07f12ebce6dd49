//! Descriptors and credentials that are passed over Unix sockets: they arrive, close-on-exec, and none is ever leaked.

mod rig;
mod support;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rig::child::alone;
use rig::process::{descriptors, set_limit};
use socket2::{MsgHdr, SockRef};
use support::sockets::kind;
use support::{LIMIT, matrix, within};
use withy::Cancelled;
use withy::net::unix::{FDS_MAX, Received};
use withy::net::{UnixDatagram, UnixStream};

fn null() -> File {
    File::open("/dev/null").expect("every system has one")
}

fn is_close_on_exec(fd: RawFd) -> bool {
    // SAFETY: F_GETFD reads a flag, of any number at all.
    unsafe { libc::fcntl(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
}

/// The two types have these in common.
trait Passes: Send + Sync + Sized + AsFd + AsRawFd + 'static {
    fn pair() -> (Self, Self);
    fn send(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> std::io::Result<usize>;
    fn recv(&self, buf: &mut [u8], max: usize) -> std::io::Result<Received>;
    /// Without an eye for descriptors.
    fn read(&self, buf: &mut [u8]) -> usize;
    fn set_passcred(&self, yes: bool);
}

macro_rules! passes {
    ($type:ty, $read:expr) => {
        impl Passes for $type {
            fn pair() -> (Self, Self) {
                <$type>::pair().expect("a descriptor is free")
            }
            fn send(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> std::io::Result<usize> {
                self.send_with_fds(buf, fds)
            }
            fn recv(&self, buf: &mut [u8], max: usize) -> std::io::Result<Received> {
                self.recv_with_fds(buf, max)
            }
            fn read(&self, buf: &mut [u8]) -> usize {
                let read: fn(&$type, &mut [u8]) -> std::io::Result<usize> = $read;
                read(self, buf).expect("there is something")
            }
            fn set_passcred(&self, yes: bool) {
                <$type>::set_passcred(self, yes).expect("a Unix socket has it");
            }
        }
    };
}
passes!(UnixStream, |mut stream, buf| Read::read(&mut stream, buf));
passes!(UnixDatagram, |socket, buf| socket.recv(buf));

/// Promise 10. What arrives is the same open file, close-on-exec (promise 54), for a reader that waits.
#[test]
fn passed_descriptors_arrive() {
    fn check<P: Passes>() {
        matrix(LIMIT, "descriptors that are passed", |case| {
            let (ours, theirs) = P::pair();
            let fd = ours.as_raw_fd();
            let receiver = case.spawn(move || ours.recv(&mut [0; 16], 8).unwrap());
            receiver.until_waiting(fd);
            let (mut kept, passed) = UnixStream::pair().unwrap();
            let also = null();
            let sent = theirs.send(b"bytes", &[passed.as_fd(), also.as_fd()]);
            assert_eq!(sent.unwrap(), 5);
            drop(passed);
            let mut received = receiver.join();
            assert_eq!((received.bytes, received.fds.len()), (5, 2));
            assert!(!received.fds_lost && !received.bytes_lost && received.credentials.is_none());
            assert!(
                received
                    .fds
                    .iter()
                    .all(|fd| is_close_on_exec(fd.as_raw_fd()))
            );
            let mut passed = UnixStream::from(received.fds.remove(0));
            let hello = case.spawn(move || {
                let mut buf = [0; 5];
                passed.read_exact(&mut buf).unwrap();
                buf
            });
            kept.write_all(b"hello").unwrap();
            assert_eq!(&hello.join(), b"hello");
        });
    }
    check::<UnixStream>();
    check::<UnixDatagram>();
}

/// Promise 29. A receiver that is cancelled leaves the message, descriptors and all, to the next.
#[test]
fn a_cancelled_receiver_loses_no_descriptor() {
    fn check<P: Passes>() {
        within(LIMIT, "receivers that are cancelled", || {
            let runtime = support::runtime(2, false);
            let (ours, theirs) = P::pair();
            let ours = std::sync::Arc::new(ours);
            let file = null();
            let mut got = 0;
            for _ in 0..200 {
                let receives = ours.clone();
                let receiver = runtime.spawn(move || receives.recv(&mut [0; 1], 1).unwrap());
                theirs.send(b"x", &[file.as_fd()]).unwrap();
                receiver.cancel();
                match receiver.join() {
                    Ok(received) => assert_eq!((received.bytes, received.fds.len()), (1, 1)),
                    Err(payload) => {
                        assert!(payload.is::<Cancelled>());
                        let received = ours.recv(&mut [0; 1], 1).unwrap();
                        assert_eq!((received.bytes, received.fds.len()), (1, 1));
                    }
                }
                got += 1;
            }
            assert_eq!(got, 200);
        });
    }
    check::<UnixStream>();
    check::<UnixDatagram>();
}

/// Promise 15. As many as the kernel takes in one message; more are refused before it sees them, and on a stream so are
/// descriptors without a byte.
#[test]
fn a_message_carries_up_to_253_descriptors() {
    fn check<P: Passes>(stream: bool) {
        let (ours, theirs) = P::pair();
        let file = null();
        let many = vec![file.as_fd(); FDS_MAX + 1];
        assert_eq!(
            kind(&theirs.send(b"x", &many)),
            Some(ErrorKind::InvalidInput)
        );
        theirs.send(b"x", &many[1..]).unwrap();
        let received = ours.recv(&mut [0; 1], usize::MAX).unwrap();
        assert_eq!((received.fds.len(), received.fds_lost), (FDS_MAX, false));
        let empty = theirs.send(b"", &many[..1]);
        if stream {
            assert_eq!(kind(&empty), Some(ErrorKind::InvalidInput));
        } else {
            assert_eq!(empty.unwrap(), 0);
            let received = ours.recv(&mut [], 1).unwrap();
            assert_eq!((received.bytes, received.fds.len()), (0, 1));
        }
        assert_eq!(theirs.send(b"none", &[]).unwrap(), 4);
        let received = ours.recv(&mut [0; 8], 9).unwrap();
        assert_eq!(
            (received.bytes, received.fds.len(), received.fds_lost),
            (4, 0, false)
        );
    }
    check::<UnixStream>(true);
    check::<UnixDatagram>(false);
}

/// What is open after `body`, beside what was open before.
fn leaked<T>(body: impl FnOnce() -> T) -> i64 {
    let before = descriptors() as i64;
    drop(body());
    descriptors() as i64 - before
}

/// Promise 49. For each number asked for and each number sent: what was not asked for is closed, and the caller told.
#[test]
fn descriptors_that_were_not_asked_for_are_closed() {
    if !alone("descriptors_that_were_not_asked_for_are_closed", &[]) {
        return;
    }
    fn check<P: Passes>() {
        let file = null();
        for passcred in [false, true] {
            let (ours, theirs) = P::pair();
            ours.set_passcred(passcred);
            for sent in [0, 1, 2, 3, 5, 7, 8, 9, 20, 252, 253] {
                for asked in [0, 1, 2, 3, 4, 6, 7, 8, 100, 253, 1000] {
                    let leaks = leaked(|| {
                        theirs.send(b"x", &vec![file.as_fd(); sent]).unwrap();
                        let received = ours.recv(&mut [0; 4], asked).unwrap();
                        assert_eq!(received.bytes, 1);
                        assert_eq!(
                            received.fds.len(),
                            sent.min(asked),
                            "{sent} sent, {asked} asked for"
                        );
                        assert_eq!(
                            received.fds_lost,
                            sent > asked,
                            "{sent} sent, {asked} asked for"
                        );
                        assert_eq!(received.credentials.is_some(), passcred);
                    });
                    assert_eq!(leaks, 0, "{sent} sent, {asked} asked for");
                }
            }
        }
    }
    check::<UnixStream>();
    check::<UnixDatagram>();
}

/// Promise 49. A reader that has no eye for descriptors gets the bytes; the kernel closes the rest. So does the end of a
/// socket with descriptors on their way.
#[test]
fn descriptors_that_nobody_takes_are_closed() {
    if !alone("descriptors_that_nobody_takes_are_closed", &[]) {
        return;
    }
    fn check<P: Passes>() {
        let file = null();
        let leaks = leaked(|| {
            let (ours, theirs) = P::pair();
            for _ in 0..5 {
                theirs.send(b"x", &[file.as_fd(), file.as_fd()]).unwrap();
            }
            assert_eq!(ours.read(&mut [0; 1]), 1);
        });
        assert_eq!(leaks, 0);
    }
    check::<UnixStream>();
    check::<UnixDatagram>();
}

/// Promise 45. A process that is out of descriptors gets the bytes, those that fit, and is told of the rest.
#[test]
fn descriptors_beyond_the_limit_of_the_process_are_closed_and_reported() {
    let name = "descriptors_beyond_the_limit_of_the_process_are_closed_and_reported";
    if !alone(name, &[]) {
        return;
    }
    fn check<P: Passes>() {
        let (ours, theirs) = P::pair();
        let file = null();
        let highest = ours
            .as_raw_fd()
            .max(theirs.as_raw_fd())
            .max(file.as_raw_fd()) as u64;
        theirs.send(b"x", &[file.as_fd(); 20]).unwrap();
        let before = set_limit(libc::RLIMIT_NOFILE, highest + 1 + 5);
        let received = ours.recv(&mut [0; 4], 20);
        set_limit(libc::RLIMIT_NOFILE, before);
        let received = received.unwrap();
        assert_eq!(received.bytes, 1);
        assert!(
            received.fds_lost && received.fds.len() < 20,
            "{}",
            received.fds.len()
        );
        let leaks = leaked(|| received);
        assert!(leaks <= 0, "{leaks}");
        // And it goes on.
        theirs.send(b"y", &[file.as_fd()]).unwrap();
        assert_eq!(ours.recv(&mut [0; 4], 1).unwrap().fds.len(), 1);
    }
    check::<UnixStream>();
    check::<UnixDatagram>();
}

/// Promise 49. Whatever the peer puts into the control data: two parts, odd lengths, other sorts. What the kernel lets
/// through is closed or returned.
#[test]
fn no_control_data_of_the_peers_leaks_a_descriptor() {
    if !alone("no_control_data_of_the_peers_leaks_a_descriptor", &[]) {
        return;
    }
    let file = null();
    let controls = controls(file.as_raw_fd());
    let mut accepted = 0;
    for control in &controls {
        for asked in [0, 1, 2, 10] {
            let (ours, theirs) = UnixDatagram::pair().unwrap();
            let leaks = leaked(|| {
                let bytes = [std::io::IoSlice::new(b"x")];
                let message = MsgHdr::new().with_buffers(&bytes).with_control(control);
                if SockRef::from(&theirs).sendmsg(&message, 0).is_ok() {
                    accepted += 1;
                    let received = ours.recv_with_fds(&mut [0; 4], asked).unwrap();
                    assert_eq!(received.bytes, 1);
                    assert!(received.fds.len() <= asked);
                    assert!(
                        received
                            .fds
                            .iter()
                            .all(|fd| is_close_on_exec(fd.as_raw_fd()))
                    );
                }
            });
            assert_eq!(leaks, 0, "{control:?}");
        }
    }
    assert!(
        accepted >= 4 * 4,
        "the kernel refused what it should take: {accepted}"
    );
}

/// Control data as a peer may send it, well made and not.
fn controls(fd: RawFd) -> Vec<Vec<u8>> {
    let fd = fd.to_ne_bytes();
    let part = |length: usize, level: i32, kind: i32, data: &[u8]| {
        let mut part = [
            &length.to_ne_bytes()[..],
            &level.to_ne_bytes(),
            &kind.to_ne_bytes(),
            data,
        ]
        .concat();
        part.resize(part.len().next_multiple_of(8), 0);
        part
    };
    let rights = |fds: usize, extra: usize| {
        let data = vec![fd; fds].concat();
        part(
            16 + 4 * fds + extra,
            libc::SOL_SOCKET,
            libc::SCM_RIGHTS,
            &data,
        )
    };
    let credentials = {
        let data = [
            std::process::id().to_ne_bytes(),
            ids().0.to_ne_bytes(),
            ids().1.to_ne_bytes(),
        ]
        .concat();
        part(28, libc::SOL_SOCKET, libc::SCM_CREDENTIALS, &data)
    };
    vec![
        rights(1, 0),
        [rights(1, 0), rights(3, 0)].concat(),
        [rights(2, 0), credentials.clone(), rights(1, 0)].concat(),
        credentials,
        rights(3, 2),
        rights(0, 0),
        part(20, libc::SOL_SOCKET, 99, &fd),
        part(20, libc::SOL_TCP, libc::SCM_RIGHTS, &fd),
        part(7, libc::SOL_SOCKET, libc::SCM_RIGHTS, &fd),
        part(usize::MAX, libc::SOL_SOCKET, libc::SCM_RIGHTS, &fd),
    ]
}

fn ids() -> (u32, u32) {
    // SAFETY: neither has an argument or can fail.
    unsafe { (libc::getuid(), libc::getgid()) }
}

/// Promise 49. A socket whose user has asked for descriptors of the senders (`SO_PASSPIDFD`, Linux 6.5): they are closed.
#[test]
fn descriptors_of_processes_are_closed() {
    if !alone("descriptors_of_processes_are_closed", &[]) {
        return;
    }
    const SO_PASSPIDFD: i32 = 76;
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let yes = 1_i32;
    // SAFETY: the option is a number of four bytes.
    let set = unsafe {
        libc::setsockopt(
            ours.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSPIDFD,
            (&raw const yes).cast(),
            4,
        )
    };
    if set != 0 {
        println!("this kernel has no SO_PASSPIDFD");
        return;
    }
    let file = null();
    let leaks = leaked(|| {
        for asked in [0, 1, 2, 3] {
            theirs.send_with_fds(b"x", &[file.as_fd()]).unwrap();
            let received = ours.recv_with_fds(&mut [0; 4], asked).unwrap();
            assert_eq!((received.bytes, received.fds.len()), (1, asked.min(1)));
            assert_eq!(received.fds_lost, asked == 0);
        }
    });
    assert_eq!(leaks, 0);
}

/// Promise 8. Bytes and descriptors in one stream: descriptors come with the read that takes their first byte, and that
/// goes no further than their message.
#[test]
fn descriptors_stay_with_their_bytes() {
    matrix(LIMIT, "a stream of bytes and descriptors", |case| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let receiver = case.spawn(move || {
            let (mut text, mut places) = (Vec::new(), Vec::new());
            let mut buf = [0; 3];
            loop {
                let received = ours.recv_with_fds(&mut buf, 4).unwrap();
                if received.bytes == 0 {
                    return (text, places);
                }
                if !received.fds.is_empty() {
                    let bytes = text.len()..text.len() + received.bytes;
                    places.push((bytes, received.fds.len()));
                }
                text.extend_from_slice(&buf[..received.bytes]);
            }
        });
        let sender = case.spawn(move || {
            let file = null();
            for _ in 0..50 {
                theirs.send_with_fds(b"12345", &[file.as_fd()]).unwrap();
                (&theirs).write_all(b"6789").unwrap();
                theirs
                    .send_with_fds(b"0", &[file.as_fd(), file.as_fd()])
                    .unwrap();
            }
        });
        sender.join();
        let (text, places) = receiver.join();
        assert_eq!(text, b"1234567890".repeat(50));
        // Each message's place and length. A read may begin before it, with bytes that carried nothing.
        let messages = (0..50).flat_map(|round| [(round * 10, 5, 1), (round * 10 + 9, 1, 2)]);
        assert_eq!(places.len(), 100);
        for ((bytes, fds), (place, length, sent)) in places.into_iter().zip(messages) {
            assert_eq!(fds, sent);
            assert!(
                bytes.contains(&place) && bytes.end <= place + length,
                "{place} in {bytes:?}"
            );
        }
    });
}

/// Promise 15. A datagram that is longer than its buffer says so.
#[test]
fn a_datagram_that_is_cut_off_says_so() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.send(b"0123456789").unwrap();
    let received = ours.recv_with_fds(&mut [0; 4], 1).unwrap();
    assert_eq!(
        (received.bytes, received.bytes_lost, received.fds_lost),
        (4, true, false)
    );
}

/// Promise 19. Credentials: the kernel's word on who is there, and on who has sent each message.
#[test]
fn credentials_are_the_peers() {
    let (uid, gid) = ids();
    let pid = Some(std::process::id() as i32);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = ours.peer_cred().unwrap();
    assert_eq!((peer.uid, peer.gid, peer.pid), (uid, gid, pid));
    let (datagrams, _other) = UnixDatagram::pair().unwrap();
    assert_eq!(datagrams.peer_cred().unwrap(), peer);
    assert_eq!(
        UnixDatagram::unbound().unwrap().peer_cred().unwrap().pid,
        None
    );
    assert!(!ours.passcred().unwrap());
    ours.set_passcred(true).unwrap();
    assert!(ours.passcred().unwrap());
    (&theirs).write_all(b"x").unwrap();
    let received = ours.recv_with_fds(&mut [0; 4], 0).unwrap();
    assert_eq!(
        (received.credentials, received.fds_lost),
        (Some(peer), false)
    );
    assert_eq!(
        kind(&withy::net::TcpStream::from(OwnedFd::from(ours)).peer_addr()),
        Some(ErrorKind::InvalidInput)
    );
}
