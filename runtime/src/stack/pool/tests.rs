use super::super::cache::StackCache;
use super::super::child;
use super::*;

const MODES: [Guards; 2] = [Guards::Auto, Guards::Mprotect];

fn sizes() -> [StackSize; 2] {
    [StackSize::DEFAULT, StackSize::new(1 << 20).unwrap()]
}

/// Promise 46.
#[test]
fn the_limit_is_exact_whoever_reserves_and_whatever_the_size() {
    let pool = StackPool::new(StackSize::DEFAULT, 2, Some(10), Guards::Auto);
    let mut cache = StackCache::new(Arc::clone(&pool));
    let mut other = StackCache::new(Arc::clone(&pool));
    let [default, large] = sizes();
    for round in 0..100 {
        for _ in 0..3 {
            cache.reserve(default).unwrap();
            other.reserve(default).unwrap();
            other.reserve(large).unwrap();
        }
        pool.reserve(default).unwrap();
        let refusals = [
            cache.reserve(default),
            other.reserve(large),
            pool.reserve(default),
        ]
        .map(Result::unwrap_err);
        for error in refusals {
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "round {round}");
            assert!(
                error.to_string().contains("max_coroutines is 10"),
                "{error}"
            );
        }
        for _ in 0..3 {
            other.unreserve(default);
            cache.unreserve(default);
            cache.unreserve(large);
        }
        cache.unreserve(default);
    }
}

#[test]
fn a_limit_is_exact_between_threads() {
    let pool = StackPool::new(StackSize::DEFAULT, 4, Some(100), Guards::Auto);
    let given: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut cache = StackCache::new(Arc::clone(&pool));
                    (0..100)
                        .filter(|_| cache.reserve(StackSize::DEFAULT).is_ok())
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(given, 100);
}

#[test]
fn a_reservation_from_a_plain_thread_is_taken_by_a_worker() {
    let pool = StackPool::new(StackSize::DEFAULT, 1, None, Guards::Auto);
    let mut cache = StackCache::new(Arc::clone(&pool));
    for size in sizes() {
        pool.reserve(size).unwrap();
        let stack = cache.take(size);
        assert_eq!(stack.size(), size);
        cache.put(stack);
        cache.unreserve(size);
    }
}

#[test]
fn a_pool_that_is_dropped_leaves_no_mapping_and_no_stack_is_unmapped_under_its_owner() {
    const TEST: &str =
        "a_pool_that_is_dropped_leaves_no_mapping_and_no_stack_is_unmapped_under_its_owner";
    if child::role().is_none() {
        return child::run_and_pass(module_path!(), TEST, "child");
    }
    let run = |guards, lose_one: bool| {
        let pool = StackPool::new(StackSize::DEFAULT, 2, None, guards);
        let mut cache = StackCache::new(Arc::clone(&pool));
        let mut lost = None;
        for size in sizes() {
            (0..200).for_each(|_| cache.reserve(size).unwrap());
            let mut stacks: Vec<_> = (0..200).map(|_| cache.take(size)).collect();
            if lose_one {
                lost = stacks.pop();
            }
            stacks.into_iter().for_each(|stack| cache.put(stack));
        }
        lost
    };
    run(Guards::Auto, false);
    let before = child::mappings();
    MODES
        .iter()
        .for_each(|guards| assert!(run(*guards, false).is_none()));
    assert_eq!(child::mappings(), before);
    for guards in MODES {
        let stack = run(guards, true).expect("one stack is out");
        let address = stack.usable().start;
        // SAFETY: a usable byte of a stack that the test owns.
        unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
    }
}

/// Promise 46: the reservation fails, everything that was there goes on, and what is given back can
/// be had again.
#[test]
fn a_failed_reservation_reserves_nothing() {
    const TEST: &str = "a_failed_reservation_reserves_nothing";
    if child::role().is_none() {
        return child::run_and_pass(module_path!(), TEST, "child");
    }
    let limit = libc::rlimit {
        rlim_cur: 2 << 30,
        rlim_max: 2 << 30,
    };
    // SAFETY: reads `limit` only; the process is this test's own.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    let pool = StackPool::new(StackSize::DEFAULT, 1, Some(1_000_000), Guards::Auto);
    let mut cache = StackCache::new(Arc::clone(&pool));
    let size = StackSize::DEFAULT;
    let mut given = 0;
    let error = loop {
        match cache.reserve(size) {
            Ok(()) => given += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("cannot map"), "{error}");
    assert!(given > 1000, "{given}");
    assert_eq!(pool.live.load(Ordering::Relaxed), given);
    assert_eq!(pool.class(size).counts().reserved, given);
    cache.unreserve(size);
    cache.reserve(size).unwrap();
    let stacks: Vec<_> = (0..given).map(|_| cache.take(size)).collect();
    assert_eq!(stacks.len(), given);
}

/// Promise 48; the lowest counts are those of caches, which are small.
#[test]
fn a_spike_is_given_back_and_then_nobody_is_called_again() {
    let pool = StackPool::new(StackSize::DEFAULT, 1, None, Guards::Auto);
    let mut cache = StackCache::new(Arc::clone(&pool));
    let mut now = Instant::now();
    assert_eq!(pool.maintain(now), None, "nothing was used yet");
    let spike = |cache: &mut StackCache| {
        for size in sizes() {
            (0..3000).for_each(|_| cache.reserve(size).unwrap());
            let stacks: Vec<_> = (0..3000).map(|_| cache.take(size)).collect();
            for stack in stacks {
                cache.put(stack);
                cache.unreserve(size);
            }
        }
    };
    for round in 0..2 {
        spike(&mut cache);
        let mut calls = 0;
        while let Some(next) = pool.maintain(now) {
            now = next;
            calls += 1;
            assert!(calls < 1000, "round {round}");
        }
        for size in sizes() {
            let counts = pool.class(size).counts();
            assert!(counts.warm <= 1024, "{counts:?}");
            assert!(counts.reserved <= 128, "{counts:?}");
        }
        assert_eq!(pool.maintain(now), None);
    }
}
