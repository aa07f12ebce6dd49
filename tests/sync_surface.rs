//! `withy::sync` in the place of `std::sync`: every stable name (Rust 1.95), with std's signatures and traits.
//!
//! Each part is code that a program might have, compiled and run twice: with `use std::sync` and with `use withy::sync`. What is unstable
//! in std is not here: `mpmc`, `oneshot`, `nonpoison`, the module `poison`, `Exclusive`, `ReentrantLock`, `UniqueArc`, mapped guards,
//! `atomic::Atomic`.

#![allow(deprecated, reason = "std has them too")]
#![allow(
    clippy::declare_interior_mutable_const,
    clippy::borrow_interior_mutable_const,
    clippy::into_iter_on_ref,
    clippy::needless_late_init,
    clippy::too_many_lines,
    clippy::type_complexity,
    reason = "it is a list of what compiles"
)]

use std::fmt::{Debug, Display};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

/// Shared between threads, and not spoilt by a panic.
fn shares<T: Send + Sync + UnwindSafe + RefUnwindSafe + ?Sized>() {}
fn sends<T: Send>() {}
fn syncs<T: Sync>() {}
fn plain<T: Copy + Eq + Debug>() {}
fn unwinds<T: UnwindSafe + RefUnwindSafe>() {}
fn debugs<T: Debug + ?Sized>() {}
fn displays<T: Debug + Display + ?Sized>() {}
fn errors<T: std::error::Error>() {}

/// Does not compile if the type has the trait: the call would be ambiguous.
macro_rules! lacks {
    ($type:ty: $($bound:tt)+) => {{
        trait Lacks<A> {
            fn here() {}
        }
        impl<T: ?Sized> Lacks<()> for T {}
        struct Has;
        impl<T: ?Sized + $($bound)+> Lacks<Has> for T {}
        <$type as Lacks<_>>::here();
    }};
}

/// Whatever is not `Sync`, or not `Send` either.
type Local = std::cell::Cell<u8>;
type Nowhere = std::rc::Rc<u8>;

/// The same code for std and for withy.
macro_rules! both {
    ($($(#[$doc:meta])* fn $test:ident { use {$($used:tt)*}; $($body:tt)* })*) => {$(
        mod $test {
            mod std {
                use super::super::*;
                use ::std::sync::{$($used)*};

                pub(super) fn run() { $($body)* }
            }

            mod withy {
                use super::super::*;
                use ::withy::sync::{$($used)*};

                pub(super) fn run() { $($body)* }
            }

            $(#[$doc])*
            #[test]
            fn is_there() {
                std::run();
                withy::run();
                // And in a coroutine.
                ::withy::run(withy::run);
            }
        }
    )*};
}

both! {
    /// Promise 40. What needs no change.
    fn shared_pointers {
        use {Arc, Weak};

        shares::<(Arc<u8>, Weak<u8>)>();
        let strong: Arc<str> = Arc::from("shared");
        let weak: Weak<str> = Arc::downgrade(&strong);
        assert_eq!(weak.upgrade().as_deref(), Some("shared"));
        let same: ::std::sync::Arc<str> = strong;
        drop(same);
    }

    /// Promise 40. What needs no change.
    fn atomics {
        use {atomic};

        use atomic::{
            ATOMIC_BOOL_INIT, ATOMIC_ISIZE_INIT, ATOMIC_USIZE_INIT, AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64,
            AtomicIsize, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence,
            spin_loop_hint,
        };

        shares::<(AtomicBool, AtomicPtr<u8>, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize)>();
        shares::<(AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize)>();
        let (flag, signed, unsigned) = (ATOMIC_BOOL_INIT, ATOMIC_ISIZE_INIT, ATOMIC_USIZE_INIT);
        fence(Ordering::SeqCst);
        compiler_fence(Ordering::SeqCst);
        spin_loop_hint();
        assert!(!flag.load(Ordering::Relaxed));
        assert_eq!(signed.load(Ordering::Relaxed), -unsigned.load(Ordering::Relaxed).cast_signed());
    }

    /// Promise 40. `Mutex`, its guard and its errors.
    fn mutexes {
        use {LockResult, Mutex, MutexGuard, PoisonError, TryLockError, TryLockResult};

        shares::<Mutex<u8>>();
        shares::<Mutex<Local>>();
        shares::<Mutex<dyn Send>>();
        lacks!(Mutex<Nowhere>: Send);
        lacks!(Mutex<Nowhere>: Sync);
        syncs::<MutexGuard<'_, u8>>();
        lacks!(MutexGuard<'_, u8>: Send);
        lacks!(MutexGuard<'_, Local>: Sync);
        unwinds::<MutexGuard<'_, u8>>();
        debugs::<Mutex<[u8]>>();
        displays::<MutexGuard<'_, str>>();
        errors::<PoisonError<Nowhere>>();
        errors::<TryLockError<Nowhere>>();

        const EMPTY: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        static SHARED: Mutex<u8> = Mutex::new(3);
        let _: fn(&'static Mutex<u8>) -> LockResult<MutexGuard<'static, u8>> = Mutex::lock;
        let _: fn(&'static Mutex<u8>) -> TryLockResult<MutexGuard<'static, u8>> = Mutex::try_lock;
        let _: fn(&Mutex<u8>) -> bool = Mutex::is_poisoned;
        let _: fn(&Mutex<u8>) = Mutex::clear_poison;
        let _: fn(Mutex<u8>) -> LockResult<u8> = Mutex::into_inner;
        let _: fn(&mut Mutex<u8>) -> LockResult<&mut u8> = Mutex::get_mut;
        *SHARED.lock().unwrap() += 1;
        assert!(matches!(*SHARED.try_lock().unwrap(), 4..));
        assert_eq!(EMPTY.into_inner().unwrap(), []);
        let mut made: Mutex<u8> = Mutex::default();
        *made.get_mut().unwrap() = 5;
        assert_eq!(format!("{made:?}"), "Mutex { data: 5, poisoned: false, .. }");
        let held: MutexGuard<'_, u8> = made.lock().unwrap();
        assert_eq!(format!("{held:?} {held}"), "5 5");
        assert!(format!("{made:?}").contains("<locked>"));
        assert!(matches!(made.try_lock(), Err(TryLockError::WouldBlock)));
        assert_eq!(made.try_lock().unwrap_err().to_string(), "try_lock failed because the operation would block");
        drop(held);
        let unsized_one: &Mutex<[u8]> = &Mutex::from([1, 2]);
        assert_eq!(unsized_one.lock().unwrap().len(), 2);
        let mut error = PoisonError::new(1);
        *error.get_mut() += *error.get_ref();
        let error = TryLockError::from(error);
        assert!(matches!(error, TryLockError::Poisoned(error) if *error.get_ref() == 2));
        assert_eq!(PoisonError::new(3).into_inner(), 3);
        assert_eq!(PoisonError::new(3).to_string(), "poisoned lock: another task failed inside");
        // A lock may be dropped before what it borrows, as long as it does not look at it.
        let borrows;
        let late = String::new();
        borrows = Mutex::new(&late);
        assert!(borrows.lock().unwrap().is_empty());
    }

    /// Promise 40. `Once`.
    fn onces {
        use {ONCE_INIT, Once, OnceState};

        shares::<Once>();
        debugs::<(Once, OnceState)>();
        lacks!(Once: Default);

        static START: Once = Once::new();
        static OLD: Once = ONCE_INIT;
        let _: fn(&Once, fn()) = Once::call_once;
        let _: fn(&Once, fn(&OnceState)) = Once::call_once_force;
        let _: fn(&Once) -> bool = Once::is_completed;
        let _: [fn(&Once); 2] = [Once::wait, Once::wait_force];
        let _: fn(&OnceState) -> bool = OnceState::is_poisoned;
        OLD.call_once(|| ());
        START.call_once_force(|state| {
            assert_eq!(format!("{state:?}"), "OnceState { poisoned: false }");
        });
        START.call_once(|| unreachable!());
        START.wait();
        assert_eq!(format!("{START:?} {}", OLD.is_completed()), "Once { .. } true");
    }

    /// Promise 40. `OnceLock`.
    fn once_locks {
        use {OnceLock};

        shares::<OnceLock<u8>>();
        sends::<OnceLock<Local>>();
        lacks!(OnceLock<Local>: Sync);
        lacks!(OnceLock<Nowhere>: Send);
        lacks!(OnceLock<::std::sync::MutexGuard<'static, u8>>: Sync);
        lacks!(OnceLock<&'static mut u8>: UnwindSafe);
        lacks!(OnceLock<Local>: RefUnwindSafe);

        const NONE: OnceLock<u8> = OnceLock::new();
        static SHARED: OnceLock<u8> = OnceLock::new();
        let _: fn(&OnceLock<u8>) -> Option<&u8> = OnceLock::get;
        let _: fn(&mut OnceLock<u8>) -> Option<&mut u8> = OnceLock::get_mut;
        let _: fn(&OnceLock<u8>) -> &u8 = OnceLock::wait;
        let _: fn(&OnceLock<u8>, u8) -> Result<(), u8> = OnceLock::set;
        let _: fn(&OnceLock<u8>, fn() -> u8) -> &u8 = OnceLock::get_or_init;
        let _: fn(OnceLock<u8>) -> Option<u8> = OnceLock::into_inner;
        let _: fn(&mut OnceLock<u8>) -> Option<u8> = OnceLock::take;
        assert_eq!(SHARED.get_or_init(|| 1), SHARED.wait());
        assert_eq!(format!("{SHARED:?} {NONE:?}"), "OnceLock(1) OnceLock(<uninit>)");
        let mut one = OnceLock::from(1);
        assert!(one == one.clone() && one != OnceLock::default() && NONE == NONE.clone());
        *one.get_mut().unwrap() = 2;
        one.take();
        assert_eq!(one.set(3), Ok(()));
        assert_eq!(one.into_inner(), Some(3));
        fn equals<T: Eq>(_: &T) {}
        equals(&NONE);
        let mut taken = OnceLock::new();
        taken.set(4).unwrap();
        assert_eq!((taken.take(), taken.take()), (Some(4), None));
        // It may outlive what its value borrows.
        let borrows = OnceLock::new();
        let early = String::from("early");
        assert_eq!(borrows.set(&early), Ok(()));
    }

    /// Promise 40. `LazyLock`.
    fn lazy_locks {
        use {LazyLock};

        shares::<LazyLock<u8>>();
        sends::<LazyLock<Local>>();
        syncs::<LazyLock<u8, Local>>();
        lacks!(LazyLock<Local>: Sync);
        lacks!(LazyLock<u8, Nowhere>: Sync);
        lacks!(LazyLock<u8, Nowhere>: Send);
        lacks!(LazyLock<u8, &'static mut u8>: UnwindSafe);

        static SHARED: LazyLock<String> = LazyLock::new(|| "made".to_owned());
        let _: fn(&LazyLock<u8>) -> &u8 = LazyLock::force;
        let _: fn(&mut LazyLock<u8>) -> &mut u8 = LazyLock::force_mut;
        let _: fn(&LazyLock<u8>) -> Option<&u8> = LazyLock::get;
        let _: fn(&mut LazyLock<u8>) -> Option<&mut u8> = LazyLock::get_mut;
        assert_eq!(SHARED.len(), 4);
        let mut lazy: LazyLock<Vec<u8>> = LazyLock::default();
        assert_eq!(format!("{lazy:?}"), "LazyLock(<uninit>)");
        assert!(LazyLock::get(&lazy).is_none() && LazyLock::get_mut(&mut lazy).is_none());
        lazy.push(1);
        LazyLock::force_mut(&mut lazy).push(2);
        assert_eq!(format!("{lazy:?}"), "LazyLock([1, 2])");
        assert_eq!(LazyLock::force(&lazy), &[1, 2]);
        let captured = String::from("captured");
        let closure = LazyLock::new(|| captured.len());
        assert_eq!(*closure, 8);
    }
}

both! {
    /// Promise 40. `RwLock` and its guards.
    fn rw_locks {
        use {LockResult, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError, TryLockResult};

        shares::<RwLock<u8>>();
        shares::<RwLock<dyn Send + Sync>>();
        sends::<RwLock<Local>>();
        lacks!(RwLock<Local>: Sync);
        lacks!(RwLock<Nowhere>: Send);
        syncs::<(RwLockReadGuard<'_, u8>, RwLockWriteGuard<'_, u8>)>();
        lacks!(RwLockReadGuard<'_, u8>: Send);
        lacks!(RwLockWriteGuard<'_, u8>: Send);
        unwinds::<(RwLockReadGuard<'_, u8>, RwLockWriteGuard<'_, u8>)>();
        debugs::<RwLock<[u8]>>();
        displays::<RwLockReadGuard<'_, str>>();
        displays::<RwLockWriteGuard<'_, str>>();

        const EMPTY: RwLock<Vec<u8>> = RwLock::new(Vec::new());
        static SHARED: RwLock<u8> = RwLock::new(3);
        let _: fn(&'static RwLock<u8>) -> LockResult<RwLockReadGuard<'static, u8>> = RwLock::read;
        let _: fn(&'static RwLock<u8>) -> LockResult<RwLockWriteGuard<'static, u8>> = RwLock::write;
        let _: fn(&'static RwLock<u8>) -> TryLockResult<RwLockReadGuard<'static, u8>> = RwLock::try_read;
        let _: fn(&'static RwLock<u8>) -> TryLockResult<RwLockWriteGuard<'static, u8>> = RwLock::try_write;
        let _: fn(&RwLock<u8>) -> bool = RwLock::is_poisoned;
        let _: fn(&RwLock<u8>) = RwLock::clear_poison;
        let _: fn(RwLock<u8>) -> LockResult<u8> = RwLock::into_inner;
        let _: fn(&mut RwLock<u8>) -> LockResult<&mut u8> = RwLock::get_mut;
        let _: fn(RwLockWriteGuard<'static, u8>) -> RwLockReadGuard<'static, u8> = RwLockWriteGuard::downgrade;
        *SHARED.write().unwrap() += 1;
        assert!(*SHARED.read().unwrap() >= 4);
        assert_eq!(EMPTY.into_inner().unwrap(), []);
        let mut made: RwLock<u8> = RwLock::default();
        *made.get_mut().unwrap() = 5;
        assert_eq!(format!("{made:?}"), "RwLock { data: 5, poisoned: false, .. }");
        let mut writes = made.write().unwrap();
        *writes += 1;
        assert_eq!(format!("{writes:?} {writes}"), "6 6");
        assert!(matches!(made.try_read(), Err(TryLockError::WouldBlock)));
        assert!(format!("{made:?}").contains("<locked>"));
        let reads = RwLockWriteGuard::downgrade(writes);
        let also = made.try_read().unwrap();
        assert_eq!(format!("{reads:?} {also}"), "6 6");
        assert!(matches!(made.try_write(), Err(TryLockError::WouldBlock)));
        drop((reads, also));
        assert!(made.try_write().is_ok());
        let unsized_one: &RwLock<[u8]> = &RwLock::from([1, 2]);
        assert_eq!(unsized_one.read().unwrap().len(), 2);
        let borrows;
        let late = String::new();
        borrows = RwLock::new(&late);
        assert!(borrows.read().unwrap().is_empty());
    }

    /// Promise 40. `Condvar`.
    fn condvars {
        use {Condvar, LockResult, Mutex, MutexGuard, WaitTimeoutResult};

        shares::<Condvar>();
        debugs::<Condvar>();
        plain::<WaitTimeoutResult>();
        type Guard = MutexGuard<'static, u8>;
        type Timed = LockResult<(Guard, WaitTimeoutResult)>;

        static CHANGED: Condvar = Condvar::new();
        let _: fn(&Condvar, Guard) -> LockResult<Guard> = Condvar::wait;
        let _: fn(&Condvar, Guard, fn(&mut u8) -> bool) -> LockResult<Guard> = Condvar::wait_while;
        let _: fn(&Condvar, Guard, u32) -> LockResult<(Guard, bool)> = Condvar::wait_timeout_ms;
        let _: fn(&Condvar, Guard, Duration) -> Timed = Condvar::wait_timeout;
        let _: fn(&Condvar, Guard, Duration, fn(&mut u8) -> bool) -> Timed = Condvar::wait_timeout_while;
        let _: [fn(&Condvar); 2] = [Condvar::notify_one, Condvar::notify_all];
        let _: fn(&WaitTimeoutResult) -> bool = WaitTimeoutResult::timed_out;
        CHANGED.notify_one();
        CHANGED.notify_all();
        let condvar = Condvar::default();
        assert!(format!("{condvar:?}").starts_with("Condvar"));
        let lock = Mutex::new(1);
        let (guard, timed) = condvar.wait_timeout_while(lock.lock().unwrap(), Duration::ZERO, |n| *n == 1).unwrap();
        assert!(timed.timed_out());
        let (guard, timed) = condvar.wait_timeout_while(guard, Duration::MAX, |n| *n == 2).unwrap();
        assert!(!timed.timed_out());
        let guard = condvar.wait_while(guard, |n| *n == 2).unwrap();
        let (guard, _) = condvar.wait_timeout_ms(guard, 0).unwrap();
        let (guard, _) = condvar.wait_timeout(guard, Duration::from_nanos(1)).unwrap();
        assert_eq!(*guard, 1);
    }

    /// Promise 40. `Barrier`.
    fn barriers {
        use {Barrier, BarrierWaitResult};

        shares::<Barrier>();
        debugs::<(Barrier, BarrierWaitResult)>();

        static ALONE: Barrier = Barrier::new(1);
        let _: fn(&Barrier) -> BarrierWaitResult = Barrier::wait;
        let _: fn(&BarrierWaitResult) -> bool = BarrierWaitResult::is_leader;
        assert!(ALONE.wait().is_leader());
        assert!(Barrier::new(0).wait().is_leader());
        assert_eq!(format!("{ALONE:?}"), "Barrier { .. }");
        assert_eq!(format!("{:?}", ALONE.wait()), "BarrierWaitResult { is_leader: true }");
    }

    /// Promise 40. `mpsc`.
    fn channels {
        use {mpsc};

        use mpsc::{
            IntoIter, Iter, Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender, TryIter, TryRecvError,
            TrySendError, channel, sync_channel,
        };

        shares::<(Sender<Local>, SyncSender<Local>)>();
        sends::<(Receiver<Local>, IntoIter<Local>)>();
        unwinds::<(Receiver<u8>, IntoIter<u8>)>();
        lacks!(Sender<Nowhere>: Send);
        lacks!(SyncSender<Nowhere>: Send);
        lacks!(Receiver<Nowhere>: Send);
        lacks!(Receiver<u8>: Sync);
        lacks!(Receiver<u8>: Clone);
        debugs::<(Sender<Local>, SyncSender<Local>, Receiver<Local>, IntoIter<u8>, Iter<'_, u8>, TryIter<'_, u8>)>();
        errors::<SendError<Nowhere>>();
        errors::<TrySendError<Nowhere>>();
        plain::<(SendError<u8>, TrySendError<u8>, RecvError, TryRecvError, RecvTimeoutError)>();
        errors::<RecvError>();
        errors::<TryRecvError>();
        errors::<RecvTimeoutError>();

        let _: fn() -> (Sender<u8>, Receiver<u8>) = channel;
        let _: fn(usize) -> (SyncSender<u8>, Receiver<u8>) = sync_channel;
        let _: fn(&Sender<u8>, u8) -> Result<(), SendError<u8>> = Sender::send;
        let _: fn(&SyncSender<u8>, u8) -> Result<(), SendError<u8>> = SyncSender::send;
        let _: fn(&SyncSender<u8>, u8) -> Result<(), TrySendError<u8>> = SyncSender::try_send;
        let _: fn(&Receiver<u8>) -> Result<u8, RecvError> = Receiver::recv;
        let _: fn(&Receiver<u8>) -> Result<u8, TryRecvError> = Receiver::try_recv;
        let _: fn(&Receiver<u8>, Duration) -> Result<u8, RecvTimeoutError> = Receiver::recv_timeout;
        let _: fn(&'static Receiver<u8>) -> Iter<'static, u8> = Receiver::iter;
        let _: fn(&'static Receiver<u8>) -> TryIter<'static, u8> = Receiver::try_iter;

        let (sender, receiver) = channel();
        assert_eq!((format!("{sender:?}"), format!("{receiver:?}")), ("Sender { .. }".into(), "Receiver { .. }".into()));
        sender.send(1).unwrap();
        sender.clone().send(2).unwrap();
        assert_eq!((receiver.recv(), receiver.try_recv()), (Ok(1), Ok(2)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        (3..6).for_each(|n| sender.send(n).unwrap());
        assert_eq!(receiver.try_iter().sum::<i32>(), 12);
        sender.send(6).unwrap();
        drop(sender);
        assert_eq!(receiver.iter().sum::<i32>(), 6);
        assert_eq!((&receiver).into_iter().next(), None);
        assert_eq!(receiver.recv(), Err(RecvError));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::from(RecvError)));
        assert_eq!(receiver.recv_timeout(Duration::MAX), Err(RecvTimeoutError::from(RecvError)));
        assert_eq!(receiver.into_iter().next(), None);

        let (sender, receiver) = sync_channel(1);
        assert_eq!(format!("{sender:?}"), "SyncSender { .. }");
        sender.send(1).unwrap();
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
        drop(receiver);
        assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
        assert_eq!(sender.clone().send(4), Err(SendError(4)));
        assert_eq!(TrySendError::from(SendError(5)), TrySendError::Disconnected(5));
        let (rendezvous, receiver) = sync_channel(0);
        assert_eq!(rendezvous.try_send(Local::new(6)).map_err(|e| e.to_string()), Err("sending on a full channel".into()));
        drop(rendezvous);
        assert_eq!(receiver.recv().unwrap_err().to_string(), "receiving on a closed channel");
        assert_eq!(format!("{:?}", SendError(Local::new(7))), "SendError { .. }");
        assert!(format!("{:?}", TrySendError::Full(Local::new(8))).contains("Full(..)"));
        assert_eq!(TryRecvError::Empty.to_string(), "receiving on an empty channel");
        assert_eq!(RecvTimeoutError::Timeout.to_string(), "timed out waiting on channel");
    }
}
