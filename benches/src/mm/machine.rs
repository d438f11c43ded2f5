//! A machine without contents: what is measured is the manager, not copies.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use mm::{
    Errno, File, KernelFrame, Machine, PageRange, Pfn, Poisoned, SpaceId, StoreError, UserFrame,
    Victim,
};

const ENTRIES: usize = 512;

type Table = Box<[AtomicU64; ENTRIES]>;

/// Where memory starts: 1 GiB.
const FIRST: u64 = 0x40000;

/// Translation tables, and nothing else.
pub(crate) struct Bare {
    /// Made when a frame becomes one.
    tables: Vec<OnceLock<Table>>,
}

impl Bare {
    pub(crate) fn new(frames: usize) -> Self {
        Self {
            tables: (0..frames).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(crate) fn usable(&self) -> Range<Pfn> {
        Pfn(FIRST)..Pfn(FIRST + self.tables.len() as u64)
    }

    fn table(&self, table: &KernelFrame) -> &[AtomicU64; ENTRIES] {
        let new = || Box::new([const { AtomicU64::new(0) }; ENTRIES]);
        self.tables[(table.pfn().0 - FIRST) as usize].get_or_init(new)
    }
}

impl Machine for Bare {
    fn copy_page(&self, _to: &UserFrame, _from: &UserFrame) -> Result<(), Poisoned> {
        Ok(())
    }

    fn read(&self, _from: &UserFrame, _offset: usize, _into: &mut [u8]) -> Result<(), Poisoned> {
        Ok(())
    }

    fn write(&self, _to: &UserFrame, _offset: usize, _bytes: &[u8]) {}

    fn zero(&self, _frame: &UserFrame) {}

    fn compare(&self, _left: &UserFrame, _right: &UserFrame) -> Result<bool, Poisoned> {
        Ok(false)
    }

    fn is_zero(&self, _frame: &UserFrame) -> Result<bool, Poisoned> {
        Ok(false)
    }

    fn checksum(&self, frame: &UserFrame) -> Result<u64, Poisoned> {
        Ok(frame.pfn().0)
    }

    fn zero_table(&self, table: &KernelFrame) {
        for entry in self.table(table) {
            entry.store(0, Ordering::Relaxed);
        }
    }

    fn load_entry(&self, table: &KernelFrame, index: usize) -> u64 {
        self.table(table)[index].load(Ordering::Acquire)
    }

    fn store_entry(&self, table: &KernelFrame, index: usize, descriptor: u64) {
        self.table(table)[index].store(descriptor, Ordering::Release);
    }

    fn invalidate(&self, _space: SpaceId, _pages: PageRange) {}

    fn store_read(&self, _file: &File, _index: u32, _into: &UserFrame) -> Result<(), Errno> {
        Ok(())
    }

    fn store_write(&self, _file: &File, _index: u32, _from: &UserFrame) -> Result<(), StoreError> {
        Ok(())
    }

    fn store_truncate(&self, _file: &File, _size: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn notify(&self, _victim: Victim) {}
}
