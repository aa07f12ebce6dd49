//! A coroutine's handle as a future, on executors that know nothing of withy.

use std::future::IntoFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use withy::{Cancelled, CoroutineId, JoinFuture, block_on};

use crate::rig::{Drops, each_runtime, stress_rounds, text_of, until};
use crate::support::{LIMIT, matrix, rest, runtime, within};

/// A waker that counts. Its Arc's count says how many of them there are.
#[derive(Default)]
struct Counter {
    woken: AtomicUsize,
    /// What is done besides.
    also: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Counter {
    fn new() -> Arc<Counter> {
        Arc::default()
    }

    fn and(also: impl FnOnce() + Send + 'static) -> Arc<Counter> {
        let counter = Counter::new();
        *counter.also.lock().unwrap() = Some(Box::new(also));
        counter
    }

    fn woken(&self) -> usize {
        self.woken.load(Ordering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        let also = self.also.lock().unwrap().take();
        if let Some(also) = also {
            also();
        }
        self.woken.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<T>(future: &mut JoinFuture<T>, waker: &Arc<Counter>) -> Poll<std::thread::Result<T>> {
    let waker = Waker::from(waker.clone());
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

fn ready<T>(polled: Poll<std::thread::Result<T>>) -> std::thread::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it is pending"),
    }
}

/// A coroutine that ends when it is unparked, with a value.
fn parked(runtime: &withy::Runtime) -> JoinFuture<i32> {
    let parked = || {
        withy::park();
        7
    };
    runtime.spawn(parked).into_future()
}

/// Promise 41, for futures. What `join` gives: a value (of `spawn_blocking`, too), a panic, a cancellation; early and late, by `block_on` on a
/// coroutine and a thread, and by a foreign executor.
#[test]
fn a_future_gives_what_join_gives() {
    let executors: [fn(JoinFuture<i32>) -> std::thread::Result<i32>; 2] = [block_on, |child| {
        // It blocks its thread, so not that of a worker.
        withy::blocking(|| futures_lite::future::block_on(child))
    }];
    for execute in executors {
        matrix(LIMIT, "awaited coroutines", |case| {
            let spawn = |f: fn() -> i32| case.runtime.spawn(f);
            let run =
                |handle: withy::JoinHandle<i32>| case.run(move || execute(handle.into_future()));
            let late = || {
                withy::sleep(Duration::from_micros(200));
                1
            };
            assert_eq!(run(spawn(late)).unwrap(), 1);
            let early = spawn(|| 2);
            until(|| early.is_finished());
            assert_eq!(run(early).unwrap(), 2);
            let payload = run(spawn(|| panic!("a coroutine"))).unwrap_err();
            assert_eq!(text_of(&*payload), "a coroutine");
            let cancelled = spawn(|| {
                withy::park();
                3
            });
            cancelled.cancel();
            assert!(run(cancelled).unwrap_err().is::<Cancelled>());
            assert_eq!(run(withy::spawn_blocking(|| 4)).unwrap(), 4);
        });
    }
}

/// `block_on` takes a handle as it is, `await` does, and a coroutine's own may be as little `Send` as they like.
#[test]
fn handles_can_be_awaited_as_they_are() {
    each_runtime("awaited handles", |runtime, _| {
        runtime.run(|| {
            assert_eq!(block_on(withy::spawn(|| 1)).unwrap(), 1);
            let shared = Rc::new(2);
            let local = withy::spawn_local({
                let shared = shared.clone();
                move || shared
            });
            let sum = block_on(async { *local.await.unwrap() + *shared });
            assert_eq!(sum, 4);
        });
    });
}

/// Two executors in turn: the waker of the last poll is woken, once, and those before are dropped as soon as they are replaced.
#[test]
fn the_last_waker_is_woken() {
    each_runtime("two executors in turn", |runtime, label| {
        let mut child = parked(runtime);
        let (first, second) = (Counter::new(), Counter::new());
        assert!(poll(&mut child, &first).is_pending());
        assert!(poll(&mut child, &first).is_pending());
        assert_eq!(Arc::strong_count(&first), 2, "one is kept");
        assert!(poll(&mut child, &second).is_pending());
        assert_eq!(
            (Arc::strong_count(&first), Arc::strong_count(&second)),
            (1, 2)
        );
        child.coroutine().unpark();
        until(|| second.woken() == 1);
        assert_eq!(ready(poll(&mut child, &first)).unwrap(), 7, "{label}");
        until(|| Arc::strong_count(&second) == 1);
        assert_eq!((first.woken(), second.woken()), (0, 1));

        // Real ones: polled on a thread of another executor, then by ours.
        let mut child = parked(runtime);
        let pending = futures_lite::future::block_on(futures_lite::future::poll_once(&mut child));
        assert!(pending.is_none());
        let target = child.coroutine();
        let waiter = runtime.spawn(move || block_on(child));
        runtime.run(withy::yield_now);
        target.unpark();
        assert_eq!(waiter.join().unwrap().unwrap(), 7);
    });
}

/// Dropping it detaches: the coroutine goes on, its result is dropped once at its end, and the waker at once, unwoken.
#[test]
fn dropping_a_future_detaches_its_coroutine() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    each_runtime("futures that are dropped", |runtime, label| {
        DROPPED.store(0, Ordering::SeqCst);
        let waker = Counter::new();
        let waits = || {
            withy::park();
            Drops(&DROPPED)
        };
        let mut child = runtime.spawn(waits).into_future();
        assert!(poll(&mut child, &waker).is_pending());
        let target = child.coroutine();
        drop(child);
        assert_eq!(Arc::strong_count(&waker), 1);
        assert_eq!(DROPPED.load(Ordering::SeqCst), 0);
        target.unpark();
        until(|| DROPPED.load(Ordering::SeqCst) == 1);
        // Never polled.
        let child = runtime.spawn(waits).into_future();
        let target = child.coroutine();
        drop(child);
        target.unpark();
        until(|| DROPPED.load(Ordering::SeqCst) == 2);
        // After the end: of one that was polled, and of one that was not.
        let mut child = runtime.spawn(waits).into_future();
        assert!(poll(&mut child, &waker).is_pending());
        child.coroutine().unpark();
        until(|| waker.woken() == 1);
        drop(child);
        assert_eq!(DROPPED.load(Ordering::SeqCst), 3, "{label}");
        let ended = runtime.spawn(|| Drops(&DROPPED));
        until(|| ended.is_finished());
        drop(ended.into_future());
        assert_eq!(DROPPED.load(Ordering::SeqCst), 4, "{label}");
        until(|| Arc::strong_count(&waker) == 1);
    });
}

/// Law 11. The waker is woken on the coroutine's stack, where it may do what code may do there: wait, take locks, use locals; even if the
/// coroutine was cancelled, which would unwind any other wait.
#[test]
fn a_waker_may_wait_where_it_is_woken() {
    withy::coroutine_local! {
        static LOCAL: Drops<'static> = Drops(&DESTROYED);
    }
    static DESTROYED: AtomicUsize = AtomicUsize::new(0);
    each_runtime("wakers that wait", |runtime, label| {
        for cancelled in [false, true] {
            DESTROYED.store(0, Ordering::SeqCst);
            let mut child = parked(runtime);
            let id = child.coroutine().id();
            let lock = Arc::new(withy::sync::Mutex::new(()));
            let woken_by: Arc<Mutex<Option<CoroutineId>>> = Arc::default();
            let waits = Arc::new(AtomicBool::new(false));
            let waker = Counter::and({
                let (lock, woken_by) = (lock.clone(), woken_by.clone());
                let waits = waits.clone();
                move || {
                    LOCAL.with(|_| ());
                    withy::sleep(Duration::from_micros(100));
                    waits.store(true, Ordering::SeqCst);
                    drop(lock.lock().unwrap());
                    withy::yield_now();
                    *woken_by.lock().unwrap() = Some(withy::current().id());
                }
            });
            let locked = lock.lock().unwrap();
            assert!(poll(&mut child, &waker).is_pending());
            if cancelled {
                child.cancel();
            } else {
                child.coroutine().unpark();
            }
            // Behind the sleep in the waker.
            until(|| waits.load(Ordering::SeqCst));
            rest::until_all_sleep(&rest::workers_of(runtime));
            assert_eq!(waker.woken(), 0);
            drop(locked);
            until(|| waker.woken() == 1);
            let result = ready(poll(&mut child, &waker));
            assert_eq!(result.is_err(), cancelled, "{label}");
            assert_eq!(*woken_by.lock().unwrap(), Some(id), "{label}");
            until(|| DESTROYED.load(Ordering::SeqCst) == 1);
        }
    });
}

/// An executor that polls on the spot, within the wake-up: the future is ready there, and may be dropped there.
#[test]
fn a_waker_may_poll_the_future_on_the_spot() {
    each_runtime("futures polled by their wakers", |runtime, label| {
        let child = Arc::new(Mutex::new(Some(parked(runtime))));
        let result = Arc::new(Mutex::new(None));
        let waker = Counter::and({
            let (child, result) = (child.clone(), result.clone());
            move || {
                let mut child = child.lock().unwrap().take().unwrap();
                let polled = ready(poll(&mut child, &Counter::new()));
                *result.lock().unwrap() = Some(polled.unwrap());
            }
        });
        let target = {
            let mut child = child.lock().unwrap();
            let child = child.as_mut().unwrap();
            assert!(poll(child, &waker).is_pending());
            child.coroutine()
        };
        target.unpark();
        until(|| waker.woken() == 1);
        assert_eq!(*result.lock().unwrap(), Some(7), "{label}");
        assert_eq!(runtime.run(|| 1), 1);
    });
}

/// Promise 52, for wakers: a waker's panic reaches nobody. The result is there all the same.
#[test]
fn a_panic_of_a_waker_harms_nobody() {
    each_runtime("wakers that panic", |runtime, _| {
        let mut child = parked(runtime);
        let waker = Counter::and(|| panic!("a waker"));
        assert!(poll(&mut child, &waker).is_pending());
        child.coroutine().unpark();
        // Its own reference goes with the panic.
        until(|| Arc::strong_count(&waker) == 1);
        assert_eq!(ready(poll(&mut child, &waker)).unwrap(), 7);
        assert_eq!(runtime.run(|| 1), 1);
    });
}

/// As of a generator that has returned.
#[test]
fn a_future_is_not_polled_after_its_end() {
    each_runtime("a poll too many", |runtime, _| {
        let mut child = runtime.spawn(|| 1).into_future();
        assert_eq!(block_on(&mut child).unwrap(), 1);
        let again = catch_unwind(AssertUnwindSafe(|| poll(&mut child, &Counter::new())));
        let payload = again.map(|_| ()).unwrap_err();
        assert!(text_of(&*payload).contains("after it had given its result"));
        child.cancel();
        child.coroutine().unpark();
    });
}

/// Promise 55. A shutdown cancels what is awaited, and the future says so.
#[test]
fn a_shutdown_ends_what_is_awaited() {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            within(LIMIT, "an awaited coroutine and a shutdown", || {
                let runtime = runtime(workers, full_stealing);
                let child = parked(&runtime);
                let executor = std::thread::spawn(move || futures_lite::future::block_on(child));
                runtime.run(withy::yield_now);
                drop(runtime);
                let result = executor.join().unwrap();
                assert!(result.unwrap_err().is::<Cancelled>());
            });
        }
    }
}

/// Many at once, as async code does it: children are polled in any order, and all of them come.
#[test]
fn stress_many_coroutines_are_awaited_together() {
    each_runtime("batches of awaited coroutines", |runtime, _| {
        for _ in 0..10 * stress_rounds() {
            let children: Vec<_> = (0..100_u64)
                .map(|n| {
                    let child = move || {
                        (0..n % 7).for_each(|_| withy::yield_now());
                        n
                    };
                    runtime.spawn(child).into_future()
                })
                .collect();
            let sum = futures_lite::future::block_on(sum_of(children));
            assert_eq!(sum, 4950);
        }
    });
}

/// Polls all that are pending at each wake-up.
async fn sum_of(mut children: Vec<JoinFuture<u64>>) -> u64 {
    let mut sum = 0;
    std::future::poll_fn(move |context| {
        children.retain_mut(|child| match Pin::new(child).poll(context) {
            Poll::Ready(value) => {
                sum += value.unwrap();
                false
            }
            Poll::Pending => true,
        });
        if children.is_empty() {
            Poll::Ready(sum)
        } else {
            Poll::Pending
        }
    })
    .await
}

/// The coroutine ends while the future is polled with a new waker, or dropped: each waker and each result is dropped once, and a
/// future that was left pending is woken.
#[test]
fn stress_ends_race_with_polls_and_drops() {
    each_runtime("ends of awaited coroutines", |runtime, label| {
        let dropped = Arc::new(AtomicUsize::new(0));
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let rounds = 400 * stress_rounds();
        for round in 0..rounds {
            let go = Arc::new(AtomicBool::new(round % 5 == 0));
            let child = runtime.spawn({
                let (go, dropped) = (go.clone(), dropped.clone());
                move || {
                    while !go.load(Ordering::SeqCst) {
                        withy::yield_now();
                    }
                    Counted(dropped)
                }
            });
            let mut child = child.into_future();
            let wakers: Vec<_> = (0..1 + round % 4).map(|_| Counter::new()).collect();
            let mut result = None;
            for (n, waker) in wakers.iter().enumerate() {
                if n == 1 {
                    go.store(true, Ordering::SeqCst);
                }
                if let Poll::Ready(value) = poll(&mut child, waker) {
                    result = Some(value);
                    break;
                }
            }
            go.store(true, Ordering::SeqCst);
            if result.is_none() && round % 3 > 0 {
                let last = wakers.last().unwrap();
                until(|| last.woken() == 1);
                result = Some(ready(poll(&mut child, last)));
            }
            drop((child, result));
            let left = || wakers.iter().any(|waker| Arc::strong_count(waker) > 1);
            until(|| !left());
            let woken: usize = wakers.iter().map(|waker| waker.woken()).sum();
            assert!(woken <= 1, "{woken} wake-ups ({label})");
        }
        until(|| dropped.load(Ordering::SeqCst) == rounds);
    });
}

/// What is not `Send` cannot be sent by a future. This compiles only if there is exactly one way to see `JoinFuture<Rc<_>>`: not as
/// `Send`.
#[test]
fn a_future_is_send_if_its_result_is() {
    trait Ambiguous<A> {
        fn check() {}
    }
    struct IfSend;
    impl<T> Ambiguous<()> for T {}
    impl<T: Send> Ambiguous<IfSend> for T {}
    <JoinFuture<Rc<u8>> as Ambiguous<_>>::check();
    <withy::JoinHandle<Rc<u8>> as Ambiguous<_>>::check();

    fn send<T: Send + Sync + Unpin + 'static>() {}
    send::<JoinFuture<u8>>();
    send::<JoinFuture<std::marker::PhantomPinned>>();
    fn sync<T: Sync>() {}
    sync::<JoinFuture<Rc<u8>>>();
}
