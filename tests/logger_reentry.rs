//! A logger that itself uses withy. A file of its own: a process has one logger.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::within;

struct SpawningLogger;

static LOGGED: AtomicUsize = AtomicUsize::new(0);

impl log::Log for SpawningLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("withy") {
            LOGGED.fetch_add(1, Ordering::SeqCst);
            withy::spawn(|| ()).join().unwrap();
        }
    }

    fn flush(&self) {}
}

/// Promise 56. Starting the default runtime, mapping stacks and ending runtimes under such a logger neither deadlocks nor panics.
#[test]
fn a_logger_may_spawn_and_wait() {
    log::set_logger(&SpawningLogger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    within(
        Duration::from_secs(30),
        "a runtime whose logger spawns",
        || {
            withy::run(|| {
                let children: Vec<_> = (0..2_000).map(|_| withy::spawn(withy::yield_now)).collect();
                for child in children {
                    child.join().unwrap();
                }
            });
            let runtime = withy::Runtime::builder().workers(2).build().unwrap();
            runtime.run(|| withy::spawn(|| ()).join().unwrap());
        },
    );
    assert!(
        LOGGED.load(Ordering::SeqCst) >= 2,
        "both starts are logged at debug level"
    );
}
