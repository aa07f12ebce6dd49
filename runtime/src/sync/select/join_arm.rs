//! An arm that waits for a coroutine to end.

use super::arm::{Arm, Lend, Operation, SourceArm};
use crate::task::join::{JoinHandle, spin_for_done};
use crate::task::join_word::{Join, JoinWord};
use crate::task::park::Waiting;
use crate::task::scope::ScopedJoinHandle;

/// What [`select!`](crate::select)'s arm `join` and [`Select::join`](super::Select::join) wait for: a [`JoinHandle`](crate::JoinHandle), a
/// [`ScopedJoinHandle`](crate::ScopedJoinHandle), or an `Option` of one. Where there is none, there is nothing to wait for.
///
/// This trait cannot be implemented elsewhere.
pub trait Joinable: sealed::Sealed {
    #[doc(hidden)]
    fn arm(&mut self) -> JoinArm<'_>;
}

/// Takes the result, when the coroutine has ended. By way of a method call, which borrows an `Option` and moves a handle.
#[doc(hidden)]
pub trait Joined {
    /// What the coroutine returns.
    type Value;

    fn __joined(self) -> std::thread::Result<Self::Value>;
}

mod sealed {
    use super::{JoinHandle, ScopedJoinHandle};

    pub trait Sealed {}
    impl<T> Sealed for JoinHandle<T> {}
    impl<T> Sealed for ScopedJoinHandle<'_, T> {}
    impl<J: Sealed> Sealed for Option<J> {}
    impl<J: Sealed> Sealed for &mut J {}
}

impl<T> Joinable for JoinHandle<T> {
    fn arm(&mut self) -> JoinArm<'_> {
        JoinArm::new(Some(self.word()))
    }
}

impl<T> Joinable for ScopedJoinHandle<'_, T> {
    fn arm(&mut self) -> JoinArm<'_> {
        JoinArm::new(Some(self.word()))
    }
}

impl<J: Joinable> Joinable for Option<J> {
    fn arm(&mut self) -> JoinArm<'_> {
        match self {
            Some(handle) => handle.arm(),
            None => JoinArm::new(None),
        }
    }
}

impl<J: Joinable> Joinable for &mut J {
    fn arm(&mut self) -> JoinArm<'_> {
        (**self).arm()
    }
}

impl<T> Joined for JoinHandle<T> {
    type Value = T;

    fn __joined(self) -> std::thread::Result<T> {
        self.join()
    }
}

impl<T> Joined for ScopedJoinHandle<'_, T> {
    type Value = T;

    fn __joined(self) -> std::thread::Result<T> {
        self.join()
    }
}

impl<J: Joined> Joined for &mut Option<J> {
    type Value = J::Value;

    fn __joined(self) -> std::thread::Result<J::Value> {
        let handle = self.take();
        handle
            .expect("an arm without a handle is never chosen")
            .__joined()
    }
}

/// Waits for a coroutine.
///
/// It needs no drop: its handle may be moved while it lies there, when the select has ended.
pub struct JoinArm<'a> {
    /// Of a handle that is borrowed mutably: nobody else joins.
    word: Option<&'a JoinWord>,
    announced: bool,
}

impl<'a> JoinArm<'a> {
    pub(super) fn new(word: Option<&'a JoinWord>) -> JoinArm<'a> {
        JoinArm {
            word,
            announced: false,
        }
    }

    pub(super) fn word(&self) -> Option<&'a JoinWord> {
        self.word
    }
}

impl Lend for JoinArm<'_> {
    fn arm(&mut self) -> Arm<'_> {
        Arm::of_source(self)
    }
}

impl Operation for JoinArm<'_> {}

impl SourceArm for JoinArm<'_> {
    fn is_ready(&mut self) -> bool {
        self.word.is_some_and(|word| word.look() == Join::Done)
    }

    fn announce(&mut self, me: &Waiting) -> bool {
        let Some(word) = self.word else {
            return false;
        };
        let join = if self.announced {
            word.look()
        } else {
            word.announce(me.address())
        };
        match join {
            Join::Wait => {
                self.announced = true;
                return false;
            }
            Join::Spin => spin_for_done(word),
            Join::Done => {}
        }
        true
    }

    fn retract(&mut self) {
        if core::mem::take(&mut self.announced)
            && let Some(word) = self.word
            && !word.retract()
        {
            // Whoever ends there uses the address until then.
            spin_for_done(word);
        }
    }
}
