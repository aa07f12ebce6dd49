//! What a request costs: withy's echo server against a raw edge-triggered epoll loop.
//!
//! `cargo bench --bench echo_cpu -- [--rounds N] [--seconds S] [--connections 1,4,16,64]
//! [--layout separate,shared] [--only raw,withy]`
//!
//! Clients ping-pong 64 bytes, one request under way per connection. All peers are measured in
//! turn within each round, in an order that moves from round to round, since figures of a virtual
//! machine drift; the table gives medians with their spread, and ratios to the first peer that are
//! medians of ratios within a round. CPU time is that of the server process alone.

mod peers;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use peers::{ClientOptions, Comparison, Protocol, ServerOptions};

/// Compares echo servers: rate, server CPU per request and latency
#[derive(Parser)]
#[command(name = "echo_cpu")]
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
        None => options.comparison.run(Protocol::Tcp),
        Some(Role::Server(server)) => server.run(),
        Some(Role::Client(client)) => client.run(),
    }
}
