//! Threads of different priorities on one core: the runtime waits for nobody whom it keeps from running.

mod rig;
mod support;

use std::time::Duration;

use support::{LIMIT, runtime, within};

/// What the calling thread has used of its core.
fn used() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a time that can be written.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// All threads that this one starts from now on have one core.
fn use_one_core() {
    // SAFETY: a set of bits, for which zero is good, read and written within its size.
    unsafe {
        let mut cores: libc::cpu_set_t = core::mem::zeroed();
        let size = size_of_val(&cores);
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut cores), 0);
        let first = (0..libc::CPU_SETSIZE as usize).find(|&core| libc::CPU_ISSET(core, &cores));
        libc::CPU_ZERO(&mut cores);
        libc::CPU_SET(first.expect("we run somewhere"), &mut cores);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const cores), 0);
    }
}

/// Whether the calling thread comes before all ordinary ones from now on. Not everybody may do that.
fn come_first() -> bool {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: of the calling thread, and parameters that can be read.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) == 0 }
}

/// Promise 41. A joiner is notified before its coroutine's worker has done the last step. One of real-time priority takes the core from the worker
/// at that moment, and must not keep it.
#[test]
fn a_joiner_of_higher_priority_lets_the_worker_end() {
    const TEST: &str = "a_joiner_of_higher_priority_lets_the_worker_end";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    within(LIMIT, "joins", || {
        use_one_core();
        let runtime = runtime(1, false);
        let joins = || {
            if !come_first() {
                return;
            }
            let before = used();
            for _ in 0..5 {
                let child = runtime.spawn(|| withy::sleep(Duration::from_millis(5)));
                child.join().unwrap();
            }
            // The kernel takes the core from it after 0.95 s of each second.
            let used = used() - before;
            assert!(used < Duration::from_millis(500), "{used:?}");
        };
        std::thread::scope(|s| s.spawn(joins).join().unwrap());
        runtime.shutdown(LIMIT).unwrap();
    });
}
