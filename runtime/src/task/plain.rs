//! Plain OS threads that wait on withy: each has a record, as a coroutine has, and parks on it.

use core::cell::Cell;
use core::ptr::NonNull;
use std::io;
use std::os::fd::BorrowedFd;

use crate::atomic::{AtomicBool, AtomicU32};
use crate::poll::Direction;
use crate::task::header::{ParkKind, Parkable, ThreadRecord, next_id};
use crate::task::interrupt::{self, Interrupts};
use crate::task::park::Unparker;
use crate::task::thread::ThreadParker;
use crate::time::Moment;

/// Blocks the calling thread until it is unparked or `deadline` has passed. May return for no reason, and unwinds to a
/// frame of the thread that is due.
pub(crate) fn park(deadline: Moment) {
    with_thread(|thread| {
        interrupt::throw_on_thread(thread.id, &thread.interrupts);
        let until = deadline.min(thread.interrupts.limit());
        thread.parker.park(until.instant());
        interrupt::throw_on_thread(thread.id, &thread.interrupts);
    });
}

/// As [`park`], and until `fd` is ready in `direction` (or has failed).
///
/// # Errors
/// Those of `ThreadParker::park_on_fd`.
pub(crate) fn park_on_fd(
    fd: BorrowedFd<'_>,
    direction: Direction,
    deadline: Moment,
) -> io::Result<()> {
    with_thread(|thread| {
        interrupt::throw_on_thread(thread.id, &thread.interrupts);
        let until = deadline.min(thread.interrupts.limit());
        thread.parker.park_on_fd(fd, direction, until.instant())?;
        // What is ready comes before what is due: the caller tries its call again first, and waits again if in vain.
        Ok(())
    })
}

/// As [`park_on_fd`], on several.
///
/// # Errors
/// Those of `ThreadParker::park_on_fds`.
pub(crate) fn park_on_fds(fds: &[(BorrowedFd<'_>, Direction)], deadline: Moment) -> io::Result<()> {
    with_thread(|thread| {
        interrupt::throw_on_thread(thread.id, &thread.interrupts);
        let until = deadline.min(thread.interrupts.limit());
        thread.parker.park_on_fds(fds, until.instant())
    })
}

thread_local! {
    /// The thread's record, if it has waited on withy. Without a destructor, so that it can be read to the very end.
    static RECORD: Cell<*const ThreadRecord> = const { Cell::new(core::ptr::null()) };
    static RELEASE: ReleaseRecord = const { ReleaseRecord };
}

/// Gives up the thread's own reference to its record.
struct ReleaseRecord;

impl Drop for ReleaseRecord {
    fn drop(&mut self) {
        if let Some(record) = NonNull::new(RECORD.replace(core::ptr::null()).cast_mut()) {
            // SAFETY: the cell held one counted reference, and does no more.
            drop(Unparker::of_thread(record));
        }
    }
}

/// Runs `f` on the calling thread's record: the same one from call to call, also in destructors of thread-locals, since
/// whoever announces one and waits on another is never woken.
pub(crate) fn with_thread<R>(f: impl FnOnce(&ThreadRecord) -> R) -> R {
    let record = NonNull::new(RECORD.get().cast_mut()).unwrap_or_else(enrol_thread);
    // SAFETY: the cell holds a counted reference, given up only by a destructor that cannot run inside `f`.
    f(unsafe { record.as_ref() })
}

#[cold]
fn enrol_thread() -> NonNull<ThreadRecord> {
    let record = NonNull::from(Box::leak(Box::new(ThreadRecord {
        parkable: Parkable {
            kind: ParkKind::Thread,
            refs: AtomicU32::new(1),
        },
        parker: ThreadParker::new(),
        permit: AtomicBool::new(false),
        interrupts: Interrupts::new(true),
        block_ons: Cell::new(0),
        woken: AtomicU32::new(0),
        id: next_id(),
        name: std::thread::current().name().map(Into::into),
    })));
    RECORD.set(record.as_ptr());
    // A thread whose destructors are past this one's leaks the record that it makes then: one a thread at most.
    let _ = RELEASE.try_with(|_| {});
    record
}
