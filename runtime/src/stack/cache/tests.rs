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
    // Every stack but the caches' and the margin is out.
    let mut out = Vec::new();
    for _ in 0..2000 {
        pool.reserve(SIZE).unwrap();
        out.push(caches[0].take(SIZE));
    }
    let class = pool.class(SIZE).counts();
    let spare = class.mapped - WORKERS * 64 - class.reserved;
    for _ in 0..spare {
        pool.reserve(SIZE).unwrap();
        out.push(caches[0].take(SIZE));
    }
    assert_eq!(
        pool.class(SIZE).counts().mapped,
        class.mapped,
        "the last of the room was used"
    );
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
    cache.reserve(large).unwrap();
    let stack = cache.take(large);
    let low = stack.low();
    cache.put(stack);
    assert!(cache.stacks.is_empty());
    assert_eq!(pool.class(large).counts().warm, 1);
    assert_eq!(cache.take(large).low(), low);
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

#[test]
fn one_put_in_64_trims_even_if_the_cache_never_overflows() {
    let mut cache = StackCache::new(pool(1));
    for round in 1..=64 {
        run(&mut cache, 1, 150_000);
        let depth = cache.stacks.last().unwrap().high_water();
        assert_eq!(
            depth <= 16 << 10,
            round == 64,
            "{depth} bytes in round {round}"
        );
    }
}
