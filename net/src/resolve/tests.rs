//! Lookups by a resolver that answers when the test says so.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use withy_runtime::sync::Semaphore;
use withy_runtime::{Runtime, blocking, now, sleep, spawn, timeout};

use super::{Answer, ask};

/// Nothing here waits so long; what did would be noticed.
const AGES: Duration = Duration::from_secs(1_000_000);

/// A resolver that hangs until it is released, and counts.
#[derive(Clone, Default)]
struct Resolver {
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    released: Arc<(Mutex<bool>, Condvar)>,
}

impl Resolver {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }

    /// Holds its thread, as getaddrinfo does.
    fn resolve(&self) -> Answer {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let (released, changed) = &*self.released;
        drop(changed.wait_while(released.lock().unwrap(), |released| !*released));
        self.ended.fetch_add(1, Ordering::SeqCst);
        Ok(vec![answer()].into_iter())
    }

    fn release(&self) {
        *self.released.0.lock().unwrap() = true;
        self.released.1.notify_all();
    }

    fn ask(&self, gate: &'static Semaphore, limit: Option<Duration>) -> Answer {
        let resolver = self.clone();
        ask(gate, limit, move || resolver.resolve())
    }
}

fn answer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 80))
}

fn gate(permits: usize) -> &'static Semaphore {
    Box::leak(Box::new(Semaphore::new(permits)))
}

fn each_runtime(test: impl Fn(&Runtime)) {
    for workers in [1, 2, 8] {
        let builder = Runtime::builder().workers(workers);
        test(&builder.build().expect("a runtime can be built"));
    }
}

/// Waits for what others bring about.
fn until(condition: impl Fn() -> bool) {
    let limit = now() + Duration::from_secs(60);
    while !condition() {
        assert!(now() < limit, "waited a minute");
        sleep(Duration::from_micros(100));
    }
}

/// The answer comes to coroutines and threads, and the permit comes back.
#[test]
fn who_asks_gets_the_answer() {
    each_runtime(|runtime| {
        let gate = gate(1);
        let resolver = Resolver::default();
        resolver.release();
        for limit in [None, Some(AGES), Some(Duration::MAX)] {
            let asking = resolver.clone();
            let answers = runtime.spawn(move || asking.ask(gate, limit)).join();
            assert_eq!(answers.unwrap().unwrap().as_slice(), [answer()]);
            assert_eq!(
                resolver.ask(gate, limit).unwrap().as_slice(),
                [answer()],
                "a plain thread"
            );
        }
        until(|| gate.available_permits() == 1);
        assert_eq!((resolver.begun(), resolver.ended()), (6, 6));
    });
}

/// Promises 23 and 27. A timeout around a lookup, and one of its own, end it while the resolver hangs still, which goes on to its end alone.
#[test]
fn a_timeout_does_not_wait_for_the_resolver() {
    each_runtime(|runtime| {
        let gate = gate(8);
        let resolver = Resolver::default();
        let asking = resolver.clone();
        let ask_twice = move || {
            let before = asking.begun();
            let bounded = timeout(Duration::from_millis(20), || asking.ask(gate, None));
            assert!(bounded.is_err());
            let limit = Some(Duration::from_millis(20));
            let error = asking.ask(gate, limit).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(error.to_string().contains("within 20ms"), "{error}");
            (before, asking.ended())
        };
        let as_coroutine = runtime.spawn(ask_twice.clone()).join().unwrap();
        assert_eq!(as_coroutine.1, 0, "they hang still");
        let as_thread = thread::spawn(ask_twice).join().unwrap();
        assert_eq!(as_thread.1, 0, "they hang still");
        resolver.release();
        until(|| resolver.ended() == resolver.begun() && gate.available_permits() == 8);
    });
}

/// Promises 28 and 29. A cancelled lookup unwinds at once; its permit comes back when the resolver has ended.
#[test]
fn a_cancellation_does_not_wait_for_the_resolver() {
    each_runtime(|runtime| {
        let gate = gate(1);
        let resolver = Resolver::default();
        let asking = resolver.clone();
        let caller = runtime.spawn(move || asking.ask(gate, None));
        until(|| resolver.begun() == 1);
        caller.cancel();
        assert!(caller.join().is_err());
        assert_eq!((resolver.ended(), gate.available_permits()), (0, 0));
        resolver.release();
        until(|| gate.available_permits() == 1);
        assert_eq!(resolver.ended(), 1);
    });
}

/// Promises 28 and 29. Who waits for a permit can leave too, and takes none with it; nothing was asked for it.
#[test]
fn who_queues_for_a_permit_can_leave() {
    each_runtime(|runtime| {
        let gate = gate(1);
        let resolver = Resolver::default();
        let asking = resolver.clone();
        let first = runtime.spawn(move || asking.ask(gate, None));
        until(|| resolver.begun() == 1);
        let asking = resolver.clone();
        let cancelled = runtime.spawn(move || asking.ask(gate, None));
        let asking = resolver.clone();
        let late = runtime.spawn(move || asking.ask(gate, Some(Duration::from_millis(5))));
        let error = late.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        resolver.release();
        assert!(first.join().unwrap().is_ok());
        until(|| gate.available_permits() == 1);
        assert_eq!(resolver.begun(), 1);
    });
}

/// Law 8. Lookups that hang hold as many threads of the pool as there are permits, and no more: file work goes on beside them.
#[test]
fn lookups_that_hang_leave_threads_to_others() {
    for workers in [1, 2, 8] {
        let builder = Runtime::builder().workers(workers).blocking_threads(4);
        let runtime = builder.build().expect("a runtime can be built");
        let gate = gate(3);
        let resolver = Resolver::default();
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let asking = resolver.clone();
                runtime.spawn(move || asking.ask(gate, None))
            })
            .collect();
        until(|| resolver.begun() == 3);
        for n in 0..100 {
            assert_eq!(runtime.run(|| blocking(|| n)), n);
        }
        assert_eq!(resolver.begun(), 3);
        resolver.release();
        for caller in callers {
            assert!(caller.join().unwrap().is_ok());
        }
        assert_eq!(resolver.ended(), 50);
    }
}

/// A job that has not begun is cancelled with its caller: the resolver is never asked.
#[test]
fn a_job_that_waits_for_a_thread_leaves_with_its_caller() {
    let builder = Runtime::builder().workers(1).blocking_threads(1);
    let runtime = builder.build().expect("a runtime can be built");
    let gate = gate(2);
    let resolver = Resolver::default();
    let holder = Resolver::default();
    let held = holder.clone();
    let holding = runtime.spawn(move || blocking(move || held.resolve().map(drop)));
    until(|| holder.begun() == 1);
    let asking = resolver.clone();
    let caller = runtime.spawn(move || asking.ask(gate, None));
    until(|| gate.available_permits() == 1);
    caller.cancel();
    assert!(caller.join().is_err());
    until(|| gate.available_permits() == 2);
    holder.release();
    holding.join().unwrap().unwrap();
    assert_eq!(resolver.begun(), 0);
}

/// A lookup whose runtime goes away is over with an error, wherever its caller is; none is left waiting.
#[test]
fn a_shutdown_ends_the_wait() {
    let gate = gate(2);
    let resolver = Resolver::default();
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let asking = resolver.clone();
    let caller = runtime.spawn(move || asking.ask(gate, None));
    until(|| resolver.begun() == 1);
    let late = resolver.clone();
    // The shutdown waits for the resolver, as for all blocking work, so that is let go from elsewhere.
    let releasing = thread::spawn(move || {
        until(|| caller.is_finished());
        late.release();
        caller.join()
    });
    runtime.shutdown(Duration::from_secs(60)).unwrap();
    assert!(releasing.join().unwrap().is_err(), "it was cancelled");
    assert_eq!(gate.available_permits(), 2);
}

/// Law 5. A destructor that looks a name up while its coroutine unwinds from a cancellation gets an error.
#[test]
fn nothing_is_looked_up_while_a_cancellation_unwinds() {
    struct AsksInDrop(Resolver, &'static Semaphore, Arc<Mutex<Option<Answer>>>);
    impl Drop for AsksInDrop {
        fn drop(&mut self) {
            *self.2.lock().unwrap() = Some(self.0.ask(self.1, None));
        }
    }
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (resolver, gate) = (Resolver::default(), gate(1));
    let outcome = Arc::new(Mutex::new(None));
    let guard = AsksInDrop(resolver.clone(), gate, outcome.clone());
    let sleeper = runtime.spawn(move || {
        let _guard = guard;
        spawn(|| ()).join().unwrap();
        sleep(AGES);
    });
    sleeper.cancel();
    assert!(sleeper.join().is_err());
    let outcome = outcome.lock().unwrap().take().expect("it was dropped");
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(resolver.begun(), 0);
}

/// A runtime that has all the coroutines that it may have looks names up all the same.
#[test]
fn a_full_runtime_still_looks_names_up() {
    let builder = Runtime::builder().workers(1).max_coroutines(1);
    let runtime = builder.build().expect("a runtime can be built");
    let (resolver, gate) = (Resolver::default(), gate(1));
    resolver.release();
    let asking = resolver.clone();
    let answers = runtime.run(move || {
        let unlimited = asking.ask(gate, None).unwrap();
        let error = asking.ask(gate, Some(AGES)).unwrap_err();
        (unlimited, error.kind(), gate.available_permits())
    });
    assert_eq!(answers.0.as_slice(), [answer()]);
    assert_eq!((answers.1, answers.2), (io::ErrorKind::OutOfMemory, 1));
}
