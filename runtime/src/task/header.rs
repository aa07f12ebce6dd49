//! The heap record of a coroutine: a typed cell behind an untyped header.

use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::mem::{ManuallyDrop, MaybeUninit};
use core::panic::Location;
use core::ptr::NonNull;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use crate::context;
use crate::coroutine::{Switch, YielderRef, unwind};
use crate::future;
use crate::scheduler::{Shared, Worker};
use crate::stack::StackSize;
use crate::task::interrupt::{self, Interrupts};
use crate::task::join_word::{JoinWord, Published};
use crate::task::records;
use crate::task::root::Root;
use crate::task::scope::ScopeData;
use crate::task::state::State;
use crate::task::thread::ThreadParker;

/// What both kinds of waiter (a coroutine's header, a plain thread's parker) begin with, so that one pointer serves both.
#[repr(C, align(16))]
pub(crate) struct Parkable {
    pub(crate) kind: ParkKind,
    pub(crate) refs: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum ParkKind {
    Coroutine,
    Thread,
}

/// The record of a plain OS thread that has waited on withy.
#[repr(C)]
pub(crate) struct ThreadRecord {
    pub(crate) parkable: Parkable,
    pub(crate) parker: ThreadParker,
    /// The public `unpark` token.
    pub(crate) permit: AtomicBool,
    /// The thread's own: nobody else touches it.
    pub(crate) interrupts: Interrupts,
    /// Depth of `block_on` calls. The thread's own, too.
    pub(crate) block_ons: Cell<u32>,
    /// Which of them were woken, a bit a level: what a coroutine has in its state word.
    pub(crate) woken: AtomicU32,
    pub(crate) id: u64,
    pub(crate) name: Option<Box<str>>,
}

/// What a coroutine is told at its creation.
pub(crate) struct Spec {
    pub(crate) name: Option<Box<str>>,
    pub(crate) stack_size: StackSize,
    pub(crate) location: &'static Location<'static>,
    /// Started by `spawn_local`: never leaves the worker that spawned it.
    pub(crate) local: bool,
    /// A cancellation is meant for it; otherwise it runs to its own end.
    pub(crate) cancellable: bool,
}

/// The untyped part of a coroutine's record. `task/README.md` says who may touch which field in which state.
#[repr(C)]
pub(crate) struct Header {
    parkable: Parkable,
    pub(crate) state: State,
    /// Index of the worker that last began to run it; `NO_HOME` before the first run.
    pub(crate) home: AtomicU32,
    pub(crate) join: JoinWord,
    vtable: &'static VTable,
    /// Valid until DONE: workers do not exit while a coroutine of theirs is unfinished.
    pub(crate) shared: *const Shared,
    /// Link of the inbox, owned with the queue link.
    pub(crate) next: AtomicPtr<Header>,
    /// Its stack: written at its first run, gone when it has finished.
    pub(crate) switch: UnsafeCell<MaybeUninit<Switch>>,
    /// Where to suspend; written at first run.
    pub(crate) yielder: Cell<YielderRef>,
    /// The root of its stack, while it runs to its end.
    root: Cell<*const Root>,
    pub(crate) live: crate::task::live::Links,
    /// Given out at the first question, since a shared counter would cost each spawn a contended addition.
    id: AtomicU64,
    pub(crate) spec: Spec,
    /// Who waits for its end besides its joiner. Given up at the end: a record may outlive it, and would keep those of
    /// all scopes around alive, to be freed in one deep recursion.
    pub(crate) scope: Cell<Option<Arc<ScopeData>>>,
    /// Full stealing: must be resumed by its home. Written by the coroutine itself before it suspends.
    pub(crate) pinned: Cell<bool>,
    /// It was sent to the worker that starts it, and counts as inbound there until then. Written by the sender.
    pub(crate) sent: Cell<bool>,
    /// Full stealing: it has called `spawn_local`, whose children live on its worker.
    pub(crate) pinned_for_life: Cell<bool>,
    /// Depth of `no_park` regions.
    pub(crate) no_park: Cell<u32>,
}

pub(crate) const NO_HOME: u32 = u32::MAX;

struct VTable {
    /// On the coroutine's stack: runs the closure, or drops it if it was cancelled before it began; stores the result.
    run: unsafe fn(NonNull<Header>, cancelled: bool),
    /// Moves the result to `into`, a `*mut std::thread::Result<T>`.
    take_result: unsafe fn(NonNull<Header>, into: *mut ()),
    /// Drops the result in place; a panic of its destructor stays here.
    drop_result: unsafe fn(NonNull<Header>),
    /// Frees the record; closure and result are gone by then.
    dealloc: unsafe fn(NonNull<Header>),
}

/// The closure until the first run, the result from its end on.
union Stage<F, T> {
    closure: ManuallyDrop<F>,
    result: ManuallyDrop<std::thread::Result<T>>,
}

#[repr(C)]
struct TaskCell<F, T> {
    header: Header,
    stage: UnsafeCell<Stage<F, T>>,
}

/// A counted reference to a coroutine's record.
pub(crate) struct TaskRef(NonNull<Header>);

// SAFETY: the header is shared by design: `task/README.md` lists for each field the state in which one party may touch
// it; closures and results that are not `Send` are only reached on their home worker (law 3).
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// A record of a fresh coroutine with `refs` references, of which the first is returned.
    pub(crate) fn new<F, T>(
        f: F,
        spec: Spec,
        scope: Option<Arc<ScopeData>>,
        shared: *const Shared,
        refs: u32,
    ) -> TaskRef
    where
        F: FnOnce() -> T,
    {
        let spec_local = spec.local;
        let place = records::allocate(Layout::new::<TaskCell<F, T>>()).cast::<TaskCell<F, T>>();
        // Written where it stays: it is some 240 bytes.
        let cell = TaskCell::<F, T> {
            header: Header {
                parkable: Parkable {
                    kind: ParkKind::Coroutine,
                    refs: AtomicU32::new(refs),
                },
                state: State::new(),
                home: AtomicU32::new(NO_HOME),
                join: JoinWord::new(),
                vtable: &VTable {
                    run: run::<F, T>,
                    take_result: take_result::<F, T>,
                    drop_result: drop_result::<F, T>,
                    dealloc: dealloc::<F, T>,
                },
                shared,
                next: AtomicPtr::new(core::ptr::null_mut()),
                switch: UnsafeCell::new(MaybeUninit::uninit()),
                yielder: Cell::new(YielderRef::none()),
                root: Cell::new(core::ptr::null()),
                live: crate::task::live::Links::new(),
                id: AtomicU64::new(0),
                spec,
                scope: Cell::new(scope),
                pinned: Cell::new(spec_local),
                sent: Cell::new(false),
                pinned_for_life: Cell::new(false),
                no_park: Cell::new(0),
            },
            stage: UnsafeCell::new(Stage {
                closure: ManuallyDrop::new(f),
            }),
        };
        // SAFETY: fresh memory of this layout.
        unsafe { place.write(cell) };
        TaskRef(place.cast())
    }

    /// Takes over one reference.
    ///
    /// # Safety
    /// `header` came from `into_raw` and its reference was not taken over before.
    #[inline]
    pub(crate) unsafe fn from_raw(header: NonNull<Header>) -> TaskRef {
        TaskRef(header)
    }

    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        let raw = self.0;
        core::mem::forget(self);
        raw
    }

    /// Fetches the record's lines for a later run.
    #[inline]
    pub(crate) fn prefetch_record(&self) {
        let record = self.0.as_ptr().cast::<u8>();
        prefetch(record);
        prefetch(record.wrapping_add(64));
        prefetch(record.wrapping_add(128));
    }

    /// Fetches the lines of the stack on which it will go on.
    #[inline]
    pub(crate) fn prefetch_stack(&self) {
        let root = self.root.get().cast::<u8>().cast_mut();
        prefetch(root);
        prefetch(root.wrapping_sub(128));
        prefetch(root.wrapping_sub(256));
        prefetch(root.wrapping_sub(320));
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> NonNull<Header> {
        self.0
    }

    /// Moves the result out.
    ///
    /// # Safety
    /// `T` is the coroutine's result type, the caller is the handle's holder and has seen RESULT in the join word
    /// (acquire), and nobody takes or drops the result again.
    pub(crate) unsafe fn take_result<T>(&self) -> std::thread::Result<T> {
        let mut result = core::mem::MaybeUninit::<std::thread::Result<T>>::uninit();
        // SAFETY: the caller's promise; the function writes a whole value.
        unsafe {
            (self.vtable.take_result)(self.0, result.as_mut_ptr().cast());
            result.assume_init()
        }
    }

    /// On the coroutine's own stack: runs it to its end and hands over the result.
    ///
    /// # Safety
    /// Called once, by the coroutine that this is, on its first run.
    pub(crate) unsafe fn run_to_end(header: NonNull<Header>) {
        // SAFETY: the caller's reference lives until the worker has seen the coroutine return.
        let task = unsafe { header.as_ref() };
        let root = Root::new(task.spec.cancellable);
        task.root.set(&raw const root);
        // SAFETY: first run, so the closure is in its stage and nobody else touches the stage before RESULT.
        unsafe { (task.vtable.run)(header, task.is_cancelled_fresh()) };
        root.end();
        match task.join.publish_result() {
            Published::Kept => return,
            // SAFETY: RESULT was published by us and the handle is gone, so the result is ours.
            Published::Detached => unsafe { (task.vtable.drop_result)(header) },
            // SAFETY: what stood in the word is ours from RESULT on.
            Published::Awaited(waker) => unsafe { future::wake(waker) },
        }
        // A destructor, or the waker, may have waited.
        root.end();
    }

    /// Ends a coroutine that never runs, on the caller's stack: the runtime has shut down.
    ///
    /// # Safety
    /// It is fresh and the caller holds its queue link.
    pub(crate) unsafe fn cancel_unstarted(self) {
        // SAFETY: fresh and not queued: the closure is untouched and ours.
        unsafe { (self.vtable.run)(self.0, true) };
        // No future waits: its handle is not handed out yet.
        if self.join.publish_result() == Published::Detached {
            // SAFETY: as in `run_to_end`.
            unsafe { (self.vtable.drop_result)(self.0) };
        }
        self.state.finish();
        crate::task::join::finish(&self);
    }
}

impl Header {
    /// The root of the stack. For the running coroutine itself.
    #[inline]
    pub(crate) fn root(&self) -> &Root {
        debug_assert!(!self.root.get().is_null(), "asked before the first run");
        // SAFETY: the caller is the running coroutine, so `run_to_end` stands at the root of the stack that it runs on.
        unsafe { &*self.root.get() }
    }

    /// Whether a coroutine that runs for the first time must only drop its closure.
    fn is_cancelled_fresh(&self) -> bool {
        self.state.is_cancelled()
            && (self.spec.cancellable || context::current_worker().is_some_and(Worker::has_stopped))
    }

    /// It ends with this payload: if that is a panic, its scope has to know.
    #[cold]
    fn tell_scope(&self, payload: &(dyn Any + Send)) {
        if unwind::is_interruption(payload) {
            return;
        }
        if let Some(scope) = self.scope.take() {
            scope.child_panicked();
            self.scope.set(Some(scope));
        }
    }

    /// Where the number stands, for whoever reads copies of records; 0 there is none yet.
    pub(crate) const ID: usize = core::mem::offset_of!(Header, id);

    /// Whether it has never run. For the holder of its queue link.
    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.home.load(Ordering::Relaxed) == NO_HOME
    }

    /// The coroutine's number, given out at the first question.
    pub(crate) fn id(&self) -> u64 {
        let id = self.id.load(Ordering::Relaxed);
        if id != 0 {
            return id;
        }
        let fresh = next_id();
        match self
            .id
            .compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => fresh,
            Err(given) => given,
        }
    }
}

/// Asks for a cache line. A hint: the address need not be valid.
#[inline]
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(unused_variables, reason = "no stable way")
)]
fn prefetch(line: *mut u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch touches no memory, whatever the address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(line.cast())
    };
}

/// Coroutines and plain threads share one sequence.
pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl core::ops::Deref for TaskRef {
    type Target = Header;
    #[inline]
    fn deref(&self) -> &Header {
        // SAFETY: a reference is counted, so the record lives.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for TaskRef {
    #[inline]
    fn clone(&self) -> TaskRef {
        retain(&self.parkable);
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is one counted reference to a coroutine's record.
        unsafe { release(self.0.cast()) }
    }
}

/// Counts one more reference.
#[inline]
pub(crate) fn retain(parkable: &Parkable) {
    let before = parkable.refs.fetch_add(1, Ordering::Relaxed);
    // Law 8: two thousand million handles to one coroutine are a leak; std's Arc aborts likewise.
    if before > u32::MAX / 2 {
        std::process::abort();
    }
}

/// Gives one reference back; the last one frees the record (never user data: closure and result are gone by then).
///
/// # Safety
/// The caller owns one counted reference and does not use it again.
#[inline]
pub(crate) unsafe fn release(parkable: NonNull<Parkable>) {
    // SAFETY: the reference that the caller gives up keeps the record alive up to here.
    let refs = unsafe { &parkable.as_ref().refs };
    // The only reference stays the only one, so the last one need not count itself down.
    if refs.load(Ordering::Acquire) == 1 || refs.fetch_sub(1, Ordering::Release) == 1 {
        // Pairs with the other references' Release: their last uses happen before the free.
        fence(Ordering::Acquire);
        // SAFETY: it was the last reference; `kind` says what record begins with this prefix.
        unsafe {
            match parkable.as_ref().kind {
                ParkKind::Coroutine => {
                    let header = parkable.cast::<Header>();
                    (header.as_ref().vtable.dealloc)(header);
                }
                ParkKind::Thread => drop(Box::from_raw(parkable.cast::<ThreadRecord>().as_ptr())),
            }
        }
    }
}

/// # Safety
/// See `VTable::run`.
unsafe fn run<F: FnOnce() -> T, T>(header: NonNull<Header>, cancelled: bool) {
    let cell = header.cast::<TaskCell<F, T>>();
    // SAFETY: `header` is the first field of a TaskCell<F, T>: this function stands in no other table. The caller owns the stage.
    unsafe {
        let stage = cell.as_ref().stage.get();
        let closure = ManuallyDrop::take(&mut (*stage).closure);
        let result = if cancelled {
            let abandoned = || interrupt::abandon(|| drop(closure));
            match catch_unwind(AssertUnwindSafe(abandoned)) {
                Ok(()) => Err(unwind::cancelled()),
                Err(payload) => Err(payload),
            }
        } else {
            catch_unwind(AssertUnwindSafe(closure))
        };
        if let Err(payload) = &result {
            cell.as_ref().header.tell_scope(&**payload);
        }
        (*stage).result = ManuallyDrop::new(result);
    }
}

/// # Safety
/// See `VTable::take_result`.
unsafe fn take_result<F, T>(header: NonNull<Header>, into: *mut ()) {
    let cell = header.cast::<TaskCell<F, T>>();
    // SAFETY: the table belongs to TaskCell<F, T>; the caller owns the result and `into` has its type.
    unsafe {
        let result = ManuallyDrop::take(&mut (*cell.as_ref().stage.get()).result);
        into.cast::<std::thread::Result<T>>().write(result);
    }
}

/// # Safety
/// See `VTable::drop_result`.
unsafe fn drop_result<F, T>(header: NonNull<Header>) {
    let cell = header.cast::<TaskCell<F, T>>();
    // SAFETY: the table belongs to TaskCell<F, T>; the caller owns the result.
    let result = unsafe { ManuallyDrop::take(&mut (*cell.as_ref().stage.get()).result) };
    discard(result);
}

/// Drops a value that nobody will see. The panic hook has told of a panicking destructor; others go on.
pub(crate) fn discard<V>(value: V) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // The payload's own destructor may panic too; leaking it is the end of that chain.
        core::mem::forget(payload);
    }
}

/// # Safety
/// See `VTable::dealloc`.
unsafe fn dealloc<F, T>(header: NonNull<Header>) {
    let cell = header.cast::<TaskCell<F, T>>();
    // SAFETY: allocated with this layout in `TaskRef::new`, initialised, and the last reference is gone; the stage, a
    // union, drops nothing.
    unsafe {
        cell.drop_in_place();
        records::deallocate(cell.cast(), Layout::new::<TaskCell<F, T>>());
    }
}

// Layout facts that others build on: the slot word keeps `address >> 4`, the join word flags in the low bits.
const _: () = assert!(align_of::<Header>() >= 16 && align_of::<ThreadRecord>() >= 16);
const _: () = assert!(size_of::<AtomicUsize>() == 8);
