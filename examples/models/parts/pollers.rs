//! The system calls by which a reactor can wait: epoll (by mio), poll and select.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Poll, Token};

use crate::parts::event_loop::{Interest, Poller, Ready};

/// Edge-triggered epoll: the kernel keeps what is watched, and gives out what has changed. Its cost is that of what happens.
pub(crate) struct Epoll {
    pub(crate) poll: Poll,
    events: Events,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        Ok(Epoll {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
        })
    }

    /// Watches a socket that other processes watch, too, for something to read: the kernel wakes one of them. mio has no
    /// word for that.
    pub(crate) fn add_exclusive(&mut self, fd: RawFd, token: usize) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE) as u32,
            u64: token as u64,
        };
        let epoll = self.poll.as_raw_fd();
        // SAFETY: the kernel reads an event of ours.
        match unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Poller for Epoll {
    const TELLS_OF_CHANGES: bool = true;

    fn add(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()> {
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), Token(token), interest_of(interest))
    }

    fn change(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()> {
        self.poll
            .registry()
            .reregister(&mut SourceFd(&fd), Token(token), interest_of(interest))
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&fd))
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        ready.extend(self.events.iter().map(|event: &Event| Ready {
            token: event.token().0,
            reads: event.is_readable() || event.is_read_closed(),
            is_ending: event.is_read_closed() || event.is_priority(),
            is_broken: event.is_error(),
        }));
        Ok(())
    }
}

/// mio has no empty interest. An edge that nobody asked for is a look in vain, once.
fn interest_of(interest: Interest) -> mio::Interest {
    // Urgent data ends a read before its time.
    let reads = mio::Interest::READABLE | mio::Interest::PRIORITY;
    match (interest.reads, interest.writes) {
        (true, true) => reads | mio::Interest::WRITABLE,
        (false, true) => mio::Interest::WRITABLE,
        (_, false) => reads,
    }
}

/// poll(2): what is watched is handed over each time, and looked through twice.
#[derive(Default)]
pub(crate) struct PollSet {
    fds: Vec<libc::pollfd>,
    tokens: Vec<usize>,
}

impl PollSet {
    fn place(&self, fd: RawFd) -> io::Result<usize> {
        let place = self.fds.iter().position(|one| one.fd == fd);
        place.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn events_of(interest: Interest) -> libc::c_short {
    let reads = if interest.reads { libc::POLLIN } else { 0 };
    let writes = if interest.writes { libc::POLLOUT } else { 0 };
    reads | writes
}

impl Poller for PollSet {
    const TELLS_OF_CHANGES: bool = false;

    fn add(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()> {
        self.fds.push(libc::pollfd {
            fd,
            events: events_of(interest),
            revents: 0,
        });
        self.tokens.push(token);
        Ok(())
    }

    fn change(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()> {
        let place = self.place(fd)?;
        self.fds[place].events = events_of(interest);
        self.tokens[place] = token;
        Ok(())
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        let place = self.place(fd)?;
        self.fds.swap_remove(place);
        self.tokens.swap_remove(place);
        Ok(())
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        let count =
            libc::nfds_t::try_from(self.fds.len()).expect("as many as there are descriptors");
        // SAFETY: an array of that many, which nobody else uses meanwhile.
        let found = unsafe { libc::poll(self.fds.as_mut_ptr(), count, milliseconds(timeout)) };
        if found < 0 {
            return interrupted(io::Error::last_os_error());
        }
        let told = self
            .fds
            .iter()
            .zip(&self.tokens)
            .filter(|(one, _)| one.revents != 0);
        ready.extend(told.map(|(one, &token)| Ready {
            token,
            reads: one.revents & !libc::POLLOUT != 0,
            is_ending: false,
            is_broken: one.revents & (libc::POLLERR | libc::POLLNVAL) != 0,
        }));
        Ok(())
    }
}

/// select(2): as poll, but with a bit for each descriptor, of which there are 1,024.
#[derive(Default)]
pub(crate) struct SelectSet {
    watched: Vec<(RawFd, usize, Interest)>,
}

impl SelectSet {
    fn place(&self, fd: RawFd) -> io::Result<usize> {
        let place = self.watched.iter().position(|one| one.0 == fd);
        place.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Poller for SelectSet {
    const TELLS_OF_CHANGES: bool = false;

    fn add(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()> {
        if !usize::try_from(fd).is_ok_and(|fd| fd < libc::FD_SETSIZE) {
            let text = format!(
                "got descriptor {fd}, expected one below {}: select has no bit for it",
                libc::FD_SETSIZE
            );
            return Err(io::Error::other(text));
        }
        self.watched.push((fd, token, interest));
        Ok(())
    }

    fn change(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()> {
        let place = self.place(fd)?;
        self.watched[place] = (fd, token, interest);
        Ok(())
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        let place = self.place(fd)?;
        self.watched.swap_remove(place);
        Ok(())
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        // Who has failed can be read and written. What Linux has for exceptions is urgent data, which nobody asks for.
        let (mut reads, mut writes) = (empty_set(), empty_set());
        let mut max = -1;
        for &(fd, _, interest) in &self.watched {
            max = max.max(fd);
            // SAFETY: `add` has refused what has no bit in the set.
            unsafe {
                if interest.reads {
                    libc::FD_SET(fd, &raw mut reads);
                }
                if interest.writes {
                    libc::FD_SET(fd, &raw mut writes);
                }
            }
        }
        let mut limit = timeout.map(|timeout| libc::timeval {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_usec: timeout.subsec_micros().into(),
        });
        let limit = limit
            .as_mut()
            .map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: sets and time of our own.
        let found = unsafe {
            libc::select(
                max + 1,
                &raw mut reads,
                &raw mut writes,
                std::ptr::null_mut(),
                limit,
            )
        };
        if found < 0 {
            return interrupted(io::Error::last_os_error());
        }
        ready.extend(self.watched.iter().filter_map(|&(fd, token, _)| {
            // SAFETY: as above.
            let (reads, writes) = unsafe {
                (
                    libc::FD_ISSET(fd, &raw const reads),
                    libc::FD_ISSET(fd, &raw const writes),
                )
            };
            // What has failed is found out by reading or writing.
            (reads || writes).then_some(Ready {
                token,
                reads,
                is_ending: false,
                is_broken: false,
            })
        }));
        Ok(())
    }
}

fn empty_set() -> libc::fd_set {
    // SAFETY: a set of bits, none of which is set.
    unsafe { std::mem::zeroed() }
}

/// Rounded up, so that nobody comes too early; -1 is for ever.
fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    timeout.map_or(-1, |timeout| {
        let up = timeout.as_nanos().div_ceil(1_000_000);
        up.try_into().unwrap_or(libc::c_int::MAX)
    })
}

fn interrupted(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}
