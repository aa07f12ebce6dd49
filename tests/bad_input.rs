//! Settings and spawns that cannot be granted: which error says what.

mod rig;
mod support;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rig::{each_runtime, text_of};
use support::{LIMIT, within};
use withy::Runtime;

/// Zero workers and too many: the number and the range.
#[test]
fn a_number_of_workers_out_of_range_is_refused() {
    for workers in [0, 1_025, usize::MAX] {
        let error = Runtime::builder().workers(workers).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(
            text.contains(&workers.to_string()) && text.contains("1 to 1024"),
            "{text}"
        );
    }
}

/// A size below the least, or between powers of two, is rounded up; one beyond the most is refused.
#[test]
fn stack_sizes_are_rounded_up_and_limited() {
    within(LIMIT, "stacks of many sizes", || {
        for bytes in [0, 1, 4_096, 100_000, (128 << 10) + 1, 1 << 20] {
            let runtime = Runtime::builder()
                .workers(1)
                .stack_size(bytes)
                .build()
                .unwrap();
            // As much as was asked for can be used, less the guard.
            runtime.run(|| use_stack(bytes.saturating_sub(64 << 10).max(32 << 10) * 3 / 4));
            let child = runtime.run(|| {
                withy::Builder::new()
                    .stack_size(bytes)
                    .spawn(move || use_stack(30 << 10))
                    .unwrap()
            });
            child.join().unwrap();
        }
        for bytes in [(1 << 30) + 1, usize::MAX] {
            let error = Runtime::builder().stack_size(bytes).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&bytes.to_string()), "{error}");
            let runtime = Runtime::builder().workers(1).build().unwrap();
            let error = runtime.run(|| {
                withy::Builder::new()
                    .stack_size(bytes)
                    .spawn(|| ())
                    .unwrap_err()
            });
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
}

/// Touches `bytes` of the caller's stack.
fn use_stack(bytes: usize) {
    fn down_to(lowest: usize) {
        let block = std::hint::black_box([1_u8; 1024]);
        if block.as_ptr() as usize > lowest {
            down_to(lowest);
        }
        std::hint::black_box(block);
    }
    let here = 0_u8;
    down_to(&raw const here as usize - bytes);
}

/// Promise 46. The limit is exact, `spawn` panics with the builder's text, and room that is freed can be used again.
#[test]
fn a_maximum_number_of_coroutines_is_kept_exactly() {
    for workers in [1, 2, 8] {
        within(LIMIT, "coroutines at their limit", || {
            let runtime = Runtime::builder()
                .workers(workers)
                .max_coroutines(10)
                .build()
                .unwrap();
            for _ in 0..3 {
                let mut parked: Vec<_> = (0..9).map(|_| runtime.spawn(withy::park)).collect();
                let text = runtime.run(|| {
                    // This one is the tenth.
                    let error = withy::Builder::new().spawn(|| ()).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
                    let text = error.to_string();
                    let panic = catch_unwind(|| drop(withy::spawn(|| ()))).unwrap_err();
                    assert!(text_of(&*panic).contains(&text), "{}", text_of(&*panic));
                    text
                });
                assert!(
                    text.contains("max_coroutines") && text.contains("10"),
                    "{text}"
                );
                parked.push(runtime.spawn(withy::park));
                let refused = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn(|| ()))));
                assert!(text_of(&*refused.unwrap_err()).contains("max_coroutines"));
                parked.iter().for_each(|waiter| waiter.coroutine().unpark());
                parked.into_iter().for_each(|waiter| waiter.join().unwrap());
            }
        });
    }
}

/// Promise 46. No memory for a stack: the builder's `Err`, a panic with its text from `spawn`, and what lives goes on.
#[test]
fn no_memory_for_a_stack_is_an_error_and_no_abort() {
    const TEST: &str = "no_memory_for_a_stack_is_an_error_and_no_abort";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    // No watchdog here but the parent: std cannot start a thread without memory, nor end its start.
    // One worker: reservations that come back to another worker stay with that.
    let runtime = support::runtime(1, false);
    let parked: Vec<_> = (0..10).map(|_| runtime.spawn(withy::park)).collect();
    runtime.run(withy::yield_now);
    let used = rig::process::status("VmSize") * 1024;
    rig::process::set_limit(libc::RLIMIT_AS, used + (64 << 20));
    runtime.run(|| {
        let huge = withy::Builder::new().stack_size(1 << 30).spawn(|| 1);
        assert_eq!(huge.map(drop).unwrap_err().kind(), ErrorKind::OutOfMemory);

        // With the default size, too, once what there is has been used up. Nothing of it is lost.
        let mut held = Vec::new();
        let error = loop {
            match withy::Builder::new().spawn(withy::park) {
                Ok(waiter) => held.push(waiter),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
        let panic = catch_unwind(|| drop(withy::spawn(|| ()))).unwrap_err();
        assert!(
            text_of(&*panic).contains(&error.to_string()),
            "{}",
            text_of(&*panic)
        );
        let one = held.pop().expect("some memory was there");
        one.coroutine().unpark();
        one.join().unwrap();
        assert_eq!(
            withy::Builder::new().spawn(|| 7).unwrap().join().unwrap(),
            7
        );
        for waiter in held.into_iter().chain(parked) {
            waiter.coroutine().unpark();
            waiter.join().unwrap();
        }
    });
    assert_eq!(runtime.run(|| 3), 3);
}

/// A refused spawn drops its closure and gives its room back.
#[test]
fn a_refused_spawn_drops_its_closure() {
    within(LIMIT, "refused closures", || {
        let runtime = Runtime::builder()
            .workers(2)
            .max_coroutines(1)
            .build()
            .unwrap();
        let owned = Arc::new(());
        runtime.run(|| {
            for _ in 0..100 {
                let owned = owned.clone();
                assert!(withy::Builder::new().spawn(move || drop(owned)).is_err());
            }
        });
        assert_eq!(Arc::strong_count(&owned), 1);
        assert_eq!(runtime.run(|| 3), 3);
    });
}

/// A panic of a closure's destructor, when its coroutine is dropped unstarted, is as any panic of a coroutine.
#[test]
fn a_panicking_closure_destructor_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a closure's destructor");
        }
    }
    each_runtime("a panicking closure", |runtime, label| {
        let child = runtime.spawn(|| {
            let _bomb = Bomb;
            withy::yield_now();
        });
        let payload = child.join().unwrap_err();
        assert_eq!(text_of(&*payload), "a closure's destructor", "{label}");

        let other = support::runtime(1, false);
        let started = Arc::new(AtomicBool::new(false));
        let release = Arc::new(AtomicBool::new(false));
        let blocker = other.spawn({
            let (started, release) = (started.clone(), release.clone());
            move || {
                started.store(true, Ordering::SeqCst);
                while !release.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            }
        });
        rig::until(|| started.load(Ordering::SeqCst));
        let bomb = Bomb;
        let fresh = other.spawn(move || drop(bomb));
        assert!(other.shutdown(std::time::Duration::ZERO).is_err());
        release.store(true, Ordering::SeqCst);
        blocker.join().unwrap();
        assert_eq!(
            text_of(&*fresh.join().unwrap_err()),
            "a closure's destructor",
            "{label}"
        );
    });
}
