//! What is left in a wheel by those who have ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::time::Moment;
use crate::{Runtime, context, park_timeout, spawn, spawn_local, yield_now};

/// Waits when it is dropped, with a deadline that is far away when the wait ends.
struct Waits;

impl Drop for Waits {
    fn drop(&mut self) {
        let me = crate::current();
        spawn_local(move || me.unpark());
        park_timeout(Duration::from_secs(3600));
        DROPPED.store(true, Ordering::Relaxed);
    }
}

static DROPPED: AtomicBool = AtomicBool::new(false);

/// A detached coroutine drops its result itself, after its closure has ended, and the destructor may wait. A timer that it
/// left in the wheel would be fired on a record that is gone.
#[test]
fn a_result_that_waits_when_it_is_dropped_leaves_no_timer() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        drop(spawn(|| Waits));
        while !DROPPED.load(Ordering::Relaxed) {
            yield_now();
        }
        yield_now();
        let next = context::current_worker().unwrap().next_timer();
        assert_eq!(next, Moment::NEVER);
    });
}
