//! What happens at the end of a stack, as a user meets it. Each overflow has a process of its own.

mod rig;
mod support;

use std::os::unix::process::ExitStatusExt;

use rig::child;
use support::{LIMIT, within};
use withy::Runtime;

/// Both sorts of guard: those of the kernel here, and those of older kernels.
const GUARDS: [&str; 2] = ["auto", "mprotect"];

fn runtime(guards: &str) -> Runtime {
    let builder = Runtime::builder().workers(2);
    match guards {
        "auto" => builder.build(),
        "mprotect" => builder.mprotect_guards().build(),
        _ => unreachable!("one of GUARDS"),
    }
    .unwrap()
}

#[allow(unconditional_recursion, reason = "that is the point")]
fn recurse(depth: u64) -> u64 {
    let block = std::hint::black_box([depth; 16]);
    recurse(depth + 1) + std::hint::black_box(block)[3]
}

/// Before the place where the coroutine that will overflow is spawned.
const BORN: &str = "is born at";

/// How the report should tell of the place that the child has told before.
fn birth(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.contains(BORN))
        .expect("the child tells it first");
    let (_, place) = line.split_once(BORN).expect("it was found");
    format!("spawned at{place}")
}

/// Promise 50. The report names the coroutine, its place of birth, its size, and what to do; the process is aborted.
#[test]
fn an_overflow_is_reported_by_name() {
    const TEST: &str = "an_overflow_is_reported_by_name";
    if let Some(guards) = child::role(TEST) {
        let runtime = runtime(&guards);
        let child = runtime.run(|| {
            let builder = withy::Builder::new()
                .name("deep-thought".into())
                .stack_size(300_000);
            println!("{BORN} {}:{}:", file!(), line!() + 1);
            builder.spawn(|| recurse(0)).unwrap()
        });
        let _ = child.join();
        unreachable!("the process was aborted");
    }
    for guards in GUARDS {
        let (output, text) = child::run(TEST, guards, &[]);
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGABRT),
            "{guards}: {text}"
        );
        for part in [
            "coroutine 'deep-thought'",
            "has overflowed its stack",
            &birth(&text),
            "524288 bytes",
            "Builder::stack_size",
            "WITHY_STACK_SIZE",
        ] {
            assert!(text.contains(part), "{guards}: no {part:?} in\n{text}");
        }
    }
}

/// Promise 50. One without a name is told by its id and its place of birth; deep in a second run, too.
#[test]
fn an_overflow_of_a_nameless_coroutine_is_reported_by_its_place_of_birth() {
    const TEST: &str = "an_overflow_of_a_nameless_coroutine_is_reported_by_its_place_of_birth";
    if let Some(guards) = child::role(TEST) {
        let runtime = runtime(&guards);
        println!("{BORN} {}:{}:", file!(), line!() + 1);
        let child = runtime.spawn(|| {
            withy::sleep(std::time::Duration::from_millis(1));
            recurse(0)
        });
        let _ = child.join();
        unreachable!("the process was aborted");
    }
    for guards in GUARDS {
        let (output, text) = child::run(TEST, guards, &[]);
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGABRT),
            "{guards}: {text}"
        );
        assert!(text.contains("<unnamed>"), "{guards}: {text}");
        assert!(text.contains(&birth(&text)), "{guards}: {text}");
        assert!(text.contains("262144 bytes"), "{guards}: {text}");
    }
}

/// Promise 51. Code that steps over pages without touching them, as C may, still lands in the 64 KiB.
#[test]
fn the_guard_is_64_kibibytes_wide() {
    const TEST: &str = "the_guard_is_64_kibibytes_wide";
    const SIZE: usize = 256 << 10;
    if let Some(role) = child::role(TEST) {
        let (guards, offset) = role.split_once(',').expect("two parts");
        let offset: usize = offset.parse().expect("a number");
        let runtime = runtime(guards);
        runtime.run(|| {
            let here = 0_u8;
            // Stacks are aligned to their size.
            let low = (&raw const here as usize) & !(SIZE - 1);
            let address = (low + offset) as *mut u8;
            // SAFETY: on the caller's own stack, far below what is used of it; in the guard this faults, which is the
            // test.
            unsafe { address.write_volatile(1) };
        });
        return;
    }
    for guards in GUARDS {
        for offset in [0, 4_096, 32 << 10, (64 << 10) - 1] {
            let (output, text) = child::run(TEST, &format!("{guards},{offset}"), &[]);
            assert_eq!(
                output.status.signal(),
                Some(libc::SIGABRT),
                "{guards}, {offset}: {text}"
            );
            assert!(
                text.contains("has overflowed its stack"),
                "{guards}, {offset}: {text}"
            );
        }
        // Right above the guard all is the coroutine's.
        let (output, text) = child::run(TEST, &format!("{guards},{}", 64 << 10), &[]);
        assert!(output.status.success(), "{guards}: {text}");
    }
}

/// Promise 50. Faults elsewhere are none of ours: a null pointer dies of SIGSEGV without a word of stacks.
#[test]
fn a_fault_elsewhere_is_not_taken_for_an_overflow() {
    const TEST: &str = "a_fault_elsewhere_is_not_taken_for_an_overflow";
    if child::role(TEST).is_some() {
        let runtime = runtime("auto");
        runtime.run(|| {
            let nowhere = std::hint::black_box(16_usize) as *mut u8;
            // SAFETY: it faults, which is the test.
            unsafe { nowhere.write_volatile(1) };
        });
        unreachable!("the process has died");
    }
    let (output, text) = child::run(TEST, "null", &[]);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{text}");
    assert!(!text.contains("overflowed"), "{text}");
}

/// std's own report for plain threads goes on working beside ours.
#[test]
fn an_overflow_of_a_plain_thread_is_still_stds_report() {
    const TEST: &str = "an_overflow_of_a_plain_thread_is_still_stds_report";
    if child::role(TEST).is_some() {
        let runtime = runtime("auto");
        runtime.run(|| ());
        let thread = std::thread::Builder::new()
            .name("plain".into())
            .spawn(|| recurse(0))
            .unwrap();
        let _ = thread.join();
        unreachable!("the process was aborted");
    }
    let (output, text) = child::run(TEST, "thread", &[]);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    assert!(
        text.contains("thread 'plain'") && text.contains("overflowed its stack"),
        "{text}"
    );
    assert!(!text.contains("coroutine"), "{text}");
}

/// Promise 50. Up to its guard a stack is the coroutine's own: neighbours that use theirs fully stay intact.
#[test]
fn neighbours_that_use_their_stacks_fully_stay_intact() {
    for guards in GUARDS {
        within(LIMIT, "deep neighbours", || {
            let runtime = runtime(guards);
            fn fill(seed: u64, lowest: usize) -> bool {
                let block = std::hint::black_box([seed; 128]);
                let deepest = block.as_ptr() as usize <= lowest;
                withy::yield_now();
                let below = deepest || fill(seed + 1, lowest);
                below && std::hint::black_box(block).iter().all(|&word| word == seed)
            }
            let children: Vec<_> = (0..64)
                .map(|n| {
                    runtime.spawn(move || {
                        let here = 0_u8;
                        // 192 KiB are usable: all but what a frame and the top take.
                        fill(n << 32, &raw const here as usize - (176 << 10))
                    })
                })
                .collect();
            for child in children {
                assert!(child.join().unwrap(), "{guards}");
            }
        });
    }
}
