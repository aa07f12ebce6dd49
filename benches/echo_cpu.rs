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

use clap::{Parser, ValueEnum};
use peers::{ClientOptions, Layout, Peer, Sample, ServerOptions, measure};

/// Compares echo servers: rate, server CPU per request and latency
#[derive(Parser)]
#[command(name = "echo_cpu")]
struct Options {
    /// Measurements of each kind [default: 5]
    #[arg(long)]
    rounds: Option<usize>,

    /// Length of one measurement [default: 1]
    #[arg(long)]
    seconds: Option<f64>,

    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64")]
    connections: Vec<usize>,

    /// Which cores server and client may use
    #[arg(long, value_delimiter = ',', default_value = "separate,shared")]
    layout: Vec<Layout>,

    /// The peers to measure; the first is what the others are compared with [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Peer>,

    /// Set by `cargo bench`; without it (`cargo test --benches`) each measurement is one short one
    #[arg(long, hide = true)]
    bench: bool,

    /// One short measurement of each kind, whatever runs it
    #[arg(long)]
    test: bool,

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
    let options = Options::parse();
    let result = match &options.role {
        None => compare(&options),
        Some(Role::Server(server)) => server.run(),
        Some(Role::Client(client)) => client.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<(), Box<dyn Error>> {
    let quick = options.test || !options.bench;
    let rounds = options.rounds.unwrap_or(if quick { 1 } else { 5 });
    let seconds = options.seconds.unwrap_or(if quick { 0.05 } else { 1.0 });
    if rounds == 0 {
        return Err("no rounds to measure, expected at least 1".into());
    }
    let peers = if options.only.is_empty() {
        Peer::value_variants()
    } else {
        &options.only
    };
    let peers = peers.to_vec();
    for &layout in &options.layout {
        for &connections in &options.connections {
            let mut columns = peers
                .iter()
                .map(|&peer| (peer, Vec::new()))
                .collect::<Vec<_>>();
            for round in 0..rounds {
                for turn in 0..columns.len() {
                    let turn = (turn + round) % peers.len();
                    let (peer, samples) = &mut columns[turn];
                    samples.push(measure(*peer, layout, connections, seconds)?);
                }
            }
            print_table(layout, connections, &columns);
        }
    }
    Ok(())
}

fn print_table(layout: Layout, connections: usize, columns: &[(Peer, Vec<Sample>)]) {
    println!("{layout:?} cores, {connections} connections");
    println!(
        "{:15} {:>30}  {:>30}  {:>8} {:>8}  {:>6} {:>6}",
        "",
        "requests/s [min..max]",
        "server CPU µs (user + system)",
        "p50 µs",
        "p99 µs",
        "rate",
        "CPU",
    );
    let (_, base) = &columns[0];
    for (peer, samples) in columns {
        let of = |figure: fn(&Sample) -> f64| Spread::of(samples.iter().map(figure));
        let ratio = |figure: fn(&Sample) -> f64| {
            Spread::of(samples.iter().zip(base).map(|(s, b)| figure(s) / figure(b))).median
        };
        let rate = of(|sample| sample.requests_per_s);
        let cpu = of(Sample::cpu_us_per_request);
        let name = peer
            .to_possible_value()
            .map_or(String::new(), |value| value.get_name().into());
        println!(
            "{name:15} {:>30}  {:>30}  {:8.1} {:8.1}  {:5.2}× {:5.2}×",
            format!("{:.0} [{:.0}..{:.0}]", rate.median, rate.min, rate.max),
            format!(
                "{:.2} [{:.2}..{:.2}] ({:.2} + {:.2})",
                cpu.median,
                cpu.min,
                cpu.max,
                of(|sample| sample.user_us_per_request).median,
                of(|sample| sample.system_us_per_request).median,
            ),
            of(|sample| sample.p50_us).median,
            of(|sample| sample.p99_us).median,
            ratio(|sample| sample.requests_per_s),
            ratio(Sample::cpu_us_per_request),
        );
    }
    println!();
}

/// A figure over all rounds.
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values = values.collect::<Vec<_>>();
        values.sort_by(f64::total_cmp);
        Spread {
            min: values[0],
            median: values[values.len() / 2],
            max: values[values.len() - 1],
        }
    }
}
