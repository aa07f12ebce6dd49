use std::collections::HashSet;

use super::super::slab::Guards;
use super::*;

const SIZE: StackSize = StackSize::DEFAULT;

fn pool(workers: usize) -> Arc<StackPool> {
    StackPool::new(SIZE, workers, None, Guards::Auto)
}

fn touch(stack: &Stack, depth: usize) {
    let address = stack.usable().end - depth;
    // SAFETY: a usable byte of a stack that the test owns.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
}

/// Puts `count` stacks into `cache` that were reserved and taken by it, and returns the
/// reservations.
fn run(cache: &mut StackCache, count: usize, depth: usize) {
    (0..count).for_each(|_| cache.reserve(SIZE).unwrap());
    let stacks: Vec<_> = (0..count).map(|_| cache.take(SIZE)).collect();
    for stack in stacks {
        touch(&stack, depth);
        cache.put(stack);
        cache.unreserve(SIZE);
    }
}

#[test]
fn the_last_stack_put_is_the_first_taken() {
    let mut cache = StackCache::new(pool(1));
    (0..3).for_each(|_| cache.reserve(SIZE).unwrap());
    let stacks: Vec<_> = (0..3).map(|_| cache.take(SIZE)).collect();
    let lows: Vec<_> = stacks.iter().map(Stack::low).collect();
    stacks.into_iter().for_each(|stack| cache.put(stack));
    for low in lows.into_iter().rev() {
        assert_eq!(cache.take(SIZE).low(), low);
    }
}

/// Promise 46: what was reserved is there at the first run, wherever the free stacks lie.
#[test]
fn take_finds_a_stack_with_the_caches_of_all_others_full() {
    const WORKERS: usize = 8;
    let pool = pool(WORKERS);
    let mut caches: Vec<_> = (0..WORKERS)
        .map(|_| StackCache::new(Arc::clone(&pool)))
        .collect();
    caches[1..].iter_mut().for_each(|cache| run(cache, 64, 1));
    assert!(caches[1..].iter().all(|cache| cache.stacks.len() == 64));
    // Their reservations belong to coroutines that will run on the first worker.
    let mut owed = 0;
    for cache in &mut caches[1..] {
        while cache.credits > 0 {
            cache.reserve(SIZE).unwrap();
            owed += 1;
        }
    }
    // So does all the room there is.
    let counts = pool.class(SIZE).counts();
    for _ in counts.reserved + WORKERS * 64..counts.mapped {
        pool.reserve(SIZE).unwrap();
        owed += 1;
    }
    assert_eq!(
        pool.class(SIZE).counts().mapped,
        counts.mapped,
        "room that was there"
    );
    assert_eq!(
        pool.class(SIZE).counts().reserved,
        owed,
        "nobody else has a reservation"
    );
    let out: Vec<_> = (0..owed).map(|_| caches[0].take(SIZE)).collect();
    let distinct: HashSet<_> = out.iter().map(Stack::low).collect();
    assert_eq!(distinct.len(), out.len());
}

#[test]
fn stacks_and_reservations_that_wander_between_workers_stay_whole() {
    let pool = pool(2);
    let (sender, receiver) = std::sync::mpsc::sync_channel(512);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut cache = StackCache::new(Arc::clone(&pool));
            for _ in 0..20_000 {
                cache.reserve(SIZE).unwrap();
                sender.send(cache.take(SIZE)).unwrap();
            }
            drop(sender);
        });
        scope.spawn(|| {
            let mut cache = StackCache::new(Arc::clone(&pool));
            for stack in receiver {
                touch(&stack, 1);
                cache.put(stack);
                cache.unreserve(SIZE);
            }
        });
    });
    let counts = pool.class(SIZE).counts();
    assert_eq!(counts.reserved, 0);
    assert!(counts.mapped <= 2048, "{counts:?}");
}

#[test]
fn a_cache_stays_within_its_capacity_and_credits_within_theirs() {
    let pool = pool(2);
    let mut cache = StackCache::new(Arc::clone(&pool));
    let mut other = StackCache::new(Arc::clone(&pool));
    for _ in 0..1000 {
        other.reserve(SIZE).unwrap();
        let stack = other.take(SIZE);
        cache.put(stack);
        cache.unreserve(SIZE);
        assert!(cache.stacks.len() <= 64);
        assert!(cache.credits <= 128);
        assert!(pool.class(SIZE).counts().reserved <= 2 * 128);
    }
    assert_eq!(cache.stacks.capacity(), 64, "allocated once");
    drop((cache, other));
    assert_eq!(pool.class(SIZE).counts().reserved, 0);
}

#[test]
fn caches_of_large_stacks_are_small() {
    for (mebibytes, expected) in [(1, 64), (2, 32), (32, 2), (64, 2), (1024, 2)] {
        assert_eq!(capacity(StackSize::new(mebibytes << 20).unwrap()), expected);
    }
    let size = StackSize::new(1 << 30).unwrap();
    let mut cache = StackCache::new(StackPool::new(size, 1, None, Guards::Auto));
    (0..5).for_each(|_| cache.reserve(size).unwrap());
    let stacks: Vec<_> = (0..5).map(|_| cache.take(size)).collect();
    stacks.into_iter().for_each(|stack| cache.put(stack));
    assert_eq!(cache.stacks.len(), 2);
}

#[test]
fn other_sizes_pass_by_the_cache() {
    let pool = pool(1);
    let mut cache = StackCache::new(Arc::clone(&pool));
    let large = StackSize::new(4 << 20).unwrap();
    (0..2).for_each(|_| cache.reserve(large).unwrap());
    let stacks = [cache.take(large), cache.take(large)];
    let lows = stacks.each_ref().map(Stack::low);
    stacks.into_iter().for_each(|stack| cache.put(stack));
    assert!(cache.stacks.is_empty());
    assert_eq!(pool.class(large).counts().warm, 2);
    assert_eq!(cache.take(large).low(), lows[1], "the last used one first");
    assert_eq!(cache.take(large).low(), lows[0]);
}

/// Promise 48.
#[test]
fn deeply_used_stacks_are_trimmed_when_they_leave_the_cache() {
    let pool = pool(1);
    let mut cache = StackCache::new(Arc::clone(&pool));
    run(&mut cache, 300, 150_000);
    assert_eq!(cache.stacks.len(), 64);
    let shared = pool.class(SIZE).counts().warm;
    assert!(shared >= 200, "{shared}");
    let mut stacks = Vec::new();
    pool.class(SIZE).take(&mut stacks, shared);
    let deepest = stacks.iter().map(Stack::high_water).max().unwrap();
    assert!(deepest <= 16 << 10, "{deepest} bytes");
}

/// Promises 36 and 48.
#[test]
fn stacks_that_lie_unused_in_an_idle_workers_cache_are_trimmed_and_then_all_is_quiet() {
    let mut cache = StackCache::new(pool(1));
    let now = Instant::now();
    assert_eq!(cache.maintain(now), None, "nothing was used yet");
    run(&mut cache, 40, 150_000);
    let depths = |cache: &StackCache| {
        let deep = |stack: &&Stack| stack.high_water() > 16 << 10;
        cache.stacks.iter().filter(deep).count()
    };
    assert_eq!(depths(&cache), 40);
    let next = cache.maintain(now).expect("used stacks are watched");
    assert_eq!(next, now + PERIOD);
    // One is used again meanwhile.
    run(&mut cache, 1, 150_000);
    let last = cache.maintain(next).expect("that one is watched");
    assert_eq!(depths(&cache), 1);
    assert_eq!(cache.maintain(last), None);
    assert_eq!(depths(&cache), 0);
    assert_eq!(cache.maintain(last + 100 * PERIOD), None);
}

#[test]
fn a_trimmed_stack_that_was_used_again_is_trimmed_again() {
    let mut cache = StackCache::new(pool(1));
    let mut now = Instant::now();
    for _ in 0..3 {
        run(&mut cache, 5, 150_000);
        while let Some(next) = cache.maintain(now) {
            now = next;
        }
        assert!(
            cache
                .stacks
                .iter()
                .all(|stack| stack.high_water() <= 16 << 10)
        );
    }
}
