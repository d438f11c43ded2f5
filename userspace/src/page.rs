//! The size of a page, which arm64 kernels choose: 4, 16 or 64 KiB.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};

/// Asked once, by [`learn`]: a signal handler may not ask, and an error path need not.
static LOG2: AtomicU8 = AtomicU8::new(12);

/// Asks the system; called before anything can fail.
pub(crate) fn learn() {
    // SAFETY: `sysconf` takes any number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if let Ok(size) = u64::try_from(size)
        && size.is_power_of_two()
    {
        LOG2.store(size.ilog2() as u8, Ordering::Relaxed);
    }
}

/// Base-2 logarithm of the page size.
pub(crate) fn log2() -> u8 {
    LOG2.load(Ordering::Relaxed)
}

/// Bytes in a page.
pub(crate) fn size() -> usize {
    1 << log2()
}

/// The whole pages that a range of addresses touches.
pub(crate) fn around(range: Range<usize>) -> Range<usize> {
    let mask = size() - 1;
    range.start & !mask..range.end.saturating_add(mask) & !mask
}
