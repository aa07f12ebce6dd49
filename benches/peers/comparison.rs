//! Servers measured in turn, and the table of what came out: the same for every protocol.

use std::error::Error;

use clap::ValueEnum;

use super::spread::Spread;
use super::{Layout, Peer, Protocol, Sample, measure};

/// What is measured, and how often.
#[derive(clap::Args)]
pub(crate) struct Comparison {
    /// Measurements of each kind [default: 5]
    #[arg(long)]
    rounds: Option<usize>,

    /// Length of one measurement [default: 1]
    #[arg(long)]
    seconds: Option<f64>,

    /// Numbers of connections (of clients' sockets, where the protocol has none)
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64")]
    connections: Vec<usize>,

    /// Which cores server and client may use
    #[arg(long, value_delimiter = ',', default_value = "separate,shared")]
    layout: Vec<Layout>,

    /// The peers to measure; the first is what the others are compared with [default: all of the protocol]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Peer>,

    /// Set by `cargo bench`; without it (`cargo test --benches`) each measurement is one short one
    #[arg(long, hide = true)]
    bench: bool,

    /// One short measurement of each kind, whatever runs it
    #[arg(long)]
    test: bool,
}

impl Comparison {
    /// Measures the peers of `protocol` in turn within each round, in an order that moves from round to round, and
    /// prints medians.
    pub(crate) fn run(&self, protocol: Protocol) -> Result<(), Box<dyn Error>> {
        let quick = self.test || !self.bench;
        let rounds = self.rounds.unwrap_or(if quick { 1 } else { 5 });
        let seconds = self.seconds.unwrap_or(if quick { 0.05 } else { 1.0 });
        if rounds == 0 {
            return Err("no rounds to measure, expected at least 1".into());
        }
        let of_protocol = |peer: &Peer| peer.protocol() == protocol;
        let peers: Vec<Peer> = if self.only.is_empty() {
            let all = Peer::value_variants().iter().copied();
            all.filter(of_protocol).collect()
        } else {
            self.only.clone()
        };
        if !peers.iter().all(of_protocol) {
            return Err(format!(
                "a peer of another protocol was named, expected one of {protocol:?}"
            )
            .into());
        }
        for &layout in &self.layout {
            for &connections in &self.connections {
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
}

fn print_table(layout: Layout, connections: usize, columns: &[(Peer, Vec<Sample>)]) {
    println!("{layout:?} cores, {connections} connections");
    println!(
        "{:18} {:>30}  {:>30}  {:>8} {:>8}  {:>6} {:>6}",
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
            "{name:18} {rate:>30}  {:>30}  {:8.1} {:8.1}  {:5.2}× {:5.2}×",
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
