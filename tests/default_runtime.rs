//! The default runtime: its first use, its settings, and its start when that fails. Each test has a process of its own.

mod rig;
mod support;

use std::io::ErrorKind;
use std::panic::catch_unwind;

use rig::child::alone;
use rig::process::{
    descriptors, leave_descriptors, set_limit, tasks, threads_named, threads_once_named,
};
use rig::text_of;
use support::{LIMIT, within};

/// It starts with its first use, once, whoever comes first.
#[test]
fn it_starts_at_its_first_use_and_once() {
    if !alone(
        "it_starts_at_its_first_use_and_once",
        &[("WITHY_WORKERS", "3")],
    ) {
        return;
    }
    within(LIMIT, "eight first uses", || {
        assert!(
            threads_named("withy-worker").is_empty(),
            "nothing has used it yet"
        );
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || {
                    assert_eq!(withy::run(|| withy::spawn(move || n).join().unwrap()), n)
                });
            }
        });
        threads_once_named("withy-worker", 3);
    });
}

/// Inside a coroutine `spawn` means its own runtime, and the default one is not even started.
#[test]
fn a_spawn_inside_another_runtime_does_not_start_it() {
    if !alone("a_spawn_inside_another_runtime_does_not_start_it", &[]) {
        return;
    }
    within(LIMIT, "a spawn elsewhere", || {
        let own = withy::Runtime::builder()
            .workers(1)
            .name("own")
            .build()
            .unwrap();
        own.run(|| {
            withy::spawn(|| withy::spawn(|| ()).join().unwrap())
                .join()
                .unwrap()
        });
        assert!(threads_named("withy-worker").is_empty());
    });
}

/// `install` comes before the first use.
#[test]
fn an_installed_runtime_is_the_default_one() {
    if !alone("an_installed_runtime_is_the_default_one", &[]) {
        return;
    }
    within(LIMIT, "an installed runtime", || {
        withy::Runtime::builder()
            .workers(2)
            .name("mine")
            .install()
            .unwrap();
        withy::run(|| ());
        threads_once_named("mine-worker", 2);
        assert!(threads_named("withy-worker").is_empty());
    });
}

/// A second `install`, or one after the first use, is told so and changes nothing.
#[test]
fn a_late_install_is_refused() {
    if !alone("a_late_install_is_refused", &[]) {
        return;
    }
    within(LIMIT, "late installs", || {
        withy::Runtime::builder()
            .workers(2)
            .name("mine")
            .install()
            .unwrap();
        for _ in 0..2 {
            let error = withy::Runtime::builder()
                .workers(1)
                .name("late")
                .install()
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            assert!(
                error.to_string().contains("before the first spawn"),
                "{error}"
            );
        }
        withy::run(|| ());
        assert!(threads_named("late-worker").is_empty());
    });
}

/// The same after a first use.
#[test]
fn an_install_after_the_first_use_is_refused() {
    if !alone("an_install_after_the_first_use_is_refused", &[]) {
        return;
    }
    withy::run(|| ());
    let error = withy::Runtime::builder().install().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

/// An `install` that fails leaves the place free.
#[test]
fn a_failed_install_leaves_the_place_free() {
    if !alone("a_failed_install_leaves_the_place_free", &[]) {
        return;
    }
    let error = withy::Runtime::builder().workers(0).install().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    withy::Runtime::builder().workers(1).install().unwrap();
    assert_eq!(withy::run(|| 1), 1);
}

/// What the environment says wrongly is told by name and value: by the builder as an error, by `spawn` as a panic.
#[test]
fn bad_values_in_the_environment_are_named() {
    const TEST: &str = "bad_values_in_the_environment_are_named";
    match rig::child::role(TEST).as_deref() {
        Some("number") => {
            let error = withy::Builder::new().spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(
                text.contains("WITHY_WORKERS") && text.contains("many"),
                "{text}"
            );
            let panic = catch_unwind(|| drop(withy::spawn(|| ()))).unwrap_err();
            assert!(text_of(&*panic).contains(&text), "{}", text_of(&*panic));
        }
        Some("zero") => {
            let error = withy::Builder::new().spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("got 0"), "{error}");
        }
        Some("stack") => {
            let error = withy::Builder::new().spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("WITHY_STACK_SIZE"), "{error}");
        }
        _ => {
            let cases = [
                ("number", ("WITHY_WORKERS", "many")),
                ("zero", ("WITHY_WORKERS", "0")),
                ("stack", ("WITHY_STACK_SIZE", "-1")),
            ];
            for (role, variable) in cases {
                let (output, text) = rig::child::run(TEST, role, &[variable]);
                assert!(output.status.success(), "{role}: {text}");
            }
        }
    }
}

/// The stack size of the environment is that of the default runtime's coroutines.
#[test]
fn the_environment_sets_the_stack_size() {
    if !alone(
        "the_environment_sets_the_stack_size",
        &[("WITHY_STACK_SIZE", "8388608")],
    ) {
        return;
    }
    within(LIMIT, "a deep coroutine", || {
        fn deep(levels: usize) -> usize {
            let block = std::hint::black_box([1_u8; 4096]);
            if levels == 0 {
                usize::from(block[0])
            } else {
                deep(levels - 1) + usize::from(block[1])
            }
        }
        assert_eq!(withy::run(|| deep(1_000)), 1_001);
    });
}

/// A start that fails says why, leaves no thread and no descriptor behind, and the next use tries again.
#[test]
fn a_start_that_fails_leaves_nothing_and_is_tried_again() {
    const TEST: &str = "a_start_that_fails_leaves_nothing_and_is_tried_again";
    if !alone(TEST, &[("WITHY_WORKERS", "4")]) {
        return;
    }
    within(LIMIT, "a start without descriptors", || {
        let (threads, open) = (tasks().len(), descriptors());
        // Each worker needs two.
        for spare in [0, 1, 3, 6] {
            let before = leave_descriptors(spare);
            let error = withy::Builder::new().spawn(|| ()).map(drop).unwrap_err();
            let panic = catch_unwind(|| drop(withy::spawn(|| ()))).unwrap_err();
            let failed = catch_unwind(|| withy::run(|| ())).unwrap_err();
            set_limit(libc::RLIMIT_NOFILE, before);
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
            for panic in [panic, failed] {
                assert!(
                    text_of(&*panic).contains(&error.to_string()),
                    "{}",
                    text_of(&*panic)
                );
            }
            assert_eq!(descriptors(), open);
            // They were joined; the kernel's list may tell so a moment later. One that stays fails by the time limit.
            rig::until(|| tasks().len() == threads);
        }
        assert_eq!(withy::run(|| 5), 5);
        threads_once_named("withy-worker", 4);
    });
}

/// No thread for a worker: the same, with workers already started.
#[test]
fn a_start_without_threads_leaves_nothing() {
    const TEST: &str = "a_start_without_threads_leaves_nothing";
    if !alone(TEST, &[("WITHY_WORKERS", "8")]) {
        return;
    }
    // No watchdog here but the parent: std cannot start a thread without memory, nor end its start.
    let (threads, open) = (tasks().len(), descriptors());
    // A thread's stack is 2 MiB here: some workers start, the others find no room.
    let used = rig::process::status("VmSize") * 1024;
    let before = set_limit(libc::RLIMIT_AS, used + (9 << 20));
    let error = withy::Builder::new().spawn(|| ()).map(drop).unwrap_err();
    set_limit(libc::RLIMIT_AS, before);
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory),
        "{error}"
    );
    rig::until(|| tasks().len() == threads);
    assert_eq!(descriptors(), open);
    assert_eq!(withy::run(|| 5), 5);
}
