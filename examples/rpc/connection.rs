//! One connection, which client and server run alike: a reader, a writer and a heartbeat that end together.

use std::convert::Infallible;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::time::Duration;

use withy::net::{Heartbeat, TcpStream};
use withy::sync::channel::Receiver;

use crate::buffers::Buffers;
use crate::frame::Frame;

/// When beats are sent, and after how much silence the peer is gone.
#[derive(Clone, Copy)]
pub(crate) struct Pulse {
    pub(crate) interval: Duration,
    pub(crate) limit: Duration,
}

/// How many frames may wait to be written. A caller that finds no room gives the connection up: its peer does not read.
pub(crate) const OUTBOX_FRAMES_MAX: usize = 1024;

/// Runs the connection until it fails, and gives the reason. What comes goes to `handle`, whose errors end it, too;
/// what is sent into `outbox` is written, and the last sender's end is the connection's. `beat` sends a beat into it.
pub(crate) fn run(
    stream: &TcpStream,
    pulse: Pulse,
    outbox: &Receiver<Frame>,
    buffers: &Buffers,
    mut beat: impl FnMut() + Send,
    mut handle: impl FnMut(Frame) -> io::Result<()>,
) -> io::Error {
    let heartbeat = Heartbeat::new(pulse.interval, pulse.limit);
    // A peer that beats and does not read is as good as gone.
    if let Err(error) = stream.set_write_timeout(Some(pulse.limit)) {
        return error;
    }
    let ended: io::Result<Infallible> = withy::try_scope(|s| {
        s.spawn(|| Err::<Infallible, _>(write(stream, outbox, &heartbeat)));
        s.spawn(|| {
            let beat = || {
                beat();
                Ok(())
            };
            Err::<Infallible, _>(heartbeat.watch(beat))
        });
        let mut from = BufReader::new(Heard {
            stream,
            heartbeat: &heartbeat,
        });
        loop {
            handle(Frame::read(&mut from, buffers)?)?;
        }
    });
    match ended {
        Err(error) => error,
    }
}

/// Writes what comes, as much of it at a time as there is.
fn write(stream: &TcpStream, outbox: &Receiver<Frame>, heartbeat: &Heartbeat) -> io::Error {
    let mut to = BufWriter::new(stream);
    let mut write = || -> io::Result<()> {
        let Ok(frame) = outbox.recv() else {
            let text = "the connection was given up on this side";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
        };
        frame.write(&mut to)?;
        // Ends when the outbox is empty for a moment; until then the full buffer is written by itself.
        for frame in outbox.try_iter() {
            frame.write(&mut to)?;
        }
        to.flush()?;
        heartbeat.sent();
        Ok(())
    };
    loop {
        if let Err(error) = write() {
            return error;
        }
    }
}

/// Notes each read as a sign of life: a long frame on a slow line is one, too, before it is complete.
struct Heard<'a> {
    stream: &'a TcpStream,
    heartbeat: &'a Heartbeat,
}

impl Read for Heard<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        let n = stream.read(buf)?;
        if n > 0 {
            self.heartbeat.received();
        }
        Ok(n)
    }
}
