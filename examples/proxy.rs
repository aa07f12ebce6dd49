//! A TCP proxy in front of several upstreams: each connection goes to the one that has the fewest.
//!
//! `cargo run --release --example proxy -- --listen 127.0.0.1:7000 --to 127.0.0.1:8001 --to 127.0.0.1:8002`
//! serves until Ctrl-C, then lets open connections finish, and lists the bytes of each. `RUST_LOG=info`
//! tells of each when it ends. `cargo run --release --example proxy -- --demo` checks itself.

mod cli;
#[path = "proxy/demo.rs"]
mod demo;
#[path = "proxy/ledger.rs"]
mod ledger;
#[path = "proxy/upstreams.rs"]
mod upstreams;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use withy::io::BidirectionalCopy;
use withy::net::{Server, Summary, TcpListener, TcpStream};

use cli::Orders;
use ledger::{Book, Ledger};
use upstreams::Upstreams;

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

/// How many there may be, and how long things may take, in seconds.
#[derive(clap::Args, Clone, Copy)]
struct Limits {
    /// Connections at once; further ones wait to be accepted
    #[arg(long, value_name = "N", default_value = "10000")]
    connections: NonZeroUsize,

    /// Connections to list at the end: the last ones
    #[arg(long, value_name = "N", default_value = "1000")]
    list: usize,

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
    let grace = options.limits.grace;
    let orders = Orders::by_signals(format!(
        "no new connections; those that are open have {grace:?}"
    ))?;
    let listener = TcpListener::bind(options.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    println!("listening on {}", listener.local_addr()?);
    let report = Proxy::new(&options.to, options.limits).run(listener, &orders)?;
    print!("{report}");
    Ok(())
}

struct Proxy {
    upstreams: Upstreams,
    copy: BidirectionalCopy,
    limits: Limits,
    ledger: Ledger,
}

impl Proxy {
    fn new(to: &[SocketAddr], limits: Limits) -> Proxy {
        let copy = BidirectionalCopy::new().half_closed_timeout(limits.half_closed);
        Proxy {
            upstreams: Upstreams::new(to, limits.connect_timeout),
            copy: match limits.idle {
                Some(idle) => copy.idle_timeout(idle),
                None => copy,
            },
            limits,
            ledger: Ledger::new(limits.list),
        }
    }

    /// Serves until it is told to close, and then until the last connection has ended.
    fn run(self, listener: TcpListener, orders: &Orders) -> io::Result<Report> {
        let server = Server::new()
            .connections_max(self.limits.connections.get())
            .until(&orders.close)
            .drain_timeout(self.limits.grace)
            .cut_by(&orders.cut);
        let connections = withy::scope(|scope| {
            let watching = scope.spawn(|| self.upstreams.watch(self.limits.health_interval));
            let connections = server.serve(listener, |client, peer| {
                self.forward(&client, peer)
                    .inspect_err(|error| log::warn!("{peer} was turned away: {error}"))
            });
            watching.cancel();
            connections
        })?;
        Ok(Report {
            book: self.ledger.close(),
            upstreams: self.upstreams.summary(),
            connections,
        })
    }

    /// Between a client and an upstream, until both have ended their streams, or it is cut off, which unwinds.
    ///
    /// # Errors
    /// That of connecting, if no upstream takes the connection.
    fn forward(&self, client: &TcpStream, peer: SocketAddr) -> io::Result<()> {
        let (server, place) = self.upstreams.connect()?;
        // What arrives is to go on at once, in whatever pieces.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let mut account = self.ledger.open(peer, place);
        let copied = self.copy.run_counting(client, &server, &account.counters);
        account.end = Some(match copied {
            Ok(_) => "ended".into(),
            Err(error) => error.kind().to_string().into(),
        });
        Ok(())
    }
}

/// What became of the connections.
struct Report {
    book: Book,
    upstreams: Vec<upstreams::Summary>,
    connections: Summary,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.book)?;
        for upstream in &self.upstreams {
            writeln!(f, "{upstream}")?;
        }
        writeln!(
            f,
            "{} connections finished, {} were cut off, {} found no upstream, {} were not served",
            self.connections.finished,
            self.connections.cut,
            self.connections.failed + self.connections.timed_out,
            self.connections.shed + self.connections.panicked,
        )
    }
}
