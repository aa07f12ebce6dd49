//! `block_on`: a future's result for code that blocks.

use core::pin::pin;
use core::task::{Context, Poll};

use crate::context;
use crate::future::waker::Call;
use crate::task::interrupt;
use crate::task::park;
use crate::time::Moment;

/// Waits for a future: so that blocking code can use crates that are async, and belong to no runtime.
///
/// The future is polled where it is called from, on the caller's own stack. While it is pending the coroutine is parked, and
/// its worker goes on with others; a plain thread sleeps. It works anywhere, also inside a poll of another `block_on`. Nothing is
/// allocated, and the future need be neither `Send` nor `'static`. A [`JoinHandle`](crate::JoinHandle) can be waited for, too.
///
/// A future is polled again when its waker was woken, and not for other reasons (an [`unpark`](crate::Coroutine::unpark), other wake-ups
/// of the runtime). Many wake-ups before a poll are one, and none is lost. A waker that was left over from an earlier call costs a later
/// one of the same coroutine a poll at most. After the coroutine's end, or its runtime's, waking does nothing.
///
/// What is woken before its poll has returned lets others run first. So a future that always wakes itself (as `yield_now` of async crates
/// does once) keeps nobody from running. One that does not return from its poll holds its worker, as any code that computes.
///
/// What is *not* given here is a reactor: futures that need one (tokio's or async-io's sockets and timers) bring their own, on threads
/// of their own, or panic. Whether `block_on` may be called on a thread of an async executor is that executor's affair: it blocks the
/// thread, and with it other tasks.
///
/// # Cancellation
/// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses, while the future
/// is pending. The future is then dropped in place, once, as async executors cancel it. One that is ready at its first poll is not interrupted.
///
/// # Panics
/// If the future does. Inside [`no_park`](crate::no_park), if it would have to wait.
///
/// # Examples
/// ```
/// use std::future;
/// use withy_runtime::{block_on, spawn};
///
/// let child = spawn(|| block_on(async { future::ready(6).await * 7 }));
/// assert_eq!(block_on(child).unwrap(), 42);
/// ```
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    context::consume_budget();
    let call = Call::begin();
    let mut context = Context::from_waker(call.waker());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        wait(&call);
    }
}

/// Until the waker was woken.
fn wait(call: &Call) {
    if call.take_woken() {
        return let_others_run();
    }
    loop {
        park::park(Moment::NEVER);
        if call.take_woken() {
            return;
        }
    }
}

/// It has been woken already, maybe by itself.
fn let_others_run() {
    if context::in_coroutine() {
        context::let_others_run();
    } else {
        // The kernel sees to the others, but nobody else to its timeouts.
        interrupt::look();
    }
}
