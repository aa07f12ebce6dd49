//! The table: each function that waits, and a call of it that waits for ever.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use withy::CancelToken;
use withy::net::{Duplex, TcpListener, TcpStream, duplex};
use withy::signal::{self, Signal, Signals};
use withy::sync::channel::{self, broadcast, never, oneshot, watch};
use withy::sync::mpsc;
use withy::sync::{Barrier, Notify, Parker, Semaphore, WaitGroup};
use withy::sync::{Condvar, Mutex, MutexGuard, RwLock};
use withy::sync::{LazyLock, Once, OnceLock};
use withy::sync::channel::{Receiver, Select, Sender, bounded};

use crate::rig::until;
use crate::support::sockets::{narrow_pair, pair};

/// A function that waits.
pub(crate) struct Row {
    /// As `sources::functions_that_wait` has it.
    pub(crate) name: &'static str,
    pub(crate) make: fn() -> Call,
    /// A plain thread is not interrupted in it, as its docs say.
    pub(crate) coroutines_only: bool,
    /// The row of the function that it waits by; it has no call of its own then.
    pub(crate) like: Option<&'static str>,
}

/// A call that waits for ever.
pub(crate) struct Call {
    pub(crate) wait: Box<dyn FnOnce() + Send>,
    /// What must hold when it was interrupted.
    pub(crate) after: Box<dyn FnOnce() + Send>,
}

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let files = FILES.iter().map(|name| like("blocking", name));
    waits().into_iter().chain(files).collect()
}

/// One line each.
#[rustfmt::skip]
fn waits() -> Vec<Row> {
    vec![
        row("park", || forever(withy::park)),
        row("park_timeout", || forever(|| withy::park_timeout(AGES))),
        row("park_timeout_ms", || forever(|| park_timeout_ms(u32::MAX))),
        row("sleep", || forever(|| withy::sleep(Duration::MAX))),
        row("sleep_until", || forever(|| withy::sleep_until(Instant::now() + AGES))),
        row("sleep_ms", || forever(|| sleep_ms(u32::MAX))),
        in_coroutines(row("yield_now", || forever(|| loop { withy::yield_now() }))),
        row("JoinHandle::join", join),
        row("ScopedJoinHandle::join", || again(|| withy::scope(|s| drop(s.spawn(withy::park).join())))),
        row("scope", || again(|| withy::scope(|s| drop(s.spawn(withy::park))))),
        row("try_scope", || again(|| _ = withy::try_scope(|s| { s.spawn(|| { withy::park(); Ok::<_, ()>(()) }); Ok(()) }))),
        row("run", || forever(|| withy::run(withy::park))),
        row("Runtime::run", || forever(|| other_runtime().run(withy::park))),
        row("CancelToken::wait", token_wait),
        row("sync::Condvar::wait", || condvar(|changed, guard| drop(changed.wait(guard)))),
        row("sync::Condvar::wait_timeout", || condvar(|changed, guard| drop(changed.wait_timeout(guard, AGES)))),
        row("sync::Condvar::wait_timeout_ms", || condvar(condvar_wait_timeout_ms)),
        row("sync::Condvar::wait_timeout_while", || condvar(|changed, guard| drop(changed.wait_timeout_while(guard, Duration::MAX, |_| true)))),
        row("sync::Condvar::wait_while", || condvar(|changed, guard| drop(changed.wait_while(guard, |_| true)))),
        row("sync::Mutex::lock", mutex),
        row("sync::RwLock::read", || rwlock(|lock| drop(lock.read()))),
        row("sync::RwLock::write", || rwlock(|lock| drop(lock.write()))),
        row("block_on", || forever(|| withy::block_on(std::future::pending()))),
        row("sync::LazyLock::deref", || lazy_lock(|lazy| assert_eq!(**lazy, 7))),
        row("sync::LazyLock::force", || lazy_lock(|lazy| assert_eq!(*Lazy::force(lazy), 7))),
        row("sync::Once::call_once", || once(|once| once.call_once(|| ()))),
        row("sync::Once::call_once_force", || once(|once| once.call_once_force(|_| ()))),
        row("sync::Once::wait", || once(Once::wait)),
        row("sync::Once::wait_force", || once(Once::wait_force)),
        row("sync::OnceLock::get_or_init", || once_lock(|cell| _ = cell.get_or_init(|| 8))),
        row("sync::OnceLock::set", || once_lock(|cell| _ = cell.set(8))),
        row("sync::OnceLock::wait", || once_lock(|cell| _ = cell.wait())),
        row("net::TcpListener::accept", || accept(|listener| drop(listener.accept()))),
        row("net::Incoming::next", || accept(|listener| drop(listener.incoming().next()))),
        row("net::TcpStream::connect", || connect(|addr| drop(TcpStream::connect(addr)))),
        row("net::TcpStream::connect_timeout", || connect(|addr| drop(TcpStream::connect_timeout(&addr, AGES)))),
        row("net::TcpStream::peek", || read(|stream| drop(stream.peek(&mut [0])))),
        row("net::$stream::read", || read(|mut stream| drop(stream.read(&mut [0])))),
        row("net::$stream::read_vectored", || read(|mut stream| drop(stream.read_vectored(&mut [std::io::IoSliceMut::new(&mut [0])])))),
        row("net::$stream::write", || write(|mut stream| stream.write(&[7; 65536]))),
        row("net::$stream::write_vectored", || write(|mut stream| stream.write_vectored(&[std::io::IoSlice::new(&[7; 65536])]))),
        row("net::$stream::read", || duplex_read(|stream| drop(stream.read(&mut [0])))),
        row("net::$stream::read_vectored", || duplex_read(|stream| drop(stream.read_vectored(&mut [std::io::IoSliceMut::new(&mut [0])])))),
        row("net::$stream::write", || duplex_write(|stream| stream.write(&[7; 64]))),
        row("net::$stream::write_vectored", || duplex_write(|stream| stream.write_vectored(&[std::io::IoSlice::new(&[7; 64])]))),
        row("net::Duplex::peek", || duplex_read(|stream| drop(stream.peek(&mut [0])))),
        in_coroutines(row("blocking", || queued(withy::spawn_blocking, || withy::blocking(|| ())))),
        in_coroutines(row("compute", || queued(|job| withy::spawn(|| withy::compute(job)), || withy::compute(|| ())))),
        like("blocking", "net::TcpListener::bind"),
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
        row("sync::Select::ready", || select(|select| drop(select.ready()))),
        row("sync::Select::ready_deadline", || select(|select| drop(select.ready_deadline(Instant::now() + AGES)))),
        row("sync::Select::ready_timeout", || select(|select| drop(select.ready_timeout(AGES)))),
        row("sync::Select::select", || select(|select| drop(select.select()))),
        row("sync::Select::select_deadline", || select(|select| drop(select.select_deadline(Instant::now() + AGES)))),
        row("sync::Select::select_timeout", || select(|select| drop(select.select_timeout(AGES)))),
        row("sync::Select::select", select_macro),
        row("sync::SelectedOperation::send", late_send),
        row("net::signal::ctrl_c", || forever(|| drop(signal::ctrl_c()))),
        row("net::signal::Signals::wait", || forever(|| drop(rare_signal().wait()))),
        row("net::signal::Iter::next", || forever(|| drop(rare_signal().iter().next()))),
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
    ]
}

/// They wait by `blocking`.
const FILES: [&str; 36] = [
    "fs::DirEntry::file_type",
    "fs::DirEntry::metadata",
    "fs::File::create",
    "fs::File::create_new",
    "fs::File::lock",
    "fs::File::lock_shared",
    "fs::File::metadata",
    "fs::File::open",
    "fs::File::set_len",
    "fs::File::set_modified",
    "fs::File::set_permissions",
    "fs::File::set_times",
    "fs::File::sync_all",
    "fs::File::sync_data",
    "fs::File::try_lock",
    "fs::File::try_lock_shared",
    "fs::File::unlock",
    "fs::OpenOptions::open",
    "fs::canonicalize",
    "fs::copy",
    "fs::create_dir",
    "fs::create_dir_all",
    "fs::exists",
    "fs::hard_link",
    "fs::metadata",
    "fs::read",
    "fs::read_dir",
    "fs::read_link",
    "fs::read_to_string",
    "fs::remove_dir",
    "fs::remove_dir_all",
    "fs::remove_file",
    "fs::rename",
    "fs::set_permissions",
    "fs::symlink_metadata",
    "fs::write",
];

const AGES: Duration = Duration::from_secs(1_000_000);

fn row(name: &'static str, make: fn() -> Call) -> Row {
    Row {
        name,
        make,
        coroutines_only: false,
        like: None,
    }
}

/// For a function that a plain thread cannot be interrupted in.
fn in_coroutines(row: Row) -> Row {
    Row {
        coroutines_only: true,
        ..row
    }
}

/// For a function that waits by calling another one, which has a row of its own.
fn like(other: &'static str, name: &'static str) -> Row {
    Row {
        like: Some(other),
        ..row(name, || forever(|| ()))
    }
}

fn forever(wait: impl FnOnce() + Send + 'static) -> Call {
    Call {
        wait: Box::new(wait),
        after: Box::new(|| ()),
    }
}

/// For what may just end when it is interrupted: children inherit a timeout, and may end first.
fn again(wait: fn()) -> Call {
    forever(move || {
        loop {
            wait();
        }
    })
}

#[allow(deprecated, reason = "it waits too")]
fn park_timeout_ms(ms: u32) {
    withy::thread::park_timeout_ms(ms);
}

#[allow(deprecated, reason = "it waits too")]
fn sleep_ms(ms: u32) {
    withy::thread::sleep_ms(ms);
}

/// One for all rounds: it has no say in what is tested.
fn other_runtime() -> &'static withy::Runtime {
    static OTHER: std::sync::OnceLock<withy::Runtime> = std::sync::OnceLock::new();
    OTHER.get_or_init(|| {
        let builder = withy::Runtime::builder().workers(1);
        builder.build().expect("a runtime can be built")
    })
}

type Job = Box<dyn FnOnce() + Send>;

/// A job in the queue of a pool whose one thread works for another. One that has begun could not be interrupted.
fn queued(spawn: fn(Job) -> withy::JoinHandle<()>, wait: fn()) -> Call {
    let released = Arc::new(AtomicBool::new(false));
    let release = SetOnDrop(released.clone());
    forever(move || {
        let _release = release;
        let begun = Arc::new(AtomicBool::new(false));
        spawn(Box::new({
            let begun = begun.clone();
            move || {
                begun.store(true, Ordering::SeqCst);
                while !released.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        }));
        until(|| begun.load(Ordering::SeqCst));
        wait();
    })
}

/// A coroutine whose joiner is interrupted goes on.
fn join() -> Call {
    let child = withy::spawn(withy::park);
    let coroutine = child.coroutine();
    let ended = Arc::new(AtomicBool::new(false));
    let ends = SetOnDrop(ended.clone());
    let child = withy::spawn(move || {
        let _ends = ends;
        child.join().unwrap();
    });
    Call {
        wait: Box::new(move || drop(child.join())),
        after: Box::new(move || {
            assert!(!ended.load(Ordering::SeqCst));
            coroutine.unpark();
            until(|| ended.load(Ordering::SeqCst));
        }),
    }
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

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

fn token_wait() -> Call {
    let token = CancelToken::new();
    let waited_for = token.clone();
    Call {
        wait: Box::new(move || waited_for.wait()),
        after: Box::new(move || {
            assert!(!token.is_cancelled());
            token.cancel();
            token.wait();
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

/// A connection that comes later is accepted.
fn accept(wait: fn(&TcpListener)) -> Call {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    Call {
        wait: Box::new({
            let listener = listener.clone();
            move || wait(&listener)
        }),
        after: Box::new(move || {
            let addr = listener.local_addr().expect("a listener has an address");
            let peer = std::net::TcpStream::connect(addr).expect("the backlog has room");
            let (_, accepted) = listener.accept().expect("a connection is in the backlog");
            assert_eq!(accepted, peer.local_addr().expect("it is connected"));
        }),
    }
}

/// A byte that comes later is read.
fn read(wait: fn(&TcpStream)) -> Call {
    let (ours, mut peer) = pair();
    let ours = Arc::new(ours);
    Call {
        wait: Box::new({
            let ours = ours.clone();
            move || wait(&ours)
        }),
        after: Box::new(move || {
            peer.write_all(b"x").expect("it is connected");
            let mut byte = [0];
            (&*ours).read_exact(&mut byte).expect("a byte comes");
            assert_eq!(&byte, b"x");
        }),
    }
}

/// What was written before is all that arrives.
fn write(write: fn(&TcpStream) -> std::io::Result<usize>) -> Call {
    let (ours, mut peer) = narrow_pair();
    let written = Arc::new(AtomicUsize::new(0));
    Call {
        wait: Box::new({
            let written = written.clone();
            move || loop {
                written.fetch_add(write(&ours).expect("it is connected"), Ordering::SeqCst);
            }
        }),
        after: Box::new(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).expect("the other end is closed");
            assert_eq!(all.len(), written.load(Ordering::SeqCst));
        }),
    }
}

/// To a listener that nobody accepts from and whose backlog is full: the handshake is not answered.
fn connect(wait: fn(SocketAddr)) -> Call {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
        .expect("a descriptor is free");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listener.bind(&any.into()).expect("a port is free");
    listener.listen(0).expect("it is bound");
    let addr = listener
        .local_addr()
        .ok()
        .and_then(|addr| addr.as_socket())
        .expect("it is bound to an internet address");
    // One has room; what does not, never connects.
    let full: Vec<_> = (0..3)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                .expect("a descriptor is free");
            socket.set_nonblocking(true).expect("it can be set");
            let _ = socket.connect(&addr.into());
            socket
        })
        .collect();
    Call {
        wait: Box::new(move || wait(addr)),
        after: Box::new(move || drop((full, listener))),
    }
}

/// The same in memory.
fn duplex_read(wait: fn(&mut Duplex)) -> Call {
    let (mut ours, mut peer) = duplex(16);
    let mut reader = ours.try_clone().expect("it cannot fail");
    Call {
        wait: Box::new(move || wait(&mut ours)),
        after: Box::new(move || {
            peer.write_all(b"x").expect("it is connected");
            let mut byte = [0];
            reader.read_exact(&mut byte).expect("a byte comes");
            assert_eq!(&byte, b"x");
        }),
    }
}

fn duplex_write(write: fn(&mut Duplex) -> std::io::Result<usize>) -> Call {
    let (mut ours, mut peer) = duplex(100);
    let written = Arc::new(AtomicUsize::new(0));
    Call {
        wait: Box::new({
            let written = written.clone();
            move || loop {
                written.fetch_add(write(&mut ours).expect("it is connected"), Ordering::SeqCst);
            }
        }),
        after: Box::new(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).expect("the other end is closed");
            assert_eq!(all.len(), written.load(Ordering::SeqCst));
        }),
    }
}

/// Whoever has left is not counted: two others wait for each other.
fn barrier() -> Call {
    let barrier = Arc::new(Barrier::new(2));
    Call {
        wait: Box::new({
            let barrier = barrier.clone();
            move || drop(barrier.wait())
        }),
        after: Box::new(move || {
            let other = std::thread::spawn({
                let barrier = barrier.clone();
                move || barrier.wait().is_leader()
            });
            assert!(barrier.wait().is_leader() != other.join().unwrap());
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

#[derive(Clone)]
struct All {
    sender: Sender<i32>,
    receiver: Receiver<i32>,
    token: CancelToken,
    socket: Arc<TcpStream>,
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
        drop(operation.send(&sender, 1));
    })
}

/// One that nobody sends.
fn rare_signal() -> Signals {
    Signals::new([Signal::USER2]).expect("it can be waited for")
}

type Part = Box<dyn FnOnce() + Send>;

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

type Lazy = LazyLock<u8, Box<dyn FnOnce() -> u8 + Send>>;

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
