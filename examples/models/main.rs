//! Every classic model of a server, one protocol, the same load: how they read, and what they cost.
//!
//! `cargo run --release --example models -- compare` measures them and writes a report; `-- list` names them. What they are, and what
//! came out, is in docs/models.md.

mod catalog;
mod compare;
#[path = "../cli/descriptors.rs"]
mod descriptors;
mod downstream;
mod ergonomics;
mod load;
mod parts;
mod protocol;
mod report;
mod server;

mod actors;
mod async_await;
mod coroutines;
mod coroutines_reuseport;
mod descriptor_passing;
mod fork;
mod half_sync_half_async;
mod half_sync_half_reactor;
mod iterative;
mod leader_followers;
mod prefork;
mod prethreaded;
mod proactor;
mod reactor;
mod reactor_and_pool;
mod reactor_thread_per_connection;
mod reactor_thread_per_request;
mod reactors_and_pool;
mod reactors_in_processes;
mod reactors_in_threads;
mod ring_buffer;
mod shared_listener;
mod simulated_proactor;
mod thread_per_connection;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use protocol::Service;
use server::{Poller, Server};

/// Server models side by side
#[derive(Parser)]
#[command(
    name = "models",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 77 the model is not possible here"
)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name the models, and what each is made of while it serves
    List(List),
    /// Serve by one model until SIGTERM; prints `ready ADDRESS`
    Serve(Serve),
    /// Measure models side by side, and write a report
    Compare(compare::Options),
    /// Be the server behind the session service until killed; prints `ready ADDRESS`
    Downstream,
}

#[derive(clap::Args)]
struct List {
    /// Threads or processes that do the work
    #[arg(long, value_name = "N", default_value = "2")]
    workers: usize,

    /// Connections that are open
    #[arg(long, value_name = "N", default_value = "64")]
    connections: usize,
}

#[derive(clap::Args)]
struct Serve {
    /// One of `models list`
    #[arg(long)]
    model: String,

    /// Serve sessions that ask the downstream server there; without it, echo
    #[arg(long, value_name = "ADDR")]
    downstream: Option<SocketAddr>,

    /// Threads or processes that do the work, where the model has a number of them
    #[arg(long, value_name = "N", default_value = "2")]
    workers: usize,

    /// By what the single reactor waits
    #[arg(long, value_enum, default_value = "epoll")]
    poller: Poller,
}

/// The exit code if the kernel has not, or does not permit, what the model is made of.
const UNSUPPORTED: u8 = 77;

fn main() -> ExitCode {
    env_logger::init();
    match run(Options::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("models: {error}");
            match error.downcast_ref::<std::io::Error>() {
                Some(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                    UNSUPPORTED.into()
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::List(options) => {
            println!("{}", catalog::head());
            for model in catalog::MODELS {
                println!("{}", model.row(options.workers, options.connections));
            }
        }
        Command::Compare(options) => compare(options)?,
        Command::Serve(options) => serve(&options)?,
        Command::Downstream => {
            descriptors::raise_descriptor_limit()?;
            downstream::serve()?;
        }
    }
    Ok(())
}

fn serve(options: &Serve) -> Result<(), Box<dyn Error>> {
    let model = catalog::find(&options.model).ok_or_else(|| {
        format!(
            "got the model {:?}, expected one of those that `models list` names",
            options.model
        )
    })?;
    if options.workers == 0 {
        return Err("got 0 workers, expected at least 1".into());
    }
    descriptors::raise_descriptor_limit()?;
    server::stop_at_sigterm()?;
    let server = Server {
        service: options
            .downstream
            .map_or(Service::Echo, |downstream| Service::Session { downstream }),
        workers: options.workers,
        poller: options.poller,
    };
    Ok((model.run)(&server)?)
}

fn compare(mut options: compare::Options) -> Result<(), Box<dyn Error>> {
    if options.models.is_empty() {
        options.models = catalog::MODELS.iter().collect();
    }
    // Before anything is measured in vain.
    report::prepare(&options.out)?;
    let results = compare::compare(&options)?;
    report::write(&results, &options.out)?;
    println!("{}", report::table(&results));
    println!("The report is {}", options.out.join("index.html").display());
    Ok(())
}
