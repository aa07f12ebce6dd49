use core::cell::Cell;
use core::hint::black_box;
use core::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use corosensei::{Coroutine, CoroutineResult};

use super::super::alternate::AltStack;
use super::super::cache::StackCache;
use super::super::child;
use super::super::layout::StackSize;
use super::super::pool::StackPool;
use super::super::slab::Guards;
use super::*;

thread_local! {
    static RUNNING: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    static NAME: Cell<Option<&'static str>> = const { Cell::new(Some("storm")) };
}

fn lookup(fault: usize) -> Option<Overflow> {
    let (start, end) = RUNNING.get();
    (start..end).contains(&fault).then(|| Overflow {
        name: NAME.get(),
        id: 17,
        spawned_at: Location::caller(),
        stack_size: StackSize::DEFAULT.bytes(),
    })
}

fn set_running(guard: Range<usize>) {
    RUNNING.set((guard.start, guard.end));
}

#[expect(unconditional_recursion, reason = "this is how a stack overflows")]
fn recurse(depth: usize) -> usize {
    let frame = black_box([depth as u8; 512]);
    recurse(depth + 1) + usize::from(black_box(frame)[depth % 512])
}

fn overflow() {
    black_box(recurse(0));
}

/// Runs `f` on a coroutine of a worker-like thread, whose guard `lookup` knows.
fn on_coroutine(guards: Guards, f: fn()) {
    install(lookup).unwrap();
    let _signals = AltStack::new().unwrap();
    let mut cache = StackCache::new(StackPool::new(StackSize::DEFAULT, 1, None, guards));
    cache.reserve(StackSize::DEFAULT).unwrap();
    let stack = cache.take(StackSize::DEFAULT);
    set_running(stack.guard());
    let mut coroutine = Coroutine::with_stack(stack, move |_, ()| f());
    match coroutine.resume(()) {
        CoroutineResult::Yield(()) => unreachable!("nothing yields here"),
        CoroutineResult::Return(()) => cache.put(coroutine.into_stack()),
    }
}

fn touch(address: usize) {
    // SAFETY: not safe: the children that call this are meant to die of it, or handle the fault.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn run(name: &str, role: &str) -> Output {
    child::run(module_path!(), name, role)
}

/// Promise 50.
#[test]
fn an_overflow_is_reported_by_name_and_aborts() {
    const TEST: &str = "an_overflow_is_reported_by_name_and_aborts";
    match child::role().as_deref() {
        Some("unnamed") => {
            NAME.set(None);
            on_coroutine(Guards::Auto, overflow);
        }
        Some("mprotect") => on_coroutine(Guards::Mprotect, overflow),
        Some(_) => on_coroutine(Guards::Auto, overflow),
        None => {
            for (role, name) in [
                ("auto", "'storm'"),
                ("mprotect", "'storm'"),
                ("unnamed", "<unnamed>"),
            ] {
                let output = run(TEST, role);
                let text = stderr(&output);
                assert_eq!(
                    output.status.signal(),
                    Some(libc::SIGABRT),
                    "{role}: {text}"
                );
                let first = format!("coroutine {name} (id 17, spawned at ");
                let file = "overflow/tests.rs:";
                let rest = "has overflowed its stack\nits stack size is 262144 bytes, 196608 of \
                            them usable";
                for part in [
                    &first,
                    file,
                    rest,
                    "`Builder::stack_size`",
                    "WITHY_STACK_SIZE",
                ] {
                    assert!(text.contains(part), "{role}: no {part} in {text}");
                }
            }
        }
    }
}

/// A worker's own thread may overflow too: that is std's to report.
#[test]
fn an_overflow_of_a_thread_is_still_reported_by_std() {
    const TEST: &str = "an_overflow_of_a_thread_is_still_reported_by_std";
    if child::role().is_none() {
        let output = run(TEST, "child");
        let text = stderr(&output);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
        assert!(text.contains("thread 'deep'"), "{text}");
        assert!(text.contains("has overflowed its stack"), "{text}");
        assert!(!text.contains("coroutine"), "{text}");
        return;
    }
    let deep = std::thread::Builder::new().name("deep".into()).spawn(|| {
        install(lookup).unwrap();
        overflow();
    });
    let _ = deep.unwrap().join();
}

#[test]
fn a_wild_access_inside_a_coroutine_is_a_plain_segmentation_fault() {
    const TEST: &str = "a_wild_access_inside_a_coroutine_is_a_plain_segmentation_fault";
    if child::role().is_some() {
        return on_coroutine(Guards::Auto, || touch(black_box(8)));
    }
    let output = run(TEST, "child");
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGSEGV),
        "{}",
        stderr(&output)
    );
    assert!(
        !stderr(&output).contains("overflowed"),
        "{}",
        stderr(&output)
    );
}

extern "C" fn exit_42(_signal: libc::c_int) {
    // SAFETY: _exit may be called anywhere.
    unsafe { libc::_exit(42) };
}

extern "C" fn exit_43_for_address_8(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel's siginfo of a fault, passed on; _exit may be called anywhere.
    unsafe {
        libc::_exit(if (*info).si_addr() as usize == 8 {
            43
        } else {
            1
        })
    };
}

fn set_handler(handler: usize, flags: libc::c_int) {
    // SAFETY: the callers pass a handler of the kind that the flags say, or none.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut()), 0);
    }
}

#[test]
fn faults_elsewhere_go_to_the_handler_that_was_there_before() {
    const TEST: &str = "faults_elsewhere_go_to_the_handler_that_was_there_before";
    match child::role().as_deref() {
        None => {
            let ends = |role, code, signal| {
                let output = run(TEST, role);
                let end = (output.status.code(), output.status.signal());
                assert_eq!(end, (code, signal), "{role}: {}", stderr(&output));
            };
            ends("plain handler", Some(42), None);
            ends("handler with siginfo", Some(43), None);
            ends("default", None, Some(libc::SIGSEGV));
            ends("default, sent", None, Some(libc::SIGSEGV));
            ends("ignored", None, Some(libc::SIGSEGV));
            ends("ignored, sent", Some(0), None);
            return;
        }
        Some("plain handler") => set_handler(exit_42 as *const () as usize, 0),
        Some("handler with siginfo") => {
            set_handler(
                exit_43_for_address_8 as *const () as usize,
                libc::SA_SIGINFO,
            );
        }
        Some(role) if role.starts_with("default") => set_handler(libc::SIG_DFL, 0),
        Some(_) => set_handler(libc::SIG_IGN, 0),
    }
    if child::role().is_some_and(|role| role.ends_with("sent")) {
        // Sent signals have no address: what stands in its place must not be looked up.
        install(|_| panic!("looked up")).unwrap();
        // SAFETY: kill touches no memory.
        unsafe { libc::kill(libc::getpid(), libc::SIGSEGV) };
    } else {
        on_coroutine(Guards::Auto, || touch(black_box(8)));
    }
}

#[test]
fn a_report_longer_than_the_buffer_is_written_in_full() {
    const TEST: &str = "a_report_longer_than_the_buffer_is_written_in_full";
    if child::role().is_some() {
        let name: &'static str = "long name ".repeat(500).leak();
        return report(&Overflow {
            name: Some(name),
            id: u64::MAX,
            spawned_at: Location::caller(),
            stack_size: 1 << 30,
        });
    }
    let text = stderr(&run(TEST, "child"));
    let shown = "long name ".repeat(500);
    assert!(
        text.contains(&format!("'{shown}' (id 18446744073709551615")),
        "{text}"
    );
    assert!(text.contains("WITHY_STACK_SIZE for all\n"), "{text}");
}
