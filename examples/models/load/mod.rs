//! The load: many clients in one process, the same for every model.
//!
//! * *Closed*: each connection sends its next request when it has the answer to the last. Tells how much a server can do; a
//!   server that stands still is asked less meanwhile, so its latencies look better than they are.
//! * *Open*: requests are due at a fixed rate, whatever the server does, and latency counts from when a request was due, not from
//!   when it could be sent. So a server that stands still is charged for all who had to wait (Gil Tene's "coordinated omission").
//!
//! Clients are coroutines of withy, on cores of their own where there are two: the same load for all. Every answer is checked.

mod client;
mod run;

pub(crate) use run::run;

use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

/// What is asked of one server, once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    pub(crate) asks: Asks,
    pub(crate) connections: usize,
    /// Connect for each request, and close after it.
    pub(crate) reconnects: bool,
    pub(crate) pace: Pace,
    /// Before anything counts.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What a request is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Asks {
    /// 64 bytes there and back.
    Echo,
    /// One `ask` of a session, with its downstream call.
    Session,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Pace {
    Closed,
    /// Requests in a second, of all connections together.
    Open(f64),
}

/// When there is something to look at in the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// Everybody is connected, and nobody asks for anything yet.
    Connected,
    /// Everybody has the last answer, and is still connected.
    Answered,
}

/// What has come of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// In nanoseconds; under an open load of requests that were due after the warm-up and before the end, answered or not, under a
    /// closed one of those that were answered after the warm-up, or under way at the end.
    pub(crate) latencies: Histogram<u64>,
    /// By answers between the end of the warm-up and the end.
    pub(crate) requests_per_s: f64,
    /// Answered requests, those of the warm-up included.
    pub(crate) requests_in_all: u64,
    /// Connections that failed, or were answered wrong. One that is kept asks for nothing more.
    pub(crate) errors: u64,
}
