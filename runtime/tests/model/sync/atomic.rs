//! What stands for `crate::atomic`.

use std::cell::OnceCell;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{self as checked, Ordering};

use super::has_failed;

macro_rules! atomic {
    ($($name:ident: $value:ty),*) => { $(
        /// loom's, but with a constant `new`, and a last access when it is dropped.
        pub struct $name {
            initial: $value,
            atomic: OnceCell<checked::$name>,
        }

        // SAFETY: the threads of a model take turns on one thread.
        unsafe impl Send for $name {}
        // SAFETY: as above; nothing switches while the cell is filled.
        unsafe impl Sync for $name {}

        impl $name {
            pub const fn new(initial: $value) -> $name {
                $name { initial, atomic: OnceCell::new() }
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                self.checked().load(order)
            }

            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.checked().store(value, order);
            }

            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.checked().swap(value, order)
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.checked().compare_exchange(current, new, success, failure)
            }

            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.checked().compare_exchange(current, new, success, failure)
            }

            #[track_caller]
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.checked().fetch_and(value, order)
            }

            #[track_caller]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.checked().fetch_or(value, order)
            }

            #[track_caller]
            pub fn get_mut(&mut self) -> &mut $value {
                // What is read here is exclusive: loom checks that, and the word begins anew.
                let value = self.atomic.take().map(|mut atomic| atomic.with_mut(|value| *value));
                self.initial = value.unwrap_or(self.initial);
                &mut self.initial
            }

            fn checked(&self) -> &checked::$name {
                self.atomic.get_or_init(|| checked::$name::new(self.initial))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                if let Some(mut atomic) = self.atomic.take()
                    && !has_failed()
                {
                    atomic.with_mut(|_| {});
                }
            }
        }
    )* };
}

macro_rules! counts {
    ($($name:ident: $value:ty),*) => { $(
        impl $name {
            #[track_caller]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.checked().fetch_add(value, order)
            }

            #[track_caller]
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.checked().fetch_sub(value, order)
            }
        }
    )* };
}

atomic!(AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize);
counts!(AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize);

/// A bool, likewise; loom's own cannot be asked for the last access.
pub struct AtomicBool(AtomicU32);

impl AtomicBool {
    pub const fn new(initial: bool) -> AtomicBool {
        AtomicBool(AtomicU32::new(initial as u32))
    }

    #[track_caller]
    pub fn load(&self, order: Ordering) -> bool {
        self.0.load(order) != 0
    }

    #[track_caller]
    pub fn store(&self, value: bool, order: Ordering) {
        self.0.store(value.into(), order);
    }

    #[track_caller]
    pub fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value.into(), order) != 0
    }

    #[track_caller]
    pub fn compare_exchange(
        &self,
        current: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool> {
        self.0
            .compare_exchange(current.into(), new.into(), success, failure)
            .map(|value| value != 0)
            .map_err(|value| value != 0)
    }
}

/// core's `Cell`, whose uses loom checks, its drop among them.
pub struct Cell<T>(UnsafeCell<T>);

impl<T> Cell<T> {
    #[track_caller]
    pub fn new(value: T) -> Cell<T> {
        Cell(UnsafeCell::new(value))
    }

    #[track_caller]
    pub fn set(&self, value: T) {
        drop(self.replace(value));
    }

    #[track_caller]
    pub fn replace(&self, value: T) -> T {
        // SAFETY: nobody else is in here; loom checks that it is so.
        self.0
            .with_mut(|cell| std::mem::replace(unsafe { &mut *cell }, value))
    }

    #[track_caller]
    pub fn take(&self) -> T
    where
        T: Default,
    {
        self.replace(T::default())
    }

    #[track_caller]
    pub fn get(&self) -> T
    where
        T: Copy,
    {
        // SAFETY: nobody writes meanwhile; loom checks that it is so.
        self.0.with(|cell| unsafe { *cell })
    }
}

impl<T> Drop for Cell<T> {
    fn drop(&mut self) {
        if !has_failed() {
            self.0.with_mut(|_| {});
        }
    }
}
