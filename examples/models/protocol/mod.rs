//! What every model serves: one protocol with two services, and what the models share of it.
//!
//! # Echo
//! Bytes come back as they are, until the client has shut down its writing half.
//!
//! # Session
//! Lines of at most [`LINE_BYTES_MAX`] bytes, in UTF-8, each answered by one line:
//! ```text
//! login NAME      welcome NAME            first of all, and once
//! ask TEXT        answer N TEXT           the downstream server is asked in between; N counts, from 1
//! quit            bye NAME N              and the server closes the connection
//! anything else   error WHY               and the server closes the connection
//! ```
//! Each session has a connection of its own to the *downstream* server, made at the login, which gives each line back after
//! 1 ms. So what one request has to do spans two messages and two sockets, which is where the models differ.
//!
//! A client may send several requests at once; they are answered in turn. At the end of what it sends a session ends.
//!
//! | file | for whom |
//! | --- | --- |
//! | `message.rs` | everybody: requests and answers as text, cut out of bytes; no I/O |
//! | `sequential.rs` | models that give a connection a flow of control of its own: both services as loops |
//! | `asynchronous.rs` | async/await: the same loops, for futures |
//! | `request.rs` | models that hand whole requests to somebody who may block: a function for each request |
//! | `machine.rs` | models that are called back: both services as state machines; no I/O |

pub(crate) mod asynchronous;
pub(crate) mod machine;
pub(crate) mod message;
pub(crate) mod request;
pub(crate) mod sequential;

use std::net::SocketAddr;

/// Line, newline included.
pub(crate) const LINE_BYTES_MAX: usize = 1024;

/// What one read asks for, in every model.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

/// What a server offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    Echo,
    Session { downstream: SocketAddr },
}
