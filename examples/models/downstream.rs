//! The server behind the session service: gives each line back after a while, in a process of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use withy::net::{TcpListener, TcpStream};

use crate::server::{ACCEPT_PAUSE, Verdict, verdict};

/// How long it takes to answer.
pub(crate) const DELAY: Duration = Duration::from_millis(1);

/// Serves until it is killed.
pub(crate) fn serve() -> io::Result<()> {
    withy::run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        println!("ready {}", listener.local_addr()?);
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => match verdict(&error) {
                    Verdict::Again => continue,
                    Verdict::Later => {
                        withy::sleep(ACCEPT_PAUSE);
                        continue;
                    }
                    Verdict::Stop | Verdict::Fail => return Err(error),
                },
            };
            stream.set_nodelay(true)?;
            withy::spawn(move || answer(&stream));
        }
    })
}

fn answer(stream: &TcpStream) -> io::Result<()> {
    let mut requests = BufReader::with_capacity(1024, stream);
    let mut line = Vec::new();
    while requests.read_until(b'\n', &mut line)? > 0 {
        withy::sleep(DELAY);
        (&*stream).write_all(&line)?;
        line.clear();
    }
    Ok(())
}
