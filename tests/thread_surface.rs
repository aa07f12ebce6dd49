//! `withy::thread` in the place of `std::thread`.

/// Promise 35, in its plainest form: what is ported by its `use` line alone goes on. Every stable name of `std::thread`
/// is there.
#[test]
#[allow(deprecated, reason = "std has them too")]
fn every_stable_name_of_std_thread_is_there() {
    use withy::thread::{
        self, AccessError, Builder, JoinHandle, LocalKey, Result, Scope, ScopedJoinHandle, Thread,
        ThreadId, available_parallelism, current, panicking, park, park_timeout, park_timeout_ms,
        scope, sleep, sleep_ms, spawn, yield_now,
    };
    fn names<T>() {}
    names::<(AccessError, LocalKey<u8>, Result<u8>, Thread, ThreadId)>();
    names::<(fn(&Scope<'_, '_>), ScopedJoinHandle<'_, u8>)>();
    let _: [fn(); 2] = [park, yield_now];
    let _: [fn(std::time::Duration); 2] = [park_timeout, sleep];
    let _: [fn(u32); 2] = [park_timeout_ms, sleep_ms];

    let named: JoinHandle<Option<String>> = Builder::new()
        .name("ported".into())
        .stack_size(256 * 1024)
        .spawn(|| current().name().map(str::to_owned))
        .unwrap();
    assert_eq!(named.thread().name(), Some("ported"));
    assert_eq!(named.join().unwrap().as_deref(), Some("ported"));
    assert_ne!(
        spawn(|| thread::current().id()).join().unwrap(),
        current().id()
    );
    assert!(!panicking() && available_parallelism().is_ok());
    let mut local = 1;
    scope(|s| {
        s.spawn(|| local += 1);
    });
    assert_eq!(local, 2);
}
