//! TCP: [`TcpStream`], [`TcpListener`].

mod connect;
mod deadlines;
mod incoming;
mod listener;
mod stream;
mod stream_options;

pub use incoming::Incoming;
pub use listener::TcpListener;
pub use stream::TcpStream;
