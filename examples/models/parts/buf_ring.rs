//! Buffers that the kernel takes one of when there is something to put into it (io_uring's provided buffers, Linux 5.19): a connection
//! that has nothing to say needs no buffer.

use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::protocol::BUFFER_BYTES;

/// Buffers. A power of two.
const COUNT: u16 = 256;

/// Of these in the one ring that has them.
pub(crate) const GROUP: u16 = 0;

const PAGE_BYTES: usize = 4096;

pub(crate) struct BufRing {
    /// Read by the kernel: buffers that it may take, from its own place up to the tail.
    entries: NonNull<BufRingEntry>,
    /// `COUNT` × `BUFFER_BYTES`. Both live as long as the process: nobody can tell when a ring that was closed in the middle has come to rest.
    bytes: NonNull<u8>,
    tail: u16,
}

impl BufRing {
    /// # Errors
    /// If the kernel has no such thing.
    pub(crate) fn register(uring: &IoUring) -> io::Result<BufRing> {
        let length = usize::from(COUNT) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(length, PAGE_BYTES).expect("it is a power of two");
        // SAFETY: the layout is not empty.
        let entries = NonNull::new(unsafe { alloc::alloc_zeroed(layout) })
            .unwrap_or_else(|| alloc::handle_alloc_error(layout));
        let bytes = Box::leak(vec![0; usize::from(COUNT) * BUFFER_BYTES].into_boxed_slice());
        // SAFETY: page-aligned, as many entries as it says, and never freed. All zero, none is offered yet.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                COUNT,
                GROUP,
                0,
            )?;
        }
        let mut ring = BufRing {
            entries: entries.cast(),
            bytes: NonNull::from(bytes).cast(),
            tail: 0,
        };
        (0..COUNT).for_each(|id| ring.give_back(id));
        Ok(ring)
    }

    /// What was received into a buffer that the kernel has taken.
    pub(crate) fn received(&self, id: u16, length: usize) -> &[u8] {
        assert!(id < COUNT && length <= BUFFER_BYTES, "got buffer {id}");
        // SAFETY: within the buffers, which are never freed, were zeroed, and are shared with nobody while `self` is borrowed: the
        // kernel writes to what it was offered, and not before `give_back`, which takes `self` mutably.
        unsafe {
            let begin = self.bytes.add(usize::from(id) * BUFFER_BYTES);
            std::slice::from_raw_parts(begin.as_ptr(), length)
        }
    }

    /// Offers the buffer to the kernel again.
    pub(crate) fn give_back(&mut self, id: u16) {
        assert!(id < COUNT, "got buffer {id}");
        // SAFETY: within the buffers.
        let begin = unsafe { self.bytes.add(usize::from(id) * BUFFER_BYTES) };
        let place = usize::from(self.tail & (COUNT - 1));
        // SAFETY: within the ring. The kernel does not read the entry before the tail has passed it, and it has taken what was
        // there before: no more buffers are offered than there are.
        let entry = unsafe { &mut *self.entries.as_ptr().add(place) };
        entry.set_addr(begin.as_ptr() as u64);
        entry.set_len(u32::try_from(BUFFER_BYTES).expect("it is small"));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is in the first entry, in a part of it that entries do not use; it is 2-aligned.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        // Release: the kernel reads the tail first, then the entry.
        tail.store(self.tail, Ordering::Release);
    }
}
