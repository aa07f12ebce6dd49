//! TCP: [`TcpStream`], [`TcpListener`].

mod connect;
mod listener;
mod stream;
mod stream_options;

pub use listener::{Incoming, TcpListener};
pub use stream::TcpStream;
