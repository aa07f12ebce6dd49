//! Both services for models that hand whole requests to somebody who may block: a function for each request, and a value
//! that goes with the connection from one request to the next.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::message::{self, Lines, Request, answer, bye, welcome};
use super::{BUFFER_BYTES, LINE_BYTES_MAX, Service};

/// What a connection is between two requests.
pub(crate) enum Handler {
    Echo,
    Session(Session),
}

/// What is to be sent for a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    /// And then the connection is closed.
    pub(crate) closes: bool,
}

impl Handler {
    pub(crate) fn new(service: Service) -> Handler {
        match service {
            Service::Echo => Handler::Echo,
            Service::Session { downstream } => Handler::Session(Session::new(downstream)),
        }
    }

    /// Takes the first whole request off what was received. `None`: there is none yet.
    ///
    /// # Errors
    /// If it makes no sense: the connection is to be closed.
    pub(crate) fn cut(&self, received: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        let length = match self {
            // Whatever has come is a request.
            Handler::Echo => Some(received.len()).filter(|&length| length > 0),
            Handler::Session(_) => {
                let newline = received
                    .iter()
                    .take(LINE_BYTES_MAX)
                    .position(|&byte| byte == b'\n');
                if newline.is_none() && received.len() >= LINE_BYTES_MAX {
                    return Err(message::invalid("got a line that is too long"));
                }
                newline.map(|place| place + 1)
            }
        };
        Ok(length.map(|length| {
            let rest = received.split_off(length);
            std::mem::replace(received, rest)
        }))
    }

    /// Does one request. It may wait for the downstream server.
    ///
    /// # Errors
    /// If the connection is to be closed without a word.
    pub(crate) fn request(&mut self, request: Vec<u8>) -> io::Result<Reply> {
        match self {
            Handler::Echo => Ok(echo(request)),
            Handler::Session(session) => session.request(&request),
        }
    }
}

// ergonomics: echo, requests
fn echo(request: Vec<u8>) -> Reply {
    Reply {
        bytes: request,
        closes: false,
    }
}
// ergonomics: end

// ergonomics: session, requests
pub(crate) struct Session {
    downstream: std::net::SocketAddr,
    backend: Option<(TcpStream, Lines)>,
    name: String,
    count: u64,
}

impl Session {
    fn new(downstream: std::net::SocketAddr) -> Session {
        Session {
            downstream,
            backend: None,
            name: String::new(),
            count: 0,
        }
    }

    fn request(&mut self, line: &[u8]) -> io::Result<Reply> {
        let line = message::text(line)?;
        let Some(backend) = &mut self.backend else {
            let Some(Request::Login(name)) = Request::parse(line) else {
                return Ok(Reply::last(message::error(message::LOGIN_FIRST)));
            };
            let stream = TcpStream::connect(self.downstream)?;
            stream.set_nodelay(true)?;
            self.backend = Some((stream, Lines::default()));
            self.name = name.to_owned();
            return Ok(Reply::one(welcome(name)));
        };
        match Request::parse(line) {
            Some(Request::Ask(text)) => {
                let text = ask(backend, text)?;
                self.count += 1;
                Ok(Reply::one(answer(self.count, &text)))
            }
            Some(Request::Quit) => Ok(Reply::last(bye(&self.name, self.count))),
            Some(Request::Login(_)) => Ok(Reply::last(message::error(message::LOGGED_IN))),
            None => Ok(Reply::last(message::error(message::UNKNOWN))),
        }
    }
}

fn ask((stream, lines): &mut (TcpStream, Lines), text: &str) -> io::Result<String> {
    stream.write_all(format!("{text}\n").as_bytes())?;
    let mut buf = [0; BUFFER_BYTES];
    loop {
        if let Some(answer) = lines.next()? {
            return Ok(answer.to_owned());
        }
        match stream.read(&mut buf)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => lines.push(&buf[..length]),
        }
    }
}
// ergonomics: end

impl Reply {
    fn one(text: String) -> Reply {
        Reply {
            bytes: text.into_bytes(),
            closes: false,
        }
    }

    fn last(text: String) -> Reply {
        Reply {
            bytes: text.into_bytes(),
            closes: true,
        }
    }
}
