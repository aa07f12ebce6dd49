//! The system calls on memory that stacks need, thinly wrapped.

use core::ops::Range;
use core::ptr;
use std::io;

use super::layout::page_size;

/// Linux 6.13: makes a range of pages fault without giving it a mapping of its own.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Maps `len` bytes of zeroed memory at a multiple of `align`, without reserving swap and without
/// huge pages, which would make one touched page cost 2 MiB.
///
/// `len` and `align` are multiples of the page size, `align` a power of two.
pub(super) fn map_aligned(len: usize, align: usize) -> io::Result<usize> {
    let padded = len + align - page_size();
    // SAFETY: a new private mapping where the kernel likes; nothing that exists is touched.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            padded,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = start as usize;
    let end = start + padded;
    let aligned = start.next_multiple_of(align);
    // SAFETY: both slacks, and in the second step all that is left, are parts of the mapping just
    // made, of which nobody knows.
    let trimmed = unsafe {
        cut(start..aligned, start..end).and_then(|()| cut(aligned + len..end, aligned..end))
    };
    trimmed?;
    // A kernel without huge pages refuses the advice, and does not need it.
    // SAFETY: advice on the mapping just made; it changes no contents.
    unsafe { libc::madvise(aligned as *mut _, len, libc::MADV_NOHUGEPAGE) };
    Ok(aligned)
}

/// Unmaps `slack`, or failing that all of `whole`, which it is an end of.
///
/// Cutting may need one mapping more than the process may have, when the kernel has merged ours
/// with its neighbours. Unmapping the whole does not, unless it is merged on both sides; then
/// untouched address space is lost, no more.
///
/// # Safety
///
/// As for [`unmap`].
unsafe fn cut(slack: Range<usize>, whole: Range<usize>) -> io::Result<()> {
    // SAFETY: the caller's duty.
    unsafe { unmap(slack) }.inspect_err(|_| {
        // SAFETY: the caller's duty.
        let _ = unsafe { unmap(whole) };
    })
}

/// Unmaps `range`; an empty one is left alone.
///
/// # Safety
///
/// Nothing will touch the range again, until it is mapped anew.
pub(super) unsafe fn unmap(range: Range<usize>) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    // SAFETY: the caller's duty.
    done(unsafe { libc::munmap(range.start as *mut _, range.len()) })
}

/// Makes every access to `range` fault, by guard markers in the page tables (Linux 6.13 and later;
/// `InvalidInput` before). Costs no mapping, and survives `MADV_DONTNEED` and fork.
///
/// # Safety
///
/// The range belongs to a mapping of the caller's, and holds nothing that anyone will read.
pub(super) unsafe fn install_guard(range: Range<usize>) -> io::Result<()> {
    // SAFETY: the caller's duty.
    done(unsafe { libc::madvise(range.start as *mut _, range.len(), MADV_GUARD_INSTALL) })
}

/// Makes every access to `range` fault, by a mapping of its own without access rights.
///
/// # Safety
///
/// As for [`install_guard`].
pub(super) unsafe fn protect_guard(range: Range<usize>) -> io::Result<()> {
    // SAFETY: the caller's duty.
    done(unsafe { libc::mprotect(range.start as *mut _, range.len(), libc::PROT_NONE) })
}

/// Gives the pages of `range` back to the system; they read as zero afterwards. Guards stay.
///
/// # Safety
///
/// The range is private anonymous memory of the caller's, and holds nothing that anyone will read.
pub(super) unsafe fn give_back(range: Range<usize>) {
    // SAFETY: the caller's duty.
    let result =
        done(unsafe { libc::madvise(range.start as *mut _, range.len(), libc::MADV_DONTNEED) });
    // Only locked memory (mlockall) refuses, and that is to stay resident by its owner's wish.
    debug_assert!(
        result
            .as_ref()
            .err()
            .is_none_or(|e| e.kind() == io::ErrorKind::InvalidInput),
        "{result:?}"
    );
}

/// The address of the lowest resident page of `range`, which is mapped and starts and ends at a
/// page boundary.
pub(super) fn lowest_resident(range: Range<usize>) -> Option<usize> {
    const PAGES_A_CALL: usize = 256;
    let page = page_size();
    let mut resident = [0u8; PAGES_A_CALL];
    for start in range.clone().step_by(PAGES_A_CALL * page) {
        let len = (range.end - start).min(PAGES_A_CALL * page);
        // SAFETY: mincore writes one byte for each page of `len` into `resident`, which has room
        // for that many; it does not touch the pages themselves.
        let result = done(unsafe { libc::mincore(start as *mut _, len, resident.as_mut_ptr()) });
        if let Err(error) = result {
            // EAGAIN: the kernel is out of memory for the moment. Not knowing is answered by
            // "untouched".
            debug_assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "mincore: {error}");
            return None;
        }
        if let Some(index) = resident[..len / page].iter().position(|byte| byte & 1 == 1) {
            return Some(start + index * page);
        }
    }
    None
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
