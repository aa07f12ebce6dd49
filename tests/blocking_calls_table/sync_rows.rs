//! The rows of `withy::sync`.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use withy::CancelToken;
use withy::net::TcpStream;
use withy::sync::channel::{self, Select, bounded, broadcast, never, oneshot, watch};
use withy::sync::channel::{Receiver, Sender};
use withy::sync::{Barrier, Condvar, LazyLock, Mutex, MutexGuard, Notify, Once, OnceLock, Parker};
use withy::sync::{RwLock, Semaphore, WaitGroup, mpsc};

use crate::rig::until;
use crate::rows::{AGES, Call, Row, forever, row};
use crate::support::sockets::pair;

/// One line each.
#[expect(clippy::too_many_lines, reason = "it is a list")]
#[rustfmt::skip]
pub(crate) fn waits() -> Vec<Row> {
    vec![
        row("sync::Condvar::wait", || condvar(|changed, guard| drop(changed.wait(guard)))),
        row("sync::Condvar::wait_timeout", || condvar(|changed, guard| drop(changed.wait_timeout(guard, AGES)))),
        row("sync::Condvar::wait_timeout_ms", || condvar(condvar_wait_timeout_ms)),
        row("sync::Condvar::wait_timeout_while", || condvar(|changed, guard| drop(changed.wait_timeout_while(guard, Duration::MAX, |_| true)))),
        row("sync::Condvar::wait_while", || condvar(|changed, guard| drop(changed.wait_while(guard, |_| true)))),
        row("sync::Mutex::lock", mutex),
        row("sync::RwLock::read", || rwlock(|lock| drop(lock.read()))),
        row("sync::RwLock::write", || rwlock(|lock| drop(lock.write()))),
        row("sync::LazyLock::deref", || lazy_lock(|lazy| assert_eq!(**lazy, 7))),
        row("sync::LazyLock::force", || lazy_lock(|lazy| assert_eq!(*Lazy::force(lazy), 7))),
        row("sync::Once::call_once", || once(|once| once.call_once(|| ()))),
        row("sync::Once::call_once_force", || once(|once| once.call_once_force(|_| ()))),
        row("sync::Once::wait", || once(Once::wait)),
        row("sync::Once::wait_force", || once(Once::wait_force)),
        row("sync::OnceLock::get_or_init", || once_lock(|cell| _ = cell.get_or_init(|| 8))),
        row("sync::OnceLock::set", || once_lock(|cell| _ = cell.set(8))),
        row("sync::OnceLock::wait", || once_lock(|cell| _ = cell.wait())),
        row("sync::Barrier::wait", barrier),
        row("sync::Notified::wait", || notify(|event| event.notified().wait())),
        row("sync::Notified::wait_timeout", || notify(|event| _ = event.notified().wait_timeout(AGES))),
        row("sync::Notify::wait", || notify(|event| event.wait())),
        row("sync::Notify::wait_timeout", || notify(|event| _ = event.wait_timeout(Duration::MAX))),
        row("sync::Parker::park", || parker(|parker| parker.park())),
        row("sync::Parker::park_deadline", || parker(|parker| parker.park_deadline(Instant::now() + AGES))),
        row("sync::Parker::park_timeout", || parker(|parker| parker.park_timeout(AGES))),
        row("sync::Semaphore::acquire", || semaphore(0, |semaphore| drop(semaphore.acquire()))),
        row("sync::Semaphore::acquire_many", || semaphore(2, |semaphore| drop(semaphore.acquire_many(3)))),
        row("sync::Semaphore::acquire_many_owned", || semaphore(2, |semaphore| drop(semaphore.acquire_many_owned(3)))),
        row("sync::Semaphore::acquire_many_timeout", || semaphore(2, |semaphore| drop(semaphore.acquire_many_timeout(3, AGES)))),
        row("sync::Semaphore::acquire_owned", || semaphore(0, |semaphore| drop(semaphore.acquire_owned()))),
        row("sync::Semaphore::acquire_timeout", || semaphore(0, |semaphore| drop(semaphore.acquire_timeout(AGES)))),
        row("sync::WaitGroup::wait", wait_group),
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

type Part = Box<dyn FnOnce() + Send>;

type Lazy = LazyLock<u8, Box<dyn FnOnce() -> u8 + Send>>;

/// A lock that is free later is taken.
fn mutex() -> Call {
    let mutex = Arc::new(Mutex::new(()));
    // It belongs to nobody who could unlock it.
    std::mem::forget(mutex.lock());
    let waited_for = mutex.clone();
    Call {
        wait: Box::new(move || drop(waited_for.lock())),
        after: Box::new(move || {
            assert!(mutex.try_lock().is_err());
            let mut mutex = Arc::into_inner(mutex).expect("its waiters have left");
            assert!(mutex.get_mut().is_ok());
        }),
    }
}

#[allow(deprecated, reason = "it waits too")]
fn condvar_wait_timeout_ms(changed: &Condvar, guard: MutexGuard<'_, u32>) {
    drop(changed.wait_timeout_ms(guard, u32::MAX));
}

/// The mutex is free, and a signal that comes later is a later waiter's.
fn condvar(wait: fn(&Condvar, MutexGuard<'_, u32>)) -> Call {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    Call {
        wait: Box::new({
            let shared = shared.clone();
            move || wait(&shared.1, shared.0.lock().unwrap())
        }),
        after: Box::new(move || {
            let notifier = withy::spawn({
                let shared = shared.clone();
                move || {
                    *shared.0.lock().unwrap() += 1;
                    shared.1.notify_one();
                }
            });
            let count = shared.0.lock().expect("nobody has panicked");
            let count = shared.1.wait_while(count, |count| *count == 0);
            assert_eq!(*count.expect("nobody has panicked"), 1);
            notifier.join().unwrap();
        }),
    }
}

/// Held by a writer all the time.
fn rwlock(wait: fn(&RwLock<u32>)) -> Call {
    let lock = Arc::new(RwLock::new(0));
    let (held, released) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let holder = withy::spawn({
        let (lock, held, released) = (lock.clone(), held.clone(), released.clone());
        move || {
            let mut guard = lock.write().unwrap();
            held.store(true, Ordering::SeqCst);
            until(|| released.load(Ordering::SeqCst));
            *guard += 1;
        }
    });
    until(|| held.load(Ordering::SeqCst));
    Call {
        wait: Box::new({
            let lock = lock.clone();
            move || wait(&lock)
        }),
        after: Box::new(move || {
            assert!(lock.try_read().is_err());
            released.store(true, Ordering::SeqCst);
            holder.join().unwrap();
            assert_eq!(*lock.read().expect("nobody has panicked"), 1);
            *lock.write().expect("nobody has panicked") += 1;
        }),
    }
}

/// Whoever has left is not counted: two others wait for each other.
fn barrier() -> Call {
    let barrier = Arc::new(Barrier::new(2));
    Call {
        wait: Box::new({
            let barrier = barrier.clone();
            move || _ = barrier.wait()
        }),
        after: Box::new(move || {
            let other = std::thread::spawn({
                let barrier = barrier.clone();
                move || barrier.wait().is_leader()
            });
            assert!(barrier.wait().is_leader() != other.join().unwrap());
        }),
    }
}

/// A notification that comes later is kept.
fn notify(wait: fn(&Notify)) -> Call {
    let event = Arc::new(Notify::new());
    Call {
        wait: Box::new({
            let event = event.clone();
            move || wait(&event)
        }),
        after: Box::new(move || {
            assert!(!event.wait_timeout(Duration::ZERO));
            event.notify_one();
            assert!(event.wait_timeout(Duration::ZERO));
        }),
    }
}

/// The parker is gone: what gives it its token says nothing.
fn parker(wait: fn(&Parker)) -> Call {
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    Call {
        wait: Box::new(move || wait(&parker)),
        after: Box::new(move || unparker.unpark()),
    }
}

/// All permits are there, and nobody is in their way.
fn semaphore(permits: usize, wait: fn(&Arc<Semaphore>)) -> Call {
    let semaphore = Arc::new(Semaphore::new(permits));
    Call {
        wait: Box::new({
            let semaphore = semaphore.clone();
            move || wait(&semaphore)
        }),
        after: Box::new(move || {
            assert_eq!(semaphore.available_permits(), permits);
            semaphore.add_permits(1);
            assert!(semaphore.try_acquire_many(permits + 1).is_ok());
        }),
    }
}

/// The others are not waited for, and wait for nobody who has left.
fn wait_group() -> Call {
    let group = WaitGroup::new();
    let member = group.clone();
    Call {
        wait: Box::new(move || member.wait()),
        after: Box::new(move || group.wait()),
    }
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

/// `make` is given an initialiser that runs until the wait is over, and gives who runs it, who waits, and what holds in the end.
fn initialised(make: impl FnOnce(Part) -> [Part; 3]) -> Call {
    let (starts, started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let [first, wait, check] = make(Box::new(move || {
        starts.send(()).expect("the row waits for it");
        let _ = released.recv();
    }));
    let first = std::thread::spawn(first);
    started.recv().expect("the initialiser runs");
    Call {
        wait,
        after: Box::new(move || {
            drop(release);
            first.join().expect("it is not interrupted");
            check();
        }),
    }
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

fn once(wait: fn(&Once)) -> Call {
    initialised(|initialiser| {
        let [first, waiting, last] = copies(Once::new());
        [
            Box::new(move || first.call_once(initialiser)),
            Box::new(move || wait(&waiting)),
            Box::new(move || assert!(last.is_completed())),
        ]
    })
}

fn once_lock(wait: fn(&OnceLock<u8>)) -> Call {
    initialised(|initialiser| {
        let [first, waiting, last] = copies(OnceLock::new());
        let make = move || {
            initialiser();
            7
        };
        [
            Box::new(move || _ = first.get_or_init(make)),
            Box::new(move || wait(&waiting)),
            Box::new(move || assert_eq!(last.get(), Some(&7))),
        ]
    })
}

fn lazy_lock(wait: fn(&Lazy)) -> Call {
    initialised(|initialiser| {
        let [first, waiting, last] = copies(Lazy::new(Box::new(move || {
            initialiser();
            7
        })));
        [
            Box::new(move || _ = Lazy::force(&first)),
            Box::new(move || wait(&waiting)),
            Box::new(move || assert_eq!(Lazy::get(&last), Some(&7))),
        ]
    })
}

fn copies<T>(shared: T) -> [Arc<T>; 3] {
    let shared = Arc::new(shared);
    [shared.clone(), shared.clone(), shared]
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
