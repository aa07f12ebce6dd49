//! The command line of a comparison, and that of the processes it starts.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use super::{ClientOptions, Comparison, Protocol, ServerOptions};

/// Compares echo servers: rate, server CPU per request and latency
#[derive(Parser)]
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

/// What a bench of the echo servers of one protocol does.
pub(crate) fn main(protocol: Protocol) -> ExitCode {
    match run(&Options::parse(), protocol) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, protocol: Protocol) -> Result<(), Box<dyn Error>> {
    match &options.role {
        None => options.comparison.run(protocol),
        Some(Role::Server(server)) => server.run(),
        Some(Role::Client(client)) => client.run(),
    }
}
