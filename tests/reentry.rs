//! withy called from where its own code is under way: destructors of thread-locals, hooks, loggers.

mod support;

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::within;
use withy::Runtime;

const LIMIT: Duration = Duration::from_secs(30);

struct AtThreadEnd(fn());

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Promise 41, for what exists: a destructor of a thread-local that runs after withy's own may still wait.
#[test]
fn a_destructor_of_a_thread_local_may_join_and_park() {
    thread_local!(static LAST: Cell<Option<AtThreadEnd>> = const { Cell::new(None) });
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    within(LIMIT, "a thread whose destructors wait", || {
        std::thread::spawn(|| {
            // Registered first, so destroyed last.
            LAST.set(Some(AtThreadEnd(|| {
                assert_eq!(withy::spawn(|| 7).join().unwrap(), 7);
                withy::current().unpark();
                withy::park();
                ENDED.fetch_add(1, Ordering::SeqCst);
            })));
            withy::spawn(|| ()).join().unwrap();
        })
        .join()
        .unwrap();
    });
    assert_eq!(ENDED.load(Ordering::SeqCst), 1);
}

/// Promise 35. A hook that parks would take the wake-up of the wait that it is called in: it is refused.
#[test]
fn a_switch_hook_that_parks_is_a_panic_of_the_coroutine() {
    within(LIMIT, "a coroutine whose hook parks", || {
        let runtime = Runtime::builder()
            .workers(1)
            .on_switch(|| withy::sleep(Duration::from_millis(1)), |()| ())
            .build()
            .unwrap();
        let payload = runtime.spawn(withy::park).join().unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(text.contains("on_switch"), "{text}");
    });
}

/// Promise 56. The end of a runtime inside a coroutine of another does not hold that one's worker.
#[test]
fn a_runtime_ends_inside_another_ones_coroutine_whatever_its_threads_still_do() {
    thread_local!(static LAST: Cell<Option<AtThreadEnd>> = const { Cell::new(None) });
    static OUTER: OnceLock<Runtime> = OnceLock::new();
    within(LIMIT, "the end of the inner runtime", || {
        let outer = OUTER.get_or_init(|| Runtime::builder().workers(1).build().unwrap());
        outer.run(|| {
            let inner = Runtime::builder().workers(1).build().unwrap();
            inner.run(|| {
                LAST.set(Some(AtThreadEnd(|| {
                    OUTER.get().unwrap().run(|| ());
                })));
            });
            drop(inner);
        });
    });
}
