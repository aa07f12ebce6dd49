//! The frames of `examples/rpc`, written again from their description, for peers that the tests play.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

pub(crate) const HELLO: u8 = 1;
pub(crate) const REQUEST: u8 = 2;
pub(crate) const ANSWER: u8 = 3;
pub(crate) const FAILURE: u8 = 4;
pub(crate) const ACK: u8 = 5;
pub(crate) const BEAT: u8 = 6;

/// The longest payload.
pub(crate) const PAYLOAD_MAX: usize = 1 << 20;

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) number: u64,
    pub(crate) payload: Vec<u8>,
}

/// A frame's head, which may lie.
pub(crate) fn head(length: u32, kind: u8, number: u64) -> Vec<u8> {
    [
        &length.to_be_bytes()[..],
        &[kind][..],
        &number.to_be_bytes()[..],
    ]
    .concat()
}

/// One side of a connection.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Peer {
        Peer(TcpStream::connect(address).unwrap())
    }

    /// A client that has said hello, with a session of its own.
    pub(crate) fn greeted(address: SocketAddr) -> Peer {
        let mut peer = Peer::connect(address);
        peer.hello(fastrand::u64(..), 1, &[]);
        peer
    }

    pub(crate) fn hello(&mut self, session: u64, connection: u64, wanted: &[u64]) {
        let numbers = [&[connection], wanted].concat();
        let payload: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
        self.send(HELLO, session, &payload);
    }

    pub(crate) fn send(&mut self, kind: u8, number: u64, payload: &[u8]) {
        self.try_send(kind, number, payload).unwrap();
    }

    pub(crate) fn try_send(
        &mut self,
        kind: u8,
        number: u64,
        payload: &[u8],
    ) -> std::io::Result<()> {
        let mut frame = head(payload.len() as u32, kind, number);
        frame.extend_from_slice(payload);
        self.0.write_all(&frame)
    }

    /// The next frame, a beat too; none at the end of the connection.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 13];
        self.0.read_exact(&mut head).ok()?;
        let [l0, l1, l2, l3, kind, number @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([l0, l1, l2, l3]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind,
            number: u64::from_be_bytes(number),
            payload,
        })
    }

    /// The next frame that is no beat.
    pub(crate) fn next(&mut self) -> Frame {
        loop {
            let frame = self.frame().expect("the connection goes on");
            if frame.kind != BEAT {
                return frame;
            }
        }
    }

    /// Calls, and gives the answer to that call, which is the next.
    pub(crate) fn call(&mut self, number: u64, request: &[u8]) -> Frame {
        self.send(REQUEST, number, request);
        let answer = self.next();
        assert_eq!(answer.number, number);
        answer
    }

    /// Waits for the end of the connection, or a reset.
    pub(crate) fn ends(mut self) {
        while self.frame().is_some() {}
    }
}
