//! The machine under the memory manager: RAM in the direct map, and this CPU's translation caches.

use core::sync::atomic::{AtomicU64, Ordering};

use copy::{PAGE_SIZE, checksum_mc};
use mm::{
    Allocation, Errno, File, KernelFrame, PageRange, Poisoned, SpaceId, StoreError, UserFrame,
    Victim,
};

use super::features::routines;
use super::frame::{self, place};
use super::layout::{PAGE, direct};
use super::registers::run;
use super::space;
use crate::memory::{self, Stopped};
use crate::trap;

/// The machine.
#[derive(Debug)]
pub struct Machine(());

impl Machine {
    /// The only one.
    pub(super) const fn new() -> Self {
        Self(())
    }
}

fn poisoned(frame: &UserFrame, done: usize) -> Poisoned {
    Poisoned {
        pfn: frame.pfn(),
        done,
    }
}

fn entry(table: &KernelFrame, index: usize) -> &AtomicU64 {
    debug_assert!(index < 512);
    let address = direct(table.pfn().0 * PAGE) as usize + index * 8;
    // SAFETY: a word of a table, which only atomics touch while the caller has the table.
    unsafe { &*core::ptr::with_exposed_provenance(address) }
}

impl mm::Machine for Machine {
    fn copy_page(&self, to: &UserFrame, from: &UserFrame) -> Result<(), Poisoned> {
        // SAFETY: whole frames, which the references keep, and to which no Rust reference exists.
        unsafe { routines().copy_mc_page(place(to, 0), place(from, 0)) }
            .map_err(|incomplete| poisoned(from, incomplete.copied))
    }

    fn read(&self, from: &UserFrame, offset: usize, into: &mut [u8]) -> Result<(), Poisoned> {
        frame::read(from, offset, into).map_err(|Stopped { done, .. }| poisoned(from, done))
    }

    fn write(&self, to: &UserFrame, offset: usize, bytes: &[u8]) {
        frame::write(to, offset, bytes);
    }

    fn zero(&self, frame: &UserFrame) {
        // SAFETY: a whole frame, which the reference keeps, and to which no Rust reference exists.
        let filled = unsafe { routines().fill_mc(place(frame, 0), 0, PAGE_SIZE) };
        debug_assert!(filled.is_ok(), "stores do not abort");
    }

    fn compare(&self, left: &UserFrame, right: &UserFrame) -> Result<bool, Poisoned> {
        // SAFETY: whole frames, which the references keep.
        let difference =
            unsafe { routines().compare_mc(place(left, 0), place(right, 0), PAGE_SIZE) };
        difference
            .map(|place| place.is_none())
            .map_err(|incomplete| {
                let second = incomplete.report.word() & extable::Report::SECOND_SOURCE != 0;
                poisoned(if second { right } else { left }, incomplete.copied)
            })
    }

    fn is_zero(&self, frame: &UserFrame) -> Result<bool, Poisoned> {
        // SAFETY: a whole frame, which the reference keeps.
        unsafe { routines().is_zero_mc(place(frame, 0), PAGE_SIZE) }
            .map(|place| place.is_none())
            .map_err(|incomplete| poisoned(frame, incomplete.copied))
    }

    fn checksum(&self, frame: &UserFrame) -> Result<u64, Poisoned> {
        // SAFETY: a whole frame, which the reference keeps.
        unsafe { checksum_mc(routines(), place(frame, 0), PAGE_SIZE) }
            .map_err(|incomplete| poisoned(frame, incomplete.copied))
    }

    fn zero_table(&self, table: &KernelFrame) {
        let place = core::ptr::with_exposed_provenance_mut(direct(table.pfn().0 * PAGE) as usize);
        // SAFETY: a whole frame, which is the memory manager's alone until it is linked as a table.
        let filled = unsafe { routines().fill_mc(place, 0, PAGE_SIZE) };
        debug_assert!(filled.is_ok(), "stores do not abort");
        // A walker that finds the table finds it empty.
        run!("dsb ishst");
    }

    fn load_entry(&self, table: &KernelFrame, index: usize) -> u64 {
        entry(table, index).load(Ordering::Relaxed)
    }

    fn store_entry(&self, table: &KernelFrame, index: usize, descriptor: u64) {
        entry(table, index).store(descriptor, Ordering::Release);
        run!("dsb ishst", "isb");
    }

    fn invalidate(&self, space: SpaceId, pages: PageRange) {
        space::invalidate(space, pages);
    }

    fn store_read(&self, file: &File, index: u32, into: &UserFrame) -> Result<(), Errno> {
        memory::store::read(file, index, into)
    }

    fn store_write(&self, file: &File, index: u32, from: &UserFrame) -> Result<(), StoreError> {
        memory::store::write(file, index, from)
    }

    fn store_truncate(&self, file: &File, size: u64) -> Result<(), Errno> {
        memory::store::truncate(file, size)
    }

    fn notify(&self, victim: Victim) {
        trap::notify(victim);
    }

    fn admit(&self, what: Allocation) -> bool {
        memory::admit(what)
    }
}
