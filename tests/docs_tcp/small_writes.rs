//! What becomes of small writes: Nagle's algorithm and delayed ACKs.

use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use withy::net::TcpStream;

use crate::rig::network::{count, in_own_network, row};
use crate::rig::until;
use crate::support::addresses::mute;
use crate::support::sockets::pair;
use crate::support::{LIMIT, within};
use crate::{ends_of, listening};

/// Bytes that were written and not even sent (`SIOCOUTQNSD`).
fn unsent(stream: &TcpStream) -> i32 {
    const SIOCOUTQNSD: libc::c_ulong = 0x894B;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, for which there is room.
    let status =
        unsafe { libc::ioctl(stream.as_fd().as_raw_fd(), SIOCOUTQNSD as _, &raw mut bytes) };
    assert_eq!(status, 0);
    bytes
}

/// Nagle. The peer's acknowledgement does not come at all, where otherwise it would be delayed.
#[test]
fn a_small_write_waits_for_the_acknowledgement_of_the_last() {
    within(LIMIT, "two small writes", || {
        let (mut ours, peer) = pair();
        mute(&peer);
        ours.write_all(b"1").unwrap();
        assert_eq!(unsent(&ours), 0, "nothing was under way");
        ours.write_all(b"2").unwrap();
        assert_eq!(unsent(&ours), 1);
        ours.set_nodelay(true).unwrap();
        assert_eq!(unsent(&ours), 0, "it pushes what was kept back");
    });
}

/// Nagle. What comes together was sent together.
#[test]
fn several_buffers_in_one_call_are_one_segment() {
    within(LIMIT, "a message of two buffers", || {
        let (mut ours, peer) = pair();
        let peer = TcpStream::from(peer);
        let message = [IoSlice::new(b"5\n"), IoSlice::new(b"hello")];
        assert_eq!(ours.write_vectored(&message).unwrap(), 7);
        until(|| peer.recv_queue().unwrap() > 0);
        assert_eq!(peer.recv_queue().unwrap(), 7);
    });
}

/// Nagle.
#[test]
fn with_nodelay_nothing_is_kept_back() {
    within(LIMIT, "small writes without delay", || {
        let (mut ours, peer) = pair();
        ours.set_nodelay(true).unwrap();
        mute(&peer);
        for _ in 0..5 {
            ours.write_all(b"x").unwrap();
            assert_eq!(unsent(&ours), 0);
        }
    });
}

/// Delayed ACKs. The kernel sees that answers are written, with which ACKs can go.
#[test]
fn quickack_does_not_stay() {
    within(LIMIT, "a change of the kernel's mind", || {
        let (ours, peer) = pair();
        ours.set_quickack(true).unwrap();
        assert!(ours.quickack().unwrap());
        answer_until_acks_are_delayed(&ours, &peer);
    });
}

fn answer_until_acks_are_delayed(mut ours: &TcpStream, mut peer: &std::net::TcpStream) {
    let mut byte = [0];
    while ours.quickack().unwrap() {
        peer.write_all(b"?").unwrap();
        ours.read_exact(&mut byte).unwrap();
        ours.write_all(b"!").unwrap();
        peer.read_exact(&mut byte).unwrap();
    }
}

/// Nagle and delayed ACKs together. Each request is of two pieces: for each the second one waits until the timer of
/// delayed ACKs has run out, and the first is acknowledged. By one call, and with nodelay, none does.
#[test]
fn a_request_in_two_pieces_waits_for_a_delayed_acknowledgement() {
    const TEST: &str = "small_writes::a_request_in_two_pieces_waits_for_a_delayed_acknowledgement";
    const REQUESTS: u64 = 5;
    if !in_own_network(TEST) {
        return;
    }
    within(LIMIT, "requests in two pieces", || {
        let (ours, peer) = pair();
        answer_until_acks_are_delayed(&ours, &peer);
        // What is delayed, in five exchanges.
        let delayed = |mut peer: &std::net::TcpStream, pieces: &[&[u8]]| {
            let before = count("DelayedACKs");
            for _ in 0..REQUESTS {
                for piece in pieces {
                    peer.write_all(piece).unwrap();
                }
                (&ours).read_exact(&mut [0; 2]).unwrap();
                (&ours).write_all(b"!").unwrap();
                peer.read_exact(&mut [0]).unwrap();
            }
            count("DelayedACKs") - before
        };
        assert_eq!(delayed(&peer, &[b"1", b"2"]), REQUESTS);
        // In hundredths of a second, which is the resolution of that table.
        let (here, there) = ends_of(&ours);
        let delay: u64 = row(here, there).unwrap()[13].parse().unwrap();
        assert!((4..=20).contains(&delay), "{delay}");
        assert_eq!(delayed(&peer, &[b"12"]), 0, "by one call");
        peer.set_nodelay(true).unwrap();
        assert_eq!(delayed(&peer, &[b"1", b"2"]), 0, "with nodelay");
    });
}

/// Nagle. As the kernel makes sockets.
#[test]
fn nodelay_is_off_unless_it_is_set() {
    let (ours, peer) = pair();
    assert!(!ours.nodelay().unwrap() && !peer.nodelay().unwrap());
    let (_listener, addr) = listening(1);
    assert!(!TcpStream::connect(addr).unwrap().nodelay().unwrap());
}
