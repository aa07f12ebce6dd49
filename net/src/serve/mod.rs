//! Serving: a coroutine for each connection, and what an accept loop owes its users beside that.
//!
//! `server.rs` has the [`Server`] and its settings, `hall.rs` a run of it and the order of its end, `acceptor.rs` the loop of one listener, `exhaustion.rs` what it
//! does when the system has no more, `connection.rs` one connection's life; `listener.rs` is what can be served.
//!
//! # Who is woken by a connection
//! A listening socket that several epoll instances watch wakes all of them for each connection, and all but one find
//! nothing: the thundering herd. `EPOLLEXCLUSIVE` (Linux 4.5, epoll_ctl(2)) makes that "one or more", and then it is
//! mostly the same one, since the kernel asks the last to have waited first (M. Majkowski, "Why does one NGINX worker take
//! all the load?", 2017).
//!
//! Here neither comes up. A descriptor is registered with one netpoller (law 7), that of the worker where the accept loop
//! lives; so a connection wakes one worker, and there one coroutine, however many accept through clones. The
//! new coroutine is not bound to that worker: placement spreads fresh ones evenly.
//!
//! `SO_REUSEPORT` (Linux 3.9, socket(7)) gives each accept loop a socket of its own with a queue of its own. The kernel
//! chooses among them by a hash of the addresses and ports when the handshake begins, and only that one's
//! netpoller hears of it. It pays where one loop cannot accept fast enough, some 100,000 connections a second. Its
//! price: a queue whose worker is held by foreign code waits for it, though others are idle, and what still lies in a
//! queue when its socket closes is reset, unless `net.ipv4.tcp_migrate_req` is set (Linux 5.14, ip-sysctl).

mod acceptor;
mod connection;
mod counters;
mod exhaustion;
mod hall;
mod listener;
mod outcome;
mod per_worker;
mod server;

pub use counters::{Counters, Summary};
pub use listener::Listener;
pub use outcome::Outcome;
pub use server::{Server, serve};
