//! One direction of a copy in both: what it would do next, and its moves.

use std::io;

use withy_runtime::poll::{Direction, Registration};

use super::lane::{End, Hint, Lane};

/// How many times a direction moves bytes before the other has its turn, and other coroutines have theirs.
const MOVES_MAX: usize = 16;

/// One direction, and how far it is.
pub(super) struct Flow<'a> {
    pub(super) lane: Lane<'a>,
    pub(super) state: State,
    /// A `BrokenPipe` of the destination, to be told in the end.
    pub(super) broken: Option<io::Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// May move: try.
    Runs(Hint),
    /// Would have to wait, for the source if nothing is on its way, else for the destination.
    Waits,
    Ended,
}

impl<'a> Flow<'a> {
    pub(super) fn new(from: End<'a>, to: End<'a>) -> Flow<'a> {
        Flow {
            lane: Lane::new(from, to),
            state: State::Runs(Hint::None),
            broken: None,
        }
    }

    pub(super) fn may_run(&self) -> bool {
        matches!(self.state, State::Runs(_))
    }

    /// Does not wait any more, though nothing says that it would not have to. Nobody asks poll(2), so what splice says is
    /// not believed (L5): the other direction may go on for ever.
    pub(super) fn look_again(&mut self) {
        if self.state == State::Waits {
            self.state = State::Runs(Hint::Readable);
        }
    }

    /// The descriptor that it waits for in this direction, if it does.
    pub(super) fn waits_for(&self, direction: Direction) -> Option<&'a Registration> {
        let (end, wanted) = match self.lane.is_empty() {
            true => (self.lane.from(), Direction::Read),
            false => (self.lane.to(), Direction::Write),
        };
        (self.state == State::Waits && wanted == direction).then(|| end.registration())
    }

    /// Moves bytes until that would have to wait, or it is the other's turn.
    pub(super) fn advance(&mut self) -> io::Result<()> {
        for _ in 0..MOVES_MAX {
            let State::Runs(hint) = self.state else {
                return Ok(());
            };
            self.state = State::Runs(Hint::None);
            let step = match self.lane.is_empty() {
                true => self.take(hint),
                false => self.give(),
            };
            match step {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.state = State::Waits;
                }
                step => step?,
            }
        }
        Ok(())
    }

    fn take(&mut self, hint: Hint) -> io::Result<()> {
        if self.lane.fill(hint)? == 0 {
            self.state = State::Ended;
            self.lane.to().pass_end_on()?;
        }
        Ok(())
    }

    fn give(&mut self) -> io::Result<()> {
        match self.lane.drain() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.lane.discard();
                self.state = State::Ended;
                self.broken = Some(error);
                Ok(())
            }
            given => given.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as StdStream;

    use super::{End, Flow};
    use crate::{AsRegistration, TcpListener, TcpStream};

    fn pair() -> (TcpStream, StdStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, peer)
    }

    /// Promise 16. The other direction has so much to do that poll(2) is never asked: what stands behind an urgent byte goes on
    /// all the same.
    #[test]
    fn urgent_data_does_not_stop_a_direction_whose_neighbour_is_busy() {
        let ((from, mut source), (to, mut sink)) = (pair(), pair());
        let end = |stream| End::new(AsRegistration::registration(stream).unwrap()).unwrap();
        let mut flow = Flow::new(end(&from), end(&to));
        socket2::SockRef::from(&source)
            .send_out_of_band(b"!")
            .unwrap();
        source.write_all(b"behind").unwrap();
        for _ in 0..10_000 {
            flow.advance().unwrap();
            flow.look_again();
        }
        assert_eq!(flow.lane.moved(), 6);
        drop(to);
        let mut text = String::new();
        sink.read_to_string(&mut text).unwrap();
        assert_eq!(text, "behind");
    }
}
