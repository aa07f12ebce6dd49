//! Those who are woken under the lock, until it is free.

use crate::task::park::Wake;

/// Who is to be let go once the lock is free. Mostly one.
pub(crate) struct Wakes {
    first: Option<Wake>,
    /// Bounded by the waiters of one queue (law 8). Boxed, so that nobody pays for what is rare.
    #[expect(
        clippy::box_collection,
        reason = "one word, which is looked at with each use"
    )]
    more: Option<Box<Vec<Wake>>>,
}

impl Wakes {
    pub(crate) const fn new() -> Wakes {
        Wakes {
            first: None,
            more: None,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, wake: Wake) {
        if self.first.is_none() {
            self.first = Some(wake);
        } else {
            self.push_behind(wake);
        }
    }

    #[cold]
    fn push_behind(&mut self, wake: Wake) {
        self.more.get_or_insert_default().push(wake);
    }

    #[cold]
    fn let_go(&mut self, first: Wake) {
        first.let_go();
        for wake in self.more.take().into_iter().flat_map(|more| *more) {
            wake.let_go();
        }
    }
}

impl Drop for Wakes {
    #[inline]
    fn drop(&mut self) {
        if let Some(first) = self.first.take() {
            self.let_go(first);
        }
    }
}
