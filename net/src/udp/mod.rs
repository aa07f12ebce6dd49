//! Datagrams of the internet.

mod builder;
mod options;
mod socket;

pub use builder::UdpBuilder;
pub use socket::UdpSocket;
