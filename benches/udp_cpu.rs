//! What a packet costs: withy's UDP echo against a raw edge-triggered epoll loop.
//!
//! `cargo bench --bench udp_cpu -- [--rounds N] [--seconds S] [--connections 1,4,16,64]
//! [--layout separate,shared] [--only udp-raw,udp-withy-no-spin]`
//!
//! As `echo_cpu` does it, over UDP: each of the clients' sockets has one packet of 64 bytes under way, and the server
//! one socket for all. withy's server is one coroutine; the raw one is one loop. CPU time is that of the server process
//! alone. The peers without spin are to be compared with each other, and those with it.

mod peers;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use peers::{ClientOptions, Comparison, Protocol, ServerOptions};

/// Compares UDP echo servers: rate, server CPU per packet and latency
#[derive(Parser)]
#[command(name = "udp_cpu")]
struct Options {
    #[command(flatten)]
    comparison: Comparison,

    #[command(subcommand)]
    role: Option<Role>,
}

/// What a child process does.
#[derive(clap::Subcommand)]
enum Role {
    #[command(hide = true)]
    Server(ServerOptions),
    #[command(hide = true)]
    Client(ClientOptions),
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    match &options.role {
        None => options.comparison.run(Protocol::Udp),
        Some(Role::Server(server)) => server.run(),
        Some(Role::Client(client)) => client.run(),
    }
}
