//! The lock inside each primitive: held for some dozens of instructions, never across a switch.
//!
//! One locked instruction for both ends, where a mutex that can sleep needs two (measured: 12 ns against 20). That matters, since every
//! operation on a channel is one section of it. What it costs: a thread that loses its core inside a section makes
//! the others wait. They give up their core soon, and sleep if that goes on.

use core::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::fork;

/// Looks before the core is given up.
const LOOKS: u32 = 7;
/// So often the core is given up before we sleep: whoever holds the lock may have a lower priority than we have.
const YIELDS: u32 = 64;
const SLEEP: Duration = Duration::from_micros(50);

pub(crate) struct SpinLock(AtomicBool);

impl SpinLock {
    pub(crate) const fn new() -> SpinLock {
        SpinLock(AtomicBool::new(false))
    }

    #[inline]
    pub(crate) fn lock(&self) {
        if !self.try_lock() {
            self.lock_slowly();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // Acquire: what the last holder did.
        self.0
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// For the holder.
    #[inline]
    pub(crate) fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }

    #[cold]
    fn lock_slowly(&self) {
        let mut yields = 0;
        loop {
            for look in 0..LOOKS {
                // Ever longer: whoever has the line does several sections before it goes over, which is cheaper for all.
                for _ in 0..1 << look {
                    core::hint::spin_loop();
                }
                if !self.0.load(Ordering::Relaxed) && self.try_lock() {
                    return;
                }
            }
            if yields < YIELDS {
                std::thread::yield_now();
                yields += 1;
            } else {
                // Its holder may be a thread of our parent's.
                fork::refuse_child();
                std::thread::sleep(SLEEP);
            }
        }
    }
}
