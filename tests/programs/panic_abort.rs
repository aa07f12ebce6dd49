//! A program that is built with `panic = "abort"`: what needs unwinding does not exist, the rest works. Run by .ci/run.

#[cfg(panic = "abort")]
fn main() {
    checks::all();
    println!("all as it should be");
}

#[cfg(not(panic = "abort"))]
fn main() {
    eprintln!(r#"build this with --config 'profile.dev.panic="abort"'"#);
    std::process::exit(2);
}

#[cfg(panic = "abort")]
mod checks {
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use withy::net::{TcpListener, TcpStream, duplex};
    use withy::{CancelToken, JoinHandle, Runtime, ScopedJoinHandle};

    const MS: Duration = Duration::from_millis(1);

    pub(super) fn all() {
        if std::env::args().any(|argument| argument == "panic") {
            let _ = withy::spawn(|| panic!("nobody survives this")).join();
            return;
        }
        what_needs_unwinding_does_not_exist();
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(60));
            eprintln!("it hangs");
            std::process::abort();
        });
        a_scope_waits_for_its_children();
        work_is_lent();
        waits_with_limits_of_their_own_end();
        a_token_tells_who_asks();
        virtual_time_jumps();
        a_shutdown_waits_and_reports_what_is_left();
        a_panic_ends_the_process();
    }

    /// Compiles only if withy has none of these names: two globs that both had one would be ambiguous, and a method of a
    /// type goes before that of a trait.
    fn what_needs_unwinding_does_not_exist() {
        mod absent {
            pub(super) struct TryScope;
            pub(super) fn timeout() {}
            pub(super) fn deadline() {}
            pub(super) fn try_scope() -> TryScope {
                TryScope
            }
        }
        #[allow(
            clippy::wildcard_imports,
            reason = "a name of both globs is the error that is looked for"
        )]
        {
            use absent::*;
            #[allow(unused_imports, reason = "it has none of the names")]
            use withy::*;
            timeout();
            deadline();
            let _: TryScope = try_scope();
        }

        struct Absent;
        trait NoMethods {
            fn cancel(&self) -> Absent {
                Absent
            }
        }
        impl<T> NoMethods for JoinHandle<T> {}
        impl<T> NoMethods for ScopedJoinHandle<'_, T> {}
        trait NoRegion {
            fn run(&self, _f: fn()) -> Absent {
                Absent
            }
        }
        impl NoRegion for CancelToken {}
        let child = withy::spawn(|| ());
        let Absent = child.cancel();
        child.join().expect("nobody asked it to end");
        withy::scope(|s| {
            let Absent = s.spawn(|| ()).cancel();
        });
        let Absent = CancelToken::new().run(|| ());
    }

    fn a_scope_waits_for_its_children() {
        let ended = AtomicUsize::new(0);
        let body = || {
            withy::scope(|s| {
                for _ in 0..10 {
                    s.spawn(|| {
                        withy::sleep(2 * MS);
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                }
            });
            ended.swap(0, Ordering::SeqCst)
        };
        assert_eq!(body(), 10);
        assert_eq!(withy::run(body), 10);
    }

    fn work_is_lent() {
        let text = String::from("borrowed");
        let lengths = withy::run(|| {
            (
                withy::blocking(|| text.len()),
                withy::compute(|| text.len()),
            )
        });
        assert_eq!(lengths, (8, 8));
        assert_eq!(withy::spawn_blocking(|| 7).join().unwrap(), 7);
        withy::run(|| assert!(withy::fs::metadata("/proc").unwrap().is_dir()));
    }

    fn waits_with_limits_of_their_own_end() {
        withy::run(|| {
            withy::park_timeout(MS);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            server.set_read_timeout(Some(MS)).unwrap();
            let late = server.read(&mut [0]).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::WouldBlock);
            server.set_read_deadline(Some(withy::now())).unwrap();
            let late = server.read(&mut [0]).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            client.write_all(b"x").unwrap();
            server.set_read_deadline(None).unwrap();
            server.set_read_timeout(None).unwrap();
            server.read_exact(&mut [0]).unwrap();
        });
    }

    fn a_token_tells_who_asks() {
        let token = CancelToken::new();
        let child = token.child();
        let waiter = withy::spawn(move || {
            withy::shield(|| child.wait());
            child.is_cancelled()
        });
        token.cancel();
        assert!(waiter.join().unwrap());
    }

    fn virtual_time_jumps() {
        let runtime = Runtime::builder().virtual_time().seed(7).build().unwrap();
        runtime.run(|| {
            let (mut one, mut other) = duplex(16);
            let begin = withy::now();
            let peer = withy::spawn(move || {
                withy::sleep(Duration::from_secs(3600));
                other.write_all(b"x").unwrap();
            });
            one.read_exact(&mut [0]).unwrap();
            assert_eq!(withy::now() - begin, Duration::from_secs(3600));
            peer.join().unwrap();
        });
    }

    /// What ends by itself is waited for, and what has not started is dropped; what is left is named at the limit, and goes
    /// on when it is woken after all.
    fn a_shutdown_waits_and_reports_what_is_left() {
        for workers in [1, 2] {
            let started = AtomicBool::new(false);
            let started = &*Box::leak(Box::new(started));
            let start = || started.store(true, Ordering::SeqCst);
            let begun = || {
                while !started.swap(false, Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            };

            let runtime = Runtime::builder().workers(workers).build().unwrap();
            let sleeper = runtime.spawn(move || {
                start();
                withy::sleep(5 * MS);
                7
            });
            begun();
            let fresh: Vec<_> = (0..100).map(|_| runtime.spawn(|| ())).collect();
            runtime.shutdown(Duration::from_secs(50)).unwrap();
            assert_eq!(sleeper.join().unwrap(), 7);
            for handle in fresh {
                // It ran, or was dropped before.
                if let Err(payload) = handle.join() {
                    assert!(payload.is::<withy::Cancelled>());
                }
            }

            let runtime = Runtime::builder().workers(workers).build().unwrap();
            let body = move || {
                start();
                withy::park();
                42
            };
            let parked = runtime.run(|| withy::Builder::new().name("left".into()).spawn(body));
            let parked = parked.unwrap();
            begun();
            let error = runtime.shutdown(10 * MS).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let text = error.to_string();
            assert!(
                text.contains("1 coroutine(s)") && text.contains("left"),
                "{text}"
            );
            parked.coroutine().unpark();
            assert_eq!(parked.join().unwrap(), 42);
        }
    }

    fn a_panic_ends_the_process() {
        let me = std::env::current_exe().unwrap();
        let output = Command::new(me).arg("panic").output().unwrap();
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGABRT),
            "{}",
            output.status
        );
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("nobody survives this"), "{text}");
    }
}
