//! A reactor in each of several threads, and a thread pool for all of them.
//!
//! **Flow of control**: the main thread accepts, and deals connections out to the reactors; those do all reading and sending; whole
//! requests go to the pool, where whichever thread is free does one, may block, and gives the answer back to the reactor it came from.
//! **Good at**: many connections on all cores, and work that blocks or computes besides. **Bad at**: two threads touch each request, and all
//! reactors meet at one queue; two numbers of threads to guess.
//! **In the wild**: muduo with a `ThreadPool`, Netty with an `EventExecutorGroup`, Thrift's `TThreadedSelectorServer`, gRPC's servers.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use mio::Waker;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::dispatch::{Dispatcher, Job};
use crate::parts::pool::{Pool, WAITING_THREADS, with_pool};
use crate::reactors_in_threads::{Adopts, serve};
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "reactors-and-pool",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 1 + WAITING_THREADS, 0),
        epolls: count(0, 1, 0),
    },
    style: Style::Requests,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    with_pool(server.workers * WAITING_THREADS, Job::run, |pool| {
        serve(server, || Dispatcher::new(server.service, pool))
    })
}

impl Adopts for Dispatcher<&Pool<Job>> {
    fn waker(&self) -> io::Result<Arc<Waker>> {
        Ok(self.returns_waker())
    }

    fn turn(&mut self) -> io::Result<bool> {
        let mut was_woken = false;
        Dispatcher::turn(self, |_| was_woken = true)?;
        Ok(was_woken)
    }

    fn adopt(&mut self, client: TcpStream) {
        self.reactor_mut().adopt(client);
    }

    fn is_idle(&self) -> bool {
        self.reactor().is_idle()
    }
}
