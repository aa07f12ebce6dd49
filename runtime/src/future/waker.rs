//! The wakers that `block_on` makes: a counted reference to its caller's record, and the *level* of the call.
//!
//! Waking one sets a bit of the record's own, that of the level, and unparks (a coroutine: one exchange of its state word).
//! So nothing is allocated, a wake-up that comes before the park or beside others is kept, and what else wakes the caller (the
//! permit of `unpark`, a lock that was handed over, an interruption) is not taken for it.
//!
//! # Levels
//! A future's poll may call `block_on` itself. The wake-ups of the outer call must not be taken by the inner one: the outer would
//! sleep for ever. So each has a bit of its own, by its depth, which stands in the low bits of the waker's address. Whatever is
//! deeper than there are [`LEVELS`] shares the last bit, and puts it back at its end, for those around it: that costs them a poll.
//!
//! A waker may outlive its call, and the coroutine. Woken later, it sets the bit of its level: the next call takes that before it
//! polls for the first time; one that is under way polls once more than it need have. A record that nobody runs any more
//! takes no notice.

use core::mem::ManuallyDrop;
use core::num::NonZero;
use core::ptr::NonNull;
use core::task::{RawWaker, RawWakerVTable, Waker};

use crate::atomic::Ordering;
use crate::task::park::{self, Unparker, View};
use crate::task::state::LEVELS;

/// Where a waker's address has its level: records are 16-byte aligned.
const LEVEL: usize = 15;
const _: () = assert!(LEVELS as usize - 1 <= LEVEL);

/// One for all: `will_wake` compares its address, too.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// One call of `block_on`, while it runs.
pub(super) struct Call {
    waker: Waker,
    /// It shares its bit with a call around it, whose wake-ups it takes, too.
    shared: bool,
}

impl Call {
    /// Of the calling coroutine or thread, inside of those that it is in already.
    pub(super) fn begin() -> Call {
        let me = Unparker::current();
        let depth = block_ons(&me);
        let before = depth.get();
        depth.set(before + 1);
        let call = Call {
            waker: waker(me, before.min(LEVELS - 1)),
            shared: before >= LEVELS,
        };
        // What came for an earlier call.
        call.take_woken();
        call
    }

    #[inline]
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whether the waker was woken since this was asked last. All that was done before is seen then.
    #[inline]
    pub(super) fn take_woken(&self) -> bool {
        self.with_target(|me, level| match me.view() {
            View::Coroutine(task) => task.state.take_woken(level),
            View::Thread(thread) => {
                let bit = 1 << level;
                thread.woken.load(Ordering::Relaxed) & bit != 0
                    && thread.woken.fetch_and(!bit, Ordering::Acquire) & bit != 0
            }
        })
    }

    #[inline]
    fn with_target<R>(&self, f: impl FnOnce(&Unparker, u32) -> R) -> R {
        // SAFETY: the waker is one of ours, and keeps its reference.
        let (me, level) = unsafe { borrow(self.waker.data()) };
        f(&me, level)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.with_target(|me, level| {
            let depth = block_ons(me);
            depth.set(depth.get() - 1);
            if self.shared {
                match me.view() {
                    View::Coroutine(task) => task.state.put_back_woken(level),
                    View::Thread(thread) => {
                        thread.woken.fetch_or(1 << level, Ordering::Relaxed);
                    }
                }
            }
        });
    }
}

/// The depth of calls of the coroutine or thread that calls this, and no other.
fn block_ons(me: &Unparker) -> &core::cell::Cell<u32> {
    match me.view() {
        View::Coroutine(task) => &task.root().block_ons,
        View::Thread(thread) => &thread.block_ons,
    }
}

fn waker(me: Unparker, level: u32) -> Waker {
    let level = NonZero::new(level as usize);
    let data = me
        .into_raw()
        .map_addr(|address| level.map_or(address, |level| address | level));
    // SAFETY: the functions keep the contract: what they reach is made for sharing (`Unparker` is Send and Sync), each waker
    // owns one counted reference, `clone` counts another, `wake` and `drop_waker` give theirs up.
    unsafe { Waker::from_raw(RawWaker::new(data.as_ptr().cast(), &VTABLE)) }
}

/// The reference and the level that a waker consists of. The reference stays the waker's.
///
/// # Safety
/// `data` is that of a waker of ours, which lives longer than what is returned.
#[inline]
unsafe fn borrow(data: *const ()) -> (ManuallyDrop<Unparker>, u32) {
    let level = (data.addr() & LEVEL) as u32;
    let raw = data.map_addr(|address| address & !LEVEL).cast_mut();
    // SAFETY: it was made of a reference, which is not null and has no low bits; and is not given up here.
    let me = unsafe { Unparker::from_raw(NonNull::new_unchecked(raw)) };
    (ManuallyDrop::new(me), level)
}

/// # Safety
/// As for all four: `data` is that of a waker of ours, and the call has what std's contract gives it.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the caller's waker lives meanwhile.
    let (me, _) = unsafe { borrow(data) };
    core::mem::forget((*me).clone());
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker is handed over, its reference with it.
    unsafe {
        wake_by_ref(data);
        drop_waker(data);
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the caller's waker lives meanwhile.
    let (me, level) = unsafe { borrow(data) };
    match me.view() {
        View::Coroutine(task) => park::wake(task, task.state.wake_future(level)),
        View::Thread(thread) => {
            // Release: what was done before the wake-up is seen by the poll after it.
            thread.woken.fetch_or(1 << level, Ordering::Release);
            thread.parker.unpark();
        }
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker is handed over, and its reference given up here.
    let (me, _) = unsafe { borrow(data) };
    drop(ManuallyDrop::into_inner(me));
}
