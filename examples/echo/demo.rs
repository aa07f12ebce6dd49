//! The demo's clients: each streams its own pseudo-random bytes and checks every echo.
//!
//! The main thread starts them, waits until all are connected, lets them go at once, and watches
//! them. It is a plain thread, so drawing the progress bar holds up no worker.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use withy::JoinHandle;
use withy::net::TcpStream;

/// The longest request. It fits into the socket buffers of a connection, so that a client may
/// write all of it before it reads the echo, and wait for nobody who waits for it.
const REQUEST_MAX: usize = 64 * 1024;
const READ_MAX: usize = 8 * 1024;

/// A client that moves no byte for so long is taken for stuck. Generous: with 10,000 clients on a
/// slow machine each has its turn once in some seconds.
const STALL_LIMIT: Duration = Duration::from_secs(10);
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// Latencies in microseconds with two significant digits: a few KiB for each client.
type Latencies = Histogram<u32>;

/// What the main thread tells all clients.
#[derive(Default)]
struct Signals {
    go: AtomicBool,
    stop: AtomicBool,
}

/// What one client tells the main thread. Only the client writes it.
#[derive(Default)]
struct Progress {
    connected: AtomicBool,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Runs `clients` clients against `address` for `duration`, or until interrupted, and prints what
/// they measured. The error says which client failed, and how.
pub(crate) fn run(
    address: SocketAddr,
    clients: usize,
    duration: Duration,
    interrupted: &Receiver<()>,
) -> Result<(), String> {
    let signals = Arc::new(Signals::default());
    let mut crowd = Crowd::start(address, clients, &signals);

    let connecting = bar(clients as u64, "{pos} of {len} clients connected");
    let mut show = |crowd: &Crowd| {
        connecting.set_position(crowd.connected());
        crowd.connected() == clients as u64
    };
    if crowd.watch(interrupted, &mut show)? == Ended::Interrupted {
        return Ok(());
    }
    connecting.finish_and_clear();

    let started = Instant::now();
    signals.go.store(true, Ordering::Release);
    crowd.wake();
    let streaming = bar(duration.as_millis() as u64, "{msg}");
    crowd.watch(interrupted, &mut |crowd| {
        streaming.set_position(started.elapsed().as_millis() as u64);
        streaming.set_message(format!("{} echoes checked", crowd.requests()));
        started.elapsed() >= duration
    })?;
    let (elapsed, requests, bytes) = (started.elapsed(), crowd.requests(), crowd.bytes());

    signals.stop.store(true, Ordering::Relaxed);
    crowd.watch(interrupted, &mut |crowd| crowd.members.is_empty())?;
    streaming.finish_and_clear();
    if requests == 0 {
        return Err(format!(
            "no progress: {clients} clients got no echo in {elapsed:.1?}"
        ));
    }
    print_figures(clients, elapsed, requests, bytes, &crowd.latencies);
    Ok(())
}

fn bar(length: u64, text: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("[{{bar:40}}] {text}"))
        .expect("the templates are constants and well formed");
    ProgressBar::new(length).with_style(style)
}

fn print_figures(
    clients: usize,
    elapsed: Duration,
    requests: u64,
    bytes: u64,
    latencies: &Histogram<u64>,
) {
    let seconds = elapsed.as_secs_f64();
    let quantile = |q| Duration::from_micros(latencies.value_at_quantile(q));
    println!("{clients} clients for {seconds:.1} s, every byte checked: {requests} requests");
    println!(
        "{:.0} requests/s, {:.0} MB/s each way",
        requests as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
    println!(
        "latency p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}",
        quantile(0.5),
        quantile(0.99),
        quantile(0.999)
    );
}

/// Why [`Crowd::watch`] came back.
#[derive(PartialEq)]
enum Ended {
    Done,
    Interrupted,
}

/// One client as the main thread sees it.
struct Member {
    number: u64,
    handle: JoinHandle<Result<Latencies, String>>,
    progress: Arc<Progress>,
    /// What [`Progress::steps`] last was, and since when.
    steps: (u64, Instant),
}

/// All clients that have not ended, and the latencies of those that have.
struct Crowd {
    members: Vec<Member>,
    latencies: Histogram<u64>,
}

impl Crowd {
    fn start(address: SocketAddr, clients: usize, signals: &Arc<Signals>) -> Crowd {
        let start_one = |number| {
            let progress = Arc::new(Progress::default());
            let (signals, theirs) = (Arc::clone(signals), Arc::clone(&progress));
            let handle = withy::spawn(move || client(address, number, &signals, &theirs));
            Member {
                number,
                handle,
                progress,
                steps: (0, Instant::now()),
            }
        };
        Crowd {
            members: (0..clients as u64).map(start_one).collect(),
            latencies: Histogram::new(2).expect("two significant digits are allowed"),
        }
    }

    /// Looks after the clients until `done` says true or Ctrl-C comes; an error if one of them
    /// fails or gets stuck.
    fn watch(
        &mut self,
        interrupted: &Receiver<()>,
        done: &mut dyn FnMut(&Crowd) -> bool,
    ) -> Result<Ended, String> {
        let now = Instant::now();
        self.members
            .iter_mut()
            .for_each(|member| member.steps.1 = now);
        loop {
            self.join_finished()?;
            self.check_stalls()?;
            if done(self) {
                return Ok(Ended::Done);
            }
            if interrupted.recv_timeout(WATCH_INTERVAL).is_ok() {
                return Ok(Ended::Interrupted);
            }
        }
    }

    fn join_finished(&mut self) -> Result<(), String> {
        for member in self
            .members
            .extract_if(.., |member| member.handle.is_finished())
        {
            let number = member.number;
            let latencies = member
                .handle
                .join()
                .unwrap_or_else(|_payload| Err("panicked".to_owned()))
                .map_err(|problem| format!("client {number}: {problem}"))?;
            for bucket in latencies.iter_recorded() {
                let count = u64::from(bucket.count_at_value());
                self.latencies
                    .record_n(bucket.value_iterated_to(), count)
                    .expect("a histogram without bounds resizes itself");
            }
        }
        Ok(())
    }

    fn check_stalls(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for member in &mut self.members {
            let steps = member.progress.steps();
            if steps != member.steps.0 {
                member.steps = (steps, now);
            }
            if now.duration_since(member.steps.1) > STALL_LIMIT {
                return Err(format!(
                    "client {}: no progress for {STALL_LIMIT:?} ({}, {} echoes checked)",
                    member.number,
                    if steps == 0 {
                        "not connected"
                    } else {
                        "connected"
                    },
                    member.progress.requests.load(Ordering::Relaxed),
                ));
            }
        }
        Ok(())
    }

    fn wake(&self) {
        self.members
            .iter()
            .for_each(|member| member.handle.coroutine().unpark());
    }

    fn connected(&self) -> u64 {
        self.sum(|progress| u64::from(progress.connected.load(Ordering::Relaxed)))
    }

    fn requests(&self) -> u64 {
        self.sum(|progress| progress.requests.load(Ordering::Relaxed))
    }

    fn bytes(&self) -> u64 {
        self.sum(|progress| progress.bytes.load(Ordering::Relaxed))
    }

    fn sum(&self, figure: impl Fn(&Progress) -> u64) -> u64 {
        self.members
            .iter()
            .map(|member| figure(&member.progress))
            .sum()
    }
}

impl Progress {
    /// Changes whenever the client gets on, if only by a byte; 0 until it is connected.
    fn steps(&self) -> u64 {
        u64::from(self.connected.load(Ordering::Relaxed)) + self.bytes.load(Ordering::Relaxed)
    }
}

/// One client coroutine, from connect to the last echo after the signal to stop.
fn client(
    address: SocketAddr,
    number: u64,
    signals: &Signals,
    progress: &Progress,
) -> Result<Latencies, String> {
    let mut stream = TcpStream::connect(address)
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| format!("cannot connect to {address}: {error}"))?;
    progress.connected.store(true, Ordering::Relaxed);
    while !signals.go.load(Ordering::Acquire) {
        withy::park();
    }

    let mut rng = Rng::with_seed(number);
    let mut latencies = Latencies::new(2).expect("two significant digits are allowed");
    // On the heap: a coroutine's stack is small, 192 KiB by default.
    let mut request = vec![0; REQUEST_MAX];
    let mut echo = vec![0; READ_MAX];
    while !signals.stop.load(Ordering::Relaxed) {
        // Each power of two is as likely as any other, so that most requests are small.
        let size_max = 1 << rng.u32(0..=REQUEST_MAX.ilog2());
        let size = rng.usize(1..=size_max);
        rng.fill(&mut request[..size]);
        let sent = Instant::now();
        exchange(&mut stream, &request[..size], &mut echo, progress)?;
        latencies += sent.elapsed().as_micros() as u64;
        add(&progress.requests, 1);
    }
    Ok(latencies)
}

/// Sends one request, reads the echo piece by piece and compares it.
fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buf: &mut [u8],
    progress: &Progress,
) -> Result<(), String> {
    stream
        .write_all(request)
        .map_err(|error| format!("cannot send: {error}"))?;
    let mut expected = request;
    while !expected.is_empty() {
        let space = buf.len().min(expected.len());
        let n = stream
            .read(&mut buf[..space])
            .map_err(|error| format!("cannot read the echo: {error}"))?;
        if n == 0 {
            return Err(format!(
                "connection closed with {} bytes to come",
                expected.len()
            ));
        }
        if let Some(wrong) = (0..n).find(|&i| buf[i] != expected[i]) {
            return Err(format!(
                "wrong echo: byte {} of {} is {:#04x}, sent {:#04x}",
                request.len() - expected.len() + wrong,
                request.len(),
                buf[wrong],
                expected[wrong],
            ));
        }
        expected = &expected[n..];
        add(&progress.bytes, n as u64);
    }
    Ok(())
}

/// Adds to a counter that only the caller writes: no locked instruction needed.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}
