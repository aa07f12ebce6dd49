//! One client: a connection, and requests over it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use withy::net::TcpStream;

use super::Asks;

/// No server is waited for longer than this.
const LIMIT: Duration = Duration::from_secs(10);

const ECHO_BYTES: usize = 64;

pub(super) struct Client {
    stream: BufReader<TcpStream>,
    asks: Asks,
    asked: u64,
    line: String,
}

impl Client {
    /// Connects, and logs in where that is needed.
    pub(super) fn connect(addr: SocketAddr, asks: Asks) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&addr, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut client = Client {
            stream: BufReader::with_capacity(1024, stream),
            asks,
            asked: 0,
            line: String::new(),
        };
        if asks == Asks::Session {
            client.exchange("login somebody\n", "welcome somebody\n")?;
        }
        Ok(client)
    }

    /// One request, its answer checked.
    pub(super) fn request(&mut self) -> io::Result<()> {
        self.asked += 1;
        match self.asks {
            Asks::Echo => self.echo(),
            Asks::Session => {
                let asked = self.asked;
                self.exchange(
                    &format!("ask number {asked}\n"),
                    &format!("answer {asked} number {asked}\n"),
                )
            }
        }
    }

    /// Says goodbye, and closes.
    pub(super) fn quit(mut self) -> io::Result<()> {
        if self.asks == Asks::Session {
            let bye = format!("bye somebody {}\n", self.asked);
            self.exchange("quit\n", &bye)?;
        }
        Ok(())
    }

    /// Closes by a reset: the port is free at once, where a connection for each request would use them all up.
    pub(super) fn reset(self) -> io::Result<()> {
        SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO))
    }

    fn echo(&mut self) -> io::Result<()> {
        let mut sent = [b'.'; ECHO_BYTES];
        sent[..8].copy_from_slice(&self.asked.to_le_bytes());
        self.stream.get_mut().write_all(&sent)?;
        let mut got = [0; ECHO_BYTES];
        self.stream.read_exact(&mut got)?;
        if got == sent {
            Ok(())
        } else {
            Err(wrong("other bytes than were sent"))
        }
    }

    fn exchange(&mut self, request: &str, answer: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.line.clear();
        self.stream.read_line(&mut self.line)?;
        if self.line == answer {
            Ok(())
        } else {
            Err(wrong(&format!("{:?}, expected {answer:?}", self.line)))
        }
    }
}

fn wrong(got: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("got {got}"))
}
