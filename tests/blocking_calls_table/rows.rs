//! The table: each function that waits, and a call of it that waits for ever.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use withy::CancelToken;
use withy::net::{Duplex, TcpListener, TcpStream, duplex};
use withy::signal::{self, Signal, Signals};

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
    let waits = waits().into_iter().chain(super::sync_rows::waits());
    let waits = waits.chain(super::channel_rows::waits());
    let waits = waits.chain(super::serve_rows::waits());
    let waits = waits.chain(super::descriptor_rows::waits());
    let waits = waits.chain(super::udp_unix_rows::waits());
    let waits = waits.chain(super::connect_rows::waits());
    let waits = waits.chain(super::copy_rows::waits());
    waits.chain(files).collect()
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
        row("block_on", || forever(|| withy::block_on(std::future::pending()))),
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
        row("net::signal::ctrl_c", || forever(|| drop(signal::ctrl_c()))),
        row("net::signal::Signals::wait", || forever(|| drop(rare_signal().wait()))),
        row("net::signal::Iter::next", || forever(|| drop(rare_signal().iter().next()))),
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

pub(crate) const AGES: Duration = Duration::from_secs(1_000_000);

pub(crate) fn row(name: &'static str, make: fn() -> Call) -> Row {
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
pub(crate) fn like(other: &'static str, name: &'static str) -> Row {
    Row {
        like: Some(other),
        ..row(name, || forever(|| ()))
    }
}

pub(crate) fn forever(wait: impl FnOnce() + Send + 'static) -> Call {
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
pub(crate) fn connect(wait: fn(SocketAddr)) -> Call {
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

/// One that nobody sends.
fn rare_signal() -> Signals {
    Signals::new([Signal::USER2]).expect("it can be waited for")
}
