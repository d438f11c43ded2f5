//! Stage 1: RAM and devices as they are, and a window of test mappings.
//!
//! 4 KiB granule, 39 bits: a walk has levels 1, 2 and 3. Layouts: Arm ARM (DDI 0487), VMSAv8-64
//! translation table format descriptors.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use control::PAGE;

/// MAIR_EL1: 0 device, 1 normal write-back, 2 the same with tags.
pub(crate) const MAIR: u64 = 0x04 | 0xff << 8 | 0xf0 << 16;

/// TCR_EL1: T0SZ 25, write-back and inner shareable walks, 40-bit addresses, no TTBR1, top byte
/// ignored.
pub(crate) const TCR: u64 = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32 | 1 << 37;

/// One translation table.
#[repr(C, align(4096))]
pub(crate) struct Table(pub(crate) [AtomicU64; 512]);

/// The table that every walk starts at.
pub(crate) static ROOT: Table = Table({
    let mut entries = [const { AtomicU64::new(0) }; 512];
    entries[0] = AtomicU64::new(BLOCK | DEVICE | KERNEL_DATA);
    let mut gigabyte = 1;
    while gigabyte < 16 {
        entries[gigabyte] = AtomicU64::new((gigabyte as u64) << 30 | BLOCK | NORMAL | KERNEL_CODE);
        gigabyte += 1;
    }
    entries
});

/// Where the window is: one level 2 table.
pub(crate) const WINDOW: u64 = 64 << 30;

/// Where the tests of level 2 walks are: the entry of [`ROOT`] that [`set_level_2`] sets.
pub(crate) const LEVEL_2_WINDOW: u64 = 65 << 30;

/// Bytes that one level 3 table maps.
pub(crate) const BLOCK_LENGTH: u64 = 0x20_0000;

static WINDOW_TABLE: Table = Table([const { AtomicU64::new(0) }; 512]);

/// A valid entry for a table of the next level.
pub(crate) const TABLE: u64 = 0b11;
/// A valid level 3 entry.
pub(crate) const LEAF: u64 = 0b11 | ACCESS_FLAG;
const BLOCK: u64 = 0b01 | ACCESS_FLAG;
const ACCESS_FLAG: u64 = 1 << 10;

/// Device memory.
pub(crate) const DEVICE: u64 = 0;
/// Normal memory, write-back, inner shareable.
pub(crate) const NORMAL: u64 = 1 << 2 | 3 << 8;
/// Normal memory with allocation tags.
pub(crate) const TAGGED: u64 = 2 << 2 | 3 << 8;

/// EL1 reads and writes.
pub(crate) const KERNEL_DATA: u64 = 1 << 53 | 1 << 54;
/// EL1 reads, writes and executes.
pub(crate) const KERNEL_CODE: u64 = 1 << 54;
/// EL0 and EL1 read and write.
pub(crate) const USER_DATA: u64 = 1 << 6 | 1 << 53 | 1 << 54;
/// EL0 and EL1 read, EL0 executes.
pub(crate) const USER_CODE: u64 = 1 << 6 | 1 << 7 | 1 << 53;

impl Table {
    /// A table without entries.
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }

    /// Its address.
    pub(crate) fn address(&self) -> u64 {
        core::ptr::from_ref(self) as u64
    }

    /// Maps `pages` pages from `physical` on, from entry `first` on.
    pub(crate) fn map(&self, first: usize, pages: usize, physical: u64, attributes: u64) {
        for (index, entry) in self.0[first..first + pages].iter().enumerate() {
            let address = physical + index as u64 * PAGE;
            entry.store(address | LEAF | attributes, Ordering::Relaxed);
        }
    }
}

/// Makes the window.
pub(crate) fn init() {
    ROOT.0[(WINDOW >> 30) as usize].store(WINDOW_TABLE.address() | TABLE, Ordering::Relaxed);
    invalidate_all();
}

/// Has the 2 MiB of the window with this number mapped by the level 3 table at `table`.
pub(crate) fn set_level_3(index: usize, table: u64) {
    WINDOW_TABLE.0[index].store(table | TABLE, Ordering::Relaxed);
    invalidate_all();
}

/// Has [`LEVEL_2_WINDOW`] mapped by the level 2 table at `table`.
pub(crate) fn set_level_2(table: u64) {
    ROOT.0[(LEVEL_2_WINDOW >> 30) as usize].store(table | TABLE, Ordering::Relaxed);
    invalidate_all();
}

/// Makes every CPU walk the tables again.
pub(crate) fn invalidate_all() {
    // SAFETY: it only costs time: all mappings that Rust uses stay as they are.
    unsafe {
        asm!(
            "dsb ishst",
            "tlbi vmalle1is",
            "dsb ish",
            "isb",
            options(nostack)
        );
    }
}

/// Makes instruction fetches see what was written.
pub(crate) fn synchronize_code() {
    // SAFETY: as above.
    unsafe { asm!("dsb ish", "ic ialluis", "dsb ish", "isb", options(nostack)) }
}
