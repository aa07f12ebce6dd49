//! Waiting for signals. They are the process's, so each test runs in one of its own.

mod rig;
mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rig::child::{alone, output_of, role, start};
use rig::process::descriptors;
use support::sockets::kind;
use support::{LIMIT, matrix, runtime, within};
use withy::signal::{Signal, Signals, ctrl_c};

/// To the calling thread, whose handler has run when this returns; a signal to the process may come later.
fn send(signal: Signal) {
    // SAFETY: raise touches no memory.
    assert_eq!(unsafe { libc::raise(signal.as_raw()) }, 0);
}

/// Lets those who were started begin to wait. No test is right only because they do.
fn settle() {
    thread::sleep(Duration::from_millis(2));
}

/// One signal reaches each `Signals` that was made for it, once, and no other.
#[test]
fn a_signal_reaches_each_set_once() {
    if !alone("a_signal_reaches_each_set_once", &[]) {
        return;
    }
    matrix(LIMIT, "one signal for three sets", |case| {
        let other = Signals::new([Signal::USER2]).unwrap();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let signals = Signals::new([Signal::USER1, Signal::USER1, Signal::HANGUP]).unwrap();
                case.spawn(move || {
                    assert_eq!(signals.wait().unwrap(), Signal::USER1);
                    signals
                })
            })
            .collect();
        settle();
        send(Signal::USER1);
        let sets: Vec<_> = waiters.into_iter().map(support::Caller::join).collect();
        for signals in sets {
            // The first one was given once: the next that comes is the other.
            send(Signal::HANGUP);
            let next = case.run(move || signals.iter().next().unwrap().unwrap());
            assert_eq!(next, Signal::HANGUP);
        }
        send(Signal::USER2);
        assert_eq!(other.wait().unwrap(), Signal::USER2);
    });
}

/// Several who wait on one set each get one of the signals that come together: none is lost, and nobody sleeps on.
#[test]
fn signals_that_come_together_wake_as_many_waiters() {
    const SIGNALS: [Signal; 4] = [
        Signal::USER1,
        Signal::USER2,
        Signal::HANGUP,
        Signal::TERMINATE,
    ];
    if !alone("signals_that_come_together_wake_as_many_waiters", &[]) {
        return;
    }
    matrix(LIMIT, "four signals and four waiters", |case| {
        let signals = Arc::new(Signals::new(SIGNALS).unwrap());
        for round in 0..50 {
            let waiters: Vec<_> = (0..SIGNALS.len())
                .map(|_| {
                    let signals = Arc::clone(&signals);
                    case.spawn(move || signals.wait().unwrap())
                })
                .collect();
            if round % 2 == 0 {
                settle();
            }
            SIGNALS.into_iter().for_each(send);
            let got: BTreeSet<_> = waiters.into_iter().map(support::Caller::join).collect();
            assert_eq!(got, BTreeSet::from(SIGNALS));
        }
    });
}

/// A signal that nobody waited for is kept, once however often it came; and with nobody left it is given to nobody.
#[test]
fn a_signal_is_kept_once() {
    if !alone("a_signal_is_kept_once", &[]) {
        return;
    }
    matrix(LIMIT, "a signal that came before the wait", |case| {
        let signals = Arc::new(Signals::new([Signal::USER1, Signal::USER2]).unwrap());
        for _ in 0..1000 {
            send(Signal::USER1);
        }
        let waits = Arc::clone(&signals);
        assert_eq!(case.run(move || waits.wait().unwrap()), Signal::USER1);
        let waits = Arc::clone(&signals);
        let next = case.spawn(move || waits.wait().unwrap());
        settle();
        send(Signal::USER2);
        assert_eq!(next.join(), Signal::USER2);
        drop(signals);
        // The handler stays: this does not end the process, and is news to nobody.
        send(Signal::USER1);
        let signals = Signals::new([Signal::USER1, Signal::USER2]).unwrap();
        send(Signal::USER2);
        assert_eq!(signals.wait().unwrap(), Signal::USER2);
    });
}

/// Every caller of `ctrl_c` that waits gets the signal.
#[test]
fn ctrl_c_reaches_everyone() {
    if !alone("ctrl_c_reaches_everyone", &[]) {
        return;
    }
    // Before it the first signal would end the process.
    let _handler = Signals::new([Signal::INTERRUPT]).unwrap();
    matrix(LIMIT, "ctrl_c", |case| {
        let done = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let done = Arc::clone(&done);
                case.spawn(move || {
                    ctrl_c().unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        while done.load(Ordering::Relaxed) < 3 {
            settle();
            send(Signal::INTERRUPT);
        }
        waiters.into_iter().for_each(support::Caller::join);
    });
}

/// What cannot be waited for is refused with an error, and leaves nothing behind.
#[test]
fn what_cannot_be_waited_for_is_refused() {
    if !alone("what_cannot_be_waited_for_is_refused", &[]) {
        return;
    }
    let before = descriptors();
    let forbidden = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
    ];
    for number in forbidden
        .into_iter()
        .chain([0, -1, 65, 1000, i32::MIN, i32::MAX])
    {
        let refused = Signals::new([Signal::USER1, Signal::from_raw(number)]);
        assert_eq!(kind(&refused), Some(ErrorKind::InvalidInput), "{number}");
    }
    assert_eq!(kind(&Signals::new([])), Some(ErrorKind::InvalidInput));
    assert_eq!(descriptors(), before);

    let error = Signals::new([Signal::from_raw(libc::SIGKILL)]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("got SIGKILL, which cannot be"),
        "{error}"
    );
    assert_eq!(
        Signal::from_raw(libc::SIGRTMIN() + 7).to_string(),
        "signal 41"
    );
    let all = Signals::new([Signal::CHILD, Signal::QUIT]).unwrap();
    assert_eq!(
        format!("{all:?}"),
        format!("{{Signal({}), Signal({})}}", libc::SIGCHLD, libc::SIGQUIT)
    );
}

/// Promises 49 and 54. Dropping a set gives its descriptors back; those of a living one are close-on-exec.
#[test]
fn a_dropped_set_leaves_nothing_behind() {
    if !alone("a_dropped_set_leaves_nothing_behind", &[]) {
        return;
    }
    let (before, kept) = (descriptors(), inherited_by_exec());
    for _ in 0..200 {
        let signals = Signals::new([Signal::USER1, Signal::USER2, Signal::HANGUP]).unwrap();
        assert_eq!(inherited_by_exec(), kept);
        drop(signals);
    }
    assert_eq!(descriptors(), before);
}

/// The descriptors that are not close-on-exec.
fn inherited_by_exec() -> Vec<i32> {
    // SAFETY: F_GETFD touches no memory; what is not open is an error.
    let flags = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) };
    (0..64).filter(|fd| flags(*fd) == 0).collect()
}

/// Promise 50. Handlers run on the alternate stack of a worker, not on what is left of a coroutine's.
#[test]
fn handlers_need_no_stack_of_a_coroutine() {
    if !alone("handlers_need_no_stack_of_a_coroutine", &[]) {
        return;
    }
    let _signals = Signals::new([Signal::USER1]).unwrap();
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed; the present disposition is written to `action`, which zeroes make valid anyway.
    let action = unsafe {
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, std::ptr::null(), action.as_mut_ptr()),
            0
        );
        action.assume_init()
    };
    assert_ne!(action.sa_flags & libc::SA_ONSTACK, 0);
    assert_ne!(action.sa_flags & libc::SA_RESTART, 0);
}

/// Promises 14 and 55. Coroutines that wait when their runtime shuts down unwind, and the signal that comes next goes to
/// who waits then. Signals interrupt nothing else meanwhile.
#[test]
fn a_shutdown_unwinds_those_who_wait() {
    if !alone("a_shutdown_unwinds_those_who_wait", &[]) {
        return;
    }
    for (workers, full_stealing) in [(1, false), (2, false), (8, true)] {
        within(LIMIT, "a shutdown under waiters", || {
            let runtime = runtime(workers, full_stealing);
            let signals = Arc::new(Signals::new([Signal::USER1]).unwrap());
            let returned = Arc::new(AtomicBool::new(false));
            for _ in 0..4 {
                let (signals, returned) = (Arc::clone(&signals), Arc::clone(&returned));
                runtime.spawn(move || {
                    let _ = signals.wait();
                    returned.store(true, Ordering::Relaxed);
                });
            }
            settle();
            runtime.shutdown(LIMIT).unwrap();
            assert!(!returned.load(Ordering::Relaxed));
            assert_eq!(Arc::strong_count(&signals), 1);
            send(Signal::USER1);
            assert_eq!(signals.wait().unwrap(), Signal::USER1);
        });
    }
}

/// A program that is told to end from outside ends in its own way.
#[test]
fn a_server_ends_when_it_is_told_to() {
    const NAME: &str = "a_server_ends_when_it_is_told_to";
    if role(NAME).is_some() {
        let signals = Signals::new([Signal::TERMINATE]).unwrap();
        println!("\nready");
        let signal = withy::run(move || signals.wait().unwrap());
        println!("ending after {signal}");
        return;
    }
    let mut child = start(NAME, "server", &[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "ready" {}
    let id = child.id() as libc::pid_t;
    // SAFETY: kill touches no memory; the child was not reaped yet, so the id is its own.
    let sent = unsafe { libc::kill(id, libc::SIGTERM) };
    assert_eq!(sent, 0);
    assert_eq!(lines.next().unwrap().unwrap(), "ending after SIGTERM");
    lines.for_each(drop);
    let (output, text) = output_of(child);
    assert!(output.status.success(), "{}\n{text}", output.status);
}
