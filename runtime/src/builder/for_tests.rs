//! Settings for the tests of a runtime's users: virtual time and seeds.

use super::RuntimeBuilder;

impl RuntimeBuilder {
    /// Gives the runtime a clock of its own, for tests: when its coroutines have nothing to do but to wait for time
    /// to pass, the clock jumps to the next timer. Hours of timeouts and retries take no time, and come to the
    /// nanosecond.
    ///
    /// One worker, which is the default then. [`now`](crate::now) reads the clock; it moves while all coroutines
    /// wait, and only then: what runs takes no time, and one that calls [`yield_now`](crate::yield_now) until a time
    /// comes waits for ever. Every timer fires at exactly its time.
    ///
    /// The clock does not jump while a coroutine waits for the world outside: for a socket, or for
    /// [`blocking`](crate::blocking) work. It follows real time then, so that timeouts of such waits elapse, and do
    /// so no earlier than in reality. A protocol under test best talks through memory. Nothing is known about what
    /// plain threads and other runtimes are about to do: the clock does not wait for an unpark from there, so test
    /// code should itself be a coroutine of the runtime, and end those that sleep over and over: the clock would race
    /// with them. If all wait, for nothing that a clock could end, the worker sleeps as in any runtime.
    ///
    /// The order in which coroutines run is the same in each run of a program whose coroutines wait for each other
    /// and for time alone; with [`seed`](RuntimeBuilder::seed), one order for each seed. Nor does the worker spin,
    /// whatever [`spin`](RuntimeBuilder::spin) says.
    ///
    /// # Examples
    /// Three attempts with a timeout each, and pauses that double; the peer answers in its own time:
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::{Elapsed, Runtime, now, sleep, timeout};
    ///
    /// fn fetch(mut attempt: impl FnMut()) -> Result<(), Elapsed> {
    ///     let mut pause = Duration::from_secs(1);
    ///     for _ in 0..2 {
    ///         if timeout(Duration::from_secs(30), &mut attempt).is_ok() {
    ///             return Ok(());
    ///         }
    ///         sleep(pause);
    ///         pause *= 2;
    ///     }
    ///     timeout(Duration::from_secs(30), &mut attempt)
    /// }
    ///
    /// let runtime = Runtime::builder().virtual_time().build()?;
    /// runtime.run(|| {
    ///     let start = now();
    ///     let dead_peer = || sleep(Duration::from_secs(3600));
    ///     assert!(fetch(dead_peer).is_err());
    ///     assert_eq!(now() - start, Duration::from_secs(30 + 1 + 30 + 2 + 30));
    ///
    ///     let start = now();
    ///     let slow_peer = || sleep(Duration::from_secs(29));
    ///     assert_eq!(fetch(slow_peer), Ok(()));
    ///     assert_eq!(now() - start, Duration::from_secs(29));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn virtual_time(mut self) -> RuntimeBuilder {
        self.virtual_time = true;
        self
    }

    /// Leaves to chance which of its runnable coroutines the runtime runs next, for tests: another order with each
    /// seed, and the same one with the same seed.
    ///
    /// One worker, which is the default then. Runtime calls that do not block let others run now and then, by chance
    /// too. So a test that tries some thousand seeds meets orders that no load would bring about, and a seed that
    /// fails can be tried again.
    ///
    /// An order can be had again of a program whose coroutines wait for each other, and with
    /// [`virtual_time`](RuntimeBuilder::virtual_time) for time; begun by one [`run`](crate::Runtime::run), so that all the
    /// rest happens inside. Whatever comes from other threads, from sockets and from [`blocking`](crate::blocking)
    /// work comes when it comes. The order may be another one with the next version of withy.
    ///
    /// # Examples
    /// A lost update, which needs another coroutine between a read and a write:
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// use withy_runtime::{Runtime, scope, yield_now};
    ///
    /// fn count_to_two(seed: u64) -> u32 {
    ///     let runtime = Runtime::builder().virtual_time().seed(seed).build().unwrap();
    ///     runtime.run(|| {
    ///         let count = AtomicU32::new(0);
    ///         scope(|s| {
    ///             for _ in 0..2 {
    ///                 s.spawn(|| {
    ///                     yield_now();
    ///                     let seen = count.load(Relaxed);
    ///                     yield_now();
    ///                     count.store(seen + 1, Relaxed);
    ///                 });
    ///             }
    ///         });
    ///         count.into_inner()
    ///     })
    /// }
    ///
    /// let failing = (0..50).find(|&seed| count_to_two(seed) == 1).expect("a seed that loses an update");
    /// assert_eq!(count_to_two(failing), 1); // once more, with a debugger
    /// assert!((0..50).any(|seed| count_to_two(seed) == 2)); // it hides from many a test
    /// ```
    pub fn seed(mut self, seed: u64) -> RuntimeBuilder {
        self.seed = Some(seed);
        self
    }
}
