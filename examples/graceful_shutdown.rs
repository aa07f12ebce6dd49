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
use std::time::Duration;

use clap::Parser;
use withy::CancelToken;
use withy::net::{Server, Summary, TcpListener, TcpStream};
use withy::signal::{Signal, Signals};

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

/// Serves until the first signal, then until all connections have ended or the grace period is over; a second signal cuts
/// that short.
fn serve_until_told(
    listener: TcpListener,
    signals: Signals,
    grace: Duration,
) -> io::Result<Summary> {
    let (close, cut) = (CancelToken::new(), CancelToken::new());
    let server = Server::new()
        .until(&close)
        .drain_timeout(grace)
        .cut_by(&cut);
    let serving = withy::spawn(move || server.serve(listener, |stream, _| echo(stream)));

    let signal = signals.wait()?;
    println!("{signal}: no new connections; those that are open have {grace:?}");
    close.cancel();
    let again = withy::spawn(move || signals.wait().map(|_| cut.cancel()));

    let summary = serving.join().expect("the server does not panic")?;
    again.cancel();
    println!(
        "{} connections finished, {} failed, {} were cut off",
        summary.finished, summary.failed, summary.cut
    );
    Ok(summary)
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
