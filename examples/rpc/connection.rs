//! One connection, which client and server run alike: a reader, a writer and a heartbeat that end together.

use std::convert::Infallible;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::iter;
use std::time::Duration;

use withy::net::{Heartbeat, TcpStream};
use withy::sync::channel::Receiver;

use crate::buffers::{Buffer, Buffers};
use crate::frame::{Frame, Kind};

/// When beats are sent, and after how much silence the peer is gone.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Pulse {
    /// Seconds after the last frame was sent, to send a beat
    #[arg(long = "beat", value_name = "S", default_value = "10", value_parser = crate::cli::positive_seconds)]
    pub(crate) interval: Duration,

    /// Seconds of silence after which the other side is gone
    #[arg(long = "silence", value_name = "S", default_value = "30", value_parser = crate::cli::positive_seconds)]
    pub(crate) limit: Duration,
}

/// What is to be said, by its kind and number. Its payload is looked up when it is written: so what waits in an outbox has hardly any
/// bytes, and what nobody wants any more is not said.
pub(crate) type Note = (Kind, u64);

/// How many notes may wait to be written. A caller that finds no room gives the connection up: its peer does not read.
pub(crate) const OUTBOX_NOTES_MAX: usize = 1024;

/// Runs the connection until it fails, and gives the reason. What comes goes to `handle`, whose errors end it, too;
/// what is sent into `outbox` is written, and the last sender's end is the connection's. `beat` sends a beat into it, `payload` gives
/// what belongs to a note.
pub(crate) fn run(
    stream: &TcpStream,
    pulse: Pulse,
    outbox: &Receiver<Note>,
    buffers: &Buffers,
    mut beat: impl FnMut() + Send,
    payload: impl Fn(Note) -> Option<Buffer> + Send,
    mut handle: impl FnMut(Frame) -> io::Result<()>,
) -> io::Error {
    let heartbeat = Heartbeat::new(pulse.interval, pulse.limit);
    // A peer that beats and does not read is as good as gone.
    if let Err(error) = stream.set_write_timeout(Some(pulse.limit)) {
        return error;
    }
    let ended: io::Result<Infallible> = withy::try_scope(|s| {
        s.spawn(|| Err::<Infallible, _>(write(stream, outbox, payload, &heartbeat)));
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
fn write(
    stream: &TcpStream,
    outbox: &Receiver<Note>,
    payload: impl Fn(Note) -> Option<Buffer>,
    heartbeat: &Heartbeat,
) -> io::Error {
    let mut to = BufWriter::new(stream);
    let mut write = || -> io::Result<()> {
        let Ok(first) = outbox.recv() else {
            let text = "the connection was given up on this side";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
        };
        // Ends when the outbox is empty for a moment; until then the full buffer is written by itself.
        for note @ (kind, number) in iter::once(first).chain(outbox.try_iter()) {
            if let Some(payload) = payload(note) {
                let frame = Frame {
                    kind,
                    number,
                    payload,
                };
                frame.write(&mut to)?;
            }
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
