//! Both services for models in which a connection has a flow of control of its own: a process, a thread, a coroutine.
//! What comes next stands below; what must be remembered is a local variable.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use super::message::{self, Lines, Request, answer, bye, welcome};
use super::{BUFFER_BYTES, Service};

/// A stream that blocks whoever uses it: the operating system's, or withy's.
pub(crate) trait Stream: Read + Write + Sized {
    /// Connects, with TCP_NODELAY.
    fn connect(addr: SocketAddr) -> io::Result<Self>;
}

impl Stream for std::net::TcpStream {
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = Self::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Stream for withy::net::TcpStream {
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = Self::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Serves one connection to its end.
pub(crate) fn serve<S: Stream>(stream: S, service: Service) -> io::Result<()> {
    match service {
        Service::Echo => echo(stream),
        Service::Session { downstream } => session(LineStream::new(stream), downstream),
    }
}

// ergonomics: echo, sequential
fn echo<S: Stream>(mut stream: S) -> io::Result<()> {
    let mut buf = [0; BUFFER_BYTES];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            length => stream.write_all(&buf[..length])?,
        }
    }
}
// ergonomics: end

// ergonomics: session, sequential
fn session<S: Stream>(mut client: LineStream<S>, downstream: SocketAddr) -> io::Result<()> {
    let name = match client.next()?.map(Request::parse) {
        Some(Some(Request::Login(name))) => name.to_owned(),
        Some(_) => return client.send(&message::error(message::LOGIN_FIRST)),
        None => return Ok(()),
    };
    let mut backend = LineStream::new(S::connect(downstream)?);
    client.send(&welcome(&name))?;
    let mut count = 0;
    while let Some(line) = client.next()? {
        match Request::parse(line) {
            Some(Request::Ask(text)) => {
                backend.send(&format!("{text}\n"))?;
                let Some(text) = backend.next()? else {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                };
                count += 1;
                client.send(&answer(count, text))?;
            }
            Some(Request::Quit) => return client.send(&bye(&name, count)),
            Some(Request::Login(_)) => return client.send(&message::error(message::LOGGED_IN)),
            None => return client.send(&message::error(message::UNKNOWN)),
        }
    }
    Ok(())
}
// ergonomics: end

/// A stream by lines.
struct LineStream<S> {
    stream: S,
    lines: Lines,
}

impl<S: Stream> LineStream<S> {
    fn new(stream: S) -> LineStream<S> {
        LineStream {
            stream,
            lines: Lines::default(),
        }
    }

    /// The next line; `None` at the end of the stream.
    fn next(&mut self) -> io::Result<Option<&str>> {
        let mut buf = [0; BUFFER_BYTES];
        while !self.lines.has_next()? {
            match self.stream.read(&mut buf)? {
                0 => return Ok(None),
                length => self.lines.push(&buf[..length]),
            }
        }
        self.lines.next()
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }
}
