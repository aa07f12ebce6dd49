//! A chat room over TCP: whoever connects, by `nc` or `telnet`, says a name and then lines; each line goes to everybody.
//!
//! `cargo run --release --example chat` serves until Ctrl-C. `/who` lists who is there, `/quit` leaves.
//! `cargo run --release --example chat -- --demo` has clients of its own talk, one of them slowly, and checks what they hear.
//!
//! # Who reads slowly
//!
//! Nobody waits for a slow reader. Each client has a coroutine that writes what the others said; its queue is the
//! broadcast channel, which keeps the last 64 lines for everybody. A client is dropped
//!
//! * when more than those are waiting for it: it is told how many lines it has missed, and that is its last line;
//! * when it has taken no byte at all for 10 s (`--patience`), though there was something for it.
//!
//! So a client costs two stacks and a send buffer of 16 KiB, however slow it is, and the room 64 lines.

#[path = "chat/demo.rs"]
mod demo;
#[path = "chat/room.rs"]
mod room;

mod cli;

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use socket2::SockRef;
use withy::CancelToken;
use withy::net::{Server, Summary, TcpListener, TcpStream};
use withy::sync::Mutex;
use withy::sync::channel::broadcast;

use cli::Orders;
use room::{Line, Room, Seat};

/// The longest line, its end included.
const LINE_BYTES_MAX: u64 = 1024;

/// Lines fit many times, and a reader that does not read is noticed soon.
const SEND_BUFFER_BYTES: usize = 16 << 10;

const GUESTS_MAX: usize = 5_000;
const DRAIN: Duration = Duration::from_secs(5);

/// Where a guest's two coroutines write, one at a time.
type Output<'a> = Mutex<&'a TcpStream>;

/// A chat room over TCP
#[derive(Parser)]
#[command(
    name = "chat",
    after_help = "The first Ctrl-C or SIGTERM begins the end, a second one cuts off who is left.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7001")]
    listen: SocketAddr,

    #[command(flatten)]
    limits: Limits,

    /// Run clients in this process, check what they hear and end
    #[arg(long, conflicts_with_all = ["listen", "naming", "patience"])]
    demo: bool,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,
}

fn main() -> ExitCode {
    cli::main(run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    cli::raise_descriptor_limit()?;
    options.runtime.install()?;
    if options.demo {
        return demo::run();
    }
    let orders = Orders::by_signals("the room closes".to_owned())?;
    let listener = TcpListener::bind(options.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    println!("listening on {}", listener.local_addr()?);
    let served = open(&Room::default(), listener, options.limits, &orders)?;
    println!("{} guests in all", served.accepted);
    Ok(())
}

/// How long things may take, in seconds.
#[derive(clap::Args, Clone, Copy)]
struct Limits {
    /// Until a client has said its name, in however many attempts
    #[arg(long, value_name = "S", default_value = "60", value_parser = cli::positive_seconds)]
    naming: Duration,

    /// For a client to take a byte of the lines that wait for it
    #[arg(long, value_name = "S", default_value = "10", value_parser = cli::positive_seconds)]
    patience: Duration,
}

/// Serves the room until it is closed.
fn open(
    room: &Room,
    listener: TcpListener,
    limits: Limits,
    orders: &Orders,
) -> io::Result<Summary> {
    Server::new()
        .connections_max(GUESTS_MAX)
        .until(&orders.close)
        .drain_timeout(DRAIN)
        .cut_by(&orders.cut)
        .serve(listener, |stream, _| {
            SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES)?;
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(limits.patience))?;
            attend(room, &stream, limits.naming, &orders.close)
        })
}

/// One guest, from its name to its end. Two coroutines: this one hears what the guest says, the other tells it what all say.
fn attend(
    room: &Room,
    stream: &TcpStream,
    naming: Duration,
    close: &CancelToken,
) -> io::Result<()> {
    let mut input = BufReader::new(stream);
    // Whichever of the two ends first, ends the other by it.
    let leaving = close.child();
    // A limit for all of it: one for each read would let a client drip its bytes for ever.
    stream.set_read_deadline(Some(withy::now() + naming))?;
    let Ok(seat) = leaving.run(|| be_named(room, stream, &mut input)) else {
        return Ok(());
    };
    let Some((seat, lines)) = seat? else {
        return Ok(());
    };
    stream.set_read_deadline(None)?;
    let output = Mutex::new(stream);
    withy::scope(|s| {
        let telling = s.spawn(|| {
            let told = tell(&output, lines, &leaving);
            leaving.cancel();
            told
        });
        let heard = hear(room, &seat, &output, &mut input, &leaving);
        leaving.cancel();
        let told = telling
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        told.and(heard)
    })
}

/// Asks until the guest has said a name that can be had; `None` if it leaves before.
fn be_named<'a>(
    room: &'a Room,
    mut stream: &TcpStream,
    input: &mut impl BufRead,
) -> io::Result<Option<(Seat<'a>, broadcast::Receiver<Line>)>> {
    loop {
        stream.write_all(b"* your name?\n")?;
        let Some(name) = read_line(input)? else {
            return Ok(None);
        };
        match room.enter(&name) {
            Ok(entered) => return Ok(Some(entered)),
            Err(why) => stream.write_all(format!("* {why}\n").as_bytes())?,
        }
    }
}

/// Passes on what the guest says, until it goes or has to go.
fn hear(
    room: &Room,
    seat: &Seat<'_>,
    output: &Output<'_>,
    input: &mut impl BufRead,
    leaving: &CancelToken,
) -> io::Result<()> {
    // Only the wait for a line ends by the token: one that has come is passed on.
    while let Ok(line) = leaving.run(|| read_line(input)) {
        match line?.as_deref() {
            None | Some("/quit") => break,
            Some("") => {}
            Some("/who") => write_line(output, &format!("* here: {}\n", room.names()))?,
            Some(text) => seat.say(text),
        }
    }
    Ok(())
}

/// Tells the guest what is said, and what is left of it when it leaves.
fn tell(
    output: &Output<'_>,
    mut lines: broadcast::Receiver<Line>,
    leaving: &CancelToken,
) -> io::Result<()> {
    loop {
        match leaving.run(|| lines.recv()) {
            Ok(Ok(line)) => write_line(output, &line)?,
            Ok(Err(broadcast::RecvError::Lagged(missed))) => {
                let notice = format!("* you read too slowly and missed {missed} lines: good-bye\n");
                return write_line(output, &notice);
            }
            Ok(Err(broadcast::RecvError::Disconnected)) | Err(_) => break,
        }
    }
    while let Ok(line) = lines.try_recv() {
        write_line(output, &line)?;
    }
    Ok(())
}

/// Writes a line whole, for two may want to at the same time.
fn write_line(output: &Output<'_>, line: &str) -> io::Result<()> {
    let mut stream = output.lock().expect("nobody panics while it writes");
    stream.write_all(line.as_bytes())
}

/// The next line without its end, and without what terminals might obey; `None` at the end of the stream.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = input.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
    if read as u64 == LINE_BYTES_MAX && !line.ends_with('\n') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("got a line of more than {LINE_BYTES_MAX} bytes"),
        ));
    }
    line.retain(|letter| !letter.is_control());
    Ok((read > 0).then_some(line))
}
