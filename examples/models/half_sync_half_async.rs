//! Half-sync/half-async: a queue of complete requests between two layers.
//!
//! **Flow of control**: the asynchronous layer, one thread with a poller, reads until a request is complete and queues it. Threads of the
//! synchronous layer take requests out of the queue, do them in blocking style, and send the answers themselves.
//! **Good at**: keeping non-blocking code out of what the service does; an answer leaves without going through the event loop. **Bad at**: a change of threads for each request; the queue is
//! a point where all meet; what a client does not read at once must go back to the asynchronous layer after all.
//! **In the wild**: operating systems themselves (interrupts below, processes above, socket buffers between), Schmidt and
//! Cranor's pattern of that name, Android's AsyncTask.

use std::io;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::dispatch::{Dispatcher, Job};
use crate::parts::pool::{WAITING_THREADS, with_pool};
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "half-sync-half-async",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, WAITING_THREADS, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Requests,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let threads = server.workers * WAITING_THREADS;
    with_pool(threads, Job::run_and_send, |pool| {
        Dispatcher::new(server.service, pool)?.run(listener)
    })
}
