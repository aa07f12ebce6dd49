//! The same server on withy: the README's program, with the runtime chosen by hand.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use withy::net::TcpStream;
use withy::{Runtime, Steal};

/// Starts the server; it runs as long as the runtime that comes back.
pub(crate) fn start(
    listener: TcpListener,
    workers: usize,
    steal: Steal,
    spin: bool,
    timeout: Option<Duration>,
) -> io::Result<Runtime> {
    let listener = withy::net::TcpListener::from(listener);
    let mut builder = Runtime::builder().workers(workers).steal(steal);
    if !spin {
        builder = builder.spin(Duration::ZERO);
    }
    let runtime = builder.build()?;
    runtime.spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a bench does not run out of descriptors");
            withy::spawn(move || echo(stream, timeout));
        }
    });
    Ok(runtime)
}

fn echo(mut stream: TcpStream, timeout: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)?;
    let mut buf = [0; 4096];
    loop {
        let n = stream.read(&mut buf)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n])?;
    }
}
