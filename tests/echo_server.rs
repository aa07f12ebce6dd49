//! An echo server on one runtime against clients that are not ours: plain threads with std's sockets.

mod rig;
mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream as StdStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rig::child::alone;
use rig::process::{
    descriptors, leave_descriptors, mappings, set_limit, status, switches, threads_once_named,
};
use rig::until;
use support::sockets::reset;
use support::{runtime, within};
use withy::Runtime;
use withy::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_secs(240);

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        let n = stream.read(&mut buf)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n])?;
    }
}

/// Serves until the runtime ends; `living` counts the connections that are being served.
fn serve(runtime: &Runtime, living: &Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let living = living.clone();
    runtime.spawn(move || {
        for stream in listener.incoming() {
            let (stream, living) = (stream.unwrap(), living.clone());
            living.fetch_add(1, Ordering::SeqCst);
            withy::spawn(move || {
                // An end by reset is an end too.
                let _ = echo(stream);
                living.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    address
}

const MESSAGE_MAX: usize = 256 << 10;

/// Noise of which messages are pieces, so that a lost, doubled or foreign piece shows.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(7);
    (0..2 * MESSAGE_MAX).map(|_| random.u8(..)).collect()
});

/// One client's messages: most are small, one in ten is anything up to 256 KiB.
fn messages(client: u64) -> impl Iterator<Item = &'static [u8]> {
    let mut random = fastrand::Rng::with_seed(client);
    (0..100).map(move |_| {
        let size = match random.u32(0..10) {
            0 => random.usize(1..=MESSAGE_MAX),
            _ => 1 << random.u32(0..13),
        };
        let start = random.usize(0..MESSAGE_MAX);
        &NOISE[start..start + size]
    })
}

/// Writes its messages from one thread and checks each byte that comes back in another.
fn verify(address: SocketAddr, client: u64) {
    let mut stream = StdStream::connect(address).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for message in messages(client) {
            writing.write_all(message).unwrap();
        }
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut echo = vec![0; MESSAGE_MAX];
    for (number, message) in messages(client).enumerate() {
        let echo = &mut echo[..message.len()];
        stream.read_exact(echo).unwrap();
        assert!(
            echo == message,
            "client {client}: a wrong byte in message {number}"
        );
    }
    assert_eq!(
        stream.read(&mut [0; 1]).unwrap(),
        0,
        "client {client}: more came than was sent"
    );
    writer.join().unwrap();
}

fn serve_threads(workers: usize, full_stealing: bool, clients: u64) {
    within(LIMIT, "200 clients on threads", || {
        let living = Arc::new(AtomicUsize::new(0));
        let runtime = runtime(workers, full_stealing);
        let address = serve(&runtime, &living);
        let clients: Vec<_> = (0..clients)
            .map(|client| std::thread::spawn(move || verify(address, client)))
            .collect();
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
        until(|| living.load(Ordering::SeqCst) == 0);
    });
}

/// Promise 21. 200 clients, 100 messages each of 1 B to 256 KiB, every byte checked.
#[test]
fn every_byte_of_two_hundred_threads_comes_back() {
    serve_threads(2, false, 200);
}

/// Promise 21. The same in every sort of runtime, with fewer clients unless this is the stress run.
#[test]
fn stress_every_byte_comes_back_from_every_sort_of_runtime() {
    let clients = if rig::stress_rounds() > 1 { 200 } else { 20 };
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            serve_threads(workers, full_stealing, clients);
        }
    }
}

/// Promise 49. Clients that reset in the middle of anything: others are served, and in the end descriptors, mappings,
/// memory and coroutines are where they were.
#[test]
fn connect_and_reset_leaves_nothing_behind() {
    const TEST: &str = "connect_and_reset_leaves_nothing_behind";
    if !alone(TEST, &[]) {
        return;
    }
    for full_stealing in [false, true] {
        within(LIMIT, "resets", || {
            let living = Arc::new(AtomicUsize::new(0));
            let runtime = runtime(2, full_stealing);
            let address = serve(&runtime, &living);
            let abuse = |round: usize| {
                let mut client = StdStream::connect(address).unwrap();
                match round % 4 {
                    0 => {}
                    1 => client.write_all(b"never read").unwrap(),
                    2 => {
                        client.write_all(&[7; 100]).unwrap();
                        client.read_exact(&mut [0; 50]).unwrap();
                    }
                    _ => {
                        client.set_nonblocking(true).unwrap();
                        // Until the server's writer is blocked, too, or nearly.
                        for _ in 0..32 {
                            let _ = client.write(&[7; 65536]);
                        }
                    }
                }
                reset(client);
            };
            (0..100).for_each(abuse);
            until(|| living.load(Ordering::SeqCst) == 0);
            let before = (descriptors(), mappings(), status("VmRSS"));
            (0..1_000 * rig::stress_rounds()).for_each(abuse);
            verify(address, 1);
            until(|| living.load(Ordering::SeqCst) == 0);
            // The count falls before the coroutine's end closes the rest of what it owns.
            until(|| descriptors() == before.0);
            assert!(
                mappings() <= before.1 + 16,
                "{} mappings, then {}",
                before.1,
                mappings()
            );
            let memory = status("VmRSS");
            assert!(
                memory <= before.2 + 8_192,
                "{} KiB, then {memory}",
                before.2
            );
        });
    }
}

/// Promise 45. Without descriptors `accept` gives the error each time it is asked, those that are connected are served
/// on, nothing spins, and with the next free descriptor it goes on by itself.
#[test]
#[allow(clippy::too_many_lines, reason = "one story, told in its order")]
fn accept_without_descriptors_fails_and_recovers() {
    const TEST: &str = "accept_without_descriptors_fails_and_recovers";
    const ROOM: usize = 5;
    if !alone(TEST, &[]) {
        return;
    }
    for full_stealing in [false, true] {
        within(LIMIT, "an echo server out of descriptors", || {
            let name = if full_stealing { "started" } else { "fresh" };
            let runtime = Runtime::builder()
                .workers(2)
                .steal(rig::steal(full_stealing))
                .name(name)
                .build()
                .unwrap();
            let errors = Arc::new(AtomicUsize::new(0));
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = runtime.spawn({
                let errors = errors.clone();
                move || loop {
                    match listener.accept() {
                        Ok((stream, _)) => drop(withy::spawn(move || echo(stream))),
                        Err(error) => {
                            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
                            errors.fetch_add(1, Ordering::SeqCst);
                            // As the README says to: wait for a descriptor, or for somebody to say so.
                            withy::park();
                        }
                    }
                }
            });
            // The clients' sockets exist before the limit, and connect after it.
            let sockets: Vec<_> = (0..ROOM + 3)
                .map(|_| {
                    let domain = socket2::Domain::IPV4;
                    socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap()
                })
                .collect();
            let before = leave_descriptors(ROOM);
            let mut clients: Vec<StdStream> = sockets
                .into_iter()
                .map(|socket| {
                    socket.connect(&address.into()).unwrap();
                    socket.into()
                })
                .collect();
            let mut ask = |client: &mut StdStream| {
                client.write_all(b"there?").unwrap();
                client.read_exact(&mut [0; 6]).unwrap();
            };
            until(|| errors.load(Ordering::SeqCst) == 1);
            clients[..ROOM].iter_mut().for_each(&mut ask);
            // It fails again when asked again, each time once.
            for asked in 2..5 {
                server.coroutine().unpark();
                until(|| errors.load(Ordering::SeqCst) == asked);
            }
            set_limit(libc::RLIMIT_NOFILE, before);
            rest_without_spinning(name);
            leave_descriptors(0);
            // One leaves, so one that waits is let in.
            drop(clients.remove(0));
            let mut served = 0;
            while served == 0 {
                server.coroutine().unpark();
                withy::sleep(Duration::from_millis(1));
                clients[ROOM - 1]
                    .set_read_timeout(Some(Duration::from_millis(50)))
                    .unwrap();
                clients[ROOM - 1].write_all(b"?").unwrap();
                match clients[ROOM - 1].read(&mut [0; 64]) {
                    Ok(n) => served = n,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
                }
            }
            set_limit(libc::RLIMIT_NOFILE, before);
            server.coroutine().unpark();
            clients[ROOM..].iter_mut().for_each(&mut ask);
            // And a connection that comes when it waits again.
            ask(&mut StdStream::connect(address).unwrap());
        });
    }
}

/// Returns when the runtime called `name` has been asleep for a while; one that spins never is.
fn rest_without_spinning(name: &str) {
    let threads = threads_once_named(&format!("{name}-worker"), 2);
    loop {
        let count = || threads.iter().map(|&thread| switches(thread)).sum::<u64>();
        let before = (count(), cpu_ticks(&threads));
        std::thread::sleep(Duration::from_millis(300));
        if (count(), cpu_ticks(&threads)) == before {
            return;
        }
    }
}

/// Processor time of threads, in the kernel's hundredths of a second.
fn cpu_ticks(threads: &[libc::pid_t]) -> u64 {
    let ticks = |thread: &libc::pid_t| {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    threads.iter().map(ticks).sum()
}
