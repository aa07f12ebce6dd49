//! What the tests of `sync` share: two parties of either sort, and a time in which everything has come to rest.

use std::thread::Result;
use std::time::Duration;

use withy::Runtime;

use super::{each_runtime, steal};
use crate::support::{LIMIT, within};

/// Two who meet, each a coroutine or a plain thread.
pub(crate) struct Pair<'a> {
    pub(crate) runtime: &'a Runtime,
    /// Whether each is a coroutine.
    coroutines: [bool; 2],
}

/// One that was started.
pub(crate) struct Party<T>(Box<dyn FnOnce() -> Result<T>>);

impl Pair<'_> {
    /// Starts the first or the second; also several of a sort.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        which: usize,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Party<T> {
        if self.coroutines[which % 2] {
            let started = self.runtime.spawn(body);
            Party(Box::new(move || started.join()))
        } else {
            let started = std::thread::spawn(body);
            Party(Box::new(move || started.join()))
        }
    }
}

impl<T> Party<T> {
    /// Its value; its panic goes on here.
    pub(crate) fn join(self) -> T {
        (self.0)().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    }
}

/// Runs `body` for all pairs of a coroutine or a plain thread with another, on each sort of runtime.
pub(crate) fn each_pair(what: &str, body: impl Fn(&Pair)) {
    each_runtime(what, |runtime, label| {
        for coroutines in [[true, true], [true, false], [false, true], [false, false]] {
            within(
                LIMIT,
                &format!("{what} ({label}, coroutines {coroutines:?})"),
                || {
                    body(&Pair {
                        runtime,
                        coroutines,
                    });
                },
            );
        }
    });
}

/// Runs `test` in a coroutine of a runtime with virtual time, in either steal mode.
pub(crate) fn in_virtual_time(what: &str, test: impl Fn() + Sync) {
    for full_stealing in [false, true] {
        let label = format!("{what} (virtual time, full stealing {full_stealing})");
        within(LIMIT, &label, || {
            let runtime = Runtime::builder()
                .virtual_time()
                .steal(steal(full_stealing))
                .build()
                .expect("a runtime can be built");
            runtime.run(&test);
        });
    }
}

/// In virtual time: returns when all other coroutines wait. A nanosecond has passed then.
pub(crate) fn settle() {
    withy::sleep(Duration::from_nanos(1));
}

/// Whether a `Semaphore` or `Notify` says that somebody waits.
pub(crate) fn somebody_waits(for_it: &impl std::fmt::Debug) -> bool {
    format!("{for_it:?}").contains("waiting: true")
}
