//! The demo: a server, the proxy, and clients that know the bytes of RFC 1928 by heart.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use withy::net::{Shutdown, TcpListener, TcpStream};

use crate::cli::Orders;
use crate::{Limits, Proxy, protocol};

const BYTES: usize = 1_000_000;

pub(crate) fn run(limits: Limits) -> Result<(), Box<dyn Error>> {
    let target = echo_server()?;
    let open = start(limits, &[])?;
    let guarded = start(limits, &["me:secret"])?;
    let anybody: &[u8] = &[5, 1, 0];
    let named: &[u8] = &[5, 2, 0, 2];

    println!("== a connection by address, and one by name, with bytes both ways");
    let by_address = [
        &[5, 1, 0, 1, 127, 0, 0, 1],
        &target.port().to_be_bytes()[..],
    ]
    .concat();
    let by_name = [
        &[5, 1, 0, 3, 9],
        &b"localhost"[..],
        &target.port().to_be_bytes(),
    ]
    .concat();
    for request in [&by_address, &by_name] {
        let mut client = TcpStream::connect(open)?;
        say(&mut client, anybody, &[5, 0])?;
        client.write_all(request)?;
        expect(&mut client, &[5, 0, 0, 1, 127, 0, 0, 1])?;
        client.read_exact(&mut [0; 2])?;
        exchange(&client)?;
    }

    println!("== user and password");
    let mut client = TcpStream::connect(guarded)?;
    say(&mut client, named, &[5, 2])?;
    say(&mut client, b"\x01\x02me\x06secret", &[1, 0])?;
    client.write_all(&by_address)?;
    expect(&mut client, &[5, 0, 0, 1, 127, 0, 0, 1])?;
    client.read_exact(&mut [0; 2])?;
    exchange(&client)?;

    println!("== what is refused");
    let mut client = TcpStream::connect(guarded)?;
    say(&mut client, named, &[5, 2])?;
    say(&mut client, b"\x01\x02me\x06sesame", &[1, 1])?;
    is_over(&mut client)?;
    let mut client = TcpStream::connect(guarded)?;
    say(&mut client, anybody, &[5, 0xff])?;
    is_over(&mut client)?;
    let nobody = TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port()
        .to_be_bytes();
    for (request, code) in [
        ([&[5, 1, 0, 1, 127, 0, 0, 1], &nobody[..]].concat(), 5),
        (vec![5, 2, 0, 1, 127, 0, 0, 1, 0, 80], 7),
        (vec![5, 1, 0, 9], 8),
    ] {
        let mut client = TcpStream::connect(open)?;
        say(&mut client, anybody, &[5, 0])?;
        say(&mut client, &request, &[5, code, 0, 1, 0, 0, 0, 0, 0, 0])?;
        is_over(&mut client)?;
    }
    println!("all as it should be");
    Ok(())
}

fn start(limits: Limits, users: &[&str]) -> Result<SocketAddr, Box<dyn Error>> {
    let users = users.iter().map(|user| protocol::parse_user(user));
    let users = users.collect::<Result<_, _>>()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    withy::spawn(move || Proxy { users, limits }.serve(listener, &Orders::default()));
    Ok(address)
}

fn echo_server() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    withy::spawn(move || {
        for stream in listener.incoming().flatten() {
            withy::spawn(move || withy::io::copy(&mut &stream, &mut &stream));
        }
    });
    Ok(address)
}

fn say(client: &mut TcpStream, message: &[u8], answer: &[u8]) -> io::Result<()> {
    client.write_all(message)?;
    expect(client, answer)
}

fn expect(client: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    let mut got = vec![0; answer.len()];
    client.read_exact(&mut got)?;
    match got == answer {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "got {got:?}, expected {answer:?}"
        ))),
    }
}

fn is_over(client: &mut TcpStream) -> io::Result<()> {
    match client.read(&mut [0]) {
        Ok(0) | Err(_) => Ok(()),
        Ok(_) => Err(io::Error::other("got a byte, expected the end")),
    }
}

/// Bytes there and back, and the end of the stream.
fn exchange(client: &TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; BYTES];
    fastrand::Rng::with_seed(1928).fill(&mut bytes);
    let mut back = Vec::new();
    let (mut reader, mut writer) = (client, client);
    withy::scope(|scope| {
        let sent = scope.spawn(|| {
            writer.write_all(&bytes)?;
            writer.shutdown(Shutdown::Write)
        });
        reader.read_to_end(&mut back)?;
        sent.join().expect("a write does not panic")
    })?;
    match back == bytes {
        true => Ok(()),
        false => Err(io::Error::other(format!("got {} other bytes", back.len()))),
    }
}
