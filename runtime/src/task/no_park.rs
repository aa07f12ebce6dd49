//! Regions in which a coroutine must not park.

use crate::context;
use crate::task::header::Header;

/// Runs `f` and panics if it would park or yield its coroutine.
///
/// For code that must not interleave with other coroutines of its worker: thread-local code that believes itself
/// nested (see the crate's guarantees). A forced yield (call budget, time slice) waits until the end of the region.
/// On a plain thread `f` just runs.
///
/// # Panics
/// If `f` reaches a call that would suspend the coroutine.
///
/// # Examples
/// ```
/// let n = withy_runtime::no_park(|| 1 + 1);
/// assert_eq!(n, 2);
/// ```
pub fn no_park<T>(f: impl FnOnce() -> T) -> T {
    let task = context::current_task();
    // SAFETY: the running coroutine's record is alive while it runs, and `f` ends before.
    let _forbidden = task.map(|task| NoPark::new(unsafe { task.as_ref() }));
    f()
}

/// While it lives, parking is forbidden to a coroutine, or (lifted) allowed again within such a region.
pub(crate) struct NoPark<'a> {
    task: &'a Header,
    before: u32,
}

impl<'a> NoPark<'a> {
    pub(crate) fn new(task: &'a Header) -> NoPark<'a> {
        let before = task.no_park.get();
        task.no_park.set(before + 1);
        NoPark { task, before }
    }

    pub(crate) fn lifted(task: &'a Header) -> NoPark<'a> {
        NoPark {
            task,
            before: task.no_park.replace(0),
        }
    }
}

impl Drop for NoPark<'_> {
    fn drop(&mut self) {
        self.task.no_park.set(self.before);
    }
}

/// Panics if the calling coroutine is inside `no_park`.
pub(crate) fn assert_may_park() {
    if let Some(task) = context::current_task() {
        // SAFETY: the running coroutine's record is alive while it runs.
        refuse_no_park(unsafe { task.as_ref() }, "park");
    }
}

#[inline]
pub(crate) fn refuse_no_park(task: &Header, what: &str) {
    assert!(
        task.no_park.get() == 0,
        "a coroutine must not {what} inside withy::no_park or a hook of on_switch: code up the stack relies on it"
    );
}
