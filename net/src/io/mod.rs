//! Bytes from one stream to another: [`std::io::copy`] and what proxies need, moved by the kernel where it can; and [pipes](pipe()).
//!
//! Users reach this module as `withy::io`. It is about moving bytes; the traits `Read` and `Write` are std's own.
//!
//! | | ends | waits by | bytes move by |
//! | --- | --- | --- | --- |
//! | [`copy()`] | any `Read`, any `Write` | their own calls | splice(2) between streams of withy, else a buffer |
//! | [`copy_bidirectional`] | two stream sockets | one wait for both directions | splice(2), else a buffer |
//! | [`send_file`] | a file, a stream socket | writability | sendfile(2), else a buffer |
//!
//! # Splice
//! splice(2) moves pages from a socket to a pipe, and from the pipe to another socket, without a copy to the program
//! and back. A pipe costs two descriptors and some memory, so each thread keeps a few, and a copy holds one only while
//! bytes are in it: thousands of connections that are idle hold none. A copy whose receiver is slow does hold one. Where there is none to be had (the
//! process may use a quarter of its descriptors for pipes), where the kernel refuses to splice, and where a write to a closed connection would raise a
//! `SIGPIPE` that is not ignored, the bytes go through a buffer of 64 KiB, which is also held only while there is something in it.
//!
//! splice(2) knows no `MSG_DONTWAIT`, so a descriptor that takes part becomes `O_NONBLOCK`, and stays so while withy owns it.
//! Only foreign code that uses the raw descriptor can tell: withy's calls wait, or do not, as they were told by `set_nonblocking`. Whoever has the same open
//! file description by another descriptor (a duplicate, another process) must leave it `O_NONBLOCK` while a copy goes on, or that may block its worker.
//!
//! # Buffered readers and writers
//! A `BufReader` may have taken more from its stream than its user has read. [`copy()`] of the `BufReader` itself sees these bytes, but goes through a
//! buffer; one that goes around it, by [`get_ref`](std::io::BufReader::get_ref), loses them. [`write_buffered`] hands them on first:
//!
//! ```
//! # mod withy { pub use withy_net as net; pub use withy_net::io; }
//! use std::io::{BufRead, BufReader, Read, Write};
//! use withy::net::{Shutdown, TcpListener, TcpStream};
//!
//! /// The connection of which a first line was read; the rest is the upstream's.
//! fn hand_over(client: TcpStream, mut upstream: TcpStream) -> std::io::Result<()> {
//!     let mut client = BufReader::new(client);
//!     let mut line = String::new();
//!     client.read_line(&mut line)?;
//!     withy::io::write_buffered(&mut client, &mut upstream)?; // what came along with the line
//!     withy::io::copy_bidirectional(client.get_ref(), &upstream)?;
//!     Ok(())
//! }
//! # fn main() -> std::io::Result<()> {
//! # let pair = || -> std::io::Result<(TcpStream, TcpStream)> {
//! #     let listener = TcpListener::bind("127.0.0.1:0")?;
//! #     let near = TcpStream::connect(listener.local_addr()?)?;
//! #     Ok((near, listener.accept()?.0))
//! # };
//! # let (mut client, inner) = pair()?;
//! # let (outer, mut upstream) = pair()?;
//! # client.write_all(b"first line\nand the rest")?;
//! # client.shutdown(Shutdown::Write)?;
//! # upstream.shutdown(Shutdown::Write)?;
//! # hand_over(inner, outer)?;
//! # let mut rest = String::new();
//! # upstream.read_to_string(&mut rest)?;
//! # assert_eq!(rest, "and the rest");
//! # Ok(())
//! # }
//! ```
//!
//! A `BufWriter` is the other way round: `flush` it before bytes go around it. [`copy()`] into one leaves bytes in it, as std's does.
//!
//! # Reading order
//! `lane.rs` (one direction: the invariants, then the code), `carrier.rs` and `pool.rs` (pipes and buffers), `copy.rs`, `bidirectional.rs` with `flow.rs` and `outcome.rs`,
//! `send_file.rs`, `buffered.rs`.

mod bidirectional;
mod buffered;
mod carrier;
mod copy;
mod flow;
mod lane;
mod outcome;
mod pipe;
mod pool;
mod send_file;

pub use bidirectional::{BidirectionalCopy, copy_bidirectional};
pub use buffered::write_buffered;
pub use copy::copy;
pub use outcome::{Copied, CopyCounters, CopyError};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use send_file::send_file;
