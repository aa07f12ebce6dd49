//! A future of a coroutine's result. The protocol is in `task/README.md`, "The join word".

use core::fmt;
use core::marker::PhantomData;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::task::header::{TaskRef, discard};
use crate::task::interrupt::Mask;
use crate::task::join_word::Join;
use crate::task::{Coroutine, JoinHandle};

/// What a join word points to while a future waits there. Owned by whoever takes it out: the future until RESULT, then the coroutine.
#[repr(align(16))]
struct Announced(Waker);

/// The coroutine, on its own stack, having stored its result: wakes the future that waits for it.
///
/// # Safety
/// `waker` is what `Published::Awaited` has given, and this is the only call.
#[cold]
pub(crate) unsafe fn wake(waker: usize) {
    // SAFETY: the future left it there (`poll`), does not touch it from RESULT on, and it was given out once.
    let announced: Box<Announced> =
        unsafe { Box::from_raw(core::ptr::with_exposed_provenance_mut(waker)) };
    // Foreign code. It is not unwound: the future would sleep for ever. And a panic is not the coroutine's, nor anybody's who could be told.
    let _mask = Mask::new();
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| announced.0.wake())) {
        discard(payload);
    }
}

/// A future of a coroutine's result: for async code, on any executor, that waits for a coroutine. Made by awaiting a [`JoinHandle`],
/// or by its `into_future`.
///
/// It gives what [`join`](JoinHandle::join) gives: the value, the payload of a panic, or [`Cancelled`](crate::Cancelled). Dropping it
/// detaches the coroutine, as dropping the handle does: it goes on, and its result is dropped when it ends.
///
/// The waker is woken on the coroutine's stack, as the last thing that the coroutine does; it is not interrupted there, and a panic of it
/// is swallowed. The future is ready then; unlike `join` it does not wait until the coroutine's stack is back in its pool, which
/// follows at once.
///
/// # Examples
/// ```
/// use withy_runtime::{block_on, spawn};
///
/// async fn sum() -> i32 {
///     let (one, two) = (spawn(|| 1), spawn(|| 2));
///     one.await.unwrap() + two.await.unwrap()
/// }
/// assert_eq!(block_on(sum()), 3); // as well by any executor
/// ```
#[must_use = "futures do nothing unless they are awaited, and dropping this one detaches the coroutine"]
pub struct JoinFuture<T> {
    task: TaskRef,
    stage: Stage,
    result: PhantomData<T>,
}

enum Stage {
    /// Nothing of it stands in the join word.
    Idle,
    /// This does, unless RESULT is there.
    Announced(NonNull<Announced>),
    /// The result was taken.
    Taken,
}

// SAFETY: as of the handle; and a waker may be sent and dropped anywhere.
unsafe impl<T: Send> Send for JoinFuture<T> {}
// SAFETY: `&JoinFuture` reaches neither a T nor the waker.
unsafe impl<T> Sync for JoinFuture<T> {}
impl<T> Unpin for JoinFuture<T> {}
impl<T> std::panic::UnwindSafe for JoinFuture<T> {}
impl<T> std::panic::RefUnwindSafe for JoinFuture<T> {}

impl<T> IntoFuture for JoinHandle<T> {
    type Output = std::thread::Result<T>;
    type IntoFuture = JoinFuture<T>;

    fn into_future(self) -> JoinFuture<T> {
        JoinFuture {
            task: self.into_task(),
            stage: Stage::Idle,
            result: PhantomData,
        }
    }
}

impl<T> JoinFuture<T> {
    /// Asks the coroutine to unwind, as [`JoinHandle::cancel`] does. The future gives [`Cancelled`](crate::Cancelled) when it has.
    ///
    /// # Examples
    /// ```
    /// let waiter = withy_runtime::spawn(withy_runtime::park).into_future();
    /// waiter.cancel();
    /// let payload = withy_runtime::block_on(waiter).unwrap_err();
    /// assert!(payload.is::<withy_runtime::Cancelled>());
    /// ```
    #[cfg(panic = "unwind")]
    pub fn cancel(&self) {
        crate::task::park::wake(&self.task, self.task.state.cancel());
    }

    /// The coroutine, as [`JoinHandle::coroutine`] gives it.
    #[must_use]
    pub fn coroutine(&self) -> Coroutine {
        Coroutine::of_task(self.task.clone())
    }

    fn take_result(&mut self) -> std::thread::Result<T> {
        self.stage = Stage::Taken;
        // SAFETY: `JoinHandle::new` promised the type; the caller has seen RESULT (acquire), and `Taken` keeps everybody from
        // taking or dropping it again. The coroutine does not, since DETACHED was not there before RESULT.
        unsafe { self.task.take_result() }
    }

    /// Takes the waker out of the word again. None: it is not there, or RESULT is, and the waker the coroutine's.
    fn retract(&mut self) -> Option<Box<Announced>> {
        let Stage::Announced(announced) = self.stage else {
            return None;
        };
        if !self.task.join.retract() {
            return None;
        }
        self.stage = Stage::Idle;
        // SAFETY: `poll` made it of a box, and it is out of the word, so nobody else's.
        Some(unsafe { Box::from_raw(announced.as_ptr()) })
    }
}

impl<T> Future for JoinFuture<T> {
    type Output = std::thread::Result<T>;

    /// # Panics
    /// If it was ready before.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::thread::Result<T>> {
        let this = self.get_mut();
        assert!(
            !matches!(this.stage, Stage::Taken),
            "a JoinFuture was polled after it had given its result"
        );
        if this.task.join.look() != Join::Wait {
            return Poll::Ready(this.take_result());
        }
        let announced = match (this.retract(), &this.stage) {
            // Cloning and dropping wakers is foreign code; nothing of ours is in the word meanwhile.
            (Some(mut announced), _) => {
                announced.0.clone_from(context.waker());
                announced
            }
            (None, Stage::Idle) => Box::new(Announced(context.waker().clone())),
            (None, _) => return Poll::Ready(this.take_result()),
        };
        let announced = NonNull::from(Box::leak(announced));
        match this
            .task
            .join
            .announce_waker(announced.as_ptr().expose_provenance())
        {
            Join::Wait => {
                this.stage = Stage::Announced(announced);
                Poll::Pending
            }
            Join::Spin | Join::Done => {
                let result = this.take_result();
                // SAFETY: made of a box just now, and left nowhere.
                drop(unsafe { Box::from_raw(announced.as_ptr()) });
                Poll::Ready(result)
            }
        }
    }
}

impl<T> Drop for JoinFuture<T> {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Taken) {
            return;
        }
        // Dropped last: foreign code.
        let _announced = self.retract();
        if self.task.join.detach() {
            // SAFETY: RESULT was set before DETACHED, so the result is the dropper's; T is the type (`JoinHandle::new`).
            discard(unsafe { self.task.take_result::<T>() });
        }
    }
}

impl<T> fmt::Debug for JoinFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinFuture")
            .field("coroutine", &self.coroutine())
            .finish_non_exhaustive()
    }
}
