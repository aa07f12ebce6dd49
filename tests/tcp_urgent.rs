//! Out-of-band data: it marks the stream and splits reads, and must neither spin nor hang a reader.

mod support;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use support::sockets::pair;
use support::{LIMIT, matrix};

/// Processor time of this whole process, all its threads.
fn process_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Promise 16. The read before the mark is short although data is behind it: shortness must not clear readiness then.
#[test]
fn bytes_behind_an_urgent_mark_are_not_stranded() {
    matrix(LIMIT, "bytes behind an urgent mark", |case| {
        let (mut ours, mut peer) = pair();
        peer.set_nodelay(true).unwrap();
        ours.set_nodelay(true).unwrap();
        let echo = case.spawn(move || {
            let mut buf = [0; 4096];
            let mut all = Vec::new();
            loop {
                match ours.read(&mut buf).unwrap() {
                    0 => return all,
                    n => {
                        all.extend_from_slice(&buf[..n]);
                        ours.write_all(&buf[..n]).unwrap();
                    }
                }
            }
        });
        let mut back = [0; 4];
        for _ in 0..200 {
            peer.write_all(b"ab").unwrap();
            SockRef::from(&peer).send_out_of_band(b"!").unwrap();
            peer.write_all(b"cd").unwrap();
            peer.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"abcd");
        }
        drop(peer);
        assert_eq!(echo.join(), b"abcd".repeat(200));
    });
}

/// Promise 16. Nobody reads the urgent byte, so the kernel keeps saying PRI; a reader waits all the same. The only
/// test here that looks at a clock, and it runs with at most one other in this process, both of which mostly wait.
#[test]
fn an_unread_urgent_byte_does_not_spin_a_reader() {
    matrix(LIMIT, "a reader next to an unread urgent byte", |case| {
        let (mut ours, mut peer) = pair();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            byte[0]
        });
        reader.until_waiting(fd);
        SockRef::from(&peer).send_out_of_band(b"!").unwrap();
        // Long enough that a spinning caller would show; nothing is waited for.
        let pause = Duration::from_millis(40);
        let quiet = (0..50).any(|_| {
            let before = process_time();
            thread::sleep(pause);
            process_time() - before < pause / 2
        });
        assert!(
            quiet,
            "the process burns processor time while it should wait"
        );
        peer.write_all(b"x").unwrap();
        assert_eq!(reader.join(), b'x');
    });
}
