//! The demo: upstreams and clients in this process. Every byte and every count is checked.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use withy::net::{Shutdown, TcpListener, TcpStream};
use withy::{CancelToken, JoinHandle};

use crate::cli::Orders;
use crate::ledger::Entry;
use crate::{Limits, Proxy, Report};

const CLIENTS: usize = 60;

/// What each client sends; it comes back.
const BYTES: usize = 300_000;

pub(crate) fn run(limits: Limits) -> Result<(), Box<dyn Error>> {
    println!("== {CLIENTS} connections at once, {BYTES} bytes each way, to three upstreams");
    let upstreams = [
        EchoServer::start()?,
        EchoServer::start()?,
        EchoServer::start()?,
    ];
    let orders = Orders::default();
    let (address, proxy) = start(&upstreams, limits, &orders)?;
    // All are connected before any of them leaves.
    let clients = connect(address, CLIENTS)?;
    play(&clients)?;
    drop(clients);

    println!("== one of the upstreams is gone");
    let [first, others @ ..] = upstreams;
    first.stop()?;
    let clients = connect(address, CLIENTS)?;
    play(&clients)?;
    drop(clients);

    println!("== the end: who is connected is served, then it is over");
    let late = connect(address, 1)?;
    orders.close.cancel();
    play(&late)?;
    drop(late);
    let report = proxy.join().expect("the proxy does not panic")?;
    others.into_iter().try_for_each(EchoServer::stop)?;
    print!("{report}");
    check(&report)
}

fn start(
    upstreams: &[EchoServer],
    limits: Limits,
    orders: &Orders,
) -> io::Result<(SocketAddr, JoinHandle<io::Result<Report>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let to: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let orders = orders.clone();
    let proxy = withy::spawn(move || Proxy::new(&to, limits).run(listener, &orders));
    Ok((address, proxy))
}

fn check(report: &Report) -> Result<(), Box<dyn Error>> {
    let each = (1 + BYTES) as u64;
    for upstream in &report.upstreams {
        let expected = upstream.connections as u64 * each;
        if (upstream.bytes_there, upstream.bytes_back) != (expected, expected) {
            return Err(format!("{upstream}: expected {expected} bytes each way").into());
        }
    }
    let connections: Vec<_> = report
        .upstreams
        .iter()
        .map(|upstream| upstream.connections)
        .collect();
    // A third each, then a half each of the next; and one more.
    let [first, ..] = connections[..] else {
        return Err("there are three upstreams".into());
    };
    let all: usize = connections.iter().sum();
    if first != CLIENTS / 3 || all != 2 * CLIENTS + 1 {
        return Err(
            format!("got {connections:?} connections, expected them to be balanced").into(),
        );
    }
    let ended = &report.connections;
    if (ended.accepted, ended.finished) != (all as u64, all as u64) {
        return Err("some connections did not finish".into());
    }
    let listed = &report.book.entries;
    let right = |entry: &Entry| (entry.copied.a_to_b, entry.copied.b_to_a) == (each, each);
    if listed.len() != all || !listed.iter().all(right) {
        return Err(format!("expected {all} connections with {each} bytes each way").into());
    }
    println!("all as it should be");
    Ok(())
}

/// Connected through the proxy to an upstream, each: a byte has come back.
fn connect(address: SocketAddr, number: usize) -> io::Result<Vec<TcpStream>> {
    let connect = |_| {
        let mut client = TcpStream::connect(address)?;
        client.write_all(b"?")?;
        client.read_exact(&mut [0])?;
        Ok(client)
    };
    (0..number).map(connect).collect()
}

/// All at the same time: bytes there and back, and the end of the stream.
fn play(clients: &[TcpStream]) -> Result<(), Box<dyn Error>> {
    withy::try_scope(|scope| {
        for (seed, client) in clients.iter().enumerate() {
            scope.spawn(move || exchange(client, seed as u64));
        }
        Ok(())
    })
    .map_err(|error: String| error.into())
}

fn exchange(client: &TcpStream, seed: u64) -> Result<(), String> {
    let mut bytes = vec![0; BYTES];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    let mut back = Vec::new();
    let (mut reader, mut writer) = (client, client);
    let exchanged = withy::scope(|scope| {
        let sent = scope.spawn(|| {
            writer.write_all(&bytes)?;
            writer.shutdown(Shutdown::Write)
        });
        reader.read_to_end(&mut back)?;
        sent.join().expect("a write does not panic")
    });
    exchanged.map_err(|error| format!("client {seed}: {error}"))?;
    match back == bytes {
        true => Ok(()),
        false => Err(format!(
            "client {seed}: got {} bytes, which are not those that it sent",
            back.len()
        )),
    }
}

/// An upstream: gives back what it gets.
struct EchoServer {
    address: SocketAddr,
    stop: CancelToken,
    serves: JoinHandle<()>,
}

impl EchoServer {
    fn start() -> io::Result<EchoServer> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stop = CancelToken::new();
        let serves = withy::spawn({
            let stop = stop.clone();
            move || {
                let _stopped = stop.run(|| {
                    for stream in listener.incoming().flatten() {
                        withy::spawn(move || withy::io::copy(&mut &stream, &mut &stream));
                    }
                });
            }
        });
        Ok(EchoServer {
            address,
            stop,
            serves,
        })
    }

    /// From now on connections are refused.
    fn stop(self) -> Result<(), Box<dyn Error>> {
        self.stop.cancel();
        self.serves
            .join()
            .map_err(|_| "an echo server panicked".into())
    }
}
