//! `Pollable`: descriptors that withy knows nothing about, waited for like sockets.

mod rig;
mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rig::each_runtime;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, fcntl_getfl, inotify};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use support::sockets::kind;
use support::{Case, LIMIT, matrix, pollers_of, within};
use withy::net::Pollable;
use withy_runtime::poll::AsRegistration;

const SHORT: Duration = Duration::from_millis(15);

fn number(value: [u8; 8]) -> u64 {
    u64::from_ne_bytes(value)
}

fn read_number(fd: &OwnedFd) -> io::Result<u64> {
    let mut value = [0; 8];
    rustix::io::read(fd, &mut value)?;
    Ok(number(value))
}

fn add(fd: &OwnedFd, value: u64) -> io::Result<()> {
    rustix::io::write(fd, &value.to_ne_bytes())?;
    Ok(())
}

/// The number that a netpoller knows a pollable by.
fn watched<T>(pollable: &Pollable<T>) -> i32 {
    let registration = pollable.registration().expect("it always has one");
    registration.fd().as_raw_fd()
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    fcntl_getfl(fd)
        .expect("it is open")
        .contains(OFlags::NONBLOCK)
}

/// Item 4. A timer of the kernel wakes whoever reads it, once each time it expires.
#[test]
fn a_timerfd_is_read_when_it_expires() {
    matrix(LIMIT, "a timerfd", |case| {
        case.run(|| {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap();
            let period = Timespec {
                tv_sec: 0,
                tv_nsec: 2_000_000,
            };
            let every = Itimerspec {
                it_value: period,
                it_interval: period,
            };
            let start = Instant::now();
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every).unwrap();
            let timer = Pollable::new(timer).unwrap();
            let mut expired = 0;
            while expired < 5 {
                expired += timer.read_with(read_number).unwrap();
            }
            assert!(start.elapsed() >= Duration::from_millis(2) * expired as u32);
        });
    });
}

/// Item 4. What happens in a directory is read as it happens.
#[test]
fn an_inotify_descriptor_tells_of_each_file() {
    matrix(LIMIT, "an inotify descriptor", |case| {
        let folder = Folder::new();
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, &folder.0, inotify::WatchFlags::CLOSE_WRITE).unwrap();
        let watch = Pollable::new(watch).unwrap();
        let fd = watched(&watch);
        let reader = case.spawn(move || {
            let mut names = Vec::new();
            while names.len() < 3 {
                let mut buf = [MaybeUninit::uninit(); 1024];
                watch
                    .read_with(|fd| {
                        let mut events = inotify::Reader::new(fd, &mut buf);
                        loop {
                            let event = events.next()?;
                            let name = event.file_name().expect("a file has a name");
                            names.push(name.to_str().expect("ours are text").to_owned());
                            if events.is_buffer_empty() {
                                return Ok(());
                            }
                        }
                    })
                    .unwrap();
            }
            names
        });
        reader.until_waiting(fd);
        for name in ["a", "b", "c"] {
            std::fs::write(folder.0.join(name), name).unwrap();
        }
        assert_eq!(reader.join(), ["a", "b", "c"]);
    });
}

/// A folder of this test's own, removed in the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("withy-pollable-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new folder can be made");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("it is ours to remove");
    }
}

/// A serial line's cousin: bytes in both directions, and the end of the other side as the terminal tells it.
#[test]
fn a_terminal_is_read_and_written() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    matrix(LIMIT, "a pseudo-terminal", |case| {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let path = ptsname(&ours, Vec::new()).unwrap();
        let mut theirs = std::fs::File::options()
            .read(true)
            .write(true)
            .open(path.to_str().unwrap())
            .unwrap();
        let mut ours = Pollable::new(std::fs::File::from(ours)).unwrap();
        let fd = watched(&ours);
        let caller = case.spawn(move || {
            // A terminal in its usual mode echoes, and makes an end of line of what a line ends with.
            let mut line = [0; 7];
            ours.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"hello\r\n");
            ours.write_all(b"bye\n").unwrap();
            let mut echoed = [0; 5];
            ours.read_exact(&mut echoed).unwrap();
            assert_eq!(&echoed, b"bye\r\n");
            // Nobody has the other side open any more.
            let end = ours.read(&mut [0]).unwrap_err();
            assert_eq!(end.raw_os_error(), Some(libc::EIO));
        });
        caller.until_waiting(fd);
        theirs.write_all(b"hello\n").unwrap();
        let mut line = [0; 4];
        theirs.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"bye\n");
        drop(theirs);
        caller.join();
    });
}

/// Promise 7. Many readers of one semaphore: each unit to exactly one, and all make progress.
#[test]
fn each_unit_of_an_eventfd_goes_to_one_of_many_readers() {
    const READERS: u64 = 8;
    const EACH: u64 = 50;
    matrix(LIMIT, "an eventfd that many read", |case| {
        let flags = EventfdFlags::SEMAPHORE | EventfdFlags::CLOEXEC;
        let counter = Arc::new(Pollable::new(eventfd(0, flags).unwrap()).unwrap());
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let counter = Arc::clone(&counter);
                case.spawn(move || {
                    (0..EACH)
                        .map(|_| counter.read_with(read_number).unwrap())
                        .sum::<u64>()
                })
            })
            .collect();
        for _ in 0..READERS * EACH {
            add(counter.get_ref(), 1).unwrap();
        }
        for reader in readers {
            assert_eq!(reader.join(), EACH);
        }
        assert_eq!(
            kind(&read_number(counter.get_ref())),
            Some(ErrorKind::WouldBlock)
        );
    });
}

/// Promise 5. A writer waits while there is no room, and goes on when there is.
#[test]
fn a_full_eventfd_holds_its_writer_up() {
    matrix(LIMIT, "a full eventfd", |case| {
        let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let counter = Arc::new(Pollable::new(counter).unwrap());
        add(counter.get_ref(), u64::MAX - 1).unwrap();
        let writer = case.spawn({
            let counter = Arc::clone(&counter);
            move || counter.write_with(|counter| add(counter, 5)).unwrap()
        });
        writer.until_waiting(watched(&counter));
        assert_eq!(read_number(counter.get_ref()).unwrap(), u64::MAX - 1);
        writer.join();
        assert_eq!(read_number(counter.get_ref()).unwrap(), 5);
    });
}

/// Promise 8. What a short read leaves behind is read without a further event, by all ways of reading.
#[test]
fn what_a_short_read_leaves_is_not_stranded() {
    matrix(LIMIT, "short reads", |case| {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let mut ours = Pollable::new(ours).unwrap();
        let fd = watched(&ours);
        let reader = case.spawn(move || {
            let mut all = Vec::new();
            let mut byte = [0];
            for _ in 0..3 {
                ours.read_with(|mut ours| ours.read(&mut byte)).unwrap();
                all.push(byte[0]);
                ours.read_with_mut(|ours| ours.read(&mut byte)).unwrap();
                all.push(byte[0]);
                ours.read_exact(&mut byte).unwrap();
                all.push(byte[0]);
                (&ours).read_exact(&mut byte).unwrap();
                all.push(byte[0]);
            }
            all
        });
        reader.until_waiting(fd);
        peer.write_all(b"abcdefghijkl").unwrap();
        assert_eq!(reader.join(), b"abcdefghijkl");
    });
}

/// The waits for readiness tell what *is*: bytes that came before, bytes that others left, and room.
#[test]
fn waiting_for_readiness_sees_what_came_before() {
    matrix(LIMIT, "waits for readiness", |case| {
        case.run(|| {
            let (ours, mut peer) = UnixStream::pair().unwrap();
            let ours = Pollable::new(ours).unwrap();
            ours.wait_writable().unwrap();
            ours.set_read_timeout(Some(SHORT)).unwrap();
            // It is registered by now, and what follows is no news to it.
            assert_eq!(kind(&ours.wait_readable()), Some(ErrorKind::WouldBlock));
            peer.write_all(b"four").unwrap();
            for _ in 0..4 {
                for _ in 0..3 {
                    ours.wait_readable().unwrap();
                }
                assert_eq!(ours.get_ref().read(&mut [0]).unwrap(), 1);
            }
            assert_eq!(kind(&ours.wait_readable()), Some(ErrorKind::WouldBlock));
            // The end is something to be read, every time.
            drop(peer);
            for _ in 0..3 {
                ours.wait_readable().unwrap();
                assert_eq!((&ours).read(&mut [0; 4]).unwrap(), 0);
            }
        });
    });
}

/// Promises 9 and 14. A call is made again after `WouldBlock` once there is something new, after `Interrupted` at once,
/// and nobody sees either.
#[test]
fn a_call_is_made_again_only_for_a_reason() {
    matrix(LIMIT, "calls that are made again", |case| {
        let (ours, peer) = UnixDatagram::pair().unwrap();
        let ours = Pollable::new(ours).unwrap();
        let fd = watched(&ours);
        let calls = Arc::new(AtomicUsize::new(0));
        let caller = case.spawn({
            let calls = Arc::clone(&calls);
            move || {
                let mut buf = [0; 16];
                ours.read_with(|socket| {
                    if calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                        return Err(ErrorKind::Interrupted.into());
                    }
                    socket.recv(&mut buf)
                })
            }
        });
        caller.until_waiting(fd);
        let before = calls.load(Ordering::SeqCst);
        // Registering may be a reason to look again; after that there is none.
        assert!((2..=6).contains(&before), "{before} calls");
        peer.send(b"abc").unwrap();
        assert_eq!(caller.join().unwrap(), 3);
        assert!(calls.load(Ordering::SeqCst) <= before + 4);
    });
}

/// Promises 19, 22 and 24. Limits are those of sockets: a timeout gives `WouldBlock`, a deadline `TimedOut`, never
/// early; zero is refused.
#[test]
fn limits_are_those_of_sockets() {
    matrix(LIMIT, "limits of a pollable", |case| {
        case.run(|| {
            let (ours, mut peer) = UnixStream::pair().unwrap();
            let mut ours = Pollable::new(ours).unwrap();
            for zero in [
                ours.set_read_timeout(Some(Duration::ZERO)),
                ours.set_write_timeout(Some(Duration::ZERO)),
            ] {
                assert_eq!(kind(&zero), Some(ErrorKind::InvalidInput));
            }
            ours.set_read_timeout(Some(SHORT)).unwrap();
            let start = Instant::now();
            assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::WouldBlock));
            assert!(start.elapsed() >= SHORT, "the read ended early");

            ours.set_read_timeout(None).unwrap();
            let end = Instant::now() + SHORT;
            ours.set_read_deadline(Some(end)).unwrap();
            assert_eq!(kind(&ours.wait_readable()), Some(ErrorKind::TimedOut));
            assert!(Instant::now() >= end, "the wait ended early");
            assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::TimedOut));
            peer.write_all(b"x").unwrap();
            assert_eq!(ours.read(&mut [0; 8]).unwrap(), 1);

            let end = Instant::now() + SHORT;
            ours.set_write_deadline(Some(end)).unwrap();
            let error = ours.write_all(&[0; 1 << 22]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(Instant::now() >= end, "the write ended early");
        });
    });
}

/// Bad input: what cannot be waited for is refused when the pollable is made, and nothing of it is left behind.
#[test]
fn what_cannot_be_waited_for_is_refused() {
    if !rig::child::alone("what_cannot_be_waited_for_is_refused", &[]) {
        return;
    }
    let before = rig::process::descriptors();
    for path in ["/proc/self/exe", "/", "/dev/null"] {
        let file = std::fs::File::open(path).unwrap();
        let error = Pollable::new(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}: {error}");
        assert!(error.to_string().contains("epoll refuses"), "{error}");
        assert!(!is_nonblocking(&file));
    }
    assert_eq!(rig::process::descriptors(), before);
}

/// The open file description is non-blocking while there is a pollable, and as it was before and after.
#[test]
fn the_mode_is_put_back() {
    let (blocking, _peer) = UnixStream::pair().unwrap();
    let pollable = Pollable::new(&blocking).unwrap();
    assert!(is_nonblocking(&blocking));
    let _: &UnixStream = pollable.into_inner();
    assert!(!is_nonblocking(&blocking));
    drop(Pollable::new(&blocking).unwrap());
    assert!(!is_nonblocking(&blocking));
    drop(Pollable::new_nonblocking(&blocking).unwrap());
    assert!(!is_nonblocking(&blocking));

    let (nonblocking, _peer) = UnixStream::pair().unwrap();
    nonblocking.set_nonblocking(true).unwrap();
    drop(Pollable::new(&nonblocking).unwrap());
    drop(Pollable::new_nonblocking(&nonblocking).unwrap());
    assert!(is_nonblocking(&nonblocking));
}

/// Something that may have another descriptor at any time, as a client that connects anew has.
struct Fickle(UnixStream);

impl AsFd for Fickle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Promise 10. A thing that closes its descriptor while it is registered harms nobody: whoever gets the number next
/// keeps his registration and gets no event of it.
#[test]
fn a_thing_that_closes_its_descriptor_harms_no_neighbour() {
    within(LIMIT, "the successor of a closed descriptor", || {
        each_runtime("the successor of a closed descriptor", |runtime, _| {
            for _ in 0..20 {
                let (first, mut first_peer) = UnixStream::pair().unwrap();
                let (second, mut second_peer) = UnixStream::pair().unwrap();
                let number = first.as_raw_fd();
                let pollable = Pollable::new(Fickle(first)).unwrap();
                let pollable = runtime.run(move || {
                    pollable
                        .set_read_timeout(Some(Duration::from_millis(1)))
                        .unwrap();
                    assert!(pollable.wait_readable().is_err());
                    pollable
                });
                assert_eq!(pollers_of(watched(&pollable)), 1);
                let mut pollable = pollable;
                // Closes the number, and takes it again for a pipe that a neighbour waits for.
                pollable.get_mut().0 = second;
                let (reader, mut writer) = std::io::pipe().unwrap();
                let reused = reader.as_raw_fd() == number;
                let reader = withy::io::PipeReader::from(reader);
                let neighbour = runtime.spawn(move || (&reader).read(&mut [0; 4]).unwrap());
                if reused {
                    rig::until(|| pollers_of(number) > 0);
                }
                // Its own events, and the end of its registration, concern nobody but itself.
                let _ = first_peer.write_all(b"x");
                let _ = second_peer.write_all(b"y");
                drop(pollable);
                assert!(!neighbour.is_finished());
                writer.write_all(b"zz").unwrap();
                assert_eq!(neighbour.join().unwrap(), 2);
            }
        });
    });
}

/// Item 4. select's `readable` and `writable` take it.
#[test]
fn select_waits_for_it() {
    matrix(LIMIT, "a select with a pollable", |case| {
        let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let counter = Arc::new(Pollable::new(counter).unwrap());
        case.run({
            let counter = Arc::clone(&counter);
            move || {
                let writable = withy::select! {
                    readable(&*counter) => false,
                    writable(&*counter) => true,
                };
                assert!(writable);
                let timed_out = withy::select! {
                    readable(&*counter) => false,
                    default(SHORT) => true,
                };
                assert!(timed_out);
            }
        });
        let selecting = case.spawn({
            let counter = Arc::clone(&counter);
            move || {
                withy::select! {
                    readable(&*counter) => counter.read_with(read_number).unwrap(),
                }
            }
        });
        selecting.until_waiting(watched(&counter));
        add(counter.get_ref(), 3).unwrap();
        assert_eq!(selecting.join(), 3);
    });
}

/// Promise 6. Reading and writing one descriptor from two callers loses no wake-up.
#[test]
fn both_directions_at_once_lose_no_wake_up() {
    const ROUNDS: u32 = 1000;
    matrix(LIMIT, "both directions of a pollable", |case: &Case| {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let ours = Arc::new(Pollable::new(ours).unwrap());
        let echo = std::thread::spawn(move || {
            let mut buf = [0; 4];
            for _ in 0..ROUNDS {
                peer.read_exact(&mut buf).unwrap();
                peer.write_all(&buf).unwrap();
            }
        });
        let writer = case.spawn({
            let ours = Arc::clone(&ours);
            move || {
                for round in 0..ROUNDS {
                    (&*ours).write_all(&round.to_be_bytes()).unwrap();
                }
            }
        });
        let reader = case.spawn(move || {
            let mut buf = [0; 4];
            for round in 0..ROUNDS {
                (&*ours).read_exact(&mut buf).unwrap();
                assert_eq!(u32::from_be_bytes(buf), round);
            }
        });
        writer.join();
        reader.join();
        echo.join().unwrap();
    });
}
