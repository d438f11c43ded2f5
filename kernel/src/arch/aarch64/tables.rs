//! The kernel's own translation tables: Arm ARM DDI 0487, D8.3 (VMSAv8-64, stage 1, 4 KiB).
//!
//! They are made once, in boot; later only mappings of stacks and devices are added, and none is
//! ever changed or removed, so no translation cache needs to be told. All entries are global.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::boot::switch_root;
use super::layout::{self, PAGE, direct, image_physical, image_virtual};
use super::registers::run;
use crate::error::{Errno, Result};
use crate::memory::try_manager;
use crate::sync::SpinLock;

/// A table of any level.
#[repr(C, align(4096))]
pub(super) struct Table([AtomicU64; 512]);

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Instructions of the kernel's.
    Code,
    /// Constants.
    Constants,
    /// Data and stacks.
    Data,
    /// Registers of a device.
    Device,
}

const VALID: u64 = 1;
const TABLE_OR_PAGE: u64 = 1 << 1;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const PRIVILEGED_NO_EXECUTE: u64 = 1 << 53;
const USER_NO_EXECUTE: u64 = 1 << 54;
const ADDRESS: u64 = (1 << 48) - PAGE;

impl Use {
    const fn attributes(self) -> u64 {
        let normal = VALID | ACCESSED | INNER_SHAREABLE | USER_NO_EXECUTE;
        match self {
            Self::Code => normal | READ_ONLY,
            Self::Constants => normal | READ_ONLY | PRIVILEGED_NO_EXECUTE,
            Self::Data => normal | PRIVILEGED_NO_EXECUTE,
            Self::Device => VALID | ACCESSED | USER_NO_EXECUTE | PRIVILEGED_NO_EXECUTE | 1 << 2,
        }
    }
}

impl Table {
    /// A table without entries.
    pub(super) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }

    /// Sets an entry.
    pub(super) fn set(&self, index: usize, descriptor: u64) {
        self.0[index].store(descriptor, Ordering::Release);
        run!("dsb ishst", "isb");
    }

    /// Its physical address, if it is in the image.
    pub(super) fn physical(&self) -> u64 {
        image_physical(core::ptr::from_ref(self).addr() as u64)
    }
}

/// The table of the upper half.
pub(super) static ROOT: Table = Table::new();
/// A table of the lower half for CPUs without a process.
pub(super) static EMPTY: Table = Table::new();

/// Tables for boot, when there is no allocator yet: enough for dozens of ranges of RAM.
const ARENA: usize = 48;
static TABLES: [Table; ARENA] = [const { Table::new() }; ARENA];

/// How many of [`TABLES`] are in use. Held while tables change.
static USED: SpinLock<usize> = SpinLock::new(0);

/// Whether [`ROOT`] is in use, and with it the direct map.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// The table at a physical address.
#[expect(unsafe_code, reason = "tables point to tables by physical address")]
fn table(physical: u64) -> &'static Table {
    let address = if ACTIVE.load(Ordering::Relaxed) {
        direct(physical)
    } else {
        image_virtual(physical)
    };
    // SAFETY: only `new_table` makes entries that point to tables. Tables are atomics, and live
    // for ever.
    unsafe { &*core::ptr::with_exposed_provenance(address as usize) }
}

/// The physical address of an empty table.
fn new_table(used: &mut usize) -> Result<u64> {
    if let Some(table) = TABLES.get(*used) {
        *used += 1;
        return Ok(table.physical());
    }
    let block = try_manager().ok_or(Errno::ENOMEM)?.allocate_kernel(0)?;
    let physical = block.start().0 * PAGE;
    for entry in &table(physical).0 {
        entry.store(0, Ordering::Relaxed);
    }
    Ok(physical)
}

/// Maps `length` bytes from `physical` at `address`, all multiples of a page, in the largest
/// pieces that fit. Nothing may be mapped there.
///
/// # Errors
///
/// `ENOMEM`: there is no table for it; some of it may be mapped.
pub(super) fn map(address: u64, physical: u64, length: u64, r#use: Use) -> Result<()> {
    let mut used = USED.lock();
    let mut done = 0;
    while done < length {
        let (address, physical) = (address + done, physical + done);
        let size = [1 << 30, 1 << 21, PAGE]
            .into_iter()
            .find(|size| (address | physical).is_multiple_of(*size) && length - done >= *size)
            .unwrap_or(PAGE);
        map_one(&mut used, address, physical, size, r#use)?;
        done += size;
    }
    // The walkers of all CPUs see what is written before what comes next.
    run!("dsb ishst", "isb");
    Ok(())
}

fn map_one(used: &mut usize, address: u64, physical: u64, size: u64, r#use: Use) -> Result<()> {
    let last = match size {
        PAGE => 12,
        _ => size.trailing_zeros(),
    };
    let mut current = &ROOT;
    let mut shift = 39;
    while shift > last {
        let entry = &current.0[(address >> shift & 511) as usize];
        let mut descriptor = entry.load(Ordering::Relaxed);
        if descriptor & VALID == 0 {
            descriptor = new_table(used)? | TABLE_OR_PAGE | VALID;
            // A walker that sees the table sees that it is empty.
            run!("dsb ishst");
            entry.store(descriptor, Ordering::Relaxed);
        }
        current = table(descriptor & ADDRESS);
        shift -= 9;
    }
    let kind = if size == PAGE { TABLE_OR_PAGE } else { 0 };
    let entry = &current.0[(address >> shift & 511) as usize];
    debug_assert_eq!(
        entry.load(Ordering::Relaxed),
        0,
        "mapped twice: {address:#x}"
    );
    entry.store(physical | kind | r#use.attributes(), Ordering::Relaxed);
    Ok(())
}

/// Makes the tables: the image, and all RAM in `ranges`.
///
/// # Errors
///
/// `ENOMEM`: there are too many ranges.
pub(super) fn make(ranges: impl Iterator<Item = (u64, u64)>) -> Result<()> {
    let (text_end, rodata_end) = (layout::text_end(), layout::rodata_end());
    for (start, end, r#use) in [
        (layout::IMAGE, text_end, Use::Code),
        (text_end, rodata_end, Use::Constants),
        (rodata_end, layout::image_end(), Use::Data),
    ] {
        map(start, image_physical(start), end - start, r#use)?;
    }
    let fixed = image_physical(layout::IMAGE)..image_physical(rodata_end);
    for (start, end) in ranges {
        for (from, to, r#use) in [
            (start, end.min(fixed.start), Use::Data),
            (start.max(fixed.start), end.min(fixed.end), Use::Constants),
            (start.max(fixed.end), end, Use::Data),
        ] {
            if from < to {
                map(direct(from), from, to - from, r#use)?;
            }
        }
    }
    Ok(())
}

/// Replaces the early tables by these.
#[expect(unsafe_code, reason = "all of the kernel's mappings change")]
pub(super) fn activate() {
    let switch = image_physical((switch_root as *const ()).addr() as u64);
    // SAFETY: the early identity map has `switch_root` at its physical address.
    let switch =
        unsafe { core::mem::transmute::<usize, unsafe extern "C" fn(u64, u64)>(switch as usize) };
    // SAFETY: the new tables map the image where the old ones do, and interrupts are masked.
    unsafe { switch(ROOT.physical(), EMPTY.physical()) };
    ACTIVE.store(true, Ordering::Relaxed);
}

/// Where the next device goes.
static NEXT_DEVICE: AtomicU64 = AtomicU64::new(layout::DEVICES);

/// Maps the registers of a device, and returns where.
///
/// # Errors
///
/// `ENOMEM`: there is no table for it.
pub(super) fn map_device(physical: u64, length: u64) -> Result<u64> {
    let first = physical & !(PAGE - 1);
    let length = (physical + length).next_multiple_of(PAGE) - first;
    let address = NEXT_DEVICE.fetch_add(length + PAGE, Ordering::Relaxed);
    map(address, first, length, Use::Device)?;
    Ok(address + (physical - first))
}
