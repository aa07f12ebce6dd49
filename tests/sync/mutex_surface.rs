//! `sync::Mutex` as a type: its values, conversions, texts and traits are those of std.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use withy::sync::Mutex;

use super::mutex_poisoning::poisoned;
use crate::rig::Drops;
use crate::support::{self, Case, LIMIT, matrix};

/// Has no `Clone`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct NonCopy(pub(super) i32);

#[test]
fn into_inner_gives_the_value_and_drops_it_once() {
    assert_eq!(Mutex::new(NonCopy(10)).into_inner().unwrap(), NonCopy(10));
    let drops = AtomicUsize::new(0);
    let mutex = Mutex::new(Drops(&drops));
    let inner = mutex.into_inner().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    drop(inner);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    drop(Mutex::new(Drops(&drops)));
    assert_eq!(drops.load(Ordering::SeqCst), 2);
}

#[test]
fn get_mut_needs_no_lock() {
    let mut mutex = Mutex::new(NonCopy(10));
    mutex.get_mut().unwrap().0 = 20;
    // Not even one that was forgotten.
    std::mem::forget(mutex.lock());
    mutex.get_mut().unwrap().0 += 1;
    assert_eq!(mutex.into_inner().unwrap(), NonCopy(21));
}

#[test]
fn what_it_protects_may_be_unsized() {
    let mutex: &Mutex<[i32]> = &Mutex::new([1, 2, 3]);
    {
        let guard = &mut *mutex.lock().unwrap();
        guard[0] = 4;
        guard[2] = 5;
    }
    assert_eq!(*mutex.lock().unwrap(), [4, 2, 5]);
    let text: Box<Mutex<dyn std::fmt::Display + Send>> = Box::new(Mutex::new("any"));
    assert_eq!(text.lock().unwrap().to_string(), "any");
}

#[test]
fn it_prints_as_stds_does() {
    fn texts<T: std::fmt::Debug>(value: &T) -> [String; 2] {
        [format!("{value:?}"), format!("{value:#?}")]
    }
    let (ours, stds) = (Mutex::new(vec![1, 2]), std::sync::Mutex::new(vec![1, 2]));
    assert_eq!(texts(&ours), texts(&stds));
    let guards = (ours.lock().unwrap(), stds.lock().unwrap());
    assert_eq!(texts(&guards.0), texts(&guards.1));
    assert_eq!(
        texts(&ours)[0],
        "Mutex { data: <locked>, poisoned: false, .. }"
    );
    drop(guards);
    let case = Case::new(1, false, support::Callers::Threads);
    let ours = poisoned(&case, 3);
    let stds = Arc::new(std::sync::Mutex::new(3));
    let held = stds.clone();
    let panics = std::thread::spawn(move || {
        let _guard = held.lock();
        panic!("on purpose");
    });
    assert!(panics.join().is_err());
    assert_eq!(texts(&*ours), texts(&*stds));
    let (ours, stds) = (ours.lock().unwrap_err(), stds.lock().unwrap_err());
    assert_eq!(texts(&ours), texts(&stds));
    assert_eq!(ours.get_ref().to_string(), "3", "guards pass Display on");
}

static SHARED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

#[test]
fn it_may_be_a_static() {
    matrix(LIMIT, "a static mutex", |case| {
        let callers: Vec<_> = (0..4)
            .map(|n| case.spawn(move || SHARED.lock().unwrap().push(n)))
            .collect();
        callers.into_iter().for_each(support::Caller::join);
        let mut all = std::mem::take(&mut *SHARED.lock().unwrap());
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    });
}

/// The auto traits and conversions are std's.
#[test]
fn it_is_made_and_shared_as_stds() {
    fn shared<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    fn sync<T: Sync>() {}
    shared::<Mutex<Cell<i32>>>();
    shared::<Mutex<RefCell<Vec<u8>>>>();
    sync::<withy::sync::MutexGuard<'_, i32>>();
    assert_eq!(*Mutex::from(4).lock().unwrap(), 4);
    assert_eq!(*Mutex::<NonCopy>::default().lock().unwrap(), NonCopy(0));
    let several = [const { Mutex::new(None::<u8>) }; 2];
    assert!(several[1].lock().unwrap().is_none());
}
