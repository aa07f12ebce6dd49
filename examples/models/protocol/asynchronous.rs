//! Both services for async/await: word for word what stands in `sequential.rs`, in the other colour of functions. What comes next
//! stands below; what must be remembered is a local variable, which the compiler turns into the field of a state machine.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::message::{self, Lines, Request, answer, bye, welcome};
use super::{BUFFER_BYTES, Service};

/// Serves one connection to its end.
pub(crate) async fn serve(stream: TcpStream, service: Service) -> io::Result<()> {
    match service {
        Service::Echo => echo(stream).await,
        Service::Session { downstream } => session(LineStream::new(stream), downstream).await,
    }
}

// ergonomics: echo, async
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; BUFFER_BYTES];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            length => stream.write_all(&buf[..length]).await?,
        }
    }
}
// ergonomics: end

// ergonomics: session, async
async fn session(mut client: LineStream, downstream: SocketAddr) -> io::Result<()> {
    let name = match client.next().await?.map(Request::parse) {
        Some(Some(Request::Login(name))) => name.to_owned(),
        Some(_) => return client.send(&message::error(message::LOGIN_FIRST)).await,
        None => return Ok(()),
    };
    let mut backend = LineStream::new(connect(downstream).await?);
    client.send(&welcome(&name)).await?;
    let mut count = 0;
    while let Some(line) = client.next().await? {
        match Request::parse(line) {
            Some(Request::Ask(text)) => {
                backend.send(&format!("{text}\n")).await?;
                let Some(text) = backend.next().await? else {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                };
                count += 1;
                client.send(&answer(count, text)).await?;
            }
            Some(Request::Quit) => return client.send(&bye(&name, count)).await,
            Some(Request::Login(_)) => {
                return client.send(&message::error(message::LOGGED_IN)).await;
            }
            None => return client.send(&message::error(message::UNKNOWN)).await,
        }
    }
    Ok(())
}
// ergonomics: end

async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A stream by lines.
struct LineStream {
    stream: TcpStream,
    lines: Lines,
}

impl LineStream {
    fn new(stream: TcpStream) -> LineStream {
        LineStream {
            stream,
            lines: Lines::default(),
        }
    }

    /// The next line; `None` at the end of the stream.
    async fn next(&mut self) -> io::Result<Option<&str>> {
        let mut buf = [0; BUFFER_BYTES];
        while !self.lines.has_next()? {
            match self.stream.read(&mut buf).await? {
                0 => return Ok(None),
                length => self.lines.push(&buf[..length]),
            }
        }
        self.lines.next()
    }

    async fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }
}
