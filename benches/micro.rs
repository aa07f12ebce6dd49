//! What the runtime's single steps cost, in both steal modes.
//!
//! `cargo bench --bench micro -- [FILTER]`; `-- --test` runs each once. All on one worker but `steal`,
//! and all timed inside a coroutine, so that no plain thread's wake-up is in the figures. What one
//! iteration is stands above each bench.

use std::cell::LazyCell;
use std::hint::{black_box, spin_loop};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::Criterion;
use withy::net::{TcpListener, TcpStream};
use withy::sync::Mutex;
use withy::sync::channel::bounded;
use withy::{Runtime, Steal};

/// Coroutines that are alive at a time in `spawn_many`.
const MANY: u32 = 10_000;
const MESSAGE: [u8; 64] = [b'w'; 64];
/// A limit that is never reached.
const FAR: Duration = Duration::from_secs(3600);
/// Messages that fit into the channel of `channel_fan_in`.
const CAPACITY: usize = 1_024;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    bench(&mut criterion, "spawn_join", 1, spawn_join);
    bench(&mut criterion, "spawn_many", 1, spawn_many);
    bench(&mut criterion, "yield", 1, yield_between_two);
    bench(&mut criterion, "park_ping_pong", 1, park_ping_pong);
    bench(
        &mut criterion,
        "park_timeout_ping_pong",
        1,
        park_timeout_ping_pong,
    );
    bench(&mut criterion, "timeout", 1, timeout_that_ends_nothing);
    bench(&mut criterion, "steal", 2, steal);
    lock_on_a_thread(&mut criterion);
    bench(&mut criterion, "lock", 1, lock);
    bench(&mut criterion, "channel_rendezvous", 1, rendezvous);
    bench(&mut criterion, "channel_ping_pong", 1, channel_ping_pong);
    bench(&mut criterion, "channel_fan_in", 1, channel_fan_in);
    for connections in [1, 64] {
        echo(&mut criterion, connections);
    }
    criterion.final_summary();
}

/// Runs `routine` in a coroutine on worker 0 of a fresh runtime, for each mode. It gets a number of
/// iterations and returns their time.
fn bench(criterion: &mut Criterion, name: &str, workers: usize, routine: fn(u64) -> Duration) {
    for (mode, steal) in modes() {
        // criterion calls the bench anew for each sample, and not at all if it is filtered out.
        let runtime = LazyCell::new(|| start(workers, steal));
        criterion.bench_function(&format!("{name}/{mode}"), |bencher| {
            bencher.iter_custom(|iters| runtime.run(|| on_worker_0(move || routine(iters))));
        });
    }
}

fn modes() -> [(&'static str, Steal); 2] {
    // SAFETY: over their blocking calls the coroutines below keep handles, sockets and numbers, nothing
    // that is bound to a thread, and none uses a thread-local.
    let started = unsafe { Steal::started() };
    [("fresh", Steal::fresh()), ("full", started)]
}

fn start(workers: usize, steal: Steal) -> Runtime {
    Runtime::builder()
        .workers(workers)
        .steal(steal)
        .build()
        .expect("the settings are in range and the system has room for two threads")
}

fn on_worker_0<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    withy::spawn_on(0, f)
        .join()
        .expect("a bench does not panic")
}

/// One iteration: a coroutine is spawned, runs, and is joined.
fn spawn_join(iters: u64) -> Duration {
    let begin = Instant::now();
    for n in 0..iters {
        let handle = withy::spawn(move || black_box(n));
        black_box(handle.join().expect("it does not panic"));
    }
    begin.elapsed()
}

/// One iteration: 10,000 coroutines are spawned, then joined. The time is that of one of them.
fn spawn_many(iters: u64) -> Duration {
    let mut handles = Vec::with_capacity(MANY as usize);
    let begin = Instant::now();
    for _ in 0..iters {
        handles.extend((0..MANY).map(|n| withy::spawn(move || black_box(n))));
        for handle in handles.drain(..) {
            black_box(handle.join().expect("it does not panic"));
        }
    }
    begin.elapsed() / MANY
}

/// One iteration: one yield of one of two coroutines that yield to each other.
fn yield_between_two(iters: u64) -> Duration {
    let each = iters.div_ceil(2);
    let yields = move || (0..each).for_each(|_| withy::yield_now());
    let other = withy::spawn(yields);
    // It has started when this comes back.
    withy::yield_now();
    let begin = Instant::now();
    yields();
    let elapsed = begin.elapsed();
    other.join().expect("it does not panic");
    elapsed
}

/// One iteration: there and back, that is two unparks, two parks.
fn park_ping_pong(iters: u64) -> Duration {
    ping_pong(iters, withy::park)
}

/// The same with a limit on each park: what it costs more is two timers, armed and taken back.
fn park_timeout_ping_pong(iters: u64) -> Duration {
    ping_pong(iters, || withy::park_timeout(FAR))
}

/// One iteration: a timeout around a call that needs no wait.
fn timeout_that_ends_nothing(iters: u64) -> Duration {
    let begin = Instant::now();
    for n in 0..iters {
        black_box(withy::timeout(FAR, || black_box(n)).expect("the time is not over"));
    }
    begin.elapsed()
}

fn ping_pong(iters: u64, park: fn()) -> Duration {
    let me = withy::current();
    let other = withy::spawn(move || {
        for _ in 0..iters {
            park();
            me.unpark();
        }
    });
    let there = other.coroutine();
    withy::yield_now();
    let begin = Instant::now();
    for _ in 0..iters {
        there.unpark();
        park();
    }
    let elapsed = begin.elapsed();
    other.join().expect("it does not panic");
    elapsed
}

/// One iteration: worker 0 spawns a coroutine and keeps its core until worker 1 has taken it and run it.
fn steal(iters: u64) -> Duration {
    let ran = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    for _ in 0..iters {
        let theirs = Arc::clone(&ran);
        drop(withy::spawn(move || theirs.store(true, Ordering::Release)));
        while !ran.swap(false, Ordering::Acquire) {
            spin_loop();
        }
    }
    begin.elapsed()
}

/// `lock` outside a runtime, and what std's takes.
fn lock_on_a_thread(criterion: &mut Criterion) {
    criterion.bench_function("lock/thread", |bencher| bencher.iter_custom(lock));
    criterion.bench_function("lock/std", |bencher| {
        let mutex = std::sync::Mutex::new(0);
        bencher.iter(|| *black_box(&mutex).lock().expect("nobody panics") += 1);
    });
}

/// One iteration: a mutex that nobody else uses is locked, its value changed, and it is unlocked.
fn lock(iters: u64) -> Duration {
    let mutex = Mutex::new(0);
    let begin = Instant::now();
    for _ in 0..iters {
        *black_box(&mutex).lock().expect("nobody panics") += 1;
    }
    begin.elapsed()
}

/// One iteration: a message there and back, over two channels that hold one.
fn channel_ping_pong(iters: u64) -> Duration {
    messages_ping_pong(iters, 1)
}

/// The same over two channels that hold none.
fn rendezvous(iters: u64) -> Duration {
    messages_ping_pong(iters, 0)
}

fn messages_ping_pong(iters: u64, capacity: usize) -> Duration {
    let (there, arrives) = bounded(capacity);
    let (back, returns) = bounded(capacity);
    let echo = withy::spawn(move || {
        for n in arrives {
            back.send(n).expect("the other waits for it");
        }
    });
    let begin = Instant::now();
    for n in 0..iters {
        there.send(n).expect("the other receives until the end");
        black_box(returns.recv().expect("the other sends it back"));
    }
    let elapsed = begin.elapsed();
    drop(there);
    echo.join().expect("it does not panic");
    elapsed
}

/// One iteration: one message of one of four coroutines that send to one. Their number is rounded up, and the time down
/// accordingly.
fn channel_fan_in(iters: u64) -> Duration {
    let each = iters.div_ceil(4);
    let (sender, receiver) = bounded(CAPACITY);
    let begin = Instant::now();
    for _ in 0..4 {
        let sender = sender.clone();
        drop(withy::spawn(move || {
            for n in 0..each {
                sender.send(n).expect("it is received until the end");
            }
        }));
    }
    drop(sender);
    let received = receiver.iter().map(black_box).count() as u64;
    let elapsed = begin.elapsed();
    assert_eq!(received, 4 * each);
    elapsed.mul_f64(iters as f64 / received as f64)
}

/// One iteration: 64 bytes go to the echo server and come back; client and server share the worker.
fn echo(criterion: &mut Criterion, connections: u64) {
    for (mode, steal) in modes() {
        let connected = LazyCell::new(|| {
            let runtime = start(1, steal);
            let streams = runtime.run(|| connect(connections));
            (
                streams.expect("loopback has room for 64 connections"),
                runtime,
            )
        });
        criterion.bench_function(&format!("echo_{connections}/{mode}"), |bencher| {
            let (streams, runtime) = &*connected;
            bencher.iter_custom(|iters| runtime.run(|| ping_all(streams, iters)));
        });
    }
}

/// Starts a server in the calling coroutine's runtime and connects to it.
fn connect(connections: u64) -> io::Result<Vec<Arc<TcpStream>>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    withy::spawn(move || -> io::Result<()> {
        for _ in 0..connections {
            let (stream, _) = listener.accept()?;
            withy::spawn(move || serve(stream));
        }
        Ok(())
    });
    let connect = |_| {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Arc::new(stream))
    };
    (0..connections).map(connect).collect()
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buf = [0; 4096];
    loop {
        let n = stream.read(&mut buf)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n])?;
    }
}

/// `iters` requests, divided among the connections. Their number is rounded up, and the time down accordingly.
fn ping_all(streams: &[Arc<TcpStream>], iters: u64) -> Duration {
    let connections = streams.len() as u64;
    let each = iters.div_ceil(connections);
    let begin = Instant::now();
    let start_client = |stream: &Arc<TcpStream>| {
        let stream = Arc::clone(stream);
        withy::spawn(move || ping(&stream, each))
    };
    let clients: Vec<_> = streams.iter().map(start_client).collect();
    for client in clients {
        let echoed = client.join().expect("it does not panic");
        echoed.expect("the server echoes until the runtime ends");
    }
    let elapsed = begin.elapsed();
    elapsed.mul_f64(iters as f64 / (each * connections) as f64)
}

fn ping(mut stream: &TcpStream, times: u64) -> io::Result<()> {
    let mut buf = MESSAGE;
    for _ in 0..times {
        stream.write_all(&MESSAGE)?;
        stream.read_exact(&mut buf)?;
    }
    Ok(())
}
