//! Blocking-style sockets on coroutines: the types of [`std::net`], made so that a call that has to wait parks the
//! calling coroutine and not its worker thread. Users reach this crate as `withy::net`,
//! and its [`signal`] as `withy::signal`.
//!
//! Porting a program is changing `use std::net::…` to `use withy::net::…`. Names, signatures, error kinds and `Debug`
//! output are std's; where behaviour differs, the method says so. Plain threads may use these types too, and may
//! share them with coroutines: a plain thread waits in `poll(2)`.
//!
//! # Reading order
//! | file | what it holds |
//! | --- | --- |
//! | `socket.rs` | the one way bytes move: system call first, park where that would block |
//! | `options.rs` | addresses, modes, timeouts and options that every socket type shares |
//! | `tcp/` | [`TcpStream`], [`TcpListener`] and what makes a connection |
//! | `duplex.rs` | [`duplex`]: a stream pair in memory |
//! | `resolve.rs` | names to addresses, off the workers |
//! | `serve/` | [`Server`]: accept loops, limits, an orderly end |
//! | `signal.rs` | waiting for signals |
//! | `interop/` | conversions from and to std and descriptors; the only place with `unsafe` |
//!
//! # Waiting
//! Streams pass `MSG_DONTWAIT` to each call, so `O_NONBLOCK` of their descriptor stays what the user made it.
//! `accept(2)` has no such flag: a listener's descriptor is always `O_NONBLOCK` while withy owns it.
//!
//! # Logging
//! Target `withy::net`, level trace: names that are looked up, connections that died before they were accepted.
//! Nothing is logged where bytes move.

#[cfg(not(target_os = "linux"))]
compile_error!("withy-net builds on epoll and runs on Linux only");

mod duplex;
mod interop;
mod options;
mod resolve;
#[cfg(panic = "unwind")]
mod serve;
pub mod signal;
mod socket;
mod tcp;

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
    ToSocketAddrs,
};

pub use duplex::{Duplex, duplex};
#[cfg(panic = "unwind")]
pub use serve::{Counters, Listener, Outcome, Server, Summary, serve};
pub use tcp::{Incoming, TcpListener, TcpStream};
