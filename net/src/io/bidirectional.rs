//! Both directions between two connections, in one loop.
//!
//! **One caller, not two.** Each direction waits for one thing at a time: its source to be readable, or its destination to be writable. So one coroutine (or
//! plain thread) waits for two things, and there is nothing to be spawned, stopped or joined: an error of one direction ends the loop, an idle limit is a
//! deadline of the wait, cancelling the caller is cancelling the copy, and no runtime is needed. The price is a poll(2) at each wait, which tells
//! which of the two it was.
//!
//! **How it ends.** Per direction X → Y:
//!
//! | what happens | what is done | why |
//! | --- | --- | --- |
//! | X ends its stream (FIN) | Y is told so (`shutdown(Write)`), the other direction goes on | a half-close is part of many protocols |
//! | X is reset, or fails otherwise | all ends; closing Y will reset it, too | whoever reads Y must not take what it has for the whole |
//! | Y fails with `BrokenPipe` | this direction ends; the other goes on to its end | Y ended its own stream before it stopped reading: that one is whole, and may be the answer that says why |
//! | Y is reset, or fails otherwise | all ends; closing X will reset it, too | whoever writes to X must not think that it was received |
//! | nothing moves for too long | all ends | see [`BidirectionalCopy`] |
//! | bytes that were taken from X cannot be given to Y (idle, unwinding) | closing either is a reset | the stream has a hole |

use std::io;
use std::time::{Duration, Instant};

use withy_runtime::poll::{AsRegistration, Direction, Registration, refuse_while_unwinding};
use withy_runtime::{now, select, yield_now};

use super::flow::{Flow, State};
use super::lane::{End, Hint};
use super::outcome::{Copied, CopyCounters, CopyError};

/// Copies from `a` to `b` and from `b` to `a` until both have ended: what a proxy does with two connections.
///
/// They are stream sockets of withy (or have a [`Registration`]). Each direction by itself: when one side ends its stream, the other is told so by
/// `shutdown(Write)`, and the opposite direction goes on until it ends, too. [How it ends](BidirectionalCopy#how-it-ends) otherwise, and limits on how long nothing
/// may happen, are told with [`BidirectionalCopy`]; here there are no limits.
///
/// The bytes are [spliced](super#splice) where the kernel can. While nothing is under way a copy holds no memory but its caller's
/// stack, and no descriptor but the two.
///
/// Meanwhile nobody else should read or write: bytes would go to the one or the other.
///
/// # Cancellation
///
/// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing is copied twice. If bytes were on
/// their way, they are lost, and closing the connections resets them.
///
/// # Errors
///
/// See [`BidirectionalCopy::run`].
///
/// # Differences from std
///
/// std has no such function. tokio's of the same name passes no reset on.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; pub use withy_net::io; }
/// use std::io::{Read, Write};
/// use withy::net::{Shutdown, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let pair = || -> std::io::Result<(TcpStream, TcpStream)> {
/// #     let listener = TcpListener::bind("127.0.0.1:0")?;
/// #     let near = TcpStream::connect(listener.local_addr()?)?;
/// #     Ok((near, listener.accept()?.0))
/// # };
/// let (mut client, inner) = pair()?;
/// let (outer, mut server) = pair()?;
/// let proxy = std::thread::spawn(move || withy::io::copy_bidirectional(&inner, &outer));
///
/// client.write_all(b"ping")?;
/// client.shutdown(Shutdown::Write)?;
/// let mut request = String::new();
/// server.read_to_string(&mut request)?; // to its end, which was passed on
/// assert_eq!(request, "ping");
/// server.write_all(b"pong!")?;
/// drop(server);
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert_eq!(answer, "pong!");
///
/// let copied = proxy.join().unwrap()?;
/// assert_eq!((copied.a_to_b, copied.b_to_a), (4, 5));
/// # Ok(())
/// # }
/// ```
pub fn copy_bidirectional<A, B>(a: &A, b: &B) -> Result<Copied, CopyError>
where
    A: AsRegistration + ?Sized,
    B: AsRegistration + ?Sized,
{
    BidirectionalCopy::new().run(a, b)
}

/// [`copy_bidirectional`] with limits on how long nothing may happen.
///
/// # How it ends
///
/// * Both sides have ended their streams: that is success.
/// * A connection is reset, or fails: the copy ends at once with the error, and the other connection is prepared so that closing it (dropping it) resets
///   it as well, by a linger time of zero. Otherwise its peer would take what it has got for all there was.
/// * A connection whose side has ended its stream takes no more bytes (`BrokenPipe`): a server that answers early and closes. What it sent before is whole, so
///   that direction goes on to its end; then the error is returned.
/// * A limit has passed: `TimedOut`. Dropped connections are closed as usual, unless bytes were under way: then closing resets them.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; pub use withy_net::io; }
/// use std::io::ErrorKind;
/// use std::time::Duration;
/// use withy::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let pair = || -> std::io::Result<(TcpStream, TcpStream)> {
/// #     let listener = TcpListener::bind("127.0.0.1:0")?;
/// #     let near = TcpStream::connect(listener.local_addr()?)?;
/// #     Ok((near, listener.accept()?.0))
/// # };
/// let (_client, inner) = pair()?;
/// let (outer, _server) = pair()?;
/// let error = withy::io::BidirectionalCopy::new()
///     .idle_timeout(Duration::from_millis(20))
///     .run(&inner, &outer)
///     .unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::TimedOut);
/// assert_eq!(error.copied().a_to_b, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "it copies when `run` is called"]
pub struct BidirectionalCopy {
    idle: Option<Duration>,
    half_closed_idle: Option<Duration>,
}

impl BidirectionalCopy {
    /// Without limits.
    pub fn new() -> BidirectionalCopy {
        BidirectionalCopy::default()
    }

    /// Ends the copy when no byte has moved in either direction for this long. A receiver that takes nothing counts as idle, too.
    pub fn idle_timeout(self, limit: Duration) -> BidirectionalCopy {
        BidirectionalCopy {
            idle: Some(limit),
            ..self
        }
    }

    /// Ends the copy when one side has ended its stream, and no byte has moved the other way for this long since: connections that were abandoned half-closed. Of the
    /// two limits the shorter one decides.
    pub fn half_closed_timeout(self, limit: Duration) -> BidirectionalCopy {
        BidirectionalCopy {
            half_closed_idle: Some(limit),
            ..self
        }
    }

    /// Copies in both directions, as [`copy_bidirectional`].
    ///
    /// Timeouts, deadlines and the non-blocking mode of the sockets themselves do not count.
    ///
    /// # Cancellation
    ///
    /// A blocking call, as [`copy_bidirectional`].
    ///
    /// # Errors
    ///
    /// What ended it, with the counts so far: the first error of either connection; `TimedOut` past a limit, and if it would have to wait in a coroutine that unwinds from
    /// a cancellation; `InvalidInput` if an end is no stream socket.
    pub fn run<A, B>(&self, a: &A, b: &B) -> Result<Copied, CopyError>
    where
        A: AsRegistration + ?Sized,
        B: AsRegistration + ?Sized,
    {
        self.run_counting(a, b, &CopyCounters::new())
    }

    /// [`run`](Self::run), with its bytes added to `counters` as they move: each time before it waits, and at its end, however it ends. So they
    /// can be read while it goes on, and are there when it was cancelled or timed out and could return nothing.
    ///
    /// # Cancellation
    ///
    /// A blocking call, as [`copy_bidirectional`]. When it has unwound, `counters` have all that went through.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; pub use withy_net::io; pub use withy_runtime::{run, timeout}; }
    /// use std::io::{Read, Write};
    /// use std::time::Duration;
    /// use withy::io::{BidirectionalCopy, CopyCounters};
    /// # use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let pair = || -> std::io::Result<(TcpStream, TcpStream)> {
    /// #     let listener = TcpListener::bind("127.0.0.1:0")?;
    /// #     let near = TcpStream::connect(listener.local_addr()?)?;
    /// #     Ok((near, listener.accept()?.0))
    /// # };
    /// let (mut client, inner) = pair()?;
    /// let (outer, _server) = pair()?;
    /// client.write_all(b"ping")?;
    /// let counters = CopyCounters::new();
    /// let copied = withy::run(|| {
    ///     withy::timeout(Duration::from_millis(100), || {
    ///         BidirectionalCopy::new().run_counting(&inner, &outer, &counters)
    ///     })
    /// });
    /// assert!(copied.is_err()); // nobody has ended a stream
    /// assert_eq!(counters.read().a_to_b, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn run_counting<A, B>(
        &self,
        a: &A,
        b: &B,
        counters: &CopyCounters,
    ) -> Result<Copied, CopyError>
    where
        A: AsRegistration + ?Sized,
        B: AsRegistration + ?Sized,
    {
        let ends =
            stream_socket(a.registration()).and_then(|a| Ok((a, stream_socket(b.registration())?)));
        let (a, b) = ends.map_err(|error| CopyError {
            error,
            copied: Copied::default(),
        })?;
        let mut exchange = Exchange {
            limits: *self,
            flows: [Flow::new(a, b), Flow::new(b, a)],
            counters,
            counted: Copied::default(),
        };
        let ended = exchange.run();
        let copied = exchange.copied();
        match ended {
            Ok(()) => Ok(copied),
            Err(error) => Err(CopyError { error, copied }),
        }
    }
}

fn stream_socket(registration: Option<&Registration>) -> io::Result<End<'_>> {
    let Some(registration) = registration else {
        return Err(no_stream_socket("nothing"));
    };
    let end = End::new(registration)?;
    match end.socket().r#type() {
        Ok(socket2::Type::STREAM) => Ok(end),
        Ok(_) => Err(no_stream_socket("a socket of another type")),
        Err(_) => Err(no_stream_socket("a descriptor that is no socket")),
    }
}

fn no_stream_socket(got: &str) -> io::Error {
    let text = format!(
        "got {got}, expected a connected stream socket; `copy` takes one direction between other descriptors"
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Both directions.
struct Exchange<'a> {
    limits: BidirectionalCopy,
    flows: [Flow<'a>; 2],
    counters: &'a CopyCounters,
    /// What they have got from here.
    counted: Copied,
}

impl<'a> Exchange<'a> {
    fn run(&mut self) -> io::Result<()> {
        let ended = self.move_all();
        // The system's, that is a connection's: a limit of ours is no reason to reset.
        if let Err(error) = &ended
            && error.raw_os_error().is_some()
        {
            self.reset_on_close();
        }
        ended?;
        let [one, other] = &mut self.flows;
        one.broken
            .take()
            .or(other.broken.take())
            .map_or(Ok(()), Err)
    }

    fn move_all(&mut self) -> io::Result<()> {
        let timed = self.limits.idle.is_some() || self.limits.half_closed_idle.is_some();
        let mut since = timed.then(now);
        loop {
            let before = (self.copied(), self.ended());
            for flow in &mut self.flows {
                flow.advance()?;
            }
            self.count();
            let after = (self.copied(), self.ended());
            if after.1 == self.flows.len() {
                return Ok(());
            }
            if timed && before != after {
                since = Some(now());
            }
            match self.flows.iter().any(Flow::may_run) {
                // Bytes may come as fast as they go, for ever: so the other direction does not wait to be told.
                true => {
                    yield_now();
                    self.flows.iter_mut().for_each(Flow::look_again);
                }
                false => self.wait(since.and_then(|since| self.deadline(since)))?,
            }
        }
    }

    /// When nothing may have happened since then.
    fn deadline(&self, since: Instant) -> Option<Instant> {
        let after_fin = self.limits.half_closed_idle.filter(|_| self.ended() > 0);
        let limit = self.limits.idle.into_iter().chain(after_fin).min()?;
        // Too far away to be a limit.
        since.checked_add(limit)
    }

    /// Until one of the directions may move.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        refuse_while_unwinding()?;
        let [one, other] = &self.flows;
        let (reads, writes) = (
            one.waits_for(Direction::Read),
            one.waits_for(Direction::Write),
        );
        let (reads_too, writes_too) = (
            other.waits_for(Direction::Read),
            other.waits_for(Direction::Write),
        );
        let ready = match deadline {
            None => select! {
                readable(reads) => Some(0),
                writable(writes) => Some(0),
                readable(reads_too) => Some(1),
                writable(writes_too) => Some(1),
            },
            Some(deadline) => select! {
                readable(reads) => Some(0),
                writable(writes) => Some(0),
                readable(reads_too) => Some(1),
                writable(writes_too) => Some(1),
                deadline(deadline) => None,
            },
        };
        let Some(ready) = ready else {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no byte has moved in either direction within the limit",
            ));
        };
        self.flows[ready].state = State::Runs(Hint::Readable);
        Ok(())
    }

    fn copied(&self) -> Copied {
        Copied {
            a_to_b: self.flows[0].lane.moved(),
            b_to_a: self.flows[1].lane.moved(),
        }
    }

    fn count(&mut self) {
        let copied = self.copied();
        if copied == self.counted {
            return;
        }
        self.counters.add(Copied {
            a_to_b: copied.a_to_b - self.counted.a_to_b,
            b_to_a: copied.b_to_a - self.counted.b_to_a,
        });
        self.counted = copied;
    }

    fn ended(&self) -> usize {
        self.flows
            .iter()
            .filter(|flow| flow.state == State::Ended)
            .count()
    }

    fn reset_on_close(&self) {
        for flow in &self.flows {
            flow.lane.to().reset_on_close();
        }
    }
}

/// However it ends: what has moved is counted, and bytes that were on their way have left a hole in a stream.
impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.count();
        if self.flows.iter().any(|flow| !flow.lane.is_empty()) {
            self.reset_on_close();
        }
    }
}
