use core::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;

use corosensei::stack::Stack as _;

use super::super::child;
use super::*;

fn read(address: usize) -> u8 {
    // SAFETY: not safe: the callers are children that are meant to die of it, or name usable bytes
    // of a stack they own.
    unsafe { core::ptr::with_exposed_provenance::<u8>(address).read_volatile() }
}

fn write(address: usize) {
    // SAFETY: as for `read`.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) }
}

fn all(slab: &mut Slab) -> Vec<Stack> {
    core::iter::from_fn(|| slab.take()).collect()
}

/// Runs `touch` in a child for each end of the guard and both ways of making guards, and expects it
/// to die.
fn dies_of(test: &str, touch: fn(usize)) {
    let Some(role) = child::role() else {
        for role in [
            "Auto lowest",
            "Auto highest",
            "Mprotect lowest",
            "Mprotect highest",
        ] {
            let status = child::run(module_path!(), test, role).status;
            assert_eq!(status.signal(), Some(libc::SIGSEGV), "{role}: {status}");
        }
        return;
    };
    // The default action instead of std's handler: what is asked here is what the memory does.
    // SAFETY: installs no function.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    let guards = if role.starts_with("Auto") {
        Guards::Auto
    } else {
        Guards::Mprotect
    };
    let mut slab = Slab::map(StackSize::DEFAULT, 3, guards).unwrap();
    let mut stack = all(&mut slab).swap_remove(1);
    let usable = stack.usable();
    write(usable.start);
    write(usable.end - 1);
    stack.trim();
    stack.release();
    touch(if role.ends_with("lowest") {
        stack.guard().start
    } else {
        stack.guard().end - 1
    });
}

/// Promise 50.
#[test]
fn writing_into_a_guard_is_fatal_in_both_modes_after_a_trim_too() {
    dies_of(
        "writing_into_a_guard_is_fatal_in_both_modes_after_a_trim_too",
        write,
    );
}

/// Promise 50.
#[test]
fn reading_from_a_guard_is_fatal_in_both_modes_after_a_trim_too() {
    dies_of(
        "reading_from_a_guard_is_fatal_in_both_modes_after_a_trim_too",
        |address| {
            read(address);
        },
    );
}

/// Promise 51.
#[test]
fn guards_are_64_kibibytes_at_least() {
    let mut slab = Slab::map(StackSize::new(0).unwrap(), 1, Guards::Auto).unwrap();
    let stack = slab.take().unwrap();
    assert!(stack.guard().len() >= 64 << 10);
    assert!(stack.usable().len() >= 64 << 10);
    slab.bring_home(stack).unwrap();
}

#[test]
fn every_byte_of_every_stack_is_usable_and_nobody_elses() {
    for guards in [Guards::Auto, Guards::Mprotect] {
        let mut slab = Slab::map(StackSize::DEFAULT, 65, guards).unwrap();
        let stacks = all(&mut slab);
        assert_eq!(stacks.len(), 65);
        for pair in stacks.windows(2) {
            assert_eq!(pair[0].usable().end, pair[1].guard().start);
        }
        for stack in &stacks {
            assert_eq!(stack.low() % StackSize::DEFAULT.bytes(), 0);
            stack.usable().step_by(4096).for_each(write);
            write(stack.base().get() - 1);
        }
        stacks
            .into_iter()
            .try_for_each(|stack| slab.bring_home(stack))
            .unwrap();
        assert!(slab.all_home());
    }
}

#[test]
fn stacks_at_home_are_taken_lowest_first() {
    let mut slab = Slab::map(StackSize::DEFAULT, 130, Guards::Auto).unwrap();
    let mut stacks = all(&mut slab);
    assert!(stacks.is_sorted_by_key(Stack::low));
    let (seventh, last) = (stacks.remove(7), stacks.pop().unwrap());
    let low = seventh.low();
    slab.bring_home(last).unwrap();
    slab.bring_home(seventh).unwrap();
    assert_eq!(slab.take().map(|stack| stack.low()), Some(low));
}

#[test]
fn a_stack_of_another_slab_is_refused() {
    let mut one = Slab::map(StackSize::DEFAULT, 1, Guards::Auto).unwrap();
    let mut other = Slab::map(StackSize::DEFAULT, 1, Guards::Auto).unwrap();
    let stack = one.bring_home(other.take().unwrap()).unwrap_err();
    other.bring_home(stack).unwrap();
}

#[test]
fn high_water_is_the_deepest_page_touched_since_the_last_trim() {
    let mut slab = Slab::map(StackSize::DEFAULT, 1, Guards::Auto).unwrap();
    let mut stack = slab.take().unwrap();
    let top = stack.usable().end;
    assert_eq!(stack.high_water(), 0);
    write(top - 1);
    assert_eq!(stack.high_water(), 4096);
    write(top - 16_384);
    assert_eq!(stack.high_water(), 16_384);
    assert!(!stack.trim(), "16 KiB are kept");
    write(top - 16_385);
    assert_eq!(stack.high_water(), 20_480);
    assert!(stack.trim());
    assert_eq!(stack.high_water(), 16_384);
    write(stack.usable().start);
    assert_eq!(stack.high_water(), stack.usable().len());
    assert!(stack.trim());
    assert_eq!(stack.high_water(), 16_384);
    stack.release();
    assert_eq!(stack.high_water(), 0);
    slab.bring_home(stack).unwrap();
}

#[test]
fn high_water_of_a_stack_of_a_gibibyte_is_found() {
    let mut slab = Slab::map(StackSize::new(1 << 30).unwrap(), 1, Guards::Auto).unwrap();
    let stack = slab.take().unwrap();
    assert_eq!(stack.high_water(), 0);
    write(stack.usable().start);
    assert_eq!(stack.high_water(), stack.usable().len());
    slab.bring_home(stack).unwrap();
}

/// In a child, so that no other test maps anything meanwhile.
#[test]
fn a_slab_is_unmapped_with_all_stacks_home_and_leaked_otherwise() {
    const TEST: &str = "a_slab_is_unmapped_with_all_stacks_home_and_leaked_otherwise";
    if child::role().is_none() {
        return child::run_and_pass(module_path!(), TEST, "child");
    }
    let mapped = |range: Range<usize>| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let found = maps.lines().try_for_each(|line| {
            let (low, high) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let address = |text| usize::from_str_radix(text, 16).unwrap();
            let overlaps = address(low) < range.end && range.start < address(high);
            if overlaps {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        found.is_break()
    };
    for guards in [Guards::Auto, Guards::Mprotect] {
        let mut slab = Slab::map(StackSize::DEFAULT, 16, guards).unwrap();
        let range = slab.range();
        let stack = slab.take().unwrap();
        slab.bring_home(stack).unwrap();
        assert!(mapped(range.clone()));
        drop(slab);
        assert!(!mapped(range));

        let mut slab = Slab::map(StackSize::DEFAULT, 16, guards).unwrap();
        let range = slab.range();
        let stack = slab.take().unwrap();
        drop(slab);
        assert!(mapped(range));
        write(stack.usable().start);
    }
}

/// Promise 46: the kernel's limit of mappings, reached by guards that need them.
#[test]
fn the_limit_of_mappings_is_an_error_that_names_it_and_leaks_nothing() {
    const TEST: &str = "the_limit_of_mappings_is_an_error_that_names_it_and_leaks_nothing";
    if child::role().is_none() {
        return child::run_and_pass(module_path!(), TEST, "child");
    }
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 200_000 {
        return eprintln!("skipped: vm.max_map_count is {limit}, which takes too long to reach");
    }
    let size = StackSize::new(128 << 10).unwrap();
    let at_start = child::mappings();
    let mut slabs = Vec::new();
    let error = loop {
        match Slab::map(size, 1024, Guards::Mprotect) {
            Ok(slab) => slabs.push(slab),
            Err(error) => break error,
        }
        assert!(slabs.len() * 1024 < limit, "the limit was not met");
    };
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("vm.max_map_count"), "{error}");

    let when_full = child::mappings();
    for _ in 0..10 {
        Slab::map(size, 1024, Guards::Mprotect).unwrap_err();
    }
    assert!(
        child::mappings() <= when_full,
        "{} became {}",
        when_full,
        child::mappings()
    );
    assert!(
        when_full + 2048 + 64 > limit,
        "{when_full} of {limit} mappings when it failed"
    );
    drop(slabs);
    assert!(
        child::mappings() <= at_start + 2,
        "{} of {at_start} stay",
        child::mappings()
    );
}

/// Promise 46: no address space.
#[test]
fn the_limit_of_address_space_is_an_error_that_names_it_and_leaks_nothing() {
    const TEST: &str = "the_limit_of_address_space_is_an_error_that_names_it_and_leaks_nothing";
    if child::role().is_none() {
        return child::run_and_pass(module_path!(), TEST, "child");
    }
    let limit = libc::rlimit {
        rlim_cur: 1 << 30,
        rlim_max: 1 << 30,
    };
    // SAFETY: reads `limit` only; the process is this test's own.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    let mappings = child::mappings();
    for _ in 0..10 {
        let error = Slab::map(StackSize::DEFAULT, 8192, Guards::Auto).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(error.to_string().contains("ulimit -v"), "{error}");
    }
    assert_eq!(child::mappings(), mappings);
    drop(Slab::map(StackSize::DEFAULT, 64, Guards::Auto).unwrap());
}

#[test]
fn no_more_address_space_is_kept_than_the_stacks_need() {
    const TEST: &str = "no_more_address_space_is_kept_than_the_stacks_need";
    if child::role().is_none() {
        return child::run_and_pass(module_path!(), TEST, "child");
    }
    let size = StackSize::new(1 << 30).unwrap();
    let before = child::address_space_kib();
    let slabs: Vec<_> = (0..4)
        .map(|_| Slab::map(size, 1, Guards::Auto).unwrap())
        .collect();
    let mapped = child::address_space_kib() - before;
    assert!((4 << 20..5 << 20).contains(&mapped), "{mapped} KiB");
    drop(slabs);
    assert!(child::address_space_kib() < before + 1024);
}
