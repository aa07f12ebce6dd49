//! TCP: [`TcpStream`], [`TcpListener`], [`TcpSocket`].

mod connect;
mod incoming;
mod keepalive;
mod listener;
mod listener_options;
mod queues;
mod race;
mod shared_options;
mod socket;
mod socket_options;
mod stream;
mod stream_options;

pub use incoming::Incoming;
pub use keepalive::Keepalive;
pub use listener::TcpListener;
pub use socket::TcpSocket;
pub use stream::TcpStream;
