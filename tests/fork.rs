//! What a forked child may do with a runtime of its parent's: nothing, and it is told so.

mod rig;
mod support;

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{LIMIT, runtime, within};
use withy::Runtime;
use withy::net::UnixStream;
use withy::sync::Semaphore;

/// Runs `body` in a forked child, which then exits, and gives how it ended.
fn in_forked_child(body: impl FnOnce()) -> ExitStatus {
    // SAFETY: the child is a copy of this thread alone. It does what is tested, and else only exits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        body();
        // SAFETY: ends the process, without the parent's destructors.
        unsafe { libc::_exit(0) };
    }
    assert!(child > 0, "a process can be forked");
    let mut status = 0;
    // SAFETY: our own child, and a status that can be written.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    ExitStatus::from_raw(status)
}

const CASES: [&str; 9] = [
    "thread spawns",
    "thread runs",
    "thread joins",
    "thread parks",
    "thread starts a runtime",
    "thread starts the default runtime",
    "coroutine yields",
    "coroutine sleeps",
    "coroutine returns",
];

/// Tries one of the cases with a fork; gives how the child ended.
fn attempt(case: &str, runtime: &Runtime) -> ExitStatus {
    let waiter = runtime.spawn(withy::park);
    let unpark = waiter.coroutine().clone();
    let status = match case {
        "thread spawns" => in_forked_child(|| drop(runtime.spawn(|| ()))),
        "thread runs" => in_forked_child(|| runtime.run(|| ())),
        "thread joins" => {
            let other = runtime.spawn(|| withy::sleep(Duration::from_secs(1)));
            in_forked_child(|| drop(other.join()))
        }
        "thread parks" => in_forked_child(|| withy::park_timeout(Duration::from_millis(1))),
        "thread starts a runtime" => {
            // Not dropped: its end would be refused, too.
            in_forked_child(|| std::mem::forget(Runtime::builder().build()))
        }
        "thread starts the default runtime" => in_forked_child(|| drop(withy::spawn(|| ()))),
        "coroutine yields" => runtime.run(|| in_forked_child(withy::yield_now)),
        "coroutine sleeps" => {
            runtime.run(|| in_forked_child(|| withy::sleep(Duration::from_millis(1))))
        }
        "coroutine returns" => runtime.run(|| {
            // SAFETY: as in `in_forked_child`; this child returns into its worker.
            let child = unsafe { libc::fork() };
            let mut status = 0;
            if child > 0 {
                // SAFETY: our own child, and a status that can be written.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            }
            ExitStatus::from_raw(status)
        }),
        _ => unreachable!(),
    };
    unpark.unpark();
    waiter.join().unwrap();
    status
}

/// Promise 54. In a forked child whatever needs the runtime ends the child at once, and says why; the parent goes on.
#[test]
fn a_forked_child_that_uses_the_runtime_is_told_and_dies() {
    const TEST: &str = "a_forked_child_that_uses_the_runtime_is_told_and_dies";
    if let Some(role) = rig::child::role(TEST) {
        let (case, full_stealing) = role.split_once('/').unwrap();
        return within(LIMIT, case, || {
            let runtime = runtime(2, full_stealing == "true");
            let status = attempt(case, &runtime);
            let _ = writeln!(std::io::stderr(), "child: {:?}", status.signal());
            assert_eq!(status.signal(), Some(libc::SIGABRT), "{case}: {status}");
            runtime.shutdown(LIMIT).unwrap();
        });
    }
    for case in CASES {
        for full_stealing in [false, true] {
            let (output, text) = rig::child::run(TEST, &format!("{case}/{full_stealing}"), &[]);
            assert!(output.status.success(), "{case}: {text}");
            let told = text.matches("withy: this process was forked from one that runs withy");
            assert_eq!(told.count(), 1, "{case}: {text}");
        }
    }
}

/// Promise 54. A child that only leaves may be forked anywhere; commands may be started anywhere.
#[test]
fn children_that_exit_or_exec_are_left_alone() {
    const TEST: &str = "children_that_exit_or_exec_are_left_alone";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    rig::each_runtime("forks and commands", |runtime, label| {
        let commands = || {
            assert!(in_forked_child(|| ()).success(), "{label}");
            assert!(Command::new("true").status().unwrap().success(), "{label}");
            // A working directory and a process group: by fork or by posix_spawn, as std likes.
            let mut other = Command::new("true");
            std::os::unix::process::CommandExt::process_group(&mut other, 0);
            assert!(other.current_dir("/").status().unwrap().success());
            // SAFETY: the closure does nothing.
            unsafe { std::os::unix::process::CommandExt::pre_exec(&mut other, || Ok(())) };
            assert!(other.status().unwrap().success(), "{label}");
        };
        commands();
        runtime.run(commands);
        assert_eq!(runtime.run(|| withy::spawn(|| 1).join().unwrap()), 1);
    });
}

/// Promise 54. A lock that was in use in another thread when the process was forked stays so in the child for ever: that is told there, and
/// not waited for.
#[test]
fn a_child_that_finds_a_lock_in_use_is_told() {
    const TEST: &str = "a_child_that_finds_a_lock_in_use_is_told";
    const FORKS: usize = 50;
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    within(LIMIT, "children", || {
        let runtime = runtime(2, false);
        let (semaphore, done) = (Semaphore::new(0), AtomicBool::new(false));
        let hammer = || {
            while !done.load(Ordering::Relaxed) {
                // Under the lock each time.
                semaphore.close();
            }
        };
        let child = || {
            // SAFETY: it ends the child, if that waits; far later than a child that works does on a busy machine.
            unsafe { libc::alarm(30) };
            semaphore.close();
        };
        let ends: Vec<_> = std::thread::scope(|s| {
            s.spawn(hammer);
            s.spawn(hammer);
            let ends = (0..FORKS).map(|_| in_forked_child(child)).collect();
            done.store(true, Ordering::Relaxed);
            ends
        });
        for end in ends {
            assert!(
                end.success() || end.signal() == Some(libc::SIGABRT),
                "{end}"
            );
        }
        runtime.shutdown(LIMIT).unwrap();
    });
}

/// Promise 54. Who forks before the first runtime starts may start runtimes in the child.
#[test]
fn a_child_forked_before_the_first_runtime_may_start_one() {
    const TEST: &str = "a_child_forked_before_the_first_runtime_may_start_one";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    let status = in_forked_child(|| {
        let runtime = runtime(2, false);
        assert_eq!(runtime.run(|| withy::spawn(|| 2).join().unwrap()), 2);
        // A child of this one is told in its turn.
        let grandchild = in_forked_child(|| runtime.run(|| ()));
        assert_eq!(grandchild.signal(), Some(libc::SIGABRT));
        runtime.shutdown(LIMIT).unwrap();
    });
    assert!(status.success(), "{status}");
}

/// Without a runtime a child may go on as its parent does. What its copies leave in a pipe, its parent does not find.
#[test]
fn a_forked_child_and_its_parent_copy_through_pipes_of_their_own() {
    const TEST: &str = "a_forked_child_and_its_parent_copy_through_pipes_of_their_own";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    let copy = |text: &[u8], to: &mut UnixStream| {
        let (mut from, mut source) = UnixStream::pair().unwrap();
        source.write_all(text).unwrap();
        drop(source);
        withy::io::copy(&mut from, to)
    };
    let (mut to, mut sink) = UnixStream::pair().unwrap();
    // This makes the pipe that the thread keeps.
    copy(b"before ", &mut to).unwrap();
    let child = in_forked_child(|| {
        let (mut full, _sink) = UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.write(&[0; 4096]).is_ok() {}
        copy(b"the child's", &mut full).unwrap_err();
    });
    assert!(child.success(), "the child could not copy: {child}");
    copy(b"after", &mut to).unwrap();
    drop(to);
    let mut text = String::new();
    sink.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before after");
}
