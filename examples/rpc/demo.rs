//! Client and server in one process, and a relay between them that breaks their connections. Everything that comes back
//! is checked: each call has its own answer, once, and was worked on once.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use withy::net::TcpListener;

use crate::cli::Orders;
use crate::client::{CallError, Client};
use crate::connection::Pulse;
use crate::frame::PAYLOAD_BYTES_MAX;
use crate::relay::Relay;
use crate::server::Server;

const CALLERS: usize = 60;
const CALLS_EACH: usize = 50;
const CUTS: usize = 5;

/// Longer than the demo takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// So short that the demo need not wait for it, and long enough for a busy machine to beat in time.
const PULSE: Pulse = Pulse {
    interval: Duration::from_millis(100),
    limit: Duration::from_millis(1000),
};

type Outcome = Result<(), Box<dyn Error>>;

/// How often the service was called with what.
static WORKED_ON: LazyLock<Mutex<HashMap<Vec<u8>, usize>>> = LazyLock::new(Mutex::default);

fn service(request: &[u8]) -> Result<Vec<u8>, String> {
    *WORKED_ON
        .lock()
        .unwrap()
        .entry(request.to_vec())
        .or_default() += 1;
    if request == b"panic" {
        panic!("this call was asked to panic");
    }
    crate::capitals(request)
}

pub(crate) fn run() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = Server::new(service, PULSE, Orders::default());
    withy::spawn(move || server.serve(listener, PATIENCE));
    let (relay, relayed) = Relay::start(address)?;
    let client = Arc::new(Client::new(relayed, PULSE));

    many_calls_over_a_connection_that_is_cut(&client, &relay)?;
    a_slow_call_ends_at_its_deadline(&client)?;
    a_silent_server_is_found_out(&client, &relay)?;
    what_fails_fails_alone(&client)?;
    a_client_without_manners_is_shown_out(address)?;
    a_client_that_reads_nothing_is_shown_out(address)?;

    let twice = WORKED_ON
        .lock()
        .unwrap()
        .values()
        .filter(|count| **count != 1)
        .count();
    check(twice == 0, || {
        format!("{twice} calls were worked on more than once")
    })?;
    println!("each call was worked on once");
    Ok(())
}

fn many_calls_over_a_connection_that_is_cut(client: &Arc<Client>, relay: &Arc<Relay>) -> Outcome {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let client = Arc::clone(client);
            withy::spawn(move || -> Result<usize, CallError> {
                let mut right = 0;
                for call in 0..CALLS_EACH {
                    // A few long ones among them: some frames are cut in the middle.
                    let text = format!("{} call {call} of {caller}", call % 3);
                    let text = text + &"x".repeat(if call % 10 == 0 { 50_000 } else { call });
                    let answer = client.call(text.as_bytes(), PATIENCE)?;
                    right += usize::from(*answer == text.to_uppercase().into_bytes());
                }
                Ok(right)
            })
        })
        .collect();
    let worked_on = || WORKED_ON.lock().unwrap().len();
    for cut in 1..=CUTS {
        while worked_on() < CALLERS * CALLS_EACH * cut / (CUTS + 1) {
            withy::sleep(Duration::from_millis(1));
        }
        relay.cut();
    }
    let mut right = 0;
    for caller in callers {
        right += caller.join().expect("a caller does not panic")?;
    }
    let expected = CALLERS * CALLS_EACH;
    check(right == expected, || {
        format!("{right} answers were right, expected {expected}")
    })?;
    let counts = client.counts();
    let connections = counts.connections.load(Ordering::Relaxed);
    check(connections > CUTS, || {
        format!("got {connections} connections, expected over {CUTS}")
    })?;
    let repeated = counts.repeated.load(Ordering::Relaxed);
    check(repeated > 0, || {
        "no cut came while calls were in flight".into()
    })?;
    println!(
        "{right} calls answered over {connections} connections; {repeated} had to be repeated"
    );
    Ok(())
}

fn a_slow_call_ends_at_its_deadline(client: &Client) -> Outcome {
    let late = client.call(b"60000 too late", Duration::from_millis(50));
    check(matches!(late, Err(CallError::Deadline)), || {
        "a call of a minute has ended in 50 ms".into()
    })?;
    let answer = client.call(b"after it", PATIENCE)?;
    check(**answer == *b"AFTER IT", || {
        "its connection is of no use".into()
    })?;
    println!("a slow call ended at its deadline, and the connection goes on");
    Ok(())
}

/// The relay keeps its connections open and says nothing: only the missing beats tell. Then the call is made on
/// another.
fn a_silent_server_is_found_out(client: &Arc<Client>, relay: &Relay) -> Outcome {
    let silent = || client.counts().silent.load(Ordering::Relaxed);
    let before = silent();
    relay.swallow(true);
    let call = withy::spawn({
        let client = Arc::clone(client);
        move || client.call(b"is anybody there", PATIENCE)
    });
    withy::timeout(PATIENCE, || {
        while silent() == before {
            withy::sleep(Duration::from_millis(5));
        }
    })
    .map_err(|_| "nobody misses the beats")?;
    relay.swallow(false);
    let answer = call.join().expect("a caller does not panic")?;
    check(**answer == *b"IS ANYBODY THERE", || {
        "got another answer".into()
    })?;
    println!("a half-open connection was found out by its missing beats, and its call answered");
    Ok(())
}

fn what_fails_fails_alone(client: &Client) -> Outcome {
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = client.call(b"panic", PATIENCE);
    let _ = std::panic::take_hook();
    check(
        matches!(&panicked, Err(CallError::Failed(text)) if text.contains("panicked")),
        || "a service that panics has answered".into(),
    )?;
    let failed = client.call(b"\xff", PATIENCE);
    check(matches!(failed, Err(CallError::Failed(_))), || {
        "got text for no text".into()
    })?;
    let long = client.call(&vec![0; PAYLOAD_BYTES_MAX + 1], PATIENCE);
    check(matches!(long, Err(CallError::TooLong(_))), || {
        "too long a call was made".into()
    })?;
    // In capitals it is three times as long.
    let long = client.call("\u{390}".repeat(PAYLOAD_BYTES_MAX / 4).as_bytes(), PATIENCE);
    check(
        matches!(&long, Err(CallError::Failed(text)) if text.contains("bytes")),
        || "too long an answer was given".into(),
    )?;
    println!("calls that fail, fail alone");
    Ok(())
}

/// Frames out of turn, of no kind and without measure end their own connection.
fn a_client_without_manners_is_shown_out(server: std::net::SocketAddr) -> Outcome {
    let header = |length: u32, kind: u8| [&length.to_be_bytes()[..], &[kind], &[0; 8]].concat();
    for bytes in [
        header(0, 2),
        header(0, 99),
        header(u32::MAX, 1),
        header(3, 1),
    ] {
        let mut stream = withy::net::TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&bytes)?;
        stream.write_all(b"...")?;
        let ended = std::io::copy(&mut stream, &mut std::io::sink());
        let hung = matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        check(!hung, || {
            format!("the server has nothing against {bytes:?}")
        })?;
    }
    println!("clients that do not keep to the protocol are shown out");
    Ok(())
}

/// It asks and beats, so it seems to be alive; but the answers that it does not take stay with the server.
fn a_client_that_reads_nothing_is_shown_out(server: std::net::SocketAddr) -> Outcome {
    let frame = |kind: u8, number: u64, payload: &[u8]| {
        let length = payload.len() as u32;
        [
            &length.to_be_bytes(),
            &[kind][..],
            &number.to_be_bytes(),
            payload,
        ]
        .concat()
    };
    let mut stream = withy::net::TcpStream::connect(server)?;
    stream.write_all(&frame(1, fastrand::u64(..), &1_u64.to_be_bytes()))?;
    let asked = withy::timeout(PATIENCE, || {
        // More than the kernel has room for.
        for number in 1..=20 {
            let text = format!("unread {number} {}", "x".repeat(PAYLOAD_BYTES_MAX - 20));
            if stream
                .write_all(&frame(2, number, text.as_bytes()))
                .is_err()
            {
                return;
            }
        }
        while stream.write_all(&frame(6, 0, &[])).is_ok() {
            withy::sleep(PULSE.interval / 4);
        }
    });
    check(asked.is_ok(), || {
        "the server keeps answers for a client that does not read".into()
    })?;
    println!("a client that reads no answers is shown out");
    Ok(())
}

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(otherwise().into()),
    }
}
