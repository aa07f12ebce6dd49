//! An arm that receives from a channel of the clock, and the one that receives from whatever channel.

use core::ptr::NonNull;

use super::recv::MessageArm;
use crate::sync::channel::receiver::Flavor;
use crate::sync::channel::timed::Timed;
use crate::sync::channel::{Receiver, RecvError};
use crate::sync::select::{Arm, Lend, Operation, SourceArm};
use crate::task::park::Waiting;
use crate::time::{self, Moment};

/// Receives from a channel.
pub struct RecvArm<'a, T> {
    receiver: &'a Receiver<T>,
    by: By<'a, T>,
}

enum By<'a, T> {
    Messages(MessageArm<'a, T>),
    Clock(ClockArm<'a, T>),
}

impl<'a, T> RecvArm<'a, T> {
    pub(in crate::sync) fn new(receiver: &'a Receiver<T>, watches: bool) -> RecvArm<'a, T> {
        let by = match receiver.flavor() {
            Flavor::Messages(exchange) => By::Messages(MessageArm::new(exchange, watches)),
            Flavor::Timed(timed) => By::Clock(ClockArm {
                timed: &**timed,
                watches,
                since: None,
                got: None,
            }),
        };
        RecvArm { receiver, by }
    }

    fn received(&mut self) -> Option<Result<T, RecvError>> {
        match &mut self.by {
            By::Messages(arm) => arm.received(),
            By::Clock(arm) => arm.got.take().map(Ok),
        }
    }

    /// What was received.
    ///
    /// # Panics
    /// If the arm was not chosen.
    pub fn complete(&mut self) -> Result<T, RecvError> {
        self.received().expect("the arm was chosen")
    }
}

impl<T> Lend for RecvArm<'_, T> {
    fn arm(&mut self) -> Arm<'_> {
        match &mut self.by {
            By::Messages(arm) => Arm::of_channel(arm),
            By::Clock(arm) => Arm::of_source(arm),
        }
    }
}

impl<T> Operation for RecvArm<'_, T> {
    fn receives_from(&self) -> Option<usize> {
        Some(self.receiver.address())
    }

    unsafe fn write_received(&mut self, to: NonNull<()>) {
        let received = self.received();
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Option<Result<T, RecvError>>>().write(received) };
    }
}

/// Takes its message when it is time. Nobody sends it, so nobody needs to know who waits.
struct ClockArm<'a, T> {
    timed: &'a dyn Timed<T>,
    watches: bool,
    /// When the select began.
    since: Option<Moment>,
    got: Option<T>,
}

impl<T> SourceArm for ClockArm<'_, T> {
    fn is_ready(&mut self) -> bool {
        self.since.get_or_insert_with(time::moment);
        self.timed.is_ready()
    }

    fn announce(&mut self, _me: &Waiting) -> bool {
        self.timed.is_ready()
    }

    fn retract(&mut self) {}

    fn finish(&mut self) -> bool {
        if self.watches {
            return true;
        }
        let since = self.since.unwrap_or_else(time::moment);
        self.got = self.timed.take(since);
        self.got.is_some()
    }

    fn due(&self) -> Moment {
        self.timed.due()
    }
}
