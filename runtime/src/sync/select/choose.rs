//! The steps of a select: look, lock, link, announce, park, leave. What holds between them is in `README.md`.

use core::slice;

use super::arm::{Arm, ChannelArm, Look};
use super::descriptors;
use super::order::Order;
use crate::context;
use crate::sync::waiters::{Choice, Left, Wakes};
use crate::task::interrupt::Mask;
use crate::task::park::{self, Waiting};
use crate::time::Moment;

/// How an attempt has ended.
enum Ended {
    /// This arm is done.
    Chosen(usize),
    /// Nothing was done, and nothing is waited for any more: look again.
    Again,
    TimedOut,
}

/// Waits until one of the arms is done, and gives its place; `None` past the deadline.
///
/// A blocking call: it unwinds if the caller is interrupted, and then no arm is done.
pub(super) fn choose(arms: &mut [Arm<'_>], order: Order, deadline: Moment) -> Option<usize> {
    // Before anything is taken, since it may unwind.
    context::consume_budget();
    number(arms);
    loop {
        order.arrange(arms);
        let ended = match look(arms, deadline) {
            None => wait(arms, order, deadline),
            Some(ended) => ended,
        };
        match ended {
            Ended::Chosen(number) => return Some(number),
            Ended::TimedOut => return None,
            Ended::Again => {}
        }
    }
}

/// The arm that is done, if there is one that need not wait. It does not unwind.
pub(super) fn try_choose(arms: &mut [Arm<'_>], order: Order) -> Option<usize> {
    number(arms);
    // A message that is just being made is waited for, as by `try_recv`.
    let _mask = Mask::new();
    loop {
        order.arrange(arms);
        let ended = match look(arms, Moment::NEVER) {
            Some(ended) => ended,
            // One after the other may have become ready just when it was not looked at.
            None if arms.len() > 1 => look_at_once(arms, order),
            None => Ended::TimedOut,
        };
        match ended {
            Ended::Chosen(number) => return Some(number),
            Ended::Again => {}
            Ended::TimedOut => {
                // As for any failure: one that tries again and again keeps out nobody.
                context::consume_budget();
                return None;
            }
        }
    }
}

fn number(arms: &mut [Arm<'_>]) {
    for (number, arm) in arms.iter_mut().enumerate() {
        arm.number = number;
    }
}

/// Does the first arm that need not wait. `None`: there was none.
fn look(arms: &mut [Arm<'_>], deadline: Moment) -> Option<Ended> {
    for arm in arms {
        let number = arm.number;
        if let Some(source) = arm.source() {
            if source.is_ready() && source.finish() {
                return Some(Ended::Chosen(number));
            }
        } else if let Some(channel) = arm.channel() {
            // SAFETY: not linked; if it is then, the entry below sees to it that it leaves before it can be moved.
            match unsafe { channel.look() } {
                Look::Done => return Some(Ended::Chosen(number)),
                Look::Wait => {}
                Look::Promised => {
                    let choice = Choice::new();
                    let mut entry = Entry::new(slice::from_mut(arm), &choice);
                    entry.is_chosen(number);
                    return Some(entry.wait(deadline));
                }
            }
        }
    }
    None
}

/// Looks at all channels at the same moment.
fn look_at_once(arms: &mut [Arm<'_>], order: Order) -> Ended {
    let choice = Choice::new();
    let mut entry = Entry::new(arms, &choice);
    match entry.look_at_all(order, false) {
        Some(ended) => ended,
        None if choice.chosen().is_some() => entry.wait(Moment::NEVER),
        None => Ended::TimedOut,
    }
}

/// Enters all that there is to wait for, and waits.
fn wait(arms: &mut [Arm<'_>], order: Order, deadline: Moment) -> Ended {
    let choice = Choice::new();
    let mut entry = Entry::new(arms, &choice);
    match entry.look_at_all(order, true) {
        Some(ended) => ended,
        None => entry.wait(deadline),
    }
}

/// A select that may stand in queues and with sources. When it is dropped it has left them all.
struct Entry<'e, 'x> {
    arms: &'e mut [Arm<'x>],
    choice: &'e Choice,
    /// What sources are told to notify.
    me: Option<Waiting>,
    /// Sockets cannot be waited for.
    unwaitable: bool,
    /// It does not unwind: what the chosen arm was given is wanted.
    ended: bool,
}

impl<'e, 'x> Entry<'e, 'x> {
    fn new(arms: &'e mut [Arm<'x>], choice: &'e Choice) -> Entry<'e, 'x> {
        Entry {
            arms,
            choice,
            me: None,
            unwaitable: false,
            ended: false,
        }
    }

    /// Decides for an arm before anybody else can: nothing is linked that has this choice.
    fn is_chosen(&self, number: usize) {
        let claimed = self.choice.claim(number);
        debug_assert!(claimed);
    }

    /// Looks once more, under all the locks; if there is nothing to be done, and if it `links`, it links the channel arms' nodes.
    fn look_at_all(&mut self, order: Order, links: bool) -> Option<Ended> {
        // Dropped after the locks are free: it lets go those who are woken.
        let mut wakes = Wakes::new();
        lock_all(self.arms);
        // Nothing here panics, so no guard is needed.
        order.arrange(self.arms);
        let found = self.look_locked(&mut wakes);
        if links && found.is_none() && self.choice.chosen().is_none() {
            self.link_all(&mut wakes);
        }
        // SAFETY: locked above; nothing that was found inside is used any more.
        unsafe { unlock_all(self.arms) };
        found
    }

    fn look_locked(&mut self, wakes: &mut Wakes) -> Option<Ended> {
        for arm in &*self.arms {
            let Some(channel) = arm.channel() else {
                continue;
            };
            // SAFETY: its lock is held; not linked; if it is then, this entry sees to it that it leaves.
            match unsafe { channel.look_locked(wakes) } {
                Look::Done => return Some(Ended::Chosen(arm.number)),
                Look::Wait => {}
                Look::Promised => {
                    self.is_chosen(arm.number);
                    return None;
                }
            }
        }
        None
    }

    fn link_all(&mut self, wakes: &mut Wakes) {
        for arm in &*self.arms {
            if let Some(channel) = arm.channel() {
                // SAFETY: its lock is held; not linked; this entry sees to it that it leaves, and the choice outlives this.
                unsafe { channel.link(wakes, self.choice, arm.number) };
            }
        }
    }

    fn wait(&mut self, deadline: Moment) -> Ended {
        let mut passed = false;
        let ended = loop {
            let chosen = self.choice.chosen();
            let ended = match chosen {
                Some(number) => self.look_at_chosen(number),
                None => self.look_at_sources(),
            };
            if let Some(ended) = ended {
                break ended;
            }
            if passed {
                break self.give_up();
            }
            passed = if chosen.is_some() {
                park::park(deadline)
            } else {
                self.park(deadline)
            };
        };
        self.ended = true;
        ended
    }

    /// It was chosen, but is not woken yet if it is promised a message.
    fn look_at_chosen(&mut self, number: usize) -> Option<Ended> {
        let channel = self.channel(number);
        if channel.is_woken() {
            return Some(settled(channel, number));
        }
        // Nobody shall rely on one who waits for something else.
        let sources = self.arms.iter_mut().filter_map(Arm::source);
        sources.for_each(|source| source.retract());
        None
    }

    /// Announces the caller to each source, until one is ready and nobody else was chosen.
    fn look_at_sources(&mut self) -> Option<Ended> {
        for arm in &mut *self.arms {
            let number = arm.number;
            let Some(source) = arm.source() else {
                continue;
            };
            let me = self.me.get_or_insert_with(Waiting::new);
            // One that cannot be waited for is ready: the call that follows says why.
            if source.announce(me) || self.unwaitable && source.descriptor().is_some() {
                return self.choose_source(number);
            }
        }
        None
    }

    fn choose_source(&mut self, number: usize) -> Option<Ended> {
        if !self.choice.claim(number) {
            return None;
        }
        let source = self.arms.iter_mut().find(|arm| arm.number == number);
        let finished = source
            .and_then(Arm::source)
            .is_some_and(|source| source.finish());
        Some(if finished {
            Ended::Chosen(number)
        } else {
            Ended::Again
        })
    }

    /// Parks until something may have changed. True: the deadline has passed.
    fn park(&mut self, deadline: Moment) -> bool {
        let dues = self.arms.iter_mut().filter_map(Arm::source);
        let due = dues.map(|source| source.due()).min();
        let until = due.map_or(deadline, |due| due.min(deadline));
        match descriptors::park(self.arms, until) {
            Ok(passed) => passed && until == deadline,
            Err(_) => {
                self.unwaitable = true;
                false
            }
        }
    }

    /// Past the deadline.
    #[cold]
    fn give_up(&mut self) -> Ended {
        let Some(number) = self.choice.close() else {
            return Ended::TimedOut;
        };
        let channel = self.channel(number);
        match channel.leave() {
            // It was promised a message, which has not come.
            Left::Queue => Ended::TimedOut,
            Left::Woken => settled(channel, number),
        }
    }

    /// The channel arm with that number: only those are chosen by others.
    fn channel(&self, number: usize) -> &'x dyn ChannelArm {
        let mut arms = self.arms.iter();
        arms.find(|arm| arm.number == number)
            .and_then(Arm::channel)
            .expect("sources are chosen by the select itself, which ends then")
    }
}

impl Drop for Entry<'_, '_> {
    fn drop(&mut self) {
        // From here on nobody chooses.
        self.choice.close();
        for arm in &mut *self.arms {
            if let Some(channel) = arm.channel() {
                if channel.leave() == Left::Woken && !self.ended {
                    // It unwinds.
                    channel.refuse();
                }
            } else if let Some(source) = arm.source() {
                source.retract();
            }
        }
    }
}

fn settled(channel: &dyn ChannelArm, number: usize) -> Ended {
    if channel.settle() {
        Ended::Chosen(number)
    } else {
        Ended::Again
    }
}

/// In the order of their addresses, each once.
fn lock_all(arms: &mut [Arm<'_>]) {
    arms.sort_unstable_by_key(|arm| arm.channel().map(ChannelArm::address));
    let mut last = None;
    for arm in arms {
        let Some(channel) = arm.channel() else {
            continue;
        };
        let address = Some(channel.address());
        if address != last {
            channel.lock();
            arm.locked = true;
            last = address;
        }
    }
}

/// # Safety
/// The caller has locked them by `lock_all`, and uses nothing that is inside any more.
unsafe fn unlock_all(arms: &mut [Arm<'_>]) {
    for arm in arms {
        if core::mem::take(&mut arm.locked)
            && let Some(channel) = arm.channel()
        {
            // SAFETY: by the caller's promise: `locked` says that it was done by way of this arm.
            unsafe { channel.unlock() };
        }
    }
}
