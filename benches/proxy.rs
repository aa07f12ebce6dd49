//! What a proxy costs: withy's `copy_bidirectional` against splice and read/write loops on blocking threads, and socat.
//!
//! `cargo bench --bench proxy -- [--rounds N] [--mib N] [--only withy,splice,…]`
//!
//! One stream goes from a source through a proxy to a sink over loopback, then its end. Each proxy is a process of its own, a fresh one for each
//! measurement, whose CPU time (user + system) is counted from its start to its end; source and sink are threads of this process.
//! All peers are measured in turn within each round, in an order that moves from round to round, since figures of a virtual machine drift; the table gives medians with their
//! spread, and ratios that are medians of ratios within a round.

#[path = "relay/peers.rs"]
mod peers;
#[path = "peers/spread.rs"]
mod spread;

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use peers::Peer;
use spread::Spread;

/// What source and sink move at a time.
const BLOCK_BYTES: usize = 256 << 10;

/// How long a proxy may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Compares proxies: throughput of one stream, and CPU per GiB
#[derive(Parser)]
#[command(name = "proxy")]
struct Options {
    /// Measurements of each peer [default: 7]
    #[arg(long)]
    rounds: Option<usize>,

    /// Length of the stream in MiB [default: 1024]
    #[arg(long)]
    mib: Option<u64>,

    /// The peers to measure [default: all; socat only where it is installed]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Peer>,

    /// Set by `cargo bench`; without it (`cargo test --benches`) each measurement is one short one
    #[arg(long, hide = true)]
    bench: bool,

    /// One short measurement of each peer, whatever runs it
    #[arg(long)]
    test: bool,

    #[command(subcommand)]
    role: Option<Role>,
}

/// What a child process does.
#[derive(clap::Subcommand)]
enum Role {
    #[command(hide = true)]
    Relay { peer: Peer, to: SocketAddr },
}

/// One measurement.
#[derive(Clone, Copy)]
struct Sample {
    mib_per_s: f64,
    cpu_ms_per_gib: f64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.role {
        None => compare(&options),
        Some(Role::Relay { peer, to }) => peer.relay(to).map_err(Into::into),
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
    let rounds = options.rounds.unwrap_or(if quick { 1 } else { 7 });
    let mib = options.mib.unwrap_or(if quick { 16 } else { 1024 });
    if rounds == 0 || mib == 0 {
        return Err("nothing to measure, expected at least 1 round and 1 MiB".into());
    }
    let mut peers = match options.only.is_empty() {
        true => Peer::value_variants().to_vec(),
        false => options.only.clone(),
    };
    if options.only.is_empty()
        && Command::new("socat")
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .is_err()
    {
        eprintln!("socat is not installed: not measured");
        peers.retain(|peer| *peer != Peer::Socat);
    }
    let mut columns: Vec<(Peer, Vec<Sample>)> =
        peers.iter().map(|peer| (*peer, Vec::new())).collect();
    for round in 0..rounds {
        for turn in 0..columns.len() {
            let turn = (turn + round) % peers.len();
            let (peer, samples) = &mut columns[turn];
            samples.push(measure(*peer, mib)?);
        }
    }
    print_table(mib, &columns);
    print_targets(&columns);
    Ok(())
}

/// One stream through a fresh process.
fn measure(peer: Peer, mib: u64) -> Result<Sample, Box<dyn Error>> {
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let cpu_before = cpu_of_children()?;
    let (mut proxy, source) = start(peer, sink.local_addr()?)?;
    let (sink, _) = sink.accept()?;
    let bytes = mib << 20;
    let begun = Instant::now();
    let received = thread::scope(|s| {
        let sent = s.spawn(|| send(&source, bytes));
        let received = receive(&sink);
        sent.join()
            .expect("the source does not panic")
            .and(received)
    })?;
    let elapsed = begun.elapsed();
    if received != bytes {
        return Err(format!("{peer:?}: {received} of {bytes} bytes arrived").into());
    }
    drop((source, sink));
    if !proxy.wait()?.success() {
        return Err(format!("the process of {peer:?} failed").into());
    }
    let cpu = cpu_of_children()? - cpu_before;
    Ok(Sample {
        mib_per_s: mib as f64 / elapsed.as_secs_f64(),
        cpu_ms_per_gib: cpu.as_secs_f64() * 1e3 * 1024.0 / mib as f64,
    })
}

/// A proxy to `to`, and a connection to it.
fn start(peer: Peer, to: SocketAddr) -> Result<(Child, TcpStream), Box<dyn Error>> {
    if peer == Peer::Socat {
        return start_socat(to);
    }
    let name = peer
        .to_possible_value()
        .ok_or("no peer is hidden from the command line")?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["relay", name.get_name(), &to.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("standard output is piped")?).read_line(&mut line)?;
    let address: SocketAddr = line.trim_end().parse()?;
    Ok((child, TcpStream::connect(address)?))
}

/// socat does not say which port it has got, so it is given one that was free just now.
fn start_socat(to: SocketAddr) -> Result<(Child, TcpStream), Box<dyn Error>> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let child = Command::new("socat")
        .arg(format!(
            "TCP-LISTEN:{},bind=127.0.0.1,reuseaddr",
            address.port()
        ))
        .arg(format!("TCP:{to}"))
        .spawn()?;
    let begun = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok((child, stream)),
            Err(error) if begun.elapsed() > START_LIMIT => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn send(mut stream: &TcpStream, bytes: u64) -> std::io::Result<()> {
    let block = vec![7; BLOCK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let len = left.min(BLOCK_BYTES as u64);
        stream.write_all(&block[..len as usize])?;
        left -= len;
    }
    stream.shutdown(Shutdown::Write)
}

fn receive(mut stream: &TcpStream) -> std::io::Result<u64> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut received = 0;
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(received),
            len => received += len as u64,
        }
    }
}

/// User and system time of all processes that were started here and have ended.
fn cpu_of_children() -> std::io::Result<Duration> {
    // SAFETY: a `rusage` is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `rusage`, which the call fills in.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok(duration(usage.ru_utime) + duration(usage.ru_stime))
}

fn print_table(mib: u64, columns: &[(Peer, Vec<Sample>)]) {
    println!("one stream of {mib} MiB, {} rounds", columns[0].1.len());
    println!(
        "{:12} {:>26}  {:>26}",
        "", "MiB/s [min..max]", "CPU ms per GiB [min..max]"
    );
    for (peer, samples) in columns {
        let [rate, cpu] = [|s: &Sample| s.mib_per_s, |s: &Sample| s.cpu_ms_per_gib]
            .map(|figure| Spread::of(samples.iter().map(figure)));
        println!("{:12} {rate:>26}  {cpu:>26}", format!("{peer:?}"));
    }
}

/// Each of ours against the raw ones of the same round.
fn print_targets(columns: &[(Peer, Vec<Sample>)]) {
    let of = |wanted: &[Peer], round: usize| -> Vec<Sample> {
        let wanted = columns.iter().filter(|(peer, _)| wanted.contains(peer));
        wanted.map(|(_, samples)| samples[round]).collect()
    };
    for (peer, ours) in columns.iter().filter(|(peer, _)| peer.is_ours()) {
        let ratios = ours.iter().enumerate().filter_map(|(round, ours)| {
            let rates = of(&Peer::RAW, round).into_iter().map(|raw| raw.mib_per_s);
            let splice = of(&[Peer::Splice], round).first()?.cpu_ms_per_gib;
            Some((
                ours.mib_per_s / rates.reduce(f64::max)?,
                ours.cpu_ms_per_gib / splice,
            ))
        });
        let (rates, cpus): (Vec<f64>, Vec<f64>) = ratios.unzip();
        if rates.is_empty() {
            continue;
        }
        println!(
            "{peer:?}: {:.2} × the throughput of the best raw peer (target ≥ 0.9), {:.2} × the CPU of raw splice (target ≤ 1.1)",
            Spread::of(rates.into_iter()).median,
            Spread::of(cpus.into_iter()).median,
        );
    }
}
