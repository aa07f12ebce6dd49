//! The rows of channels and selects.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use withy::CancelToken;
use withy::net::TcpStream;
use withy::sync::channel::{self, Select, bounded, broadcast, never, oneshot, watch};
use withy::sync::channel::{Receiver, Sender};
use withy::sync::mpsc;

use crate::rows::{AGES, Call, Row, forever, row};
use crate::support::sockets::pair;

/// One line each.
#[rustfmt::skip]
pub(crate) fn waits() -> Vec<Row> {
    vec![
        row("sync::IntoIter::next", || forever(|| _ = never::<u8>().into_iter().next())),
        row("sync::IntoIter::next", || mpsc_recv(|receiver| _ = receiver.into_iter().next())),
        row("sync::Iter::next", || channel_recv(|receiver| _ = receiver.iter().next())),
        row("sync::Iter::next", || mpsc_recv(|receiver| _ = receiver.iter().next())),
        row("sync::Receiver::borrow", || watch_locked(|_, receiver| _ = receiver.borrow())),
        row("sync::Receiver::borrow_and_update", || watch_locked(|_, receiver| _ = receiver.borrow_and_update())),
        row("sync::Receiver::changed", || watch_change(|receiver| _ = receiver.changed())),
        row("sync::Receiver::changed_timeout", || watch_change(|receiver| _ = receiver.changed_timeout(AGES))),
        row("sync::Receiver::recv", || broadcast_recv(|receiver| _ = receiver.recv())),
        row("sync::Receiver::recv", || channel_recv(|receiver| _ = receiver.recv())),
        row("sync::Receiver::recv", || forever(|| _ = never::<u8>().recv())),
        row("sync::Receiver::recv", || mpsc_recv(|receiver| _ = receiver.recv())),
        row("sync::Receiver::recv", oneshot_recv),
        row("sync::Receiver::recv_deadline", || channel_recv(|receiver| _ = receiver.recv_deadline(Instant::now() + AGES))),
        row("sync::Receiver::recv_timeout", || broadcast_recv(|receiver| _ = receiver.recv_timeout(AGES))),
        row("sync::Receiver::recv_timeout", || channel_recv(|receiver| _ = receiver.recv_timeout(AGES))),
        row("sync::Receiver::recv_timeout", || mpsc_recv(|receiver| _ = receiver.recv_timeout(AGES))),
        row("sync::Receiver::wait_for", || watch_change(|receiver| _ = receiver.wait_for(|&n| n == 7))),
        row("sync::Sender::borrow", || watch_locked(|sender, _| _ = sender.borrow())),
        row("sync::Sender::closed", oneshot_closed),
        row("sync::Sender::closed", watch_closed),
        row("sync::Sender::send", || channel_send(|sender| _ = sender.send(9))),
        row("sync::Sender::send", || watch_locked(|sender, _| _ = sender.send(9))),
        row("sync::Sender::send_deadline", || channel_send(|sender| _ = sender.send_deadline(9, Instant::now() + AGES))),
        row("sync::Sender::send_if_modified", || watch_locked(|sender, _| _ = sender.send_if_modified(|_| true))),
        row("sync::Sender::send_modify", || watch_locked(|sender, _| sender.send_modify(|_| ()))),
        row("sync::Sender::send_replace", || watch_locked(|sender, _| _ = sender.send_replace(9))),
        row("sync::Sender::send_timeout", || channel_send(|sender| _ = sender.send_timeout(9, AGES))),
        row("sync::SyncSender::send", mpsc_send),
        row("sync::Select::ready", || select(|select| _ = select.ready())),
        row("sync::Select::ready_deadline", || select(|select| _ = select.ready_deadline(Instant::now() + AGES))),
        row("sync::Select::ready_timeout", || select(|select| _ = select.ready_timeout(AGES))),
        row("sync::Select::select", || select(|select| drop(select.select()))),
        row("sync::Select::select_deadline", || select(|select| drop(select.select_deadline(Instant::now() + AGES)))),
        row("sync::Select::select_timeout", || select(|select| drop(select.select_timeout(AGES)))),
        row("sync::Select::select", select_macro),
        row("sync::SelectedOperation::send", late_send),
    ]
}

#[derive(Clone)]
struct All {
    sender: Sender<i32>,
    receiver: Receiver<i32>,
    token: CancelToken,
    socket: Arc<TcpStream>,
}

/// A select of all sorts of arms, none of which is ever ready. What they wait for can be used afterwards.
fn select(wait: fn(&mut Select<'_>)) -> Call {
    waiting_for_all(move |all, mut child| {
        let mut select = Select::new();
        select.recv(&all.receiver);
        select.send(&all.sender);
        select.cancelled(&all.token);
        select.readable(&all.socket);
        select.join(&mut child);
        wait(&mut select);
    })
}

fn select_macro() -> Call {
    waiting_for_all(|all, mut child| {
        withy::select! {
            recv(all.receiver) -> _ => {}
            send(all.sender, 1) -> _ => {}
            cancelled(all.token) => {}
            readable(all.socket) => {}
            join(child) -> _ => {}
        }
    })
}

fn waiting_for_all(wait: impl FnOnce(&All, withy::JoinHandle<()>) + Send + 'static) -> Call {
    let (sender, receiver) = bounded(0);
    let (ours, mut peer) = pair();
    let all = All {
        sender,
        receiver,
        token: CancelToken::new(),
        socket: Arc::new(ours),
    };
    let child = withy::spawn(withy::park);
    let parked = child.coroutine();
    Call {
        wait: Box::new({
            let all = all.clone();
            move || wait(&all, child)
        }),
        after: Box::new(move || {
            parked.unpark();
            all.token.cancel();
            let received = withy::spawn(move || all.receiver.recv());
            all.sender.send(7).expect("a receiver is there");
            assert_eq!(received.join().expect("it does not panic"), Ok(7));
            peer.write_all(b"x").expect("it is connected");
            let mut byte = [0];
            (&*all.socket).read_exact(&mut byte).expect("a byte comes");
        }),
    }
}

/// A message for a receiver that has left since.
fn late_send() -> Call {
    let (sender, receiver) = bounded(0);
    forever(move || {
        let mut select = Select::new();
        select.send(&sender);
        let leaving = withy::spawn({
            let receiver = receiver.clone();
            move || receiver.recv()
        });
        let operation = select.select();
        leaving.cancel();
        drop(leaving.join());
        let _ = operation.send(&sender, 1);
    })
}

/// A message that comes later is received.
fn channel_recv(wait: fn(&channel::Receiver<u8>)) -> Call {
    let (sender, receiver) = channel::bounded(1);
    let ours = receiver.clone();
    Call {
        wait: Box::new(move || wait(&receiver)),
        after: Box::new(move || {
            sender.try_send(7).expect("there is room");
            assert_eq!(ours.try_recv(), Ok(7));
            sender.try_send(8).expect("there is room");
        }),
    }
}

/// What could not be sent is not there, and there is as much room as before.
fn channel_send(wait: fn(&channel::Sender<u8>)) -> Call {
    let (sender, receiver) = channel::bounded(1);
    sender.send(7).expect("there is room");
    let ours = sender.clone();
    Call {
        wait: Box::new(move || wait(&sender)),
        after: Box::new(move || {
            assert!(receiver.try_iter().eq([7]));
            ours.try_send(8).expect("there is room");
            assert!(ours.is_full());
        }),
    }
}

/// The receiver is gone with the coroutine that had it.
fn mpsc_recv(wait: fn(mpsc::Receiver<u8>)) -> Call {
    let (sender, receiver) = mpsc::channel();
    Call {
        wait: Box::new(move || wait(receiver)),
        after: Box::new(move || assert!(sender.send(7).is_err())),
    }
}

fn mpsc_send() -> Call {
    let (sender, receiver) = mpsc::sync_channel(0);
    Call {
        wait: Box::new(move || _ = sender.send(7)),
        after: Box::new(move || assert!(receiver.recv().is_err())),
    }
}

fn oneshot_recv() -> Call {
    let (sender, receiver) = oneshot();
    Call {
        wait: Box::new(move || _ = receiver.recv()),
        after: Box::new(move || assert_eq!(sender.send(7), Err(7))),
    }
}

fn oneshot_closed() -> Call {
    let (sender, receiver) = oneshot::<u8>();
    Call {
        wait: Box::new(move || sender.closed()),
        after: Box::new(move || assert!(receiver.recv().is_err())),
    }
}

/// Whoever is left gets what comes later.
fn broadcast_recv(wait: fn(&mut broadcast::Receiver<u8>)) -> Call {
    let (sender, mut receiver) = broadcast(4);
    let mut other = receiver.resubscribe();
    Call {
        wait: Box::new(move || wait(&mut receiver)),
        after: Box::new(move || {
            assert_eq!(sender.send(7), Ok(1));
            assert_eq!(other.try_recv(), Ok(7));
        }),
    }
}

fn watch_change(wait: fn(&mut watch::Receiver<u8>)) -> Call {
    let (sender, mut receiver) = watch(1);
    let other = receiver.clone();
    Call {
        wait: Box::new(move || wait(&mut receiver)),
        after: Box::new(move || {
            sender.send(7).expect("there is a receiver");
            assert_eq!(other.has_changed(), Ok(true));
        }),
    }
}

fn watch_closed() -> Call {
    let (sender, receiver) = watch(1);
    Call {
        wait: Box::new(move || sender.closed()),
        after: Box::new(move || assert!(receiver.has_changed().is_err())),
    }
}

/// Whoever looks while another changes the value waits for that. Here the other waits for the end of the first.
fn watch_locked(wait: fn(&watch::Sender<u8>, &mut watch::Receiver<u8>)) -> Call {
    let (sender, mut receiver) = watch(1);
    let (release, released) = channel::bounded::<()>(0);
    let changer = sender.clone();
    let (locked, is_locked) = oneshot();
    let mut locked = Some(locked);
    let changing = withy::spawn(move || {
        changer.send_modify(|value| {
            locked.take().map(|locked| locked.send(()));
            let _ = released.recv();
            *value = 7;
        });
    });
    is_locked.recv().expect("it is locked");
    let ours = receiver.clone();
    Call {
        wait: Box::new(move || wait(&sender, &mut receiver)),
        after: Box::new(move || {
            drop(release);
            changing.join().expect("it ends");
            assert_eq!(*ours.borrow(), 7);
        }),
    }
}
