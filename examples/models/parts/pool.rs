//! Threads that do whatever is in one queue.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

/// Threads for each worker where jobs wait, for the downstream server: it takes a millisecond to answer. Those that have
/// nothing to do sleep, and as few as possible are woken, so that they cost nothing where jobs do not wait.
pub(crate) const WAITING_THREADS: usize = 32;

/// The queue. What is in it is bounded by whoever fills it: in every model there is one job for a connection at most.
pub(crate) struct Pool<J> {
    state: Mutex<State<J>>,
    pushed: Condvar,
}

struct State<J> {
    jobs: VecDeque<J>,
    sleepers: usize,
    /// One that was woken wakes the next if it leaves jobs behind: who is fast enough alone is left alone.
    is_waking: bool,
    is_closed: bool,
}

/// Runs `body`, and beside it threads that do what is pushed. Returns when all is done.
pub(crate) fn with_pool<J: Send, R>(
    threads: usize,
    run: impl Fn(J) + Sync,
    body: impl FnOnce(&Pool<J>) -> R,
) -> R {
    let pool = Pool {
        state: Mutex::new(State {
            jobs: VecDeque::new(),
            sleepers: 0,
            is_waking: false,
            is_closed: false,
        }),
        pushed: Condvar::new(),
    };
    thread::scope(|scope| {
        // Before there are threads: if one cannot be started, those that can must not wait for ever.
        let _closes = Closes(&pool);
        for _ in 0..threads {
            scope.spawn(|| pool.work(&run));
        }
        body(&pool)
    })
}

impl<J> Pool<J> {
    pub(crate) fn push(&self, job: J) {
        let mut state = self.lock();
        state.jobs.push_back(job);
        self.wake(state);
    }

    fn work(&self, run: impl Fn(J)) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                self.wake(state);
                run(job);
                state = self.lock();
            } else if state.is_closed {
                return;
            } else {
                state.sleepers += 1;
                state = self.pushed.wait(state).expect("nobody panics with it");
                state.sleepers -= 1;
                state.is_waking = false;
            }
        }
    }

    /// Lets go of the lock, and wakes a thread if there is anything to do for it.
    fn wake(&self, mut state: MutexGuard<'_, State<J>>) {
        let wakes = !state.jobs.is_empty() && state.sleepers > 0 && !state.is_waking;
        state.is_waking |= wakes;
        drop(state);
        if wakes {
            self.pushed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().expect("nobody panics with it")
    }
}

/// Sends the threads home.
struct Closes<'a, J>(&'a Pool<J>);

impl<J> Drop for Closes<'_, J> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.pushed.notify_all();
    }
}
