use super::super::free::{PERIOD, STACKS_A_STEP, WARM_KEPT};
use super::super::layout::kept_size;
use super::*;

fn class(margin: usize) -> Class {
    Class::new(StackSize::DEFAULT, Guards::Auto, margin)
}

fn take(class: &Class, count: usize) -> Vec<Stack> {
    let mut taken = Vec::new();
    class.take(&mut taken, count);
    assert_eq!(taken.len(), count);
    taken
}

/// Calls `maintain` at `now` until it wants to wait; when for, if at all.
fn maintain(class: &Class, now: Instant) -> Option<Instant> {
    for _ in 0..1_000_000 {
        match class.maintain(now, || ()) {
            Some(next) if next <= now => {}
            next => return next,
        }
    }
    panic!("maintain does not end");
}

/// Lets time go by until nothing is left to give back.
fn settle(class: &Class) {
    let mut now = Instant::now();
    for _ in 0..100 {
        match maintain(class, now) {
            Some(next) => now = next,
            None => return,
        }
    }
    panic!("it does not settle");
}

fn touch(stack: &Stack, depth: usize) {
    let address = stack.usable().end - depth;
    // SAFETY: a usable byte of a stack that the test owns.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
}

#[test]
fn slabs_grow_64_64_128_to_1024() {
    let class = class(0);
    let mut sizes = Vec::new();
    let mut mapped = 0;
    while mapped < 4096 {
        class
            .reserve(class.counts().mapped - class.counts().reserved + 1)
            .unwrap();
        sizes.push(class.counts().mapped - mapped);
        mapped = class.counts().mapped;
    }
    assert_eq!(sizes, [64, 64, 128, 256, 512, 1024, 1024, 1024]);
}

#[test]
fn slabs_of_large_stacks_are_256_mebibytes_at_most() {
    for (mebibytes, count) in [(2, 64), (4, 64), (8, 32), (128, 2), (256, 1), (1024, 1)] {
        let size = StackSize::new(mebibytes << 20).unwrap();
        let class = Class::new(size, Guards::Auto, 0);
        class.reserve(1).unwrap();
        assert_eq!(class.counts().mapped, count, "{mebibytes} MiB");
    }
}

#[test]
fn mapped_stacks_cover_reservations_and_margin() {
    let class = class(200);
    for count in [1, 63, 64, 65, 500] {
        class.reserve(count).unwrap();
        let counts = class.counts();
        assert!(counts.mapped >= counts.reserved + 200, "{counts:?}");
    }
}

#[test]
fn a_crowd_that_finds_no_room_maps_no_more_than_it_needs() {
    let class = class(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..32).for_each(|_| class.reserve(1).unwrap()));
        }
    });
    let counts = class.counts();
    assert_eq!(
        (counts.reserved, counts.mapped, counts.slabs),
        (256, 256, 3)
    );
}

#[test]
fn stacks_of_slabs_that_come_later_are_found_wherever_they_lie() {
    let class = class(0);
    class.reserve(128).unwrap();
    let mut stacks = take(&class, 100);
    // The kernel maps downwards as a rule: below the slabs that are in use.
    class.reserve(892).unwrap();
    stacks.extend(take(&class, 920));
    assert_eq!(class.counts().slabs, 5);
}

#[test]
fn warm_stacks_come_before_cold_ones_and_last_used_first() {
    let class = class(0);
    class.reserve(10).unwrap();
    let used = take(&class, 4);
    let lows: Vec<_> = used.iter().map(Stack::low).collect();
    class.put(used.into_iter());
    let again = take(&class, 6);
    assert_eq!(again[2..].iter().map(Stack::low).collect::<Vec<_>>(), lows);
    assert!(again[..2].iter().all(|stack| !lows.contains(&stack.low())));
}

/// Promise 48.
#[test]
fn unused_warm_stacks_halve_each_second_down_to_1024_and_then_all_is_quiet() {
    let class = class(0);
    let count = 3 * WARM_KEPT;
    class.reserve(count).unwrap();
    let stacks = take(&class, count);
    stacks.iter().for_each(|stack| touch(stack, 1));
    class.put(stacks.into_iter());
    class.unreserve(count);

    let mut now = Instant::now();
    let mut surplus = 2 * WARM_KEPT;
    let mut seconds = 0;
    while let Some(next) = maintain(&class, now) {
        if seconds > 0 {
            surplus -= surplus.div_ceil(2);
        }
        assert_eq!(
            class.counts().warm,
            WARM_KEPT + surplus,
            "after {seconds} s"
        );
        assert_eq!(next, now + PERIOD);
        assert_eq!(
            class.maintain(now, || panic!("not settled")),
            Some(next),
            "no work in between"
        );
        now = next;
        seconds += 1;
        assert!(seconds < 20);
    }
    assert_eq!(surplus, 1, "the last one goes with the step that settles");
    assert_eq!(class.counts().warm, WARM_KEPT);
    assert_eq!(maintain(&class, now + 100 * PERIOD), None);
}

#[test]
fn released_stacks_hold_no_page() {
    let class = class(0);
    let count = WARM_KEPT + 100;
    class.reserve(count).unwrap();
    let stacks = take(&class, count);
    stacks.iter().for_each(|stack| touch(stack, 1));
    class.put(stacks.into_iter());
    settle(&class);
    let stacks = take(&class, count);
    let touched = stacks.iter().filter(|stack| stack.high_water() > 0).count();
    assert_eq!(touched, WARM_KEPT);
}

#[test]
fn warm_stacks_that_are_in_use_do_not_decay() {
    let class = class(0);
    let count = 2 * WARM_KEPT;
    class.reserve(count).unwrap();
    class.put(take(&class, count).into_iter());
    let mut now = Instant::now();
    for _ in 0..10 {
        now = maintain(&class, now).expect("a surplus is watched");
        // All but 1,024 were wanted during the period.
        class.put(take(&class, count - WARM_KEPT).into_iter());
    }
    assert_eq!(class.counts().warm, count);
}

#[test]
fn unused_stacks_are_trimmed_after_a_second() {
    let class = class(0);
    class.reserve(200).unwrap();
    let stacks = take(&class, 200);
    stacks.iter().for_each(|stack| touch(stack, 100_000));
    class.put(stacks.into_iter());
    let now = Instant::now();
    let next = maintain(&class, now).expect("untrimmed stacks are watched");
    assert_eq!(maintain(&class, next), None);
    assert!(
        take(&class, 200)
            .iter()
            .all(|stack| stack.high_water() <= kept_size())
    );
}

#[test]
fn stacks_that_were_trimmed_are_not_confused_with_later_ones_when_some_are_given_up() {
    let class = class(0);
    class.reserve(1700).unwrap();
    let mut first = take(&class, 1700);
    let second = first.split_off(700);
    class.put(first.into_iter());
    settle(&class);
    second.iter().for_each(|stack| touch(stack, 100_000));
    class.put(second.into_iter());
    settle(&class);
    assert!(
        take(&class, 1700)
            .iter()
            .all(|stack| stack.high_water() <= kept_size())
    );
}

/// Promises 48 and 49: address space and page tables too.
#[test]
fn slabs_that_are_home_are_unmapped_but_for_room_of_one() {
    let class = class(100);
    let count = 8 * 1024;
    class.reserve(count).unwrap();
    let before = class.counts();
    // Put back in an order that scatters the last used ones over all slabs.
    let mut stacks: Vec<_> = take(&class, count).into_iter().enumerate().collect();
    stacks.sort_by_key(|(index, _)| index % 8);
    class.put(stacks.into_iter().map(|(_, stack)| stack));
    class.unreserve(count);
    settle(&class);
    let after = class.counts();
    assert!(after.mapped <= 3 * 1024, "{before:?} became {after:?}");
    assert!(after.mapped >= 1024 + 100, "{before:?} became {after:?}");

    // What is left still covers what it says, and grows again.
    class.reserve(count).unwrap();
    assert!(class.counts().mapped >= count + 100);
    drop(take(&class, count));
}

#[test]
fn a_step_is_bounded() {
    let class = class(0);
    let count = 2 * WARM_KEPT;
    class.reserve(count).unwrap();
    class.put(take(&class, count).into_iter());
    let now = class.maintain(Instant::now(), || ()).unwrap();
    let mut warm = class.counts().warm;
    while class.maintain(now, || ()) == Some(now) {
        assert!(warm - class.counts().warm <= STACKS_A_STEP);
        warm = class.counts().warm;
    }
    assert_eq!(warm, WARM_KEPT + WARM_KEPT / 2);
}

#[test]
fn places_refuse_what_does_not_fit_and_keep_room_under_reservations() {
    let places = Places::default();
    assert!(!places.reserve(1));
    places.add_room(10);
    assert!(places.reserve(8));
    assert!(!places.reserve(3));
    assert!(!places.give_up_room(2, 1));
    assert!(places.give_up_room(1, 1));
    assert!(places.reserve(1));
    assert!(!places.reserve(1));
    places.unreserve(9);
    assert_eq!((places.reserved(), places.room()), (0, 9));
}
