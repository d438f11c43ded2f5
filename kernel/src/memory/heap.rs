//! The kernel's heap: the crate `talc`, over blocks of the memory manager's.
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;

use mm::{MAX_ORDER, PAGE_SIZE};
use talc::DefaultBinning;
use talc::base::Talc;
use talc::source::Manual;

use crate::arch;
use crate::memory::try_manager;
use crate::sync::SpinLock;

struct Heap(SpinLock<Talc<Manual, DefaultBinning>>);

#[global_allocator]
static HEAP: Heap = Heap(SpinLock::new(Talc::new(Manual)));

/// The smallest block that the heap grows by, as an order of pages: 256 KiB.
const LEAST_ORDER: usize = 6;

/// Gives the heap its first memory.
///
/// # Safety
///
/// Nobody else may use these bytes, ever.
pub unsafe fn begin(start: usize, length: usize) {
    let start = core::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the caller's promise.
    let claimed = unsafe { HEAP.0.lock().claim(start, length) };
    assert!(claimed.is_some(), "the first block is too small for a heap");
}

/// Adds memory for at least `size` bytes. Returns whether there was some.
fn grow(size: usize) -> bool {
    // The heap keeps a few words in each block.
    let pages = (size + 4096).div_ceil(PAGE_SIZE).next_power_of_two();
    let least = pages.trailing_zeros() as usize;
    let Some(manager) = try_manager() else {
        return false;
    };
    let block = (least..=MAX_ORDER)
        .contains(&LEAST_ORDER)
        .then_some(LEAST_ORDER)
        .into_iter()
        .chain([least])
        .filter(|order| *order <= MAX_ORDER)
        .find_map(|order| manager.allocate_kernel(order).ok());
    let Some(block) = block else {
        return false;
    };
    let start = arch::kernel_address(block.start());
    // SAFETY: the block is the kernel's, and now the heap's for ever.
    unsafe { HEAP.0.lock().claim(start, PAGE_SIZE << block.order()) }.is_some()
}

// SAFETY: `Talc` is an allocator, and the lock keeps its callers apart, interrupts included.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        loop {
            // SAFETY: the caller's layout has a size.
            let allocated = unsafe { self.0.lock().allocate(layout) };
            match allocated {
                Some(place) => return place.as_ptr(),
                None if grow(layout.size() + layout.align()) => {}
                None => return null_mut(),
            }
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise: it came from `alloc` with this layout.
        unsafe { self.0.lock().deallocate(place, layout) };
    }
}
