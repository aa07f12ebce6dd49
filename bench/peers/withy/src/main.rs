//! withy: coroutines, `withy::sync`.
//!
//! `apart` places the two sides on workers 0 and 1 (`spawn_on`); without it the runtime places them.
//! `--mode full` measures full stealing, in place of the default.

mod channel;
mod mpsc;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use harness::{Routine, Setup, Spawn};
use withy::sync::Mutex;
use withy::{JoinHandle, Runtime, Steal};

fn main() -> ExitCode {
    let mut routines = vec![
        Routine {
            case: "lock",
            variant: "thread",
            workers: &[1],
            run: |setup| setup.measure(lock),
        },
        Routine {
            case: "lock",
            variant: "coroutine",
            workers: &[1],
            run: |setup| measure(setup, lock),
        },
        Routine {
            case: "mutex8",
            variant: "coroutines",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| mutex8(iters, Place::Any)),
        },
        Routine {
            case: "mutex8",
            variant: "apart",
            workers: &[2],
            run: |setup| measure(setup, |iters| mutex8(iters, Place::Apart)),
        },
    ];
    routines.extend(channel::routines());
    routines.extend(mpsc::routines());
    harness::main(&routines)
}

/// Where the coroutines of a routine go.
enum Place {
    /// As the runtime places them.
    Any,
    /// The measuring one on worker 0, the other side on worker 1; of several equals each second one.
    Apart,
}

impl Spawn for Place {
    type Handle = JoinHandle<()>;

    fn spawn(&self, worker: usize, job: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        match self {
            Place::Any => withy::spawn(job),
            Place::Apart => withy::spawn_on(worker, job),
        }
    }

    fn join(handle: JoinHandle<()>) {
        handle.join().unwrap();
    }
}

/// Measures a routine that runs in a coroutine on worker 0.
fn measure(setup: &Setup, routine: fn(u64) -> Duration) {
    let runtime = start(setup);
    setup.measure(|iters| on_worker_0(&runtime, move || routine(iters)));
}

fn on_worker_0<T: Send + 'static>(runtime: &Runtime, f: impl FnOnce() -> T + Send + 'static) -> T {
    runtime.run(|| withy::spawn_on(0, f).join().unwrap())
}

fn start(setup: &Setup) -> Runtime {
    let steal = match setup.mode.as_str() {
        "full" => {
            // SAFETY: over their blocking calls the coroutines of these routines keep handles, channels and numbers,
            // nothing that is bound to a thread, and none uses a thread-local.
            unsafe { Steal::started() }
        }
        _ => Steal::fresh(),
    };
    Runtime::builder()
        .workers(setup.workers)
        .steal(steal)
        .build()
        .expect("the settings are in range and the system has room for two threads")
}

fn lock(iters: u64) -> Duration {
    let add_one = |mutex: &Mutex<u64>| *mutex.lock().unwrap() += 1;
    harness::lock(iters, Mutex::new(0), add_one, |mutex| {
        mutex.into_inner().unwrap()
    })
}

fn mutex8(iters: u64, place: Place) -> Duration {
    let mutex = Arc::new(Mutex::new(0));
    let shared = Arc::clone(&mutex);
    let add_one = move || *shared.lock().unwrap() += 1;
    harness::contended(iters, &place, add_one, || *mutex.lock().unwrap())
}
