//! Pipes and buffers that are kept for the next copy: a few for each thread, so for each worker.
//!
//! Bounds (law 8): a thread keeps [`IDLE_MAX`] of each; the process has no more pipes, kept or in use, than fit a quarter of its descriptors. What is
//! taken here may come back to another thread's pool (full stealing); the bounds hold there, too.
//!
//! The thread-local is read in functions that are never inlined, which do not switch (law 3).
//!
//! A child that was forked has its parent's pipes, too, and whatever the one put into them the other would take out. So it closes its copies.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{Resource, getrlimit};

use crate::interop;

/// Room for what a copy without splice has taken and not given yet.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// What a pipe is asked to hold. A slot for each 4 KiB, and a slot may hold a fragment of a socket's buffer of up to 32 KiB. The kernel's own measure
/// is 64 KiB; beyond 64 MiB in all (`pipe-user-pages-soft`) it gives unprivileged users less, whatever is asked for.
const PIPE_BYTES: usize = 256 << 10;

/// The same, of the first pipes: as long as there are few, each may take more at a time, which costs a stream less CPU. A quarter of those 64 MiB.
const BIG_PIPE_BYTES: usize = 1 << 20;
const BIG_PIPES_MAX: u64 = 16;

/// How many empty pipes, and how many buffers, a thread keeps.
const IDLE_MAX: usize = 16;

/// Each pipe takes two descriptors: at most one in this many of the process's descriptors may be a pipe.
const DESCRIPTORS_PER_PIPE: u64 = 8;

/// Pipes of this process, in use or kept.
static PIPES: AtomicUsize = AtomicUsize::new(0);

/// A pipe's two ends; both `O_NONBLOCK`.
pub(super) struct PipeEnds {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
    _counted: Counted,
}

/// One of [`PIPES`].
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Pool {
    pipes: Vec<PipeEnds>,
    buffers: Vec<Box<[u8]>>,
    /// Those of the process that has made the pipes.
    forks: u32,
}

impl Pool {
    fn new() -> Pool {
        Pool {
            pipes: Vec::new(),
            buffers: Vec::new(),
            forks: interop::forks(),
        }
    }

    fn leave_inherited(&mut self) {
        let forks = interop::forks();
        if self.forks != forks {
            self.forks = forks;
            self.pipes.clear();
        }
    }
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::new(Pool::new());
}

/// An empty pipe, or none: the bound is reached, or the process or the system is out of descriptors.
pub(super) fn take_pipe() -> Option<PipeEnds> {
    with_pool(|pool| pool.pipes.pop()).or_else(|| make_pipe().ok())
}

/// Keeps an empty pipe, or closes it.
pub(super) fn give_pipe(pipe: PipeEnds) {
    with_pool(move |pool| keep(&mut pool.pipes, pipe));
}

/// A buffer of [`BUFFER_BYTES`], with anything in it.
pub(super) fn take_buffer() -> Box<[u8]> {
    with_pool(|pool| pool.buffers.pop()).unwrap_or_else(|| vec![0; BUFFER_BYTES].into())
}

/// Keeps a buffer, or frees it.
pub(super) fn give_buffer(buffer: Box<[u8]>) {
    if buffer.len() == BUFFER_BYTES {
        with_pool(move |pool| keep(&mut pool.buffers, buffer));
    }
}

fn keep<T>(kept: &mut Vec<T>, one: T) -> Option<()> {
    if kept.len() < IDLE_MAX {
        kept.push(one);
    }
    None
}

fn make_pipe() -> io::Result<PipeEnds> {
    let counted = Counted;
    let pipes = PIPES.fetch_add(1, Ordering::Relaxed) as u64;
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if pipes >= descriptors / DESCRIPTORS_PER_PIPE {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // Where that is not allowed (`pipe-max-size`, `pipe-user-pages-soft`) the pipe is smaller, and works.
    let big = pipes < BIG_PIPES_MAX && fcntl_setpipe_size(&write, BIG_PIPE_BYTES).is_ok();
    if !big {
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
    }
    Ok(PipeEnds {
        read,
        write,
        _counted: counted,
    })
}

/// `None` also at the end of the thread, when its pool is gone.
#[inline(never)]
fn with_pool<T>(f: impl FnOnce(&mut Pool) -> Option<T>) -> Option<T> {
    let with = |pool: &RefCell<Pool>| {
        let pool = &mut *pool.borrow_mut();
        pool.leave_inherited();
        f(pool)
    };
    POOL.try_with(with).ok()?
}

#[cfg(test)]
mod tests {
    use super::{IDLE_MAX, POOL, give_buffer, give_pipe, take_buffer, take_pipe};

    /// Law 8, promise 48: what a spike has needed is given back to the system, but for a few.
    #[test]
    fn a_thread_keeps_a_few_pipes_and_buffers_and_no_more() {
        let pipes: Vec<_> = (0..2 * IDLE_MAX).filter_map(|_| take_pipe()).collect();
        assert_eq!(pipes.len(), 2 * IDLE_MAX);
        let buffers: Vec<_> = (0..2 * IDLE_MAX).map(|_| take_buffer()).collect();
        pipes.into_iter().for_each(give_pipe);
        buffers.into_iter().for_each(give_buffer);
        POOL.with_borrow(|pool| {
            assert_eq!(pool.pipes.len(), IDLE_MAX);
            assert_eq!(pool.buffers.len(), IDLE_MAX);
        });
    }
}
