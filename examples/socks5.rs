//! A SOCKS5 proxy: CONNECT by RFC 1928, with user and password by RFC 1929.
//!
//! `cargo run --release --example socks5 -- --user me:secret` serves until Ctrl-C; meanwhile
//! `curl --socks5-hostname 127.0.0.1:1080 --proxy-user me:secret https://example.org` goes through it.
//! Without `--user` anybody may use it. `cargo run --release --example socks5 -- --demo` checks itself.

mod cli;
#[path = "socks5/demo.rs"]
mod demo;
#[path = "socks5/protocol.rs"]
mod protocol;

use std::error::Error;
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use withy::io::{BidirectionalCopy, Copied};
use withy::net::{Server, Summary, TcpListener, TcpStream};

use cli::Orders;
use protocol::{Command, Refusal, Target, User};

/// A SOCKS5 proxy
#[derive(Parser)]
#[command(
    name = "socks5",
    after_help = "The first Ctrl-C or SIGTERM begins the end, a second one cuts the grace period short.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1080")]
    listen: SocketAddr,

    /// Who may use it; once for each [default: anybody]
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = protocol::parse_user)]
    user: Vec<User>,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,

    /// Run a client and a server in this process, check what they see, and end
    #[arg(long, conflicts_with_all = ["listen", "user"])]
    demo: bool,
}

/// What one client may use.
#[derive(clap::Args, Clone, Copy)]
struct Limits {
    /// Connections at once; further ones wait to be accepted
    #[arg(long, value_name = "N", default_value = "10000")]
    connections: NonZeroUsize,

    /// Seconds for the handshake as a whole
    #[arg(long, value_name = "S", default_value = "10", value_parser = cli::positive_seconds)]
    handshake: Duration,

    /// Seconds for finding and connecting to the target
    #[arg(long, value_name = "S", default_value = "10", value_parser = cli::positive_seconds)]
    connect: Duration,

    /// Seconds for which a connection may be idle
    #[arg(long, value_name = "S", default_value = "600", value_parser = cli::positive_seconds)]
    idle: Duration,

    /// Seconds that open connections have when the proxy was told to end
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
    let proxy = Proxy {
        users: options.user.clone(),
        limits: options.limits,
    };
    let served = proxy.serve(listener, &orders)?;
    println!(
        "{} connections finished, {} failed, {} were cut off",
        served.finished,
        served.accepted - served.finished - served.cut,
        served.cut
    );
    Ok(())
}

struct Proxy {
    /// None: nobody is asked.
    users: Vec<User>,
    limits: Limits,
}

impl Proxy {
    /// Serves until it is told to close, and then until the last connection has ended.
    fn serve(&self, listener: TcpListener, orders: &Orders) -> io::Result<Summary> {
        Server::new()
            .connections_max(self.limits.connections.get())
            .until(&orders.close)
            .drain_timeout(self.limits.grace)
            .cut_by(&orders.cut)
            .serve(listener, |client, peer| {
                self.attend(&client)
                    .inspect(|copied| log::info!("{peer} ended: {copied:?}"))
                    .inspect_err(|error| log::info!("{peer} failed: {error}"))
            })
    }

    /// One client, from its first byte to its last.
    fn attend(&self, client: &TcpStream) -> io::Result<Copied> {
        client.set_nodelay(true)?;
        // It may have sent more than the handshake by the end of that.
        let mut reader = BufReader::with_capacity(protocol::MESSAGE_BYTES_MAX, client);
        // One limit for all of it, however slowly bytes trickle in.
        let target = withy::timeout(self.limits.handshake, || {
            protocol::shake_hands(&mut reader, &mut &*client, &self.users)
        })
        .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;

        let mut server = match self.connect(&target) {
            Ok(server) => server,
            Err(refusal) => {
                protocol::refuse(&mut &*client, refusal)?;
                return Err(io::Error::other(format!("{target}: {refusal:?}")));
            }
        };
        protocol::accept(&mut &*client, server.local_addr()?)?;
        server.set_nodelay(true)?;
        withy::io::write_buffered(&mut reader, &mut server)?;
        Ok(BidirectionalCopy::new()
            .idle_timeout(self.limits.idle)
            .run(client, &server)?)
    }

    fn connect(&self, target: &Target) -> Result<TcpStream, Refusal> {
        let Command::Connect = target.command else {
            return Err(Refusal::CommandNotSupported);
        };
        let connect = || TcpStream::connect((target.host.as_str(), target.port));
        match withy::timeout(self.limits.connect, connect) {
            Ok(Ok(server)) => Ok(server),
            Ok(Err(error)) => Err(Refusal::from(&error)),
            Err(_elapsed) => Err(Refusal::HostUnreachable),
        }
    }
}
