//! Datagrams of the internet.

mod options;
mod socket;

pub use socket::UdpSocket;
