//! An epoll instance that several threads wait on in turn: the handle set of leaders and followers.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::parts::event_loop::{Interest, Poller, Ready};

/// In one look.
const EVENTS_MAX: usize = 64;

/// Of something to be read, and of what ends a read before its time.
const READS: EventFlags = EventFlags::IN.union(ENDS);
const ENDS: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::PRI);

const NOTHING: Event = Event {
    flags: EventFlags::empty(),
    data: EventData::new_u64(0),
};

/// Edge-triggered. All but the waiting may be done by any thread at any time.
pub(crate) struct HandleSet {
    epoll: OwnedFd,
    /// What the leader has found, and leaves to the next. Its lock is the leadership.
    leader: Mutex<VecDeque<Ready>>,
}

impl HandleSet {
    pub(crate) fn new() -> io::Result<HandleSet> {
        Ok(HandleSet {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            leader: Mutex::default(),
        })
    }
}

impl Poller for &HandleSet {
    const TELLS_OF_CHANGES: bool = true;

    fn add(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()> {
        let data = EventData::new_u64(token as u64);
        Ok(epoll::add(
            &self.epoll,
            borrow(fd),
            data,
            flags_of(interest),
        )?)
    }

    fn change(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()> {
        let data = EventData::new_u64(token as u64);
        Ok(epoll::modify(
            &self.epoll,
            borrow(fd),
            data,
            flags_of(interest),
        )?)
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, borrow(fd))?)
    }

    /// Waits to become the leader, and then for one event. There is no limit to that, whatever the timeout.
    fn wait(&mut self, ready: &mut Vec<Ready>, _: Option<Duration>) -> io::Result<()> {
        let mut found = self.leader.lock().expect("nobody panics with it");
        while found.is_empty() {
            let mut events = [NOTHING; EVENTS_MAX];
            let count = match epoll::wait(&self.epoll, &mut events, None) {
                Err(Errno::INTR) => 0,
                count => count?,
            };
            found.extend(events[..count].iter().map(|&event| {
                let flags = event.flags;
                Ready {
                    token: usize::try_from(event.data.u64()).expect("it was one"),
                    reads: flags.intersects(READS),
                    is_ending: flags.intersects(ENDS),
                    is_broken: flags.contains(EventFlags::ERR),
                }
            }));
        }
        ready.extend(found.pop_front());
        Ok(())
    }
}

fn flags_of(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::ET;
    flags.set(READS, interest.reads);
    flags.set(EventFlags::OUT, interest.writes);
    flags
}

fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    assert!(fd >= 0, "got descriptor {fd}");
    // SAFETY: whoever calls a poller owns the descriptor, and keeps it open meanwhile.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
