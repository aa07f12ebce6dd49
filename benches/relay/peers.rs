//! The proxies: each accepts one connection, makes another, and moves bytes both ways until both have ended.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use clap::ValueEnum;
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Peer {
    /// splice(2) on two blocking threads, by pipes of 256 KiB as withy's
    Splice,
    /// The same by pipes of 1 MiB
    SpliceBig,
    /// read(2) and write(2) on two blocking threads, 8 KiB at a time as socat does
    Copy,
    /// The same, 64 KiB at a time
    CopyBig,
    /// withy's `copy_bidirectional`, one worker
    Withy,
    /// The same, two workers
    WithyTwo,
    /// The same, one worker, on a plain thread
    WithyThread,
    /// socat itself
    Socat,
}

impl Peer {
    /// What throughput is compared with.
    pub(crate) const RAW: [Peer; 2] = [Peer::Splice, Peer::Copy];

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Peer::Withy | Peer::WithyTwo | Peer::WithyThread)
    }

    /// The child process: says where it listens, and relays one connection to `to`.
    pub(crate) fn relay(self, to: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        let (inner, _) = listener.accept()?;
        let outer = TcpStream::connect(to)?;
        match self {
            Peer::Splice => both_ways(&inner, &outer, |from, to| splice_all(from, to, 256 << 10)),
            Peer::SpliceBig => both_ways(&inner, &outer, |from, to| splice_all(from, to, 1 << 20)),
            Peer::Copy => both_ways(&inner, &outer, |from, to| copy_all(from, to, 8 << 10)),
            Peer::CopyBig => both_ways(&inner, &outer, |from, to| copy_all(from, to, 64 << 10)),
            Peer::Withy => by_withy(1, inner, outer),
            Peer::WithyTwo => by_withy(2, inner, outer),
            Peer::WithyThread => {
                withy::io::copy_bidirectional(&withy_stream(inner), &withy_stream(outer))?;
                Ok(())
            }
            Peer::Socat => Err(io::Error::other("socat is a program of its own")),
        }
    }
}

fn by_withy(workers: usize, inner: TcpStream, outer: TcpStream) -> io::Result<()> {
    let runtime = withy::Runtime::builder().workers(workers).build()?;
    runtime.run(move || {
        withy::io::copy_bidirectional(&withy_stream(inner), &withy_stream(outer))?;
        Ok(())
    })
}

fn withy_stream(stream: TcpStream) -> withy::net::TcpStream {
    stream.into()
}

/// One direction on this thread, the other on another.
fn both_ways(
    inner: &TcpStream,
    outer: &TcpStream,
    direction: impl Fn(&TcpStream, &TcpStream) -> io::Result<()> + Sync,
) -> io::Result<()> {
    thread::scope(|s| {
        let back = s.spawn(|| direction(outer, inner));
        direction(inner, outer)?;
        back.join().expect("it does not panic")
    })
}

fn splice_all(from: &TcpStream, to: &TcpStream, pipe_bytes: usize) -> io::Result<()> {
    const BYTES_MAX: usize = 1 << 20;
    let (read, write) = pipe()?;
    fcntl_setpipe_size(&write, pipe_bytes)?;
    loop {
        let mut taken = splice(from, None, &write, None, BYTES_MAX, SpliceFlags::MOVE)?;
        if taken == 0 {
            return to.shutdown(Shutdown::Write);
        }
        while taken > 0 {
            taken -= splice(&read, None, to, None, taken, SpliceFlags::MOVE)?;
        }
    }
}

fn copy_all(mut from: &TcpStream, mut to: &TcpStream, buffer_bytes: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer_bytes];
    loop {
        match from.read(&mut buffer)? {
            0 => return to.shutdown(Shutdown::Write),
            len => to.write_all(&buffer[..len])?,
        }
    }
}
