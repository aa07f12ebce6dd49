//! What is said of coroutines that are left when a shutdown's limit has passed.

mod rig;
mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rig::until;
use support::{LIMIT, within};
use withy::Runtime;

const SOON: Duration = Duration::from_millis(1);

fn started(flag: &AtomicBool) {
    until(|| flag.load(Ordering::SeqCst));
}

/// Shuts `runtime` down, which must not succeed, and gives the error's text.
fn report_of(runtime: Runtime) -> String {
    let error = runtime.shutdown(SOON).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    error.to_string()
}

fn matrix(what: &str, body: impl Fn(Runtime)) {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            within(
                LIMIT,
                &format!("{what}, {workers}, {full_stealing}"),
                || {
                    body(support::runtime(workers, full_stealing));
                },
            );
        }
    }
}

/// Promise 55. One that runs on and on is named first, with its worker, before those that it keeps from unwinding.
#[test]
fn a_coroutine_that_never_waits_is_named_first() {
    matrix("a spinner and 20 that wait", |runtime| {
        let release = Arc::new(AtomicBool::new(false));
        let runs = Arc::new(AtomicBool::new(false));
        let all_wait = Arc::new(AtomicUsize::new(0));
        let parent = runtime.run(|| {
            let (release, runs, waiting) = (release.clone(), runs.clone(), all_wait.clone());
            let builder = withy::Builder::new().name("spinner".into());
            builder.spawn(move || {
                // Local ones stay behind their parent in full stealing, too.
                let waiters: Vec<_> = (0..20)
                    .map(|_| {
                        let waiting = waiting.clone();
                        withy::spawn_local(move || {
                            waiting.fetch_add(1, Ordering::SeqCst);
                            withy::park();
                        })
                    })
                    .collect();
                while waiting.load(Ordering::SeqCst) < 20 {
                    withy::yield_now();
                }
                runs.store(true, Ordering::SeqCst);
                while !release.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                drop(waiters);
            })
        });
        started(&runs);
        let text = report_of(runtime);
        release.store(true, Ordering::SeqCst);
        parent.unwrap().join().unwrap();
        assert!(text.starts_with("21 coroutine(s) ('spinner' "), "{text}");
        assert!(text.contains("runs on worker "), "{text}");
        assert_eq!(
            text.matches("(spawned at tests/shutdown_report.rs:")
                .count(),
            8,
            "{text}"
        );
        assert!(text.contains(", and 13 more) of runtime 'withy'"), "{text}");
    });
}

/// Parks when it is dropped, until it is told to go on.
struct WaitsInDrop(Arc<AtomicBool>, Arc<AtomicBool>);

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        while !self.1.load(Ordering::SeqCst) {
            withy::park();
        }
    }
}

/// Promise 55. One that waits in a destructor is named while its worker sleeps.
#[test]
fn a_coroutine_that_waits_while_it_unwinds_is_named() {
    matrix("a destructor that parks", |runtime| {
        let unwinds = Arc::new(AtomicBool::new(false));
        let release = Arc::new(AtomicBool::new(false));
        let waits = WaitsInDrop(unwinds.clone(), release.clone());
        let line = line!() + 3;
        let stuck = runtime.run(|| {
            let builder = withy::Builder::new().name("unwinder".into());
            builder.spawn(move || {
                let _waits = waits;
                withy::park();
            })
        });
        let stuck = stuck.unwrap();
        let id = format!("{:?}", stuck.coroutine().id());
        let number: String = id.chars().filter(char::is_ascii_digit).collect();
        let result = runtime.shutdown(LIMIT.min(Duration::from_millis(200)));
        let text = result.unwrap_err().to_string();
        started(&unwinds);
        release.store(true, Ordering::SeqCst);
        stuck.coroutine().unpark();
        assert!(stuck.join().is_err());
        let place = format!("tests/shutdown_report.rs:{line}:");
        assert!(
            text.starts_with(&format!(
                "1 coroutine(s) ('unwinder' #{number} (spawned at {place}"
            )),
            "{text}"
        );
    });
}

/// Promise 55. Coroutines that never stand still for a look are counted; whoever is named is one of them.
#[test]
fn coroutines_that_yield_without_end_are_counted() {
    matrix("three that yield for ever", |runtime| {
        let release = Arc::new(AtomicBool::new(false));
        let yielding = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..3)
            .map(|_| {
                let (release, yielding) = (release.clone(), yielding.clone());
                runtime.spawn(move || {
                    yielding.fetch_add(1, Ordering::SeqCst);
                    while !release.load(Ordering::SeqCst) {
                        // What swallows its cancellation meets it again.
                        let pass = std::panic::AssertUnwindSafe(withy::yield_now);
                        drop(std::panic::catch_unwind(pass));
                    }
                })
            })
            .collect();
        until(|| yielding.load(Ordering::SeqCst) == 3);
        let text = report_of(runtime);
        release.store(true, Ordering::SeqCst);
        handles
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
        assert!(text.starts_with("3 coroutine(s)"), "{text}");
        let named = text.matches("(spawned at ").count();
        assert_eq!(
            named,
            text.matches("(spawned at tests/shutdown_report.rs:")
                .count(),
            "{text}"
        );
        assert!(named <= 3, "{text}");
    });
}
