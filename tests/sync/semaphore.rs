//! `Semaphore`: permits and their guards, limits, errors. Waiting is in `sync_semaphore_waits.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use withy::sync::{Closed, OwnedPermit, Permit, Semaphore, TryAcquireError};

use crate::rig::parties::{each_pair, somebody_waits};
use crate::rig::{each_runtime, text_of, until};

const MAX: usize = Semaphore::MAX_PERMITS;
const NO_PERMITS: TryAcquireError = TryAcquireError::NoPermits;

/// What a call gives, without its guard.
fn refused<T>(outcome: Result<T, TryAcquireError>) -> Option<TryAcquireError> {
    outcome.err()
}

fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    text_of(&*payload).to_owned()
}

#[test]
fn what_is_there_is_taken_and_comes_back() {
    let semaphore = Semaphore::new(4);
    let one = semaphore.acquire().unwrap();
    let two = semaphore.acquire_many(2).unwrap();
    assert_eq!((one.num_permits(), two.num_permits()), (1, 2));
    assert_eq!(semaphore.available_permits(), 1);
    assert_eq!(refused(semaphore.try_acquire_many(2)), Some(NO_PERMITS));
    let last = semaphore.try_acquire().unwrap();
    assert_eq!(refused(semaphore.try_acquire()), Some(NO_PERMITS));
    drop((one, last));
    assert_eq!(semaphore.available_permits(), 2);
    drop(two);
    assert_eq!(semaphore.try_acquire_many(4).unwrap().num_permits(), 4);
    assert_eq!(semaphore.available_permits(), 4);
}

#[test]
fn none_at_all_can_be_had_at_any_time_until_it_is_closed() {
    each_runtime("no permits at all", |runtime, _| {
        let semaphore = Arc::new(Semaphore::new(0));
        let waiter = runtime.spawn({
            let semaphore = semaphore.clone();
            move || semaphore.acquire().map(drop)
        });
        until(|| somebody_waits(&semaphore));
        assert_eq!(semaphore.acquire_many(0).unwrap().num_permits(), 0);
        assert!(semaphore.try_acquire_many(0).is_ok());
        assert!(semaphore.try_acquire_many_owned(0).is_ok());
        semaphore.close();
        assert_eq!(semaphore.acquire_many(0).map(drop), Err(Closed));
        assert_eq!(waiter.join().unwrap(), Err(Closed));
    });
}

#[test]
fn a_static_needs_no_set_up_and_a_guard_may_go_anywhere() {
    static PLACES: Semaphore = Semaphore::new(1);
    fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<Semaphore>();
    is_send_sync::<Permit<'static>>();
    is_send_sync::<OwnedPermit>();
    each_pair("a guard that is sent", |pair| {
        let place = pair.spawn(0, || PLACES.acquire().unwrap()).join();
        assert_eq!(PLACES.available_permits(), 0);
        pair.spawn(1, move || drop(place)).join();
        assert_eq!(PLACES.available_permits(), 1);
    });
}

#[test]
fn an_owned_permit_keeps_its_semaphore_alive() {
    let semaphore = Arc::new(Semaphore::new(3));
    let weak = Arc::downgrade(&semaphore);
    let two = semaphore.acquire_many_owned(2).unwrap();
    let one = semaphore.try_acquire_owned().unwrap();
    assert_eq!(
        refused(semaphore.try_acquire_many_owned(1)),
        Some(NO_PERMITS)
    );
    drop(semaphore);
    assert_eq!(one.semaphore().available_permits(), 0);
    drop(two);
    assert_eq!(one.semaphore().available_permits(), 2);
    drop(one);
    assert!(weak.upgrade().is_none());
}

#[test]
fn guards_are_merged_split_and_forgotten() {
    let semaphore = Arc::new(Semaphore::new(10));
    let mut all = semaphore.acquire_many(4).unwrap();
    all.merge(semaphore.acquire_many(3).unwrap());
    assert_eq!((all.num_permits(), semaphore.available_permits()), (7, 3));
    assert!(std::ptr::eq(all.semaphore(), &*semaphore));
    let two = all.split(2).unwrap();
    assert!(all.split(6).is_none());
    assert!(all.split(0).is_some_and(|none| none.num_permits() == 0));
    assert_eq!((all.num_permits(), semaphore.available_permits()), (5, 3));
    two.forget();
    drop(all);
    assert_eq!(semaphore.available_permits(), 8);
    let mut owned = semaphore.acquire_owned().unwrap();
    owned.merge(semaphore.acquire_many_owned(2).unwrap());
    owned.split(2).unwrap().forget();
    drop(owned);
    assert_eq!(semaphore.available_permits(), 6);
}

#[test]
fn guards_of_two_semaphores_are_not_merged() {
    let semaphores = [(); 2].map(|()| Arc::new(Semaphore::new(2)));
    let text = panic_of(|| {
        let mut one = semaphores[0].acquire().unwrap();
        one.merge(semaphores[1].acquire().unwrap());
    });
    assert_eq!(text, "cannot merge permits of two semaphores");
    panic_of(|| {
        let mut one = semaphores[0].acquire_owned().unwrap();
        one.merge(semaphores[1].acquire_owned().unwrap());
    });
    assert!(semaphores.iter().all(|one| one.available_permits() == 2));
}

/// Bad input: more permits than there may be.
#[test]
fn too_many_permits_are_refused() {
    let text = panic_of(|| drop(Semaphore::new(MAX + 1)));
    assert_eq!(
        text,
        "a semaphore has at most Semaphore::MAX_PERMITS permits"
    );
    panic_of(|| drop(Semaphore::new(usize::MAX)));
    let full = Arc::new(Semaphore::new(MAX));
    for n in [1, MAX, usize::MAX] {
        let text = panic_of(|| full.add_permits(n));
        assert!(
            text.starts_with(&format!("cannot add {n} permits")),
            "{text}"
        );
        assert_eq!(full.available_permits(), MAX);
    }
    full.add_permits(0);
    for n in [MAX + 1, usize::MAX] {
        let text = panic_of(|| drop(full.acquire_many(n)));
        assert!(
            text.starts_with(&format!("cannot acquire {n} permits")),
            "{text}"
        );
        panic_of(|| drop(full.acquire_many_owned(n)));
        panic_of(|| drop(full.acquire_many_timeout(n, Duration::ZERO)));
        assert_eq!(refused(full.try_acquire_many(n)), Some(NO_PERMITS));
        assert_eq!(refused(full.try_acquire_many_owned(n)), Some(NO_PERMITS));
        assert_eq!(full.available_permits(), MAX);
    }
    drop(full.acquire_many(MAX).unwrap());
    assert_eq!(full.forget_permits(usize::MAX), MAX);
    assert_eq!(full.forget_permits(1), 0);
    assert_eq!(full.available_permits(), 0);
}

/// Bad input: what comes back beyond the largest number is lost, and nothing else is.
#[test]
fn permits_beyond_the_largest_number_are_lost() {
    let semaphore = Semaphore::new(MAX);
    let held = semaphore.acquire_many(MAX - 2).unwrap();
    semaphore.add_permits(MAX - 2);
    let mut more = semaphore.acquire_many(MAX).unwrap();
    drop(held);
    assert_eq!(semaphore.available_permits(), MAX - 2);
    more.merge(semaphore.acquire_many(MAX - 2).unwrap());
    assert_eq!(more.num_permits(), 2 * MAX - 2);
    drop(more);
    assert_eq!(semaphore.available_permits(), MAX);
    assert!(!semaphore.is_closed() && !somebody_waits(&semaphore));
    // More than a usize counts.
    let mut all = semaphore.acquire_many(MAX).unwrap();
    for _ in 0..7 {
        semaphore.add_permits(MAX);
        all.merge(semaphore.acquire_many(MAX).unwrap());
    }
    semaphore.add_permits(MAX);
    let text = panic_of(|| all.merge(semaphore.acquire_many(MAX).unwrap()));
    assert!(text.starts_with("cannot merge"), "{text}");
    assert_eq!(semaphore.available_permits(), MAX);
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(Closed.to_string(), "the semaphore is closed");
    assert_eq!(TryAcquireError::from(Closed), TryAcquireError::Closed);
    assert_eq!(TryAcquireError::Closed.to_string(), Closed.to_string());
    assert_eq!(NO_PERMITS.to_string(), "the semaphore has too few permits");
    let semaphore = Arc::new(Semaphore::new(2));
    let debug = format!("{:?} {:?}", semaphore.acquire(), semaphore.acquire_owned());
    assert_eq!(
        debug,
        "Ok(Permit { num_permits: 1, .. }) Ok(OwnedPermit { num_permits: 1, .. })"
    );
    assert_eq!(
        format!("{semaphore:?}"),
        "Semaphore { permits: 2, waiting: false, closed: false, .. }"
    );
}
