//! Rows of `withy::io`'s copies.

use std::io::{Read, Write};
use std::net::Shutdown;

use withy::net::TcpStream;

use super::rows::{Call, Row, forever, row};
use crate::support::sockets::{narrow_pair, pair};

#[rustfmt::skip]
pub(crate) fn waits() -> Vec<Row> {
    vec![
        row("net::io::copy", || copy(|mut from, mut to| drop(withy::io::copy(&mut from, &mut to)))),
        row("net::io::copy", || forever(|| drop(withy::io::copy(&mut Idle(pair()), &mut std::io::sink())))),
        row("net::io::copy_bidirectional", || copy(|from, to| drop(withy::io::copy_bidirectional(from, to)))),
        row("net::io::BidirectionalCopy::run", || copy(|from, to| drop(withy::io::BidirectionalCopy::new().run(from, to)))),
        row("net::io::BidirectionalCopy::run_counting", || copy(|from, to| drop(withy::io::BidirectionalCopy::new().run_counting(from, to, &withy::io::CopyCounters::new())))),
        row("net::io::send_file", send_file),
        row("net::io::write_buffered", write_buffered),
    ]
}

/// Between two connections on which nothing happens, and which are as they were.
fn copy(wait: fn(&TcpStream, &TcpStream)) -> Call {
    let ((from, mut sender), (to, mut receiver)) = (pair(), pair());
    let ours = (from.try_clone(), to.try_clone());
    Call {
        wait: Box::new(move || wait(&from, &to)),
        after: Box::new(move || {
            let (Ok(mut from), Ok(mut to)) = ours else {
                panic!("a clone costs nothing");
            };
            sender.write_all(b"x").expect("it is connected");
            sender.shutdown(Shutdown::Write).expect("it is connected");
            assert_eq!(
                withy::io::copy(&mut from, &mut to).expect("a byte comes"),
                1
            );
            receiver.read_exact(&mut [0]).expect("a byte comes");
        }),
    }
}

/// Nothing to be read, and no stream that would be spliced.
struct Idle((TcpStream, std::net::TcpStream));

impl Read for Idle {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.0.read(buf)
    }
}

/// To a peer that does not read.
fn send_file() -> Call {
    let file = std::fs::File::open(std::env::current_exe().expect("a test knows its program"));
    let (near, far) = narrow_pair();
    Call {
        wait: Box::new(move || {
            let file = file.expect("a program can be read");
            loop {
                withy::io::send_file(&file, 0, u64::MAX, &near).expect("it is connected");
            }
        }),
        after: Box::new(move || drop(far)),
    }
}

fn write_buffered() -> Call {
    let (mut near, far) = narrow_pair();
    Call {
        wait: Box::new(move || {
            loop {
                let bytes = vec![7; 1 << 16];
                let mut reader = std::io::BufReader::with_capacity(1 << 16, &bytes[..]);
                std::io::BufRead::fill_buf(&mut reader).expect("it is memory");
                withy::io::write_buffered(&mut reader, &mut near).expect("it is connected");
            }
        }),
        after: Box::new(move || drop(far)),
    }
}
