//! What peers with threads or coroutines measure: one body for all of them, which the compiler makes anew for each peer's
//! locks and channels. (tokio's tasks and Go's goroutines have copies of it.)

use std::hint::black_box;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a peer runs jobs on.
pub trait Spawn {
    /// A job that was started.
    type Handle;

    /// Starts a job. `worker`: on which of two, if the peer can say so.
    fn spawn(&self, worker: usize, job: impl FnOnce() + Send + 'static) -> Self::Handle;

    /// Waits for its end.
    fn join(handle: Self::Handle);
}

/// Threads of the system's.
pub struct Threads;

impl Spawn for Threads {
    type Handle = JoinHandle<()>;

    fn spawn(&self, _worker: usize, job: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        thread::spawn(job)
    }

    fn join(handle: JoinHandle<()>) {
        handle.join().expect("the job does not panic");
    }
}

/// Case `lock`: nobody else wants it.
///
/// # Panics
/// If `total` is not the number of calls of `add_one`.
pub fn lock<M>(
    iters: u64,
    mutex: M,
    add_one: impl Fn(&M),
    total: impl FnOnce(M) -> u64,
) -> Duration {
    let begin = Instant::now();
    for _ in 0..iters {
        add_one(black_box(&mutex));
    }
    let elapsed = begin.elapsed();
    assert_eq!(total(mutex), iters);
    elapsed
}

/// Case `mutex8`: eight want the same, one addition at a time.
///
/// # Panics
/// If `total` is not the number of calls of `add_one`.
pub fn contended<S: Spawn>(
    iters: u64,
    spawner: &S,
    add_one: impl Fn() + Clone + Send + 'static,
    total: impl FnOnce() -> u64,
) -> Duration {
    let each = iters.div_ceil(8);
    let begin = Instant::now();
    let start = |index: usize| {
        let add_one = add_one.clone();
        spawner.spawn(index % 2, move || (0..each).for_each(|_| add_one()))
    };
    let adders: Vec<_> = (0..8).map(start).collect();
    adders.into_iter().for_each(S::join);
    let elapsed = begin.elapsed();
    assert_eq!(total(), 8 * each);
    elapsed.mul_f64(iters as f64 / (8 * each) as f64)
}

/// Case `pingpong`: a number there, and back on a channel of its own.
///
/// # Panics
/// If another number comes back.
pub fn ping_pong<S: Spawn, Tx, Rx>(
    iters: u64,
    spawner: &S,
    channel: impl Fn() -> (Tx, Rx),
) -> Duration
where
    Tx: Fn(u64) + Send + 'static,
    Rx: Fn() -> Option<u64> + Send + 'static,
{
    let (send, arrives) = channel();
    let (send_back, returns) = channel();
    let echo = spawner.spawn(1, move || {
        while let Some(n) = arrives() {
            send_back(n);
        }
    });
    let begin = Instant::now();
    for n in 0..iters {
        send(n);
        assert_eq!(returns(), Some(n));
    }
    let elapsed = begin.elapsed();
    drop(send);
    S::join(echo);
    elapsed
}

/// Case `fanin`: four send to one.
///
/// # Panics
/// If what was received is not what was sent.
pub fn fan_in<S: Spawn, Tx, Rx>(
    iters: u64,
    spawner: &S,
    channel: impl FnOnce() -> (Tx, Rx),
) -> Duration
where
    Tx: Fn(u64) + Clone + Send + 'static,
    Rx: Fn() -> Option<u64>,
{
    let each = iters.div_ceil(4);
    let (send, recv) = channel();
    let begin = Instant::now();
    let start = |_| {
        let send = send.clone();
        spawner.spawn(1, move || (0..each).for_each(send))
    };
    let producers: Vec<_> = (0..4).map(start).collect();
    drop(send);
    let mut sum: u64 = 0;
    while let Some(n) = recv() {
        sum += n;
    }
    let elapsed = begin.elapsed();
    producers.into_iter().for_each(S::join);
    assert_eq!(sum, 4 * (each * (each - 1) / 2));
    elapsed.mul_f64(iters as f64 / (4 * each) as f64)
}
