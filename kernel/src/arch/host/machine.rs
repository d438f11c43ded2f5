//! The simulated machine of `mm`, with the kernel's stores behind its files.

use std::ops::Deref;

use mm::sim::{FIRST_FRAME, SimMachine};
use mm::{
    Allocation, Errno, File, KernelFrame, Memory, PageRange, Pfn, Poisoned, SpaceId, StoreError,
    UserFrame, Victim,
};

use crate::memory::store;

/// Simulated RAM that can be poisoned.
#[derive(Debug)]
pub struct Machine(SimMachine);

impl Machine {
    /// A memory manager of so many simulated frames.
    pub fn manager(frames: u32) -> Memory<Self> {
        let usable = Pfn(FIRST_FRAME)..Pfn(FIRST_FRAME + u64::from(frames));
        Memory::new(Self(SimMachine::new(frames)), &[usable]).expect("there are frames")
    }
}

impl Deref for Machine {
    type Target = SimMachine;

    fn deref(&self) -> &SimMachine {
        &self.0
    }
}

impl mm::Machine for Machine {
    fn copy_page(&self, to: &UserFrame, from: &UserFrame) -> Result<(), Poisoned> {
        self.0.copy_page(to, from)
    }

    fn read(&self, from: &UserFrame, offset: usize, into: &mut [u8]) -> Result<(), Poisoned> {
        self.0.read(from, offset, into)
    }

    fn write(&self, to: &UserFrame, offset: usize, bytes: &[u8]) {
        self.0.write(to, offset, bytes);
    }

    fn zero(&self, frame: &UserFrame) {
        self.0.zero(frame);
    }

    fn compare(&self, left: &UserFrame, right: &UserFrame) -> Result<bool, Poisoned> {
        self.0.compare(left, right)
    }

    fn is_zero(&self, frame: &UserFrame) -> Result<bool, Poisoned> {
        self.0.is_zero(frame)
    }

    fn checksum(&self, frame: &UserFrame) -> Result<u64, Poisoned> {
        self.0.checksum(frame)
    }

    fn zero_table(&self, table: &KernelFrame) {
        self.0.zero_table(table);
    }

    fn load_entry(&self, table: &KernelFrame, index: usize) -> u64 {
        self.0.load_entry(table, index)
    }

    fn store_entry(&self, table: &KernelFrame, index: usize, descriptor: u64) {
        self.0.store_entry(table, index, descriptor);
    }

    fn invalidate(&self, space: SpaceId, pages: PageRange) {
        self.0.invalidate(space, pages);
    }

    fn store_read(&self, file: &File, index: u32, into: &UserFrame) -> Result<(), Errno> {
        store::read(file, index, into)
    }

    fn store_write(&self, file: &File, index: u32, from: &UserFrame) -> Result<(), StoreError> {
        store::write(file, index, from)
    }

    fn store_truncate(&self, file: &File, size: u64) -> Result<(), Errno> {
        store::truncate(file, size)
    }

    fn notify(&self, victim: Victim) {
        self.0.notify(victim);
    }

    fn admit(&self, what: Allocation) -> bool {
        self.0.admit(what)
    }
}
