//! The demo: guests in this process, of whom one reads slowly and one not at all.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use withy::CancelToken;
use withy::net::{Summary, TcpListener, TcpStream};

use crate::Limits;
use crate::cli::Orders;
use crate::room::Room;

/// More than all buffers between two guests hold.
const LINES: usize = 1_500;
/// Longer than anyone would wait for the demo.
const LONG: Duration = Duration::from_secs(600);
const PATIENT: Limits = Limits {
    naming: LONG,
    patience: LONG,
};
const SHORT: Duration = Duration::from_millis(50);
/// Between two lines: of those, the channel holds many times more than `SHORT` has room for.
const PAUSE: Duration = Duration::from_millis(10);
/// What a demo that hangs is ended by.
const LIMIT: Duration = Duration::from_secs(120);

type Checked<T = ()> = Result<T, String>;

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    println!("== a talk");
    expect(with_room(PATIENT, talk)?, 3)?;
    println!("== one reads slowly, and is told so");
    expect(with_room(PATIENT, outrun)?, 3)?;
    println!("== one does not read at all, and is dropped");
    let limits = Limits {
        patience: SHORT,
        ..PATIENT
    };
    expect_timeout(with_room(limits, ignore)?, 2)?;
    println!("== one never comes to an end of its name");
    let limits = Limits {
        naming: SHORT,
        ..PATIENT
    };
    expect_timeout(with_room(limits, drip)?, 1)?;
    println!("== the room closes while two are talking");
    expect(with_room(PATIENT, closing_time)?, 2)?;
    println!("all as it should be");
    Ok(())
}

fn expect(summary: Summary, guests: u64) -> Checked {
    match summary.accepted == guests && summary.panicked + summary.cut + summary.shed == 0 {
        true => Ok(()),
        false => Err(format!(
            "got {summary:?}, expected {guests} guests, and none cut off"
        )),
    }
}

fn expect_timeout(summary: Summary, guests: u64) -> Checked {
    expect(summary, guests)?;
    match summary.timed_out {
        1 => Ok(()),
        _ => Err(format!("got {summary:?}, expected one that timed out")),
    }
}

/// Opens a room, plays a scene in it, closes it, and gives what the server has counted.
fn with_room(
    limits: Limits,
    scene: fn(SocketAddr, &CancelToken) -> Checked,
) -> Result<Summary, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (room, orders) = (Room::default(), Orders::default());
    withy::scope(|s| {
        let server = s.spawn(|| crate::open(&room, listener, limits, &orders));
        let played = withy::timeout(LIMIT, || scene(address, &orders.close));
        orders.close.cancel();
        let summary = server.join().expect("the server does not panic")?;
        played.map_err(|_| "the guests wait for something that does not come")??;
        Ok(summary)
    })
}

/// A guest, seen from its own end.
struct Guest {
    stream: BufReader<TcpStream>,
}

impl Guest {
    fn enter(address: SocketAddr, name: &str) -> Checked<Guest> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        let mut guest = Guest {
            stream: BufReader::new(stream),
        };
        guest.hear("* your name?")?;
        guest.say(name)?;
        guest.hear(&format!("* {name} came"))?;
        Ok(guest)
    }

    /// Has little room for what it does not read.
    fn narrow(&self) -> Checked {
        let options = SockRef::from(self.stream.get_ref());
        let set = options.set_recv_buffer_size(4096);
        set.map_err(|error| error.to_string())
    }

    fn say(&mut self, text: &str) -> Checked {
        let line = format!("{text}\n");
        let said = self.stream.get_mut().write_all(line.as_bytes());
        said.map_err(|error| format!("cannot say {text}: {error}"))
    }

    /// The next line; "" at the end.
    fn line(&mut self) -> Checked<String> {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .map_err(|error| format!("cannot hear: {error}"))?;
        Ok(line.trim_end().to_owned())
    }

    fn hear(&mut self, expected: &str) -> Checked {
        match self.line()? {
            line if line == expected => Ok(()),
            line => Err(format!("got the line '{line}', expected '{expected}'")),
        }
    }
}

/// Two guests who hear the same, and when a third one leaves.
struct Pair {
    guests: [Guest; 2],
    /// Which of them have heard of it.
    know: [bool; 2],
    news: &'static str,
}

impl Pair {
    /// Both hear the line, with the news before it or not.
    fn hear(&mut self, expected: &str) -> Checked {
        for (guest, knows) in self.guests.iter_mut().zip(&mut self.know) {
            let mut line = guest.line()?;
            if line == self.news && !*knows {
                *knows = true;
                line = guest.line()?;
            }
            if line != expected {
                return Err(format!("got the line '{line}', expected '{expected}'"));
            }
        }
        Ok(())
    }

    /// Who has not heard the news yet, hears them now.
    fn hear_news(&mut self) -> Checked {
        for (guest, knows) in self.guests.iter_mut().zip(&self.know) {
            if !knows {
                guest.hear(self.news)?;
            }
        }
        Ok(())
    }
}

/// All hear everything, in one order; names are unique; those who leave are missed.
fn talk(address: SocketAddr, _: &CancelToken) -> Checked {
    let mut alice = Guest::enter(address, "alice")?;
    let mut bob = Guest::enter(address, "bob")?;
    alice.hear("* bob came")?;
    alice.say("hello")?;
    bob.hear("<alice> hello")?;
    alice.hear("<alice> hello")?;

    let mut third = TcpStream::connect(address)
        .map(BufReader::new)
        .map(|stream| Guest { stream })
        .map_err(|error| error.to_string())?;
    third.hear("* your name?")?;
    third.say("bob")?;
    third.hear("* bob is here already")?;
    third.hear("* your name?")?;
    third.say("carol")?;
    third.hear("* carol came")?;
    third.say("/who")?;
    third.hear("* here: alice, bob, carol")?;
    third.say("/quit")?;
    for other in [&mut alice, &mut bob] {
        other.hear("* carol came")?;
        other.hear("* carol left")?;
    }
    drop(bob);
    alice.hear("* bob left")
}

/// The slow one hears lines in their order, then how many it has missed, and no more. The others have missed none.
fn outrun(address: SocketAddr, _: &CancelToken) -> Checked {
    let mut slow = Guest::enter(address, "slow")?;
    slow.narrow()?;
    let mut alice = Guest::enter(address, "alice")?;
    let bob = Guest::enter(address, "bob")?;
    slow.hear("* alice came")?;
    slow.hear("* bob came")?;
    alice.hear("* bob came")?;
    let mut others = Pair {
        guests: [alice, bob],
        know: [false; 2],
        news: "* slow left",
    };
    let text = |number| format!("{number} {}", "x".repeat(500));
    for number in 0..LINES {
        others.guests[0].say(&text(number))?;
        // In step, so that these two are never behind.
        others.hear(&format!("<alice> {}", text(number)))?;
    }
    let mut heard = 0;
    let notice = loop {
        match slow.line()? {
            line if line == format!("<alice> {}", text(heard)) => heard += 1,
            line => break line,
        }
    };
    if heard == LINES || !notice.starts_with("* you read too slowly and missed ") {
        return Err(format!("after {heard} lines the slow one got '{notice}'"));
    }
    slow.hear("")?;
    println!("{heard} of {LINES} lines, then: {notice}");
    others.hear_news()
}

/// Who reads nothing is dropped when the server's patience is over, in the middle of a line.
fn ignore(address: SocketAddr, _: &CancelToken) -> Checked {
    let mut deaf = Guest::enter(address, "deaf")?;
    deaf.narrow()?;
    let mut alice = Guest::enter(address, "alice")?;
    let text = "x".repeat(1000);
    loop {
        // Not so fast that the channel is full first.
        withy::sleep(PAUSE);
        alice.say(&text)?;
        match alice.line()? {
            line if line == format!("<alice> {text}") => {}
            line if line == "* deaf left" => break,
            line => return Err(format!("got the line '{line}'")),
        }
    }
    let mut rest = Vec::new();
    match deaf.stream.read_to_end(&mut rest) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// Each byte of it comes in time, but the name has a time of its own.
fn drip(address: SocketAddr, _: &CancelToken) -> Checked {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    while stream.write_all(b"x").is_ok() {
        withy::sleep(PAUSE);
    }
    Ok(())
}

/// What was said before the end is heard by all; then the streams end.
fn closing_time(address: SocketAddr, close: &CancelToken) -> Checked {
    let mut alice = Guest::enter(address, "alice")?;
    let mut bob = Guest::enter(address, "bob")?;
    alice.hear("* bob came")?;
    bob.say("last orders")?;
    alice.hear("<bob> last orders")?;
    close.cancel();
    bob.hear("<bob> last orders")?;
    for guest in [&mut alice, &mut bob] {
        // Maybe that another one left, then the end.
        while !guest.line()?.is_empty() {}
    }
    let _ = alice.stream.get_ref().shutdown(Shutdown::Both);
    Ok(())
}
