//! Blocking-style sockets on coroutines: the types of [`std::net`], made so that a call that has to wait parks the
//! calling coroutine and not its worker thread. Users reach this crate as `withy::net`,
//! and its [`io`], [`process`] and [`signal`] as `withy::io`, `withy::process` and `withy::signal`.
//!
//! Porting a program is changing `use std::net::…` to `use withy::net::…`. Names, signatures, error kinds and `Debug`
//! output are std's; where behaviour differs, the method says so. Plain threads may use these types too, and may
//! share them with coroutines: a plain thread waits in `poll(2)`.
//!
//! # Reading order
//! | file | what it holds |
//! | --- | --- |
//! | `socket.rs` | the one way bytes move: system call first, park where that would block |
//! | `adopt.rs` | taking descriptors over from std, and giving them away |
//! | `listen.rs` | what listeners of all families share |
//! | `options.rs` | addresses, modes, timeouts and options that every socket type shares |
//! | `tcp/` | [`TcpStream`], [`TcpListener`], [`TcpSocket`] and what makes a connection |
//! | `shell/` | what every socket type says in the same words |
//! | `udp/` | [`UdpSocket`], [`UdpBuilder`] |
//! | `unix/` | [`UnixStream`], [`UnixListener`], [`UnixDatagram`]: sockets of this machine |
//! | `duplex.rs` | [`duplex`]: a stream pair in memory |
//! | `heartbeat.rs`, `reconnect.rs` | [`Heartbeat`], [`Backoff`] and [`reconnect`](reconnect()): for long-lived connections |
//! | `io/` | bytes from one stream to another, moved by the kernel where it can; [pipes](io::pipe) and the standard streams of children |
//! | `pollable/` | [`Pollable`]: any descriptor that can be waited for |
//! | `process.rs` | waiting for a child |
//! | `resolve.rs`, `resolve/` | names to addresses, off the workers |
//! | `serve/` | [`Server`]: accept loops, limits, an orderly end |
//! | `signal.rs` | waiting for signals |
//! | `interop/` | conversions from and to std and descriptors; the only place with `unsafe` |
//!
//! # Waiting
//! Streams and datagrams pass `MSG_DONTWAIT` to each call, so `O_NONBLOCK` of their descriptor stays what the user made it.
//! `accept(2)`, `read(2)` and `write(2)` have no such flag, nor have `connect(2)` and `splice(2)`: descriptors of listeners, pipes and a
//! [`Pollable`]'s are always `O_NONBLOCK` while withy owns them, those of a [`TcpSocket`] until it is connected, and those that
//! [`io`] has spliced from then on. The flag belongs to the open file description. Whoever shares that (a child that has inherited it, a duplicate in
//! another library) and takes the flag back makes the next of these calls block its worker; for `read`, `write` and their like on streams and
//! datagrams it has no meaning.
//!
//! # Logging
//! Target `withy::net`, level trace: names that are looked up, connections that died before they were accepted.
//! Nothing is logged where bytes move.

#[cfg(not(target_os = "linux"))]
compile_error!("withy-net builds on epoll and runs on Linux only");

mod adopt;
mod duplex;
mod heartbeat;
mod interop;
pub mod io;
mod listen;
mod options;
mod pollable;
pub mod process;
mod reconnect;
mod resolve;
#[cfg(panic = "unwind")]
mod serve;
mod shell;
pub mod signal;
mod socket;
mod tcp;
mod udp;
pub mod unix;

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
    ToSocketAddrs,
};

pub use duplex::{Duplex, duplex};
pub use heartbeat::{Due, Heartbeat};
pub use pollable::Pollable;
pub use reconnect::{Backoff, Jitter, reconnect};
pub use resolve::{lookup_host, lookup_host_timeout};
#[cfg(panic = "unwind")]
pub use serve::{Counters, Listener, Outcome, Server, Summary, serve};
pub use tcp::{Incoming, Keepalive, TcpListener, TcpSocket, TcpStream};
pub use udp::{UdpBuilder, UdpSocket};
pub use unix::{UnixDatagram, UnixListener, UnixStream};
pub use withy_runtime::poll::AsRegistration;
