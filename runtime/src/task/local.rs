//! Coroutine-locals: what `thread_local!` is to a thread.
//!
//! The values of a coroutine lie in a *table* at the root of its stack, made at the first use: a vector of slots, one
//! for each key that the process has used so far, since a key gets its number at its first use. So access is one look
//! into a vector, and a coroutine that uses none pays one word on its stack.
//!
//! # Why this is sound
//! There is no unsafe code here, so what is left to say is why the borrow checks never fail.
//! * *Values never move and never go while they are used*: each is counted, and whoever is inside `with` holds a count.
//!   The table may grow meanwhile.
//! * *No user code runs while the table is borrowed*: initialisers, closures and destructors all run between two looks.
//!   They may use any key, park, panic or be interrupted.
//! * *A value meets one coroutine*: the table is reached through the running coroutine alone, and `with` lends `&T` to a
//!   closure that cannot keep it. So `T` need be neither `Send` nor `Sync`: in fresh-stealing a started coroutine
//!   never leaves its thread, and in full stealing what is not `Send` is up to the contract of `Steal::started`.
//!   Numbers of keys are the only thing shared between threads.
//!
//! # The end
//! When the closure has ended (returned, panicked, was cancelled) and its result is stored, the values are destroyed, the
//! one that was made last first, on the coroutine's own stack; a joiner sees what they did. A slot says so *before* its
//! value's destructor runs, so each destructor runs once, and the end comes: a key is destroyed once, and keys are finite.

use core::cell::{Cell, OnceCell, RefCell};
use core::fmt;
use std::any::Any;
use std::rc::Rc;
use std::thread::LocalKey;

use crate::atomic::{AtomicUsize, Ordering};
use crate::context;
use crate::task::header::discard;

/// Declares variables of which each coroutine has its own: as [`std::thread_local!`], whose syntax it has.
///
/// Each declared name is a `static` of type [`CoroutineLocal`]. On a plain thread it is a thread-local.
///
/// # Examples
/// ```
/// use std::cell::{Cell, RefCell};
/// use withy_runtime::{coroutine_local, spawn, yield_now};
///
/// coroutine_local! {
///     /// How deep the caller is.
///     pub static DEPTH: Cell<u32> = const { Cell::new(0) };
///     static TRAIL: RefCell<Vec<String>> = RefCell::default();
/// }
///
/// let walkers: Vec<_> = (0..10)
///     .map(|n| {
///         spawn(move || {
///             DEPTH.set(n);
///             yield_now(); // others set theirs
///             TRAIL.with_borrow_mut(|trail| trail.push(format!("at {}", DEPTH.get())));
///             TRAIL.take()
///         })
///     })
///     .collect();
/// for (n, walker) in walkers.into_iter().enumerate() {
///     assert_eq!(walker.join().unwrap(), [format!("at {n}")]);
/// }
/// ```
#[macro_export]
macro_rules! coroutine_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = const $init:block; $($rest:tt)*) => {
        $crate::coroutine_local!($(#[$attr])* $vis static $name: $t = const $init);
        $crate::coroutine_local!($($rest)*);
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = const $init:block) => {
        $(#[$attr])*
        $vis static $name: $crate::CoroutineLocal<$t> = {
            ::std::thread_local!(static __WITHY_ON_THREAD: $t = const $init);
            $crate::CoroutineLocal::new(|| const $init, __WITHY_ON_THREAD)
        };
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr; $($rest:tt)*) => {
        $crate::coroutine_local!($(#[$attr])* $vis static $name: $t = $init);
        $crate::coroutine_local!($($rest)*);
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr) => {
        $(#[$attr])*
        $vis static $name: $crate::CoroutineLocal<$t> = {
            fn __withy_init() -> $t {
                $init
            }
            ::std::thread_local!(static __WITHY_ON_THREAD: $t = __withy_init());
            $crate::CoroutineLocal::new(__withy_init, __WITHY_ON_THREAD)
        };
    };
}

/// A variable of which each coroutine has its own value: as [`std::thread::LocalKey`], made by [`coroutine_local!`].
///
/// A coroutine's value is initialised at its first use there. Children, those of a [`scope`](crate::scope) and of
/// [`spawn_local`](crate::spawn_local) too, have their own. On a plain thread it is the thread's.
///
/// # Initialisation
/// An initialiser may use other keys, wait, and panic: then nothing is stored, and the next use tries again. If it comes
/// back to its own key, the value made first (by the inner call) stays, and the other is dropped.
///
/// # Destruction
/// When a coroutine ends, by returning, a panic or a cancellation, its values are destroyed on its own stack and
/// worker: the one initialised last first, after the closure is gone and before a join returns. (A result that nobody
/// joins for is dropped after them.) A destructor may use other keys, spawn, and wait.
/// In a coroutine that was cancelled its waits unwind, as everywhere: one that must wait does so under
/// [`shield`](crate::shield). A panic of it stays there; the others still run.
///
/// From the moment a value's destructor begins, its key is refused in that coroutine: it is not initialised again.
///
/// # Difference from std
/// On Unix std, too, destroys the value that was initialised last first, but promises no order.
/// Threads other than coroutines have their values in thread-locals: code that must be found by thread, such as
/// C libraries' state, belongs into [`std::thread_local!`], which stays what it was.
pub struct CoroutineLocal<T: 'static> {
    number: Number,
    init: fn() -> T,
    on_thread: LocalKey<T>,
}

/// What [`CoroutineLocal::try_with`] returns when the value is being destroyed, or was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AccessError;

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the coroutine-local value is being destroyed, or was already")
    }
}

impl std::error::Error for AccessError {}

impl<T: 'static> CoroutineLocal<T> {
    #[doc(hidden)]
    pub const fn new(init: fn() -> T, on_thread: LocalKey<T>) -> CoroutineLocal<T> {
        CoroutineLocal {
            number: Number(AtomicUsize::new(0)),
            init,
            on_thread,
        }
    }

    /// Lends the caller's value to `f`, and initialises it first if this is its first use here. `f` may wait.
    ///
    /// # Panics
    /// If the value is being destroyed, or was; and if the initialiser or `f` does.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Ok(result) => result,
            Err(error) => refuse(error),
        }
    }

    /// [`with`](CoroutineLocal::with), but without a panic when the value is gone.
    ///
    /// # Errors
    /// If the value is being destroyed, or was.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        match current() {
            Some(locals) => Ok(f(&*locals.value(self.number.get(), self.init)?)),
            None => self.on_thread.try_with(f).map_err(|_| AccessError),
        }
    }

    /// Stores `value` by `store`, or as the first value, without running the initialiser.
    #[track_caller]
    fn put<V>(
        &'static self,
        value: V,
        wrap: impl FnOnce(V) -> T,
        store: impl FnOnce(&T, V),
        on_thread: impl FnOnce(&'static LocalKey<T>, V),
    ) {
        let Some(locals) = current() else {
            return on_thread(&self.on_thread, value);
        };
        let mut value = Some(value);
        let first = || wrap(value.take().expect("a value is made once"));
        match locals.value(self.number.get(), first) {
            Ok(present) => {
                if let Some(value) = value {
                    store(&present, value);
                }
            }
            Err(error) => refuse(error),
        }
    }
}

impl<T: 'static> CoroutineLocal<Cell<T>> {
    /// Sets the value; the initialiser does not run for it.
    ///
    /// # Panics
    /// As [`with`](CoroutineLocal::with).
    #[track_caller]
    pub fn set(&'static self, value: T) {
        self.put(value, Cell::new, Cell::set, LocalKey::<Cell<T>>::set);
    }

    /// A copy of the value.
    ///
    /// # Panics
    /// As [`with`](CoroutineLocal::with).
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves the default one.
    ///
    /// # Panics
    /// As [`with`](CoroutineLocal::with).
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Replaces the value and returns the one before.
    ///
    /// # Panics
    /// As [`with`](CoroutineLocal::with).
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> CoroutineLocal<RefCell<T>> {
    /// Lends the value inside the `RefCell`. A borrow that is held over a wait is the coroutine's own: no other can meet it.
    ///
    /// # Panics
    /// If it is mutably borrowed, and as [`with`](CoroutineLocal::with).
    #[track_caller]
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Lends the value inside the `RefCell` for change.
    ///
    /// # Panics
    /// If it is borrowed, and as [`with`](CoroutineLocal::with).
    #[track_caller]
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value; the initialiser does not run for it.
    ///
    /// # Panics
    /// If it is borrowed, and as [`with`](CoroutineLocal::with).
    #[track_caller]
    pub fn set(&'static self, value: T) {
        let store = |cell: &RefCell<T>, value| drop(cell.replace(value));
        self.put(value, RefCell::new, store, LocalKey::<RefCell<T>>::set);
    }

    /// Takes the value and leaves the default one.
    ///
    /// # Panics
    /// If it is borrowed, and as [`with`](CoroutineLocal::with).
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Replaces the value and returns the one before.
    ///
    /// # Panics
    /// If it is borrowed, and as [`with`](CoroutineLocal::with).
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for CoroutineLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoroutineLocal").finish_non_exhaustive()
    }
}

#[cold]
#[track_caller]
fn refuse(error: AccessError) -> ! {
    panic!("cannot access a coroutine-local: {error}")
}

/// The slot of a key in every table: 0 until the first use, then one more than its index.
struct Number(AtomicUsize);

impl Number {
    /// Relaxed: nothing but the number itself is handed on by it.
    #[inline]
    fn get(&self) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => self.give_out(),
            number => number - 1,
        }
    }

    #[cold]
    fn give_out(&self) -> usize {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        // Two that come at once: the second's number is lost, which costs tables a slot.
        match self
            .0
            .compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => fresh - 1,
            Err(given) => given - 1,
        }
    }
}

/// The values of one coroutine, at the root of its stack. Touched by the coroutine alone.
pub(crate) struct Locals {
    /// One word for those that have none.
    table: OnceCell<Box<RefCell<Table>>>,
}

#[derive(Default)]
struct Table {
    /// By key. Bounded by the number of keys that the program declares (law 8).
    slots: Vec<Slot>,
    /// The keys with a value, in the order in which they got it.
    order: Vec<usize>,
}

#[derive(Clone, Default)]
enum Slot {
    #[default]
    Empty,
    Alive(Rc<dyn Any>),
    Destroyed,
}

impl Locals {
    pub(crate) fn new() -> Locals {
        Locals {
            table: OnceCell::new(),
        }
    }

    /// The value of a key; if it has none, the one that `init` makes.
    #[inline]
    fn value<T: 'static>(
        &self,
        key: usize,
        init: impl FnOnce() -> T,
    ) -> Result<Rc<T>, AccessError> {
        let value = match self.slot(key) {
            Slot::Alive(value) => value,
            Slot::Empty => self.make(key, init)?,
            Slot::Destroyed => return Err(AccessError),
        };
        Ok(value
            .downcast()
            .unwrap_or_else(|_| unreachable!("a key has values of one type")))
    }

    #[inline]
    fn slot(&self, key: usize) -> Slot {
        let Some(table) = self.table.get() else {
            return Slot::Empty;
        };
        table.borrow().slots.get(key).cloned().unwrap_or_default()
    }

    #[cold]
    fn make<T: 'static>(
        &self,
        key: usize,
        init: impl FnOnce() -> T,
    ) -> Result<Rc<dyn Any>, AccessError> {
        let fresh: Rc<dyn Any> = Rc::new(init());
        // The initialiser may have been here itself.
        match self.slot(key) {
            Slot::Empty => {
                self.store(key, fresh.clone());
                Ok(fresh)
            }
            Slot::Alive(first) => Ok(first),
            Slot::Destroyed => Err(AccessError),
        }
    }

    fn store(&self, key: usize, value: Rc<dyn Any>) {
        let mut table = self.table.get_or_init(Box::default).borrow_mut();
        if table.slots.len() <= key {
            table.slots.resize(key + 1, Slot::Empty);
        }
        table.slots[key] = Slot::Alive(value);
        table.order.push(key);
    }

    /// Whether there was ever one.
    #[inline]
    pub(crate) fn exist(&self) -> bool {
        self.table.get().is_some()
    }

    /// Destroys all values, those that are made meanwhile included. For the coroutine itself, at its end.
    pub(crate) fn destroy(&self) {
        while let Some(value) = self.take_last() {
            discard(value);
        }
    }

    fn take_last(&self) -> Option<Slot> {
        let mut table = self.table.get()?.borrow_mut();
        let key = table.order.pop()?;
        Some(core::mem::replace(&mut table.slots[key], Slot::Destroyed))
    }
}

/// The values of the calling coroutine; none on a plain thread. They lie on the coroutine's own stack, so the reference
/// is good over its switches.
#[inline]
fn current<'a>() -> Option<&'a Locals> {
    let worker = context::current_worker().filter(|worker| worker.is_running())?;
    Some(&worker.running_task().root().locals)
}
