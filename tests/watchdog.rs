//! Coroutines that hold their worker: who is reported, what is said, and what goes on meanwhile.
//!
//! A process has one logger, so each test knows its messages by the name of its runtime.

mod rig;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::time::{Duration, Instant};

use rig::process::{self, switches, threads_named, threads_once_named};
use rig::until;
use support::sockets::pair;
use support::{LIMIT, within};
use withy::Runtime;

/// Keeps what the watchdogs say.
struct Keeper;

static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Keeper {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target() == "withy::watchdog" {
            assert_eq!(record.level(), log::Level::Warn);
            MESSAGES.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// What has been said of the runtime of that name.
fn messages_of(runtime: &str) -> Vec<String> {
    let messages = MESSAGES.lock().unwrap();
    let mine = messages
        .iter()
        .filter(|text| text.contains(&format!("'{runtime}'")));
    mine.cloned().collect()
}

/// The `number`th message of `runtime` in which all of `parts` stand.
///
/// Not just the `number`th one: on a machine that is busy with others a worker may be kept from its core in the middle
/// of anything, and is then said to be held; and a hold that was seen too early is reported again.
fn message_with(number: usize, runtime: &str, parts: &[&str]) -> String {
    let begun = Instant::now();
    loop {
        let messages = messages_of(runtime);
        let mut found = messages
            .iter()
            .filter(|text| parts.iter().all(|part| text.contains(part)));
        if let Some(text) = found.nth(number - 1) {
            return text.clone();
        }
        assert!(
            begun.elapsed() < LIMIT / 2,
            "no {parts:?} for the {number}. time in {messages:#?}"
        );
        withy::sleep(Duration::from_micros(100));
    }
}

/// How messages name a coroutine that has no other name.
fn number_of(coroutine: &withy::Coroutine) -> String {
    let id = format!("{:?}", coroutine.id());
    let digits: String = id.chars().filter(char::is_ascii_digit).collect();
    format!("#{digits} ")
}

/// A runtime whose watchdog is heard, and does not wait long.
fn watched(name: &str, workers: usize, full_stealing: bool) -> Runtime {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
    Runtime::builder()
        .workers(workers)
        .steal(rig::steal(full_stealing))
        .name(name)
        .watchdog(Some(Duration::from_millis(20)))
        .build()
        .unwrap()
}

/// A coroutine of `runtime` that holds worker `worker` until told otherwise, once it does.
struct Holder {
    release: Arc<AtomicBool>,
    handle: Option<withy::JoinHandle<()>>,
}

impl Holder {
    fn start(runtime: &Runtime, worker: usize) -> Holder {
        let release = Arc::new(AtomicBool::new(false));
        let holds = Arc::new(AtomicBool::new(false));
        let body = {
            let (release, holds) = (release.clone(), holds.clone());
            move || {
                holds.store(true, Ordering::SeqCst);
                while !release.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            }
        };
        let handle = runtime.run(|| withy::spawn_on(worker, body));
        while !holds.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Holder {
            release,
            handle: Some(handle),
        }
    }

    /// Waits until it has been reported so often.
    fn until_reported(&self, times: usize, runtime: &str) {
        let handle = self.handle.as_ref().expect("it is not released");
        message_with(
            times,
            runtime,
            &[&number_of(&handle.coroutine()), "has held"],
        );
    }

    fn release(mut self) {
        self.release.store(true, Ordering::SeqCst);
        self.handle.take().unwrap().join().unwrap();
    }
}

fn all_modes(what: &str, body: impl Fn(usize, bool, &str)) {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            let name = format!("{what}-{workers}-{}", u8::from(full_stealing));
            within(LIMIT, &name, || body(workers, full_stealing, &name));
        }
    }
}

/// Promise 37. One that computes is reported: its name, where it was spawned, its worker, and that its thread runs.
#[test]
fn a_coroutine_that_computes_is_named() {
    all_modes("spin", |workers, full_stealing, name| {
        let runtime = watched(name, workers, full_stealing);
        let release = Arc::new(AtomicBool::new(false));
        let line = line!() + 4;
        let spinner = runtime.run(|| {
            let builder = withy::Builder::new().name("spinner".into());
            let release = release.clone();
            builder.spawn(move || {
                while !release.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            })
        });
        let spinner = spinner.unwrap();
        message_with(
            1,
            name,
            &[
                "'spinner'",
                &number_of(&spinner.coroutine()),
                &format!("{}:{line}:", file!()),
                "its thread runs",
                "No started coroutine waits",
            ],
        );
        release.store(true, Ordering::SeqCst);
        spinner.join().unwrap();
    });
}

/// Promise 37. One that blocks its thread is reported with the system call, and with those that are ready behind it: some by
/// name, all by number.
#[test]
fn a_blocked_thread_is_reported_with_the_call_and_with_who_waits_behind() {
    all_modes("block", |workers, full_stealing, name| {
        let runtime = watched(name, workers, full_stealing);
        let (mut from, mut to) = std::io::pipe().unwrap();
        let mut line = 0;
        std::thread::scope(|scope| {
            let blocked = scope.spawn(|| {
                runtime.run(|| {
                    // Local ones stay behind their parent in full stealing, too.
                    let waiters = (0..10).map(|_| {
                        line = line!() + 1;
                        withy::spawn_local(withy::park)
                    });
                    let waiters: Vec<_> = waiters.collect();
                    withy::yield_now();
                    waiters
                        .iter()
                        .take(9)
                        .for_each(|waiter| waiter.coroutine().unpark());
                    from.read_exact(&mut [0; 1]).unwrap();
                    waiters[9].coroutine().unpark();
                    waiters
                        .into_iter()
                        .for_each(|waiter| waiter.join().unwrap());
                });
                line
            });
            let parts = [
                "its thread sleeps in read.",
                "9 coroutine(s) that are ready wait behind it: ",
            ];
            let text = message_with(1, name, &parts);
            to.write_all(b"x").unwrap();
            let line = blocked.join().unwrap();
            let location = format!("(spawned at {}:{line}:", file!());
            assert_eq!(text.matches(&location).count(), 8, "{text}");
            assert!(text.contains(", and 1 more. "), "{text}");
        });
    });
}

/// Promise 37. A std lock that is held by a coroutine of the same worker: the report says that it is a deadlock.
#[test]
fn a_deadlock_over_a_std_lock_is_called_one() {
    const TEST: &str = "a_deadlock_over_a_std_lock_is_called_one";
    if rig::child::role(TEST).is_none() {
        let (output, text) = rig::child::run(TEST, "deadlock", &[]);
        assert!(output.status.success(), "{text}");
        for part in [
            "coroutine 'waiter' ",
            "its thread sleeps in futex",
            "1 coroutine(s) that are ready wait behind it: 'holder' ",
            "this is a deadlock",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        return;
    }
    let runtime = watched("deadlock", 1, false);
    let lock = Arc::new(Mutex::new(()));
    let named = |name: &str| withy::Builder::new().name(name.to_owned());
    let children = runtime.run(|| {
        let its = lock.clone();
        let holder = named("holder").spawn(move || {
            let _guard = its.lock().unwrap();
            withy::park();
        });
        let holder = holder.unwrap();
        withy::yield_now();
        let waking = holder.coroutine();
        let waiter = named("waiter").spawn(move || {
            waking.unpark();
            drop(lock.lock().unwrap());
        });
        (holder, waiter)
    });
    println!("{}", message_with(1, "deadlock", &["this is a deadlock"]));
    // Nothing could end the two.
    std::mem::forget((runtime, children));
    std::process::exit(0);
}

/// A hold is reported once, and again when it has lasted 1 s, 2 s and so on; the next hold is a new one.
#[test]
fn a_hold_is_reported_at_doubling_times() {
    for full_stealing in [false, true] {
        let name = format!("rate-{}", u8::from(full_stealing));
        within(LIMIT, "the reports of a long hold", || {
            let runtime = watched(&name, 2, full_stealing);
            let start = Instant::now();
            let holder = Holder::start(&runtime, 1);
            holder.until_reported(2, &name);
            assert!(start.elapsed() >= Duration::from_secs(1), "reported early");
            holder.until_reported(3, &name);
            assert!(start.elapsed() >= Duration::from_secs(2), "reported early");
            holder.release();
            let holder = Holder::start(&runtime, 1);
            holder.until_reported(1, &name);
            holder.release();
        });
    }
}

/// Nothing is said of coroutines that run for long but let others run, nor of sleeping workers.
#[test]
fn coroutines_that_yield_are_not_reported() {
    all_modes("polite", |workers, full_stealing, name| {
        // A thread may be kept from its core for long while other tests run: more than that is not to be expected.
        let builder = Runtime::builder()
            .workers(workers)
            .steal(rig::steal(full_stealing))
            .watchdog(Some(Duration::from_secs(20)))
            .name(name);
        let runtime = builder.build().unwrap();
        runtime.run(|| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(200) {
                withy::yield_now();
            }
            withy::sleep(Duration::from_millis(100));
        });
        drop(runtime);
        assert_eq!(messages_of(name), Vec::<String>::new());
    });
}

/// Promise 36. The watchdog of an idle runtime has no ticks; it wakes up with the first worker and does its work again.
#[test]
fn the_watchdog_of_an_idle_runtime_sleeps() {
    for full_stealing in [false, true] {
        let name = format!("wd{}", u8::from(full_stealing));
        within(LIMIT, "a second in which the watchdog sleeps", || {
            let runtime = watched(&name, 2, full_stealing);
            let threads = threads_once_named(&format!("{name}-watchdog"), 1);
            for round in 1..=3 {
                loop {
                    let before = switches(threads[0]);
                    std::thread::sleep(Duration::from_secs(1));
                    if switches(threads[0]) == before {
                        break;
                    }
                }
                let holder = Holder::start(&runtime, round % 2);
                holder.until_reported(1, &name);
                holder.release();
            }
        });
    }
}

/// Promise 37. Full stealing: the sockets and timers of a held worker are served, so its coroutines go on elsewhere.
#[test]
fn what_can_move_leaves_a_held_worker() {
    within(LIMIT, "an echo and a sleeper of a held worker", || {
        let runtime = watched("move", 2, true);
        let other = Holder::start(&runtime, 1);
        // Worker 0 alone runs: what waits registers with its netpoller and its timers.
        let (mut ours, mut peer) = pair();
        let (slept, woke) = mpsc::channel();
        let (echo, sleeper) = runtime.run(|| {
            let echo = withy::spawn_on(0, move || {
                let mut byte = [0];
                while ours.read(&mut byte).unwrap() == 1 {
                    ours.write_all(&byte).unwrap();
                }
            });
            let sleeper = withy::spawn_on(0, move || {
                withy::sleep(Duration::from_millis(300));
                slept.send(()).unwrap();
            });
            (echo, sleeper)
        });
        let holder = Holder::start(&runtime, 0);
        other.release();
        for byte in 0..20 {
            peer.write_all(&[byte]).unwrap();
            let mut back = [0];
            peer.read_exact(&mut back).unwrap();
            assert_eq!(back, [byte]);
        }
        woke.recv().unwrap();
        drop(peer);
        echo.join().unwrap();
        sleeper.join().unwrap();
        holder.release();
    });
}

/// Promise 37. A held worker gets nothing new, though it has the least to do.
#[test]
fn nothing_is_placed_on_a_held_worker() {
    for full_stealing in [false, true] {
        let name = format!("place-{}", u8::from(full_stealing));
        within(LIMIT, "1,000 coroutines beside a held worker", || {
            let runtime = watched(&name, 2, full_stealing);
            let holder = Holder::start(&runtime, 1);
            holder.until_reported(1, &name);
            let started = Arc::new(AtomicUsize::new(0));
            let parked: Vec<_> = (0..1_000)
                .map(|_| {
                    let started = started.clone();
                    runtime.spawn(move || {
                        started.fetch_add(1, Ordering::SeqCst);
                        withy::park();
                    })
                })
                .collect();
            until(|| started.load(Ordering::SeqCst) == 1_000);
            holder.release();
            parked.iter().for_each(|waiter| waiter.coroutine().unpark());
            parked.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
    }
}

/// The watchdog's thread comes and goes with its runtime, and only if one is wanted; a limit of zero is refused.
#[test]
fn the_watchdog_is_a_setting() {
    within(LIMIT, "runtimes with and without a watchdog", || {
        let with = Runtime::builder().workers(1).name("y").build().unwrap();
        threads_once_named("y-watchdog", 1);
        with.shutdown(LIMIT).unwrap();
        threads_once_named("y-watchdog", 0);
        let without = Runtime::builder().workers(1).name("n").watchdog(None);
        let without = without.build().unwrap();
        without.run(|| withy::sleep(Duration::from_millis(1)));
        assert_eq!(threads_named("n-watchdog"), []);
        let zero = Runtime::builder().watchdog(Some(Duration::ZERO)).build();
        assert_eq!(zero.unwrap_err().kind(), ErrorKind::InvalidInput);
        let far = Runtime::builder().workers(1).watchdog(Some(Duration::MAX));
        far.build().unwrap().run(withy::yield_now);
    });
}

/// Promise 47. A runtime whose watchdog cannot be started says so, and works without.
#[test]
fn a_runtime_goes_without_a_watchdog_that_cannot_start() {
    const TEST: &str = "a_runtime_goes_without_a_watchdog_that_cannot_start";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    within(LIMIT, "a limit that lets one thread start, not two", || {
        drop(watched("listens", 1, false));
        // SAFETY: no pointers.
        if unsafe { libc::geteuid() } == 0 {
            // The limit does not bind root; some user whose threads are all ours.
            let user = 1_900_000_000 + std::process::id();
            // SAFETY: no pointers.
            assert_eq!(unsafe { libc::setresuid(user, user, user) }, 0);
        }
        let name = "lonely";
        let threads_before = process::tasks().len();
        let mut threads = 1;
        let runtime = loop {
            let before = process::set_limit(libc::RLIMIT_NPROC, threads);
            let built = Runtime::builder().workers(1).name(name).build();
            process::set_limit(libc::RLIMIT_NPROC, before);
            match built {
                Ok(runtime) if !messages_of(name).is_empty() => break runtime,
                // Another program of this user's has made room.
                Ok(_) => threads -= 1,
                Err(_) => threads += 1,
            }
        };
        let said = messages_of(name).swap_remove(0);
        assert!(said.contains("goes without a watchdog"), "{said}");
        assert_eq!(runtime.run(|| withy::spawn(|| 5).join().unwrap()), 5);
        runtime.shutdown(LIMIT).unwrap();
        rig::until(|| process::tasks().len() == threads_before);
    });
}
