//! The demo: clients in this process, of which some leave when they are done and some never do.
//!
//! It ends one server by a second signal and one by its grace period. What it checks holds on any
//! machine however slow.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use withy::net::{TcpListener, TcpStream};
use withy::signal::{Signal, Signals};

use crate::serve_until_told;

/// Clients that leave when they are done.
const POLITE: usize = 20;
/// Clients that stay until they are cut off.
const IDLE: usize = 5;
/// Longer than anyone would wait for the demo.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

/// Ends two servers, one each way.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    println!("== some finish; then a second signal");
    act(POLITE, IDLE, LONG, true)?;

    println!("== nobody finishes within the grace period");
    let elapsed = act(0, IDLE, SHORT, false)?;
    if elapsed < SHORT {
        return Err(format!("the grace period was over early, after {elapsed:.1?}").into());
    }
    println!("all as it should be");
    Ok(())
}

/// What the clients know in the end.
struct Story {
    /// When the first signal was sent.
    told: Instant,
    /// The connections that were not cut off.
    finished: usize,
}

/// One server from start to end, checked; and how long that took from the first signal on.
fn act(
    polite: usize,
    idle: usize,
    grace: Duration,
    second_signal: bool,
) -> Result<Duration, Box<dyn Error>> {
    // They count from now on, so the server below misses none.
    let signals = Signals::new([Signal::TERMINATE])?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let clients = withy::spawn(move || {
        play_clients(address, polite, idle, second_signal)
            // Their connections are closed by now: the server need only be told.
            .inspect_err(|_| terminate())
    });
    let summary = serve_until_told(listener, signals, grace)?;
    let end = Instant::now();
    let story = clients.join().expect("the clients do not panic")?;
    // A connection ends with its client, whether that says good-bye or resets it.
    let ended = (summary.finished + summary.failed, summary.cut);
    let expected = (story.finished as u64, idle as u64);
    if ended != expected {
        return Err(
            format!("got {summary:?}, expected {expected:?} to finish and to be cut").into(),
        );
    }
    Ok(end - story.told)
}

/// All clients, in turn.
fn play_clients(
    address: SocketAddr,
    polite: usize,
    idle: usize,
    second_signal: bool,
) -> io::Result<Story> {
    let connect = |n: usize| -> io::Result<Vec<TcpStream>> {
        (0..n).map(|_| TcpStream::connect(address)).collect()
    };
    let (polite, idle) = (connect(polite)?, connect(idle)?);
    // Each has been accepted: it was answered.
    for client in polite.iter().chain(&idle) {
        ask(client)?;
    }
    let told = Instant::now();
    terminate();
    let mut finished = polite.len();
    if second_signal {
        // Else the grace period might be over before a probe is served.
        finished += until_refused(address)?;
    }
    // Those who are open are served on.
    for client in polite {
        ask(&client)?;
        leave(client)?;
    }
    if second_signal {
        for client in &idle {
            ask(client)?;
        }
        terminate();
    }
    for client in idle {
        end_of(client)?;
    }
    Ok(Story { told, finished })
}

/// One request; the echo says that the server serves.
fn ask(mut client: &TcpStream) -> io::Result<()> {
    let mut echo = [0; 6];
    client.write_all(b"there?")?;
    client.read_exact(&mut echo)?;
    if &echo == b"there?" {
        return Ok(());
    }
    Err(io::Error::other("a wrong echo"))
}

/// Leaves, and waits until the server has noticed.
fn leave(client: TcpStream) -> io::Result<()> {
    client.shutdown(Shutdown::Write)?;
    end_of(client)
}

/// Waits until the server has closed the connection.
fn end_of(mut client: TcpStream) -> io::Result<()> {
    match client.read(&mut [0; 1])? {
        0 => Ok(()),
        _ => Err(io::Error::other("got what nobody asked for")),
    }
}

/// What an operator does.
fn terminate() {
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(libc::SIGTERM) };
}

/// Waits until the server accepts no more; how many connections it has served meanwhile.
fn until_refused(address: SocketAddr) -> io::Result<usize> {
    let mut served = 0;
    loop {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(served),
            Ok(probe) if ask(&probe).is_ok() => {
                leave(probe)?;
                served += 1;
            }
            // The listener was closed in the middle of it.
            Ok(_) | Err(_) => {}
        }
        withy::sleep(Duration::from_millis(1));
    }
}
