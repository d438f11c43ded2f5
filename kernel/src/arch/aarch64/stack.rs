//! Kernel stacks: 16 KiB each, at the end of a slot of 32 KiB whose beginning is not mapped.
//!
//! So a bit of the stack pointer tells a stack from its guard, and the entry code can see an
//! overflow before it pushes anything. Stacks are never unmapped: those that are not in use wait
//! for the next thread.

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use super::layout::{PAGE, STACKS};
use super::tables::{self, Use};
use crate::error::Result;
use crate::memory::manager;
use crate::sync::SpinLock;

/// Bytes of a slot: a guard, then a stack.
pub(super) const SLOT: usize = 2 * LENGTH;
/// Bytes of a stack.
const LENGTH: usize = 1 << LENGTH_SHIFT;
/// The bit of a stack pointer that is set in a stack, and not in its guard.
pub(super) const LENGTH_SHIFT: u32 = 14;
/// Blocks of the allocator are so many pages: 2 to the power of this.
const ORDER: usize = LENGTH_SHIFT as usize - 12;

/// The stack on which the first CPU boots until there is memory for one like the others. It has no
/// guard, and is twice as long: what is read of the machine goes by way of it.
#[repr(C, align(32768))]
pub(super) struct BootStack([AtomicU64; SLOT / 8]);

/// The first CPU's.
pub(super) static BOOT_STACK: BootStack = BootStack([const { AtomicU64::new(0) }; SLOT / 8]);

/// A stack. Dropping it makes it free for another thread.
#[derive(Debug)]
pub(super) struct Stack {
    end: u64,
}

static FREE: SpinLock<Vec<u64>> = SpinLock::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(STACKS);

/// A stack that nobody uses. What is in it is what its last user left.
///
/// # Errors
///
/// `ENOMEM`.
pub(super) fn new() -> Result<Stack> {
    if let Some(end) = FREE.lock().pop() {
        return Ok(Stack { end });
    }
    let block = manager().allocate_kernel(ORDER)?;
    let start = NEXT.fetch_add(SLOT as u64, Ordering::Relaxed) + LENGTH as u64;
    // A table that is missing costs the block: the machine is out of memory anyway.
    tables::map(start, block.start().0 * PAGE, LENGTH as u64, Use::Data)?;
    // Room to be dropped into, so that dropping allocates nothing.
    let slots = (start - STACKS) as usize / SLOT + 1;
    let mut free = FREE.lock();
    let count = free.len();
    free.try_reserve(slots - count)
        .map_err(|_| crate::error::Errno::ENOMEM)?;
    Ok(Stack {
        end: start + LENGTH as u64,
    })
}

impl Stack {
    /// The first address above it.
    pub(super) fn end(&self) -> u64 {
        self.end
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        FREE.lock().push(self.end);
    }
}

/// The first address above it.
pub(super) fn boot_end() -> u64 {
    (&raw const BOOT_STACK).addr() as u64 + SLOT as u64
}

/// The stack that holds an address, as a range, if it is one.
pub(super) fn containing(address: u64) -> Option<Range<u64>> {
    let start = address & !(LENGTH as u64 - 1);
    let boot = (&raw const BOOT_STACK).addr() as u64;
    let boot = boot..boot + SLOT as u64;
    if boot.contains(&address) {
        return Some(boot);
    }
    let is_stack = (STACKS..NEXT.load(Ordering::Relaxed)).contains(&address);
    (is_stack && start & LENGTH as u64 != 0).then(|| start..start + LENGTH as u64)
}
