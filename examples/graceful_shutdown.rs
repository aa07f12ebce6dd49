//! An echo server that ends as operators like it: at Ctrl-C or SIGTERM it accepts no more, lets open
//! connections finish within a grace period, cuts off the rest, and says so.
//!
//! `cargo run --release --example graceful_shutdown` serves until it is told to end.
//! `cargo run --release --example graceful_shutdown -- --demo` tells itself, twice, and checks what
//! its clients see.

mod cli;
#[path = "graceful_shutdown/demo.rs"]
mod demo;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use withy::net::{TcpListener, TcpStream};
use withy::signal::{Signal, Signals};
use withy::{CancelToken, Coroutine, JoinHandle};

/// How long the server stops accepting when the system has no descriptor or memory for more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An echo server that lets open connections finish when it is told to end
#[derive(Parser)]
#[command(
    name = "graceful_shutdown",
    after_help = "The first Ctrl-C or SIGTERM begins the end, a second one cuts the grace period short.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Address to listen on [default: 127.0.0.1:7000]
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:7000",
        hide_default_value = true
    )]
    listen: SocketAddr,

    /// How long open connections may go on, in seconds
    #[arg(long, value_name = "S", default_value = "5", value_parser = cli::positive_seconds)]
    grace: Duration,

    /// Run clients in this process, send the signals, check what happens and end
    #[arg(long, conflicts_with_all = ["listen", "grace"])]
    demo: bool,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,
}

/// What became of the connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Report {
    /// Ended by their clients, or by an error of theirs.
    finished: usize,
    /// Cut off.
    cut: usize,
}

fn main() -> ExitCode {
    cli::main(run)
}

/// Runs on the main thread, which is no worker: printing, which blocks, happens only here.
fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.runtime.install()?;
    if options.demo {
        return demo::run();
    }
    // From here on the signals do not end the process.
    let signals = Signals::new([Signal::INTERRUPT, Signal::TERMINATE])?;
    let listener = TcpListener::bind(options.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    println!("listening on {}", listener.local_addr()?);
    serve_until_told(listener, signals, options.grace)?;
    Ok(())
}

/// Serves until the first signal, then as the [`Server`] does; a second one cuts its grace period short.
fn serve_until_told(
    listener: TcpListener,
    signals: Signals,
    grace: Duration,
) -> io::Result<Report> {
    let orders = Orders::default();
    let server = Server::start(listener, orders.clone(), grace);

    let signal = signals.wait()?;
    println!("{signal}: no new connections; those that are open have {grace:?}");
    orders.close.cancel();
    let again = withy::spawn({
        let orders = orders.clone();
        move || signals.wait().map(|_| orders.cut.cancel())
    });

    let report = server.join().expect("the server does not panic");
    again.cancel();
    println!(
        "{} connections finished, {} were cut off",
        report.finished, report.cut
    );
    Ok(report)
}

/// What the server is told, in this order.
#[derive(Clone, Default)]
struct Orders {
    /// Accept no more.
    close: CancelToken,
    /// End at once.
    cut: CancelToken,
}

struct Server {
    orders: Orders,
    /// The coroutine that accepts, and waits in the end.
    owner: Coroutine,
    open: AtomicUsize,
    finished: AtomicUsize,
    cut: AtomicUsize,
}

impl Server {
    fn start(listener: TcpListener, orders: Orders, grace: Duration) -> JoinHandle<Report> {
        withy::spawn(move || {
            let server = Server {
                orders,
                owner: withy::current(),
                open: AtomicUsize::new(0),
                finished: AtomicUsize::new(0),
                cut: AtomicUsize::new(0),
            };
            server.run(listener, grace)
        })
    }

    fn run(&self, listener: TcpListener, grace: Duration) -> Report {
        // The connections borrow the server: all have ended when the scope has.
        withy::scope(|connections| {
            // The token unwinds out of `accept`; no connection gets lost between the two.
            let _closed = self.orders.close.run(|| {
                loop {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            self.open.fetch_add(1, Ordering::SeqCst);
                            connections.spawn(move || self.attend(stream));
                        }
                        Err(error) => {
                            log::warn!("cannot take a connection: {error}");
                            withy::sleep(ACCEPT_PAUSE);
                        }
                    }
                }
            });
            // Who connects from now on is refused.
            drop(listener);
            let all_gone = withy::timeout(grace, || {
                while self.open.load(Ordering::SeqCst) > 0 {
                    withy::park();
                }
            });
            if all_gone.is_err() {
                self.orders.cut.cancel();
            }
        });
        Report {
            finished: self.finished.load(Ordering::SeqCst),
            cut: self.cut.load(Ordering::SeqCst),
        }
    }

    /// One connection, to its end or until it is cut off. Both close it.
    fn attend(&self, stream: TcpStream) {
        match self.orders.cut.run(|| echo(stream)) {
            Ok(ended) => {
                if let Err(error) = ended {
                    log::debug!("a connection failed: {error}");
                }
                self.finished.fetch_add(1, Ordering::SeqCst);
            }
            Err(withy::Cancelled { .. }) => _ = self.cut.fetch_add(1, Ordering::SeqCst),
        }
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.owner.unpark();
        }
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    // An echo in several pieces would otherwise wait for the client's delayed acknowledgement.
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
