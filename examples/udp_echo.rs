//! A UDP echo server: one socket, one coroutine, three lines of loop.
//!
//! `cargo run --release --example udp_echo` serves until Ctrl-C or SIGTERM; try it with `nc -u 127.0.0.1 7000`.
//! `cargo run --release --example udp_echo -- --demo` runs clients against it that check every echo, and ends.

mod cli;

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use withy::net::UdpSocket;

use cli::Orders;

/// The longest packet that UDP carries over IPv4.
const PACKET_BYTES_MAX: usize = 65_507;

/// How long a client waits for an echo before it asks again: packets may be lost.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often a client asks before it gives up.
const ATTEMPTS_MAX: u32 = 20;

/// A UDP echo server
#[derive(Parser)]
#[command(
    name = "udp_echo",
    after_help = "Exit codes: 0 done, also by Ctrl-C or SIGTERM, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Address to receive on [default: 127.0.0.1:7000, with --demo a port that the kernel picks]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,

    /// Run clients in this process too, check every echo and end
    #[arg(long)]
    demo: bool,

    /// Clients of the demo
    #[arg(long, value_name = "N", requires = "demo", default_value = "50")]
    clients: NonZeroU64,

    /// Packets that each of them sends
    #[arg(long, value_name = "N", requires = "demo", default_value = "200")]
    packets: NonZeroU64,
}

fn main() -> ExitCode {
    cli::main(run)
}

/// Runs on the main thread, which is no worker: printing, which blocks, happens only here.
fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.runtime.install()?;
    let address = match options.listen {
        Some(address) => address,
        None if options.demo => SocketAddr::from(([127, 0, 0, 1], 0)),
        None => SocketAddr::from(([127, 0, 0, 1], 7000)),
    };
    let socket = UdpSocket::bind(address)
        .map_err(|error| format!("cannot receive on {address}: {error}"))?;
    let address = socket.local_addr()?;
    if options.demo {
        withy::spawn(move || echo(&socket, &mut 0));
        return demo(address, options.clients.get(), options.packets.get());
    }
    let orders = Orders::by_signals("no more packets".to_owned())?;
    println!("receiving on {address}");
    let mut echoes = 0;
    withy::run(|| orders.close.run(|| echo(&socket, &mut echoes))).unwrap_or(Ok(()))?;
    println!("{echoes} packets sent back");
    Ok(())
}

/// Sends every packet back to where it came from, and counts. A packet that cannot be sent is one that is lost, which UDP
/// allows; so it does not end the server.
fn echo(socket: &UdpSocket, echoes: &mut u64) -> io::Result<()> {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        let (n, client) = socket.recv_from(&mut packet)?;
        match socket.send_to(&packet[..n], client) {
            Ok(_) => *echoes += 1,
            Err(error) => log::debug!("no echo to {client}: {error}"),
        }
    }
}

fn demo(server: SocketAddr, clients: u64, packets: u64) -> Result<(), Box<dyn Error>> {
    let clients: Vec<_> = (0..clients)
        .map(|client| withy::spawn(move || ask(server, client, packets)))
        .collect();
    let echoes = clients.len() as u64 * packets;
    let mut repeated = 0;
    for client in clients {
        repeated += client.join().expect("a client does not panic")?;
    }
    println!("{echoes} packets came back as they were sent; {repeated} had to be sent again");
    Ok(())
}

/// Sends packets of all lengths, one at a time, and checks the echo of each. Gives how many had to be sent again.
fn ask(server: SocketAddr, client: u64, packets: u64) -> io::Result<u64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut repeated = 0;
    for number in 0..packets {
        let packet = packet(client, number);
        repeated += exchange(&socket, &packet)?;
    }
    Ok(repeated)
}

/// Sends `packet` until it comes back. An echo of an earlier packet that was sent twice is none of this one.
fn exchange(socket: &UdpSocket, packet: &[u8]) -> io::Result<u64> {
    let mut echo = vec![0; packet.len() + 1];
    for attempt in 0..ATTEMPTS_MAX {
        socket.send(packet)?;
        loop {
            match socket.recv(&mut echo) {
                Ok(n) if &echo[..n] == packet => return Ok(attempt.into()),
                Ok(n) if is_late(&echo[..n], packet) => {}
                Ok(n) => {
                    let text = format!(
                        "got {n} bytes that were not sent, expected {}",
                        packet.len()
                    );
                    return Err(io::Error::new(ErrorKind::InvalidData, text));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    let text = format!("got no echo to {ATTEMPTS_MAX} packets, expected one");
    Err(io::Error::new(ErrorKind::TimedOut, text))
}

/// Client, number, and as many bytes more as the number says; every seventh packet is empty.
fn packet(client: u64, number: u64) -> Vec<u8> {
    if number % 7 == 6 {
        return Vec::new();
    }
    let mut packet = [client.to_be_bytes(), number.to_be_bytes()].concat();
    packet.resize(16 + (number * 37 % 1400) as usize, client as u8);
    packet
}

/// Whether `echo` may be that of an earlier packet of this client: one that was given up too early comes twice.
fn is_late(echo: &[u8], packet: &[u8]) -> bool {
    match (echo.split_at_checked(16), packet.split_at_checked(16)) {
        (Some((echoed, _)), Some((sent, _))) => echoed[..8] == sent[..8] && echoed[8..] < sent[8..],
        // An empty packet has no number.
        _ => true,
    }
}
