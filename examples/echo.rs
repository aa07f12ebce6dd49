//! An echo server in the plain style of one thread per connection, on coroutines.
//!
//! `cargo run --release --example echo` serves until Ctrl-C; `RUST_LOG=debug` shows connects.
//! `cargo run --release --example echo -- --demo` also runs clients against it that check every
//! byte, prints what they measured, and ends.

mod cli;
#[path = "echo/demo.rs"]
mod demo;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::Parser;
use withy::net::{Server, TcpListener, TcpStream};

const DEFAULT_ADDRESS: &str = "127.0.0.1:7000";
const DEFAULT_CLIENTS: usize = 1_000;

/// Descriptors for everything but connections: standard streams, listener, netpollers, libraries.
const SPARE_DESCRIPTORS: usize = 128;

/// An echo server with one coroutine per connection
#[derive(Parser)]
#[command(
    name = "echo",
    after_help = "Exit codes: 0 done or Ctrl-C, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Address to listen on [default: 127.0.0.1:7000, with --demo a port that the kernel picks]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,

    /// Run clients in this process too, check every echo, print the figures and end
    #[arg(long)]
    demo: bool,

    /// Clients of the demo [default: 1000]
    #[arg(long, value_name = "N", requires = "demo")]
    clients: Option<NonZeroUsize>,

    /// How long the demo's clients stream
    #[arg(
        long, value_name = "S", requires = "demo", default_value = "3",
        value_parser = cli::positive_seconds
    )]
    seconds: Duration,
}

fn main() -> ExitCode {
    cli::main(run)
}

/// Runs on the main thread, which is no worker: printing, which blocks, happens only here.
fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let descriptors = cli::raise_descriptor_limit()
        .map_err(|error| format!("cannot raise the limit of open descriptors: {error}"))?;
    let clients = if options.demo {
        clients_that_fit(options.clients, descriptors)?
    } else {
        0
    };
    options.runtime.install()?;

    let (interrupt, interrupted) = mpsc::channel();
    ctrlc::set_handler(move || {
        // An error means that the main thread is past caring: the process ends anyway.
        let _ = interrupt.send(());
    })?;

    let address = match options.listen {
        Some(address) => address,
        None if options.demo => SocketAddr::from(([127, 0, 0, 1], 0)),
        None => DEFAULT_ADDRESS.parse()?,
    };
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    withy::spawn(move || serve(listener));

    if options.demo {
        return Ok(demo::run(address, clients, options.seconds, &interrupted)?);
    }
    interrupted.recv()?;
    Ok(())
}

/// Serves for ever. Descriptors or memory that run out, and clients that fail, are nothing to end
/// for: `Server` sees to that, and logs it.
fn serve(listener: TcpListener) {
    let ended = Server::new().serve(listener, |stream, peer| {
        log::debug!("{peer} connected");
        let ended = echo(stream);
        log::debug!("{peer} left");
        ended
    });
    if let Err(error) = ended {
        log::error!("the listener has failed: {error}");
    }
}

/// What one connection's coroutine does: the same lines as with `std::net`.
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

/// The number of clients to run: what was asked for, or an error if it cannot be had; the default
/// number shrinks, since nobody asked for it.
fn clients_that_fit(asked: Option<NonZeroUsize>, descriptors: usize) -> Result<usize, String> {
    let wanted = asked.map_or(DEFAULT_CLIENTS, NonZeroUsize::get);
    // Both ends of each connection live in this process.
    let fitting = descriptors.saturating_sub(SPARE_DESCRIPTORS) / 2;
    if wanted <= fitting {
        return Ok(wanted);
    }
    let problem = format!(
        "{wanted} clients need {} descriptors, and the hard limit is {descriptors}",
        wanted.saturating_mul(2).saturating_add(SPARE_DESCRIPTORS),
    );
    if fitting == 0 {
        return Err(format!(
            "{problem}, too low for any client; raise it (`ulimit -Hn`)"
        ));
    }
    if asked.is_some() {
        return Err(format!(
            "{problem}; ask for at most {fitting}, or raise it (`ulimit -Hn`)"
        ));
    }
    eprintln!("{problem}: running {fitting} clients");
    Ok(fitting)
}
