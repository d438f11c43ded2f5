//! Stage 2 translation: what the guest's physical addresses lead to.
//!
//! Identity, but for the monitor's own memory (nothing there), the pages whose accesses it emulates
//! (nothing there) and the firmware window (memory of the monitor). Each guest CPU has tables of its
//! own, with the same VMID: a page with poison is invalid in all of them, and the CPU that steps
//! over an access makes it valid in its own, for that instruction. Tables are never freed.
//!
//! RAM is mapped by 4 KiB pages from the start, with level 3 tables that all CPUs share until one of
//! their pages is poisoned. Under larger blocks QEMU takes every page that the guest maps for a large
//! one, and flushes its whole TLB whenever the guest flushes an address: a Linux that boots does so
//! tens of thousands of times.
//!
//! Layouts: Arm ARM (DDI 0487), D8.3 "Translation table descriptor formats", stage 2, 4 KiB
//! granule, 40-bit addresses: two concatenated tables at level 1.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use control::layout::{DOORBELL, FIRMWARE, FIRMWARE_LENGTH, REGISTERS_LENGTH};
use control::{MAX_CPUS, PAGE};
use spin::{Mutex, Once};

use super::registers::{msr, run, run_with};

/// `VTCR_EL2`: T0SZ 24 (40 bits), start at level 1, write-back walks, inner shareable, 4 KiB
/// granule, 40-bit output, RES1 bit 31.
pub(super) const VTCR: u64 = 1 << 31 | 2 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 1 << 6 | 24;

/// A bit that the MMU ignores: the table belongs to all CPUs, and maps what is there.
const SHARED: u64 = 1 << 56;

/// How much RAM is mapped by pages from the start: 2 MiB of tables for each GiB. What is beyond
/// is mapped by blocks.
const BY_PAGES: u64 = 4 << 30;

/// End of the address space that stage 2 maps.
const END: u64 = 1 << 40;

const VALID: u64 = 1;
/// A bit that the MMU ignores: the entry would be valid, had it not been withdrawn.
const WITHDRAWN: u64 = 1 << 55;
const TABLE: u64 = 1 << 1;
/// Normal write-back (stage 1 may make it weaker), inner shareable, accessed.
const MEMORY: u64 = 0b1111 << 2 | 3 << 8 | 1 << 10;
const READ_WRITE: u64 = 0b11 << 6;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// What the guest may do with a page that is open for one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Fetch instructions, and nothing else: a load through another mapping must not slip by.
    Fetch,
    /// Everything.
    All,
}

/// No table is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// Pages that nobody uses yet, all zero.
static FREE: Mutex<Range<u64>> = Mutex::new(0..0);

/// The root of each guest CPU's tables, 0 if there is no such CPU.
static ROOTS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Held while the shape of tables changes, as opposed to the state of a page.
static SHAPING: Mutex<()> = Mutex::new(());

/// The guest's RAM, and the memory behind the firmware window.
static PLACES: Once<Places> = Once::new();

struct Places {
    ram: Range<u64>,
    reserved_end: u64,
    window: u64,
}

/// Makes the tables of all guest CPUs. Only the first CPU runs.
///
/// # Errors
///
/// [`NoRoom`], if `free` is too small.
pub(super) fn make(
    cpus: usize,
    ram: Range<u64>,
    reserved_end: u64,
    window: u64,
    free: Range<u64>,
) -> Result<(), NoRoom> {
    *FREE.lock() = free;
    let places = PLACES.call_once(|| Places {
        ram,
        reserved_end,
        window,
    });
    let by_pages = places.ram.start..places.ram.end.min(places.ram.start + BY_PAGES);
    let shared = allocate(by_pages.clone().step_by(1 << 21).count() as u64)?;
    for page in pages(by_pages.clone()) {
        let entry = page | MEMORY | READ_WRITE | TABLE | VALID;
        entry_at(shared, (page - by_pages.start) / PAGE).store(entry, Ordering::Relaxed);
    }
    for root in &ROOTS[..cpus] {
        let table = allocate(2)?;
        root.store(table, Ordering::Release);
        let view = View { root: table };
        for index in 0..END >> 30 {
            let entry = index << 30 | MEMORY | READ_WRITE | VALID;
            view.root_entry(index << 30).store(entry, Ordering::Relaxed);
        }
        for page in pages(DOORBELL..DOORBELL + 2 * REGISTERS_LENGTH) {
            view.reach(page, 3)?.store(0, Ordering::Relaxed);
        }
        for page in pages(FIRMWARE..FIRMWARE + FIRMWARE_LENGTH) {
            let entry = (places.window + (page - FIRMWARE)) | MEMORY | READ_WRITE | TABLE | VALID;
            view.reach(page, 3)?.store(entry, Ordering::Relaxed);
        }
        for (number, block) in by_pages.clone().step_by(1 << 21).enumerate() {
            let table = shared + number as u64 * PAGE;
            let entry = table | SHARED | TABLE | VALID;
            view.reach(block, 2)?.store(entry, Ordering::Relaxed);
        }
        let mut block = places.ram.end;
        while block < places.reserved_end {
            view.reach(block, 2)?.store(0, Ordering::Relaxed);
            block += 1 << 21;
        }
    }
    run!("dsb ish");
    Ok(())
}

fn pages(range: Range<u64>) -> impl Iterator<Item = u64> {
    range.step_by(PAGE as usize)
}

/// The guest's RAM.
pub(super) fn ram() -> Range<u64> {
    PLACES.get().map_or(0..0, |places| places.ram.clone())
}

/// Whether the address is in the monitor's part of RAM.
pub(super) fn is_reserved(address: u64) -> bool {
    PLACES
        .get()
        .is_some_and(|places| (places.ram.end..places.reserved_end).contains(&address))
}

/// Whether there is nothing at this address, for the guest.
pub(super) fn is_hidden(address: u64) -> bool {
    is_reserved(address) || address >= END
}

/// The tables of one CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    root: u64,
}

/// The tables of CPU `index`, if the guest has such a CPU.
pub(super) fn view(index: usize) -> Option<View> {
    let root = ROOTS.get(index)?.load(Ordering::Acquire);
    (root != 0).then_some(View { root })
}

impl View {
    /// Makes this CPU use these tables.
    pub(super) fn activate(self) {
        // VMID 1, the same for all: entries a CPU caches for a page that is not its own are
        // flushed by the CPU that caches them.
        msr!("vttbr_el2", 1 << 48 | self.root);
        msr!("vtcr_el2", VTCR);
        run!("isb", "tlbi vmalls12e1", "dsb nsh", "isb");
    }

    /// Opens a page with poison to this CPU.
    pub(super) fn open(self, page: u64, access: Access) {
        let Some(leaf) = self.leaf(page) else { return };
        let permissions = match access {
            Access::Fetch => 0,
            Access::All => READ_WRITE,
        };
        leaf.store(
            page | MEMORY | permissions | TABLE | VALID,
            Ordering::SeqCst,
        );
        run!("dsb nshst");
    }

    /// Closes a page to this CPU. What the TLB holds of it must still be flushed.
    pub(super) fn close(self, page: u64) {
        if let Some(leaf) = self.leaf(page) {
            leaf.store(0, Ordering::SeqCst);
        }
    }

    /// Undoes [`withdraw`] for this CPU. Gives whether there was anything to undo.
    pub(super) fn give_back(self) -> bool {
        if self.root_entry(0).load(Ordering::Acquire) & WITHDRAWN == 0 {
            return false;
        }
        let _shaping = SHAPING.lock();
        for entry in self.root_entries() {
            let value = entry.load(Ordering::Relaxed);
            if value & WITHDRAWN != 0 {
                entry.store(value & !WITHDRAWN | VALID, Ordering::Relaxed);
            }
        }
        run!("dsb nshst");
        true
    }

    fn root_entries(self) -> impl Iterator<Item = &'static AtomicU64> {
        (0..END >> 30).map(move |index| self.root_entry(index << 30))
    }

    /// The entry for a 4 KiB page, if this CPU has one of its own.
    fn leaf(self, page: u64) -> Option<&'static AtomicU64> {
        let mut entry = self.root_entry(page);
        for level in 2..=3 {
            let value = entry.load(Ordering::Relaxed);
            if value & SHARED != 0 {
                return None;
            }
            entry = next(value, page, level)?;
        }
        Some(entry)
    }

    fn root_entry(self, address: u64) -> &'static AtomicU64 {
        entry_at(self.root, address >> 30 & 0x3ff)
    }

    /// The entry of `level` for `address`, splitting blocks on the way.
    fn reach(self, address: u64, level: u32) -> Result<&'static AtomicU64, NoRoom> {
        let _shaping = SHAPING.lock();
        let mut entry = self.root_entry(address);
        for below in 2..=level {
            let value = entry.load(Ordering::Relaxed);
            entry = match next(value, address, below) {
                Some(entry) if value & SHARED == 0 => entry,
                _ => {
                    let table = if value & SHARED != 0 {
                        copy(value & ADDRESS)?
                    } else {
                        split(value, below)?
                    };
                    // Break before make: a CPU that faults meanwhile finds no poison, and repeats.
                    if value & VALID != 0 {
                        entry.store(0, Ordering::Relaxed);
                        run!("dsb ishst", "tlbi vmalls12e1is", "dsb ish", "isb");
                    }
                    let present = if value & WITHDRAWN != 0 {
                        WITHDRAWN
                    } else {
                        VALID
                    };
                    entry.store(table | TABLE | present, Ordering::Release);
                    run!("dsb ishst");
                    entry_at(table, index(address, below))
                }
            };
        }
        Ok(entry)
    }
}

fn index(address: u64, level: u32) -> u64 {
    address >> (39 - 9 * level) & 0x1ff
}

/// The entry that a table descriptor leads to.
fn next(descriptor: u64, address: u64, level: u32) -> Option<&'static AtomicU64> {
    let present = descriptor & (VALID | WITHDRAWN) != 0;
    (present && descriptor & TABLE != 0)
        .then(|| entry_at(descriptor & ADDRESS, index(address, level)))
}

/// A table of `level` that maps what `block`, a block or nothing one level up, maps.
fn split(block: u64, level: u32) -> Result<u64, NoRoom> {
    let table = allocate(1)?;
    if block & (VALID | WITHDRAWN) != 0 {
        let block = block & !WITHDRAWN | VALID;
        let size = 1 << (39 - 9 * level);
        let kind = if level == 3 { TABLE } else { 0 };
        for index in 0..512 {
            entry_at(table, index).store((block + index * size) | kind, Ordering::Relaxed);
        }
    }
    Ok(table)
}

/// A table with the same entries.
fn copy(table: u64) -> Result<u64, NoRoom> {
    let own = allocate(1)?;
    for index in 0..512 {
        let entry = entry_at(table, index).load(Ordering::Relaxed);
        entry_at(own, index).store(entry, Ordering::Relaxed);
    }
    Ok(own)
}

fn allocate(pages: u64) -> Result<u64, NoRoom> {
    let mut free = FREE.lock();
    // Concatenated tables are aligned to their size together.
    let start = free.start.next_multiple_of(pages.min(2) * PAGE);
    let end = start + pages * PAGE;
    if end > free.end {
        return Err(NoRoom);
    }
    free.start = end;
    Ok(start)
}

fn entry_at(table: u64, index: u64) -> &'static AtomicU64 {
    let address = table + index * 8;
    // SAFETY: tables come from `allocate`, so they are the monitor's memory, live for ever, and are
    // accessed by nothing but these atomics and the MMU; `index` is below the table's length.
    unsafe { AtomicU64::from_ptr(address as *mut u64) }
}

/// Makes sure that the page can be opened and closed on all CPUs alone.
///
/// # Errors
///
/// [`NoRoom`], if tables are lacking. What was split stays split, and maps what it did.
pub(super) fn prepare(page: u64) -> Result<(), NoRoom> {
    for cpu in 0..MAX_CPUS {
        if let Some(view) = view(cpu) {
            view.reach(page, 3)?;
        }
    }
    Ok(())
}

/// Closes a page to all CPUs. When this returns, no CPU can reach it without a fault.
pub(super) fn close_everywhere(page: u64) {
    for cpu in 0..MAX_CPUS {
        if let Some(view) = view(cpu) {
            view.close(page);
        }
    }
    run!("dsb ishst");
    run_with!("tlbi ipas2e1is, {}", page >> 12);
    run!("dsb ish", "tlbi vmalle1is", "dsb ish", "isb");
}

/// Takes all memory away from a CPU, until it asks for it.
pub(super) fn withdraw(cpu: usize) {
    let Some(view) = view(cpu) else { return };
    let _shaping = SHAPING.lock();
    for entry in view.root_entries() {
        let value = entry.load(Ordering::Relaxed);
        if value & VALID != 0 {
            entry.store(value & !VALID | WITHDRAWN, Ordering::Release);
        }
    }
    run!("dsb ishst", "tlbi vmalls12e1is", "dsb ish", "isb");
}

/// Flushes what this CPU holds of a page, under one virtual address.
pub(super) fn flush_here(page: u64, address: u64) {
    run_with!("tlbi ipas2e1, {}", page >> 12);
    run_with!("tlbi vaae1, {}", address >> 12 & ((1 << 44) - 1));
}

/// Flushes all that this CPU holds of the guest.
pub(super) fn flush_all_here() {
    run!("tlbi vmalls12e1");
}
