//! What a select chooses from.

use core::ptr::NonNull;
use std::os::fd::BorrowedFd;

use crate::poll::Direction;
use crate::sync::channel::Reserve;
use crate::sync::waiters::{Choice, Left, Wakes};
use crate::task::park::Waiting;
use crate::time::Moment;

/// One of the things that a select waits for, lent to it for one call.
pub struct Arm<'x> {
    /// Its place among the arms as the caller has written them.
    pub(super) number: usize,
    /// Its channel was locked by way of this arm.
    pub(super) locked: bool,
    pub(super) kind: Kind<'x>,
}

pub(super) enum Kind<'x> {
    Channel(&'x dyn ChannelArm),
    Source(&'x mut dyn SourceArm),
}

impl<'x> Arm<'x> {
    pub(crate) fn of_channel(arm: &'x dyn ChannelArm) -> Arm<'x> {
        Arm {
            number: 0,
            locked: false,
            kind: Kind::Channel(arm),
        }
    }

    pub(crate) fn of_source(arm: &'x mut dyn SourceArm) -> Arm<'x> {
        Arm {
            number: 0,
            locked: false,
            kind: Kind::Source(arm),
        }
    }

    pub(super) fn channel(&self) -> Option<&'x dyn ChannelArm> {
        match self.kind {
            Kind::Channel(arm) => Some(arm),
            Kind::Source(_) => None,
        }
    }

    pub(super) fn source(&mut self) -> Option<&mut dyn SourceArm> {
        match &mut self.kind {
            Kind::Channel(_) => None,
            Kind::Source(arm) => Some(&mut **arm),
        }
    }
}

/// What a look at a channel has come to.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// The arm is done.
    Done,
    /// It has to wait.
    Wait,
    /// A late sender was told to make a message: the arm is linked, alone, and is woken when that has come.
    Promised,
}

impl Look {
    pub(crate) fn if_ready(is_ready: bool) -> Look {
        if is_ready { Look::Done } else { Look::Wait }
    }
}

/// An arm that waits in the queue of a channel. Shared, since others reach its node while it waits.
pub(crate) trait ChannelArm {
    /// Of its channel's lock.
    fn address(&self) -> usize;

    /// Takes the channel's lock; not twice, if another arm has the same channel.
    fn lock(&self);

    /// # Safety
    /// The caller has locked it, and nothing that it found there is used any more.
    unsafe fn unlock(&self);

    /// Does it if it need not wait. Takes the lock itself.
    ///
    /// # Safety
    /// * It is not linked.
    /// * If it is `Promised`, the arm is linked: it stays where it is until `leave`.
    unsafe fn look(&self) -> Look;

    /// As `look`, for the holder of the lock.
    ///
    /// # Safety
    /// As of `look`; and the caller holds the lock.
    unsafe fn look_locked(&self, wakes: &mut Wakes) -> Look;

    /// Enters the queue.
    ///
    /// # Safety
    /// * The caller holds the lock.
    /// * The arm is not linked, and stays where it is until `leave`; so does the choice.
    unsafe fn link(&self, wakes: &mut Wakes, choice: &Choice, number: usize);

    /// Whether somebody has taken it out of the queue for good, and has let go of it.
    fn is_woken(&self) -> bool;

    /// Leaves the queue, if it is in one.
    fn leave(&self) -> Left;

    /// Notes what it was given, after it was woken. False: it was given nothing, start over.
    fn settle(&self) -> bool;

    /// In place of `settle`: what it was given is not wanted.
    fn refuse(&self);
}

/// An arm that is told when it may be ready, and looks.
pub(crate) trait SourceArm {
    /// Whether it is ready.
    fn is_ready(&mut self) -> bool;

    /// Whether it is ready. If not, `me` is notified when that may have changed. May be called again after each wake-up.
    fn announce(&mut self, me: &Waiting) -> bool;

    /// `me` need not be notified any more.
    fn retract(&mut self);

    /// It is ready and was chosen. False: others were faster, start over.
    fn finish(&mut self) -> bool {
        true
    }

    /// When it is ready by itself.
    fn due(&self) -> Moment {
        Moment::NEVER
    }

    /// What a plain thread has to wait for in its stead.
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, Direction)> {
        None
    }
}

/// What can be lent to a select as an arm.
pub trait Lend {
    /// The arm, for one call.
    fn arm(&mut self) -> Arm<'_>;
}

/// An arm for as long as the operation that it stands for is not done.
pub(crate) trait Operation: Lend {
    /// The address of the channel, if it receives from one.
    fn receives_from(&self) -> Option<usize> {
        None
    }

    /// The address of the channel, if it sends to one.
    fn sends_to(&self) -> Option<usize> {
        None
    }

    /// What was reserved for its message: whoever takes it sends.
    fn take_reserve(&self) -> Option<Reserve> {
        None
    }

    /// Writes what it has received.
    ///
    /// # Safety
    /// `to` is an `Option<Result<T, RecvError>>` where `T` are the messages of the channel that it receives from.
    unsafe fn write_received(&mut self, _to: NonNull<()>) {}
}
