//! A TCP proxy in front of several upstreams: each connection goes to the one that has the fewest.
//!
//! `cargo run --release --example proxy -- --listen 127.0.0.1:7000 --to 127.0.0.1:8001 --to 127.0.0.1:8002`
//! serves until Ctrl-C, then lets open connections finish. `RUST_LOG=info` tells of each connection
//! when it ends. `cargo run --release --example proxy -- --demo` checks itself.

mod cli;
#[path = "proxy/demo.rs"]
mod demo;
#[path = "proxy/upstreams.rs"]
mod upstreams;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use withy::CancelToken;
use withy::io::BidirectionalCopy;
use withy::net::{TcpListener, TcpStream};
use withy::signal::{Signal, Signals};
use withy::sync::WaitGroup;

use upstreams::Upstreams;

/// How long the proxy stops accepting when the system has no descriptor or memory for more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A TCP proxy that balances connections over several upstreams
#[derive(Parser)]
#[command(
    name = "proxy",
    after_help = "The first Ctrl-C or SIGTERM begins the end, a second one cuts the grace period short.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    listen: SocketAddr,

    /// Address of an upstream; once for each
    #[arg(long, value_name = "ADDR", required_unless_present = "demo")]
    to: Vec<SocketAddr>,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,

    /// Run upstreams and clients in this process, check every byte and every count, and end
    #[arg(long, conflicts_with_all = ["listen", "to"])]
    demo: bool,
}

/// How long things may take, in seconds.
#[derive(clap::Args, Clone, Copy)]
struct Limits {
    /// Connecting to an upstream, before the next one is tried
    #[arg(long, value_name = "S", default_value = "2", value_parser = cli::positive_seconds)]
    connect_timeout: Duration,

    /// From one look at the upstreams' health to the next
    #[arg(long, value_name = "S", default_value = "5", value_parser = cli::positive_seconds)]
    health_interval: Duration,

    /// A connection on which nothing moves [default: for ever]
    #[arg(long, value_name = "S", value_parser = cli::positive_seconds)]
    idle: Option<Duration>,

    /// The same, once one side has ended its stream
    #[arg(long, value_name = "S", default_value = "60", value_parser = cli::positive_seconds)]
    half_closed: Duration,

    /// Open connections, when the proxy was told to end
    #[arg(long, value_name = "S", default_value = "5", value_parser = cli::positive_seconds)]
    grace: Duration,
}

fn main() -> ExitCode {
    cli::main(run)
}

/// Runs on the main thread, which is no worker: printing, which blocks, happens only here.
fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    // Two for each connection.
    cli::raise_descriptor_limit()
        .map_err(|error| format!("cannot raise the limit of open descriptors: {error}"))?;
    options.runtime.install()?;
    if options.demo {
        return demo::run(options.limits);
    }
    // From here on the signals do not end the process.
    let signals = Signals::new([Signal::INTERRUPT, Signal::TERMINATE])?;
    let listener = TcpListener::bind(options.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    println!("listening on {}", listener.local_addr()?);

    let orders = Orders::default();
    let proxy = withy::spawn({
        let (orders, to, limits) = (orders.clone(), options.to.clone(), options.limits);
        move || Proxy::new(&to, limits, orders).run(listener)
    });
    let signal = signals.wait()?;
    println!(
        "{signal}: no new connections; those that are open have {:?}",
        options.limits.grace
    );
    orders.close.cancel();
    let again = withy::spawn(move || signals.wait().map(|_| orders.cut.cancel()));
    let report = proxy.join().expect("the proxy does not panic");
    again.cancel();
    print!("{report}");
    Ok(())
}

/// What the proxy is told, in this order.
#[derive(Clone, Default)]
struct Orders {
    /// Accept no more.
    close: CancelToken,
    /// End at once.
    cut: CancelToken,
}

struct Proxy {
    upstreams: Upstreams,
    copy: BidirectionalCopy,
    limits: Limits,
    orders: Orders,
    finished: AtomicUsize,
    cut: AtomicUsize,
    /// Connections for which there was no upstream.
    turned_away: AtomicUsize,
}

impl Proxy {
    fn new(to: &[SocketAddr], limits: Limits, orders: Orders) -> Proxy {
        let copy = BidirectionalCopy::new().half_closed_timeout(limits.half_closed);
        Proxy {
            upstreams: Upstreams::new(to, limits.connect_timeout),
            copy: match limits.idle {
                Some(idle) => copy.idle_timeout(idle),
                None => copy,
            },
            limits,
            orders,
            finished: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
            turned_away: AtomicUsize::new(0),
        }
    }

    /// Serves until it is told to close, and then until the last connection has ended.
    fn run(self, listener: TcpListener) -> Report {
        // What runs in here borrows the proxy: all have ended when the scope has.
        withy::scope(|scope| {
            scope.spawn(|| {
                let interval = self.limits.health_interval;
                self.orders.close.run(|| self.upstreams.watch(interval))
            });
            let open = WaitGroup::new();
            // The token unwinds out of `accept`; no connection gets lost between the two.
            let _closed = self.orders.close.run(|| {
                loop {
                    match listener.accept() {
                        Ok((client, peer)) => {
                            let (open, proxy) = (open.clone(), &self);
                            scope.spawn(move || {
                                proxy.attend(&client, peer);
                                drop(open);
                            });
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
            if withy::timeout(self.limits.grace, || open.wait()).is_err() {
                self.orders.cut.cancel();
            }
        });
        Report {
            upstreams: self.upstreams.summary(),
            finished: self.finished.into_inner(),
            cut: self.cut.into_inner(),
            turned_away: self.turned_away.into_inner(),
        }
    }

    /// One connection, to its end or until it is cut off. Both close it.
    fn attend(&self, client: &TcpStream, peer: SocketAddr) {
        let counter = match self.orders.cut.run(|| self.forward(client, peer)) {
            Ok(Ok(())) => &self.finished,
            Ok(Err(error)) => {
                log::warn!("{peer} was turned away: {error}");
                &self.turned_away
            }
            Err(withy::Cancelled { .. }) => &self.cut,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Between a client and an upstream, until both have ended their streams.
    ///
    /// # Errors
    /// That of connecting, if no upstream takes the connection.
    fn forward(&self, client: &TcpStream, peer: SocketAddr) -> io::Result<()> {
        let (server, place) = self.upstreams.connect()?;
        // What arrives is to go on at once, in whatever pieces.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (copied, how) = match self.copy.run(client, &server) {
            Ok(copied) => (copied, "ended".to_owned()),
            Err(error) => (error.copied(), error.kind().to_string()),
        };
        place.count(copied);
        log::info!(
            "{peer} with {}: {how}; {} bytes there, {} back",
            place.address(),
            copied.a_to_b,
            copied.b_to_a,
        );
        Ok(())
    }
}

/// What became of the connections.
struct Report {
    upstreams: Vec<upstreams::Summary>,
    /// Ended by either side.
    finished: usize,
    /// Cut off when the grace period was over; their bytes are not counted.
    cut: usize,
    turned_away: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for upstream in &self.upstreams {
            writeln!(f, "{upstream}")?;
        }
        writeln!(
            f,
            "{} connections finished, {} were cut off, {} found no upstream",
            self.finished, self.cut, self.turned_away
        )
    }
}
