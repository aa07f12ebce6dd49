//! Connected pairs with std at the other end, and bytes that show where they came from.

use std::io::{self, Read};
use std::time::Duration;

use socket2::SockRef;
use withy::net::{TcpListener, TcpStream};

/// A stream of ours and its peer, a blocking std stream.
pub(crate) fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let addr = listener.local_addr().expect("a listener has an address");
    let peer = std::net::TcpStream::connect(addr).expect("the backlog has room");
    let (ours, _) = listener.accept().expect("a connection is in the backlog");
    (ours, peer)
}

/// The same with buffers as small as the kernel allows, so that writers block early.
pub(crate) fn narrow_pair() -> (TcpStream, std::net::TcpStream) {
    // The window is settled at the handshake, from the listener's buffer.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    SockRef::from(&listener)
        .set_recv_buffer_size(4096)
        .expect("the size can be set");
    let addr = listener.local_addr().expect("a listener has an address");
    let peer = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
        .expect("a descriptor is free");
    peer.set_recv_buffer_size(4096)
        .expect("the size can be set");
    peer.set_send_buffer_size(4096)
        .expect("the size can be set");
    peer.connect(&addr.into()).expect("the backlog has room");
    let (ours, _) = listener.accept().expect("a connection is in the backlog");
    SockRef::from(&ours)
        .set_send_buffer_size(4096)
        .expect("the size can be set");
    (ours, peer.into())
}

/// Closes the stream with a reset.
pub(crate) fn reset(stream: std::net::TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("linger can be set");
    drop(stream);
}

/// The bytes at `offset..offset + buf.len()` of an endless stream without a short period.
pub(crate) fn fill(buf: &mut [u8], offset: u64) {
    for (index, byte) in buf.iter_mut().enumerate() {
        *byte = byte_at(offset + index as u64);
    }
}

/// Whether `buf` holds what [`fill`] would put there.
pub(crate) fn is_filled(buf: &[u8], offset: u64) -> bool {
    buf.iter()
        .enumerate()
        .all(|(index, byte)| *byte == byte_at(offset + index as u64))
}

/// Reads exactly `len` bytes in buffers of `step` and checks each.
pub(crate) fn check_stream(stream: &mut impl Read, len: usize, step: usize) {
    let mut buf = vec![0; step];
    let mut seen = 0;
    while seen < len {
        let n = stream.read(&mut buf).unwrap();
        assert_ne!(n, 0, "the stream ended after {seen} of {len} bytes");
        assert!(
            is_filled(&buf[..n], seen as u64),
            "wrong bytes in {seen}..{}",
            seen + n
        );
        seen += n;
    }
    assert_eq!(seen, len);
}

fn byte_at(offset: u64) -> u8 {
    // Mixes the high bits down, so that a lost or doubled page shows.
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// What an error looks like to a caller.
pub(crate) fn kind<T>(result: &io::Result<T>) -> Option<io::ErrorKind> {
    result.as_ref().err().map(io::Error::kind)
}
