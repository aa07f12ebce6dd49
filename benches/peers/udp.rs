//! The UDP echo servers: one socket for all clients, in a raw loop and in a coroutine.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use withy::Runtime;

use super::raw_epoll::wait;
use super::sys::{Epoll, NO_EVENTS};

/// Longer than any packet of the bench.
const PACKET_BYTES_MAX: usize = 4096;

/// Starts the floor: an edge-triggered epoll loop that does nothing but echo until the socket is empty.
pub(crate) fn start_raw(socket: UdpSocket, spin: Option<Duration>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(socket.as_raw_fd(), 0)?;
    thread::spawn(move || {
        let mut events = NO_EVENTS;
        let mut buf = [0; PACKET_BYTES_MAX];
        loop {
            wait(&epoll, &mut events, spin).expect("the loop goes on until the process ends");
            loop {
                match socket.recv_from(&mut buf) {
                    // Packets are few and small, so the send buffer has room.
                    Ok((n, client)) => {
                        _ = socket.send_to(&buf[..n], client).expect("there is room")
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("a socket that nobody closes failed: {error}"),
                }
            }
        }
    });
    Ok(())
}

/// Starts the same as a coroutine; it runs as long as the runtime that comes back.
pub(crate) fn start_withy(socket: UdpSocket, workers: usize, spin: bool) -> io::Result<Runtime> {
    let mut builder = Runtime::builder().workers(workers);
    if !spin {
        builder = builder.spin(Duration::ZERO);
    }
    let runtime = builder.build()?;
    let socket = withy::net::UdpSocket::from(socket);
    runtime.spawn(move || {
        let mut buf = [0; PACKET_BYTES_MAX];
        loop {
            let (n, client) = socket.recv_from(&mut buf).expect("nobody closes it");
            socket.send_to(&buf[..n], client).expect("there is room");
        }
    });
    Ok(runtime)
}
