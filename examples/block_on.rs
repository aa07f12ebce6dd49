//! Blocking code and async code in one program: each calls the other, and neither knows what the other waits by.
//!
//! `cargo run --release --example block_on` runs an async service on a thread with an async executor: it takes orders
//! from an async channel and answers each by a sum. The adding is blocking code, in coroutines of withy's; the customers
//! are coroutines, too. Every answer is checked.

mod cli;

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use clap::Parser;
use withy::block_on;
use withy::net::{TcpListener, TcpStream};

/// Customers in blocking code, a service in async code, and blocking code again for its work
#[derive(Parser)]
#[command(
    name = "block_on",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Customers, a coroutine each
    #[arg(long, value_name = "N", default_value = "100")]
    customers: u64,

    /// Orders of each customer
    #[arg(long, value_name = "N", default_value = "20")]
    orders: u64,

    /// How long a customer waits for one answer, in seconds
    #[arg(long, value_name = "S", default_value = "10", value_parser = cli::positive_seconds)]
    patience: Duration,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,
}

/// Why a customer gives up.
type Failure = Box<dyn Error + Send + Sync>;

/// Two numbers to be added, and where the sum shall go.
struct Order {
    numbers: (u64, u64),
    answer: Sender<io::Result<u64>>,
}

fn main() -> ExitCode {
    cli::main(run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.runtime.install()?;
    let adder = start_adder()?;
    // Bounded: customers wait for the service, not orders in memory.
    let (orders, incoming) = async_channel::bounded(8);
    // The async side: any executor will do, on a thread that withy's workers do not need.
    let service = thread::spawn(move || futures_lite::future::block_on(serve(incoming, adder)));

    let customers = withy::scope(|s| {
        let customers: Vec<_> = (0..options.customers)
            .map(|customer| {
                let orders = orders.clone();
                s.spawn(move || order_all(customer, options, &orders))
            })
            .collect();
        customers
            .into_iter()
            .map(|customer| customer.join().map_err(|_| "a customer panicked")?)
            .sum::<Result<u64, Failure>>()
    });
    let served = customers.map_err(|failure| failure as Box<dyn Error>)?;

    // The last sender closes the channel, and so ends the service.
    drop(orders);
    let counted = service.join().map_err(|_| "the service panicked")?;
    println!("{served} orders of {} customers served", options.customers);
    if counted != served {
        return Err(format!("the service counts {counted} orders, its customers {served}").into());
    }
    Ok(())
}

// ---- async code: it awaits a channel, and coroutines ----

/// Serves until there are no more customers; gives the number of orders.
async fn serve(incoming: Receiver<Order>, adder: SocketAddr) -> u64 {
    let mut served = 0;
    while let Ok(order) = incoming.recv().await {
        // Blocking code, called from async code: a handle can be awaited.
        let sum = withy::spawn(move || ask(adder, order.numbers)).await;
        let sum = sum.unwrap_or_else(|_| Err(io::Error::other("the request panicked")));
        // A customer who has lost patience is gone.
        let _ = order.answer.send(sum).await;
        served += 1;
    }
    served
}

// ---- blocking code: it calls the async channel, and sockets ----

/// One customer: orders, waits, checks. Gives the number of orders.
fn order_all(customer: u64, options: &Options, orders: &Sender<Order>) -> Result<u64, Failure> {
    for n in 0..options.orders {
        let numbers = (customer, n);
        let (answer, answered) = async_channel::bounded(1);
        // Async code, called from blocking code; a timeout ends it like any other wait.
        let sum = withy::timeout(options.patience, || {
            block_on(async {
                orders.send(Order { numbers, answer }).await?;
                Ok::<_, Failure>(answered.recv().await??)
            })
        })??;
        if sum != customer + n {
            return Err(format!("{customer} + {n} is not {sum}").into());
        }
    }
    Ok(options.orders)
}

/// Has a server add: a connection, a line there, a line back.
fn ask(adder: SocketAddr, (a, b): (u64, u64)) -> io::Result<u64> {
    let mut stream = TcpStream::connect(adder)?;
    writeln!(stream, "{a} {b}")?;
    stream.shutdown(Shutdown::Write)?;
    io::read_to_string(stream)?
        .trim()
        .parse()
        .map_err(io::Error::other)
}

/// The server that adds, a coroutine a connection.
fn start_adder() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    withy::spawn(move || {
        for stream in listener.incoming().flatten() {
            withy::spawn(move || {
                if let Err(error) = add(stream) {
                    log::debug!("the adder: {error}");
                }
            });
        }
    });
    Ok(address)
}

fn add(mut stream: TcpStream) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line)?;
    let sum: u64 = line
        .split_whitespace()
        .map(|number| number.parse::<u64>().map_err(io::Error::other))
        .sum::<io::Result<u64>>()?;
    writeln!(stream, "{sum}")
}
