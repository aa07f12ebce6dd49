//! Requests and answers of the session service as text, and lines cut out of bytes.

use std::io;

use super::LINE_BYTES_MAX;

/// What a client may say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request<'a> {
    Login(&'a str),
    Ask(&'a str),
    Quit,
}

impl Request<'_> {
    /// `None`: it is none.
    pub(crate) fn parse(line: &str) -> Option<Request<'_>> {
        match line.split_once(' ') {
            Some(("login", name)) if !name.is_empty() => Some(Request::Login(name)),
            Some(("ask", text)) => Some(Request::Ask(text)),
            None if line == "quit" => Some(Request::Quit),
            _ => None,
        }
    }
}

pub(crate) fn welcome(name: &str) -> String {
    format!("welcome {name}\n")
}

pub(crate) fn answer(count: u64, text: &str) -> String {
    format!("answer {count} {text}\n")
}

pub(crate) fn bye(name: &str, count: u64) -> String {
    format!("bye {name} {count}\n")
}

pub(crate) fn error(why: &str) -> String {
    format!("error {why}\n")
}

pub(crate) const LOGIN_FIRST: &str = "expected a login first";
pub(crate) const UNKNOWN: &str = "expected login NAME, ask TEXT or quit";
pub(crate) const LOGGED_IN: &str = "already logged in";

/// Bytes that were received, cut into lines.
#[derive(Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// Where the first line begins that was not given out.
    begin: usize,
}

impl Lines {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // What was given out goes when more comes, so that each byte is moved once at most.
        self.bytes.drain(..self.begin);
        self.begin = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether a whole line is there.
    ///
    /// # Errors
    /// If it is too long.
    pub(crate) fn has_next(&self) -> io::Result<bool> {
        self.length().map(|length| length.is_some())
    }

    /// The next line, without its newline. `None`: it is not there yet.
    ///
    /// # Errors
    /// If it is too long, or no text.
    pub(crate) fn next(&mut self) -> io::Result<Option<&str>> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        let line = self.begin..self.begin + length;
        self.begin = line.end + 1;
        text(&self.bytes[line]).map(Some)
    }

    fn length(&self) -> io::Result<Option<usize>> {
        let rest = &self.bytes[self.begin..];
        let mut candidates = rest.iter().take(LINE_BYTES_MAX);
        let length = candidates.position(|&byte| byte == b'\n');
        if length.is_none() && rest.len() >= LINE_BYTES_MAX {
            return Err(invalid("got a line that is too long"));
        }
        Ok(length)
    }
}

/// A line as text, without its newline.
pub(crate) fn text(line: &[u8]) -> io::Result<&str> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    std::str::from_utf8(line).map_err(|_| invalid("got a line that is not UTF-8"))
}

pub(crate) fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
