//! Remote calls over one long-lived connection that may break: each call is made once and answered once.
//!
//! `cargo run --release --example rpc -- --listen 127.0.0.1:7000` serves until Ctrl-C; then it answers what is in flight.
//! `cargo run --release --example rpc -- --to 127.0.0.1:7000 hello` calls; the server answers in
//! capitals, after a while if the text begins with a number of milliseconds.
//! `cargo run --release --example rpc -- --demo` runs both with a relay between them that breaks
//! their connections in two ways, and checks every answer.
//!
//! | file | what it shows |
//! | --- | --- |
//! | `frame.rs` | frames with a length, and the bounds of a reader that trusts nobody |
//! | `buffers.rs` | a pool of buffers |
//! | `connection.rs` | one connection: a reader, a writer and a heartbeat that end together |
//! | `client.rs` | many calls in flight, each with a deadline; connecting again, and asking again |
//! | `server.rs` | sessions that outlive their connections, so that a repeated request is not worked on twice |
//! | `demo.rs`, `relay.rs` | all of it under stress |
//!
//! # Why there are acknowledgements
//!
//! That TCP has acknowledged an answer says that it is in the client's kernel, no more: when the connection breaks,
//! neither side knows what the other has seen. So requests have numbers, the client repeats those without an answer on
//! the next connection, the server keeps each answer until the *client* has acknowledged it, and answers a repeated
//! request from there. (A server that is started anew has forgotten them: to survive that, answers have to be where the
//! work's effects are, in a database for example.)

#[path = "../cli/mod.rs"]
mod cli;

mod buffers;
mod client;
mod connection;
mod demo;
mod frame;
mod relay;
mod server;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use cli::Orders;
use client::Client;
use connection::Pulse;
use server::Server;
use withy::net::TcpListener;

/// Remote calls over one connection that may break
#[derive(Parser)]
#[command(
    name = "rpc",
    after_help = "A server ends at Ctrl-C or SIGTERM, with a grace period that a second one cuts short.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage",
    group = ArgGroup::new("role").required(true).args(["listen", "to", "demo"])
)]
struct Options {
    /// Serve at this address
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// Call the server at this address
    #[arg(
        long,
        value_name = "ADDR",
        conflicts_with = "listen",
        requires = "texts"
    )]
    to: Option<SocketAddr>,

    /// What to call it with: one call for each, all at once
    #[arg(value_name = "TEXT", requires = "to")]
    texts: Vec<String>,

    /// How long a call may take, in seconds
    #[arg(long, value_name = "S", default_value = "5", value_parser = cli::positive_seconds)]
    deadline: Duration,

    /// How long calls in flight have, when the server was told to end, in seconds
    #[arg(long, value_name = "S", default_value = "5", value_parser = cli::positive_seconds)]
    grace: Duration,

    #[command(flatten)]
    pulse: Pulse,

    /// Run server, clients and a relay that breaks their connections, check every answer and end
    #[arg(long)]
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
    if let Some(address) = options.listen {
        return serve(address, options);
    }
    let server = options.to.ok_or("neither --listen nor --to was given")?;
    let client = Arc::new(Client::new(server, options.pulse));
    let calls: Vec<_> = options
        .texts
        .iter()
        .map(|text| {
            let (client, text, deadline) = (client.clone(), text.clone(), options.deadline);
            withy::spawn(move || client.call(text.as_bytes(), deadline))
        })
        .collect();
    for call in calls {
        let answer = call.join().expect("a call does not panic")?;
        println!("{}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

fn serve(address: SocketAddr, options: &Options) -> Result<(), Box<dyn Error>> {
    let grace = options.grace;
    let orders = Orders::by_signals(format!(
        "no new connections; calls in flight have {grace:?}"
    ))?;
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    let served = Server::new(capitals, options.pulse, orders).serve(listener, grace)?;
    println!(
        "{} connections in all, {} were cut off",
        served.accepted, served.cut
    );
    Ok(())
}

/// The service: answers in capitals; `200 hello` takes 200 ms.
fn capitals(request: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(request).map_err(|error| format!("got no text: {error}"))?;
    if let Some((ms, _)) = text.split_once(' ')
        && let Ok(ms) = ms.parse()
    {
        withy::sleep(Duration::from_millis(ms));
    }
    Ok(text.to_uppercase().into())
}
