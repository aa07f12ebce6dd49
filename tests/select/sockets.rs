//! Sockets as arms of a select: readiness, listeners, sharing with readers, and plain threads that poll.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::net::{TcpListener, TcpStream};
use withy::sync::channel::{Select, after, bounded, never, unbounded};
use withy::{CancelToken, Cancelled, select};

use crate::rig::{each_runtime, stress_rounds, until};
use crate::support::sockets::{narrow_pair, pair, reset};
use crate::support::{self, LIMIT, matrix, rest, within};
use crate::{AGES, SHORT};

/// Promises 9, 18 and 41. Readiness to read is chosen when there are bytes, before and during the select, at the end, and after a reset;
/// nothing is read by it.
#[test]
fn a_readable_socket_is_an_arm() {
    matrix(LIMIT, "selects of readable sockets", |case| {
        let (mut ours, mut peer) = pair();
        let (step, steps) = unbounded::<i32>();
        let (looked, ready) = unbounded();
        let waiter = case.spawn(move || {
            select! {
                readable(ours) => panic!("nothing was sent"),
                default(SHORT) => looked.send(()).unwrap(),
            }
            for round in 0..20_u8 {
                // What comes by the channel is first said to be handled, then sent.
                let got = steps.recv().unwrap();
                if got == 0 {
                    withy::yield_now();
                }
                select! {
                    readable(ours) => {}
                    recv(never::<()>()) -> _ => panic!(),
                    default(AGES) => panic!(),
                }
                select! {
                    readable(&mut ours) => {}
                    default => panic!("it is ready as long as nothing is read"),
                }
                let mut byte = [0];
                assert_eq!(ours.read(&mut byte).unwrap(), 1);
                assert_eq!(byte[0], round);
            }
            // The end stays readable.
            for _ in 0..3 {
                select! { readable(ours) => {} }
            }
            assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        });
        ready.recv().unwrap();
        for round in 0..20 {
            if round % 2 == 0 {
                peer.write_all(&[round]).unwrap();
                step.send(1).unwrap();
            } else {
                step.send(0).unwrap();
                peer.write_all(&[round]).unwrap();
            }
        }
        drop(peer);
        waiter.join();

        let (mut ours, peer) = pair();
        let waiter = case.spawn(move || {
            let mut select = Select::new();
            let index = select.readable(&ours);
            assert_eq!(select.select().index(), index);
            ours.read(&mut [0]).unwrap_err().kind()
        });
        reset(peer);
        assert_eq!(waiter.join(), std::io::ErrorKind::ConnectionReset);
    });
}

/// Readiness to write is chosen when there is room.
#[test]
fn a_writable_socket_is_an_arm() {
    matrix(LIMIT, "selects of writable sockets", |case| {
        let (ours, mut peer) = narrow_pair();
        ours.set_nonblocking(true).unwrap();
        let (full, is_full) = unbounded();
        let waiter = case.spawn(move || {
            let mut ours = ours;
            let mut written = 0;
            for _ in 0..10 {
                while let Ok(bytes) = ours.write(&[7; 4096]) {
                    written += bytes;
                }
                full.send(written).unwrap();
                select! {
                    writable(ours) => {}
                    readable(ours) => panic!("nobody sends"),
                    default(AGES) => panic!(),
                }
            }
            written
        });
        let mut read = 0;
        let mut buf = vec![0; 1 << 16];
        for _ in 0..10 {
            let written = is_full.recv().unwrap();
            while read < written {
                read += peer.read(&mut buf).unwrap();
            }
        }
        let written = waiter.join();
        while read < written {
            read += peer.read(&mut buf).unwrap();
        }
    });
}

/// A listener is readable when a connection is in the backlog.
#[test]
fn a_listener_is_an_arm() {
    matrix(LIMIT, "selects of listeners", |case| {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let two = TcpListener::bind("127.0.0.1:0").unwrap();
        let addrs = [one.local_addr().unwrap(), two.local_addr().unwrap()];
        let over = CancelToken::new();
        let server = case.spawn({
            let over = over.clone();
            move || {
                let mut accepted = [0; 2];
                loop {
                    select! {
                        readable(one) => { one.accept().unwrap(); accepted[0] += 1; }
                        readable(two) => { two.accept().unwrap(); accepted[1] += 1; }
                        cancelled(over) => break accepted,
                    }
                }
            }
        });
        let clients: Vec<_> = (0..20)
            .map(|n| std::net::TcpStream::connect(addrs[n % 2]).unwrap())
            .collect();
        // Closed by the server, which dropped it: so each was accepted.
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        }
        over.cancel();
        assert_eq!(server.join(), [10, 10]);
    });
}

/// Promises 6 and 7. Selects and readers of one socket side by side: each byte to one, and whoever leaves, chosen otherwise or cancelled, lets
/// the next go.
#[test]
fn selects_and_readers_share_a_socket() {
    let rounds = 40 * stress_rounds();
    matrix(LIMIT, "a socket shared with selects", |case| {
        let (ours, mut peer) = pair();
        let got = Arc::new(AtomicUsize::new(0));
        let (kick, kicked) = bounded::<()>(0);
        let over = CancelToken::new();
        let callers: Vec<_> = (0..6)
            .map(|n| {
                let (mut ours, got) = (ours.try_clone().unwrap(), got.clone());
                let (kicked, over) = (kicked.clone(), over.clone());
                case.spawn(move || {
                    let mut byte = [0];
                    loop {
                        let read = match n % 3 {
                            0 => ours.read(&mut byte).unwrap(),
                            1 => select! {
                                readable(ours) => ours.read(&mut byte).unwrap(),
                                recv(kicked) -> _ => continue,
                                cancelled(over) => break,
                            },
                            _ => select! {
                                readable(ours) => ours.read(&mut byte).unwrap(),
                                recv(kicked) -> _ => continue,
                                default(Duration::from_micros(50)) => continue,
                            },
                        };
                        if read == 0 {
                            break;
                        }
                        got.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for round in 0..rounds {
            peer.write_all(&[1]).unwrap();
            if round % 2 == 0 {
                let _ = kick.try_send(());
            }
            // Each byte comes through, whoever was about to leave.
            until(|| got.load(Ordering::SeqCst) == round + 1);
        }
        over.cancel();
        drop(peer);
        callers.into_iter().for_each(support::Caller::join);
    });
}

/// Law 5. In a destructor that runs because of a cancellation a socket is said to be ready, so that nobody waits for the world: the call that
/// follows says why. Channels are waited for as ever.
#[test]
fn a_select_in_a_destructor_does_not_wait_for_sockets() {
    struct Last(
        TcpStream,
        withy::sync::channel::Receiver<i32>,
        Arc<AtomicUsize>,
    );
    impl Drop for Last {
        fn drop(&mut self) {
            let message = select! { recv(self.1) -> message => message.unwrap() };
            self.2.fetch_add(message as usize, Ordering::SeqCst);
            select! { readable(self.0) => {} }
            let error = self.0.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            self.2.fetch_add(1, Ordering::SeqCst);
        }
    }
    each_runtime("selects in destructors", |runtime, _| {
        let (ours, _peer) = pair();
        let (sender, receiver) = unbounded();
        let count = Arc::new(AtomicUsize::new(0));
        let last = Last(ours, receiver, count.clone());
        let victim = runtime.spawn(move || {
            let _last = last;
            withy::park();
        });
        runtime.run(withy::yield_now);
        victim.cancel();
        runtime.run(withy::yield_now);
        sender.send(10).unwrap();
        assert!(victim.join().unwrap_err().is::<Cancelled>());
        assert_eq!(count.load(Ordering::SeqCst), 11);
    });
}

/// A plain thread that waits in poll(2) for sockets is reached by everything else.
#[test]
fn a_thread_that_polls_is_woken_by_everything_else() {
    within(LIMIT, "a plain thread with sockets among its arms", || {
        for how in 0..5 {
            let (ours, mut peer) = pair();
            let (other, _keep) = pair();
            let (sender, receiver) = unbounded::<i32>();
            let token = CancelToken::new();
            let mut child = withy::spawn(withy::park);
            let parked = child.coroutine();
            let (id, thread_id) = std::sync::mpsc::channel();
            let thread = std::thread::spawn({
                let token = token.clone();
                move || {
                    id.send(rest::current_thread_id()).unwrap();
                    let chosen = select! {
                        readable(other) => 9,
                        recv(receiver) -> _ => 0,
                        cancelled(token) => 1,
                        readable(ours) => 2,
                        join(child) -> _ => 3,
                        recv(after(if how == 4 { SHORT } else { AGES })) -> _ => 4,
                    };
                    (chosen, other)
                }
            });
            // In poll(2).
            rest::until_all_sleep(&[thread_id.recv().unwrap()]);
            match how {
                0 => sender.send(1).unwrap(),
                1 => token.cancel(),
                2 => peer.write_all(b"x").unwrap(),
                3 => parked.unpark(),
                _ => {}
            }
            assert_eq!(thread.join().unwrap().0, how);
            parked.unpark();
        }
    });
}
