//! The simulated machine: RAM, translation tables, translation caches that forget nothing by
//! themselves, and a store.

use std::boxed::Box;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard};
use std::vec::Vec;

use super::hold::{Held, Hold};
use super::ram::{Page, Ram};
use super::schedule;
use crate::entry::decode_table;
use crate::{
    Access, Allocation, Entry, Errno, File, FileId, KernelFrame, Machine, PAGE_SIZE, PageRange,
    Pfn, Poisoned, Protection, SpaceId, StoreError, SwapSlot, UserFrame, Victim, VirtualPage,
};

/// Bytes that are lost together.
pub const LINE: usize = 64;
/// Where simulated RAM starts: 1 GiB.
pub const FIRST_FRAME: u64 = 0x40000;

/// No frame is to fail.
const NEVER: u32 = u32::MAX;

/// The line that fails of a frame that is being read.
const FAILING_LINE: usize = 9;

/// How many CPUs have a translation cache.
pub const CPUS: usize = 3;

const NOISE: [u8; PAGE_SIZE] = [0xee; PAGE_SIZE];

/// What the next countdown refuses.
#[derive(Debug, Default)]
struct Refusals {
    allocations_left: Option<u32>,
    io_left: Option<u32>,
}

/// What a CPU remembers of one translation.
#[derive(Clone, Copy, Debug)]
struct Translation {
    space: SpaceId,
    page: VirtualPage,
    pfn: Pfn,
    protection: Protection,
}

/// What a CPU remembers of the way to a last-level table.
#[derive(Clone, Copy, Debug)]
struct Walk {
    space: SpaceId,
    /// The pages that the table is for.
    pages: PageRange,
    table: Pfn,
}

/// A CPU's translation cache.
#[derive(Debug)]
struct Cache {
    translations: Vec<Translation>,
    walks: Vec<Walk>,
}

impl Cache {
    const fn new() -> Self {
        Self {
            translations: Vec::new(),
            walks: Vec::new(),
        }
    }
}

/// The machine, with translation tables of `2^INDEX_BITS` entries.
#[derive(Debug)]
pub struct SimMachine<const INDEX_BITS: u32 = 9> {
    ram: Ram,
    /// The descriptors of each frame, if it is a table: walks take no lock, as the hardware's.
    descriptors: Vec<AtomicU64>,
    /// Few enough that a search of all is quick.
    caches: [crate::lock::Mutex<Cache>; CPUS],
    store: Mutex<HashMap<(FileId, u32), Page>>,
    swap: Mutex<HashMap<SwapSlot, Page>>,
    refusals: Mutex<Refusals>,
    /// Something was refused since the last [`take_refused`](Self::take_refused).
    refused: AtomicBool,
    victims: Mutex<Vec<Victim>>,
    /// So many reads of the manager's are left before a frame fails while it is read.
    reads_left: AtomicU32,
    hold: Hold,
    last_filled: AtomicU64,
    allocations: AtomicU64,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a test has panicked")
}

impl<const INDEX_BITS: u32> SimMachine<INDEX_BITS> {
    /// A machine with so many frames of RAM.
    pub fn new(frames: u32) -> Self {
        let descriptors = (frames as usize) << INDEX_BITS;
        Self {
            ram: Ram::new(frames),
            descriptors: (0..descriptors).map(|_| AtomicU64::new(0)).collect(),
            caches: [const { crate::lock::Mutex::new(Cache::new()) }; CPUS],
            store: Mutex::default(),
            swap: Mutex::default(),
            refusals: Mutex::default(),
            refused: AtomicBool::new(false),
            victims: Mutex::default(),
            reads_left: AtomicU32::new(NEVER),
            hold: Hold::default(),
            last_filled: AtomicU64::new(FIRST_FRAME),
            allocations: AtomicU64::new(0),
        }
    }

    /// The frame that the manager filled last.
    pub fn last_filled(&self) -> Pfn {
        Pfn(self.last_filled.load(Ordering::Relaxed))
    }

    /// Replaces all of a frame, for the manager.
    fn fill(&self, frame: &UserFrame, page: &[u8; PAGE_SIZE]) {
        self.ram.store(frame.pfn(), 0, page);
        self.last_filled.store(frame.pfn().0, Ordering::Relaxed);
    }

    /// Poisons a line of a frame.
    pub fn poison(&self, pfn: Pfn, line: usize) {
        self.ram.poison(pfn, line);
    }

    /// The translation table that a walk for `page` from `root` reads so many `levels` above the
    /// last, and the offset in bytes of the descriptor there.
    pub fn table_of(&self, root: Pfn, page: VirtualPage, levels: u32) -> Option<(Pfn, usize)> {
        let mut table = root;
        for level in (levels + 1..=3).rev() {
            table = decode_table(self.load(table, page, level))?;
        }
        Some((table, index_at(page, levels, INDEX_BITS) * 8))
    }

    /// Has a frame fail just before the manager reads it, after so many more reads.
    pub fn fail_while_read(&self, after: u32) {
        self.reads_left.store(after, Ordering::Relaxed);
    }

    /// Whether that is still to come. It does not come any more.
    pub fn cancel_failure(&self) -> bool {
        self.reads_left.swap(NEVER, Ordering::Relaxed) != NEVER
    }

    /// Holds up the next CPU that gets to a place. It waits at the barrier twice: when it is there,
    /// and before it goes on.
    pub fn hold(&self, at: Held) -> Arc<Barrier> {
        self.hold.next(at)
    }

    /// The manager reads these frames now.
    fn reads(&self, frames: &[Pfn]) {
        schedule::point();
        let left = self.reads_left.load(Ordering::Relaxed);
        if left == NEVER {
            return;
        }
        match frames.get(left as usize) {
            Some(failing) => {
                self.reads_left.store(NEVER, Ordering::Relaxed);
                self.ram.poison(*failing, FAILING_LINE);
            }
            None => self
                .reads_left
                .store(left - frames.len() as u32, Ordering::Relaxed),
        }
    }

    /// A frame with a poisoned line.
    pub fn any_poisoned(&self, number: usize) -> Option<Pfn> {
        self.ram.any_poisoned(number)
    }

    /// The frames that were consumed since the last call.
    pub fn take_consumed(&self) -> Vec<Pfn> {
        self.ram.take_consumed()
    }

    /// Refuses the allocation after the next `after`.
    pub fn refuse_allocation(&self, after: u32) {
        locked(&self.refusals).allocations_left = Some(after);
    }

    /// Fails the store operation after the next `after`.
    pub fn refuse_io(&self, after: u32) {
        locked(&self.refusals).io_left = Some(after);
    }

    /// Refuses nothing that was not refused yet.
    pub fn relent(&self) {
        *locked(&self.refusals) = Refusals::default();
    }

    /// Whether something was refused since the last call.
    pub fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::Relaxed)
    }

    /// How many allocations were asked for so far.
    pub fn allocations(&self) -> u64 {
        self.allocations.load(Ordering::Relaxed)
    }

    /// Who was told since the last call.
    pub fn take_victims(&self) -> Vec<Victim> {
        std::mem::take(&mut locked(&self.victims))
    }

    /// What the store has of a page; zeros beyond its end.
    pub fn stored(&self, file: FileId, index: u32) -> [u8; PAGE_SIZE] {
        locked(&self.store)
            .get(&(file, index))
            .map_or([0; PAGE_SIZE], |page| **page)
    }

    /// Puts a page into the store.
    pub fn preset(&self, file: FileId, index: u32, page: [u8; PAGE_SIZE]) {
        locked(&self.store).insert((file, index), Box::new(page));
    }

    /// How many slots the swap store has pages in.
    pub fn swapped(&self) -> usize {
        locked(&self.swap).len()
    }

    /// Translates as the hardware does, from the cache or by a walk that fills it, and accesses
    /// the frame. An invalidation waits for the access, as a `DSB` does. `None` is a fault.
    pub fn translated<R>(
        &self,
        cpu: usize,
        space: SpaceId,
        root: Pfn,
        page: VirtualPage,
        access: Access,
        act: impl FnOnce(Pfn) -> R,
    ) -> Option<R> {
        let mut cache = self.caches[cpu].lock();
        let mut translations = cache.translations.iter();
        let known = translations.find(|known| known.space == space && known.page == page);
        let translation = match known {
            Some(known) => *known,
            None => {
                let (pfn, protection) = self.walk(&mut cache, space, root, page)?;
                let found = Translation {
                    space,
                    page,
                    pfn,
                    protection,
                };
                cache.translations.push(found);
                found
            }
        };
        translation
            .protection
            .allows(access)
            .then(|| act(translation.pfn))
    }

    fn walk(
        &self,
        cache: &mut Cache,
        space: SpaceId,
        root: Pfn,
        page: VirtualPage,
    ) -> Option<(Pfn, Protection)> {
        let mut walks = cache.walks.iter();
        let known = walks.find(|walk| walk.space == space && walk.pages.contains(page));
        let table = match known {
            Some(walk) => walk.table,
            None => {
                let table = match self.walk_to_last(root, page)? {
                    Last::Table(table) => table,
                    Last::Block(descriptor) => return translation(descriptor, page, INDEX_BITS),
                };
                let start = page.0 >> INDEX_BITS << INDEX_BITS;
                let end = VirtualPage(start + (1 << INDEX_BITS));
                cache.walks.push(Walk {
                    space,
                    pages: PageRange::new(VirtualPage(start), end)?,
                    table,
                });
                table
            }
        };
        translation(self.load(table, page, 0), page, 0)
    }

    fn walk_to_last(&self, root: Pfn, page: VirtualPage) -> Option<Last> {
        let mut table = root;
        for level in [3, 2, 1] {
            let descriptor = self.load(table, page, level);
            if level == 1 && descriptor & 0b11 == 0b01 {
                return Some(Last::Block(descriptor));
            }
            table = decode_table(descriptor)?;
        }
        Some(Last::Table(table))
    }

    /// The descriptor for a page in a table so many levels above the last.
    fn load(&self, table: Pfn, page: VirtualPage, level: u32) -> u64 {
        let slot = index_at(page, level, INDEX_BITS);
        self.descriptor(table, slot).load(Ordering::Acquire)
    }

    /// Whether a CPU may still use tables or translations of a space.
    pub fn remembers(&self, space: SpaceId) -> bool {
        self.caches.iter().any(|cache| {
            let cache = cache.lock();
            let mut translations = cache.translations.iter();
            translations.any(|known| known.space == space)
                || cache.walks.iter().any(|walk| walk.space == space)
        })
    }

    fn descriptor(&self, table: Pfn, slot: usize) -> &AtomicU64 {
        let table = (table.0 - FIRST_FRAME) as usize;
        &self.descriptors[(table << INDEX_BITS) + slot]
    }

    /// What a frame holds, poisoned or not: for the oracle, not for a CPU.
    pub(super) fn peek(&self, pfn: Pfn) -> [u8; PAGE_SIZE] {
        self.ram.peek(pfn)
    }

    /// A load by a CPU.
    ///
    /// # Errors
    ///
    /// A synchronous external abort.
    pub fn cpu_load(&self, pfn: Pfn, offset: usize, into: &mut [u8]) -> Result<(), Poisoned> {
        self.ram.load(pfn, offset, into)
    }

    /// A store by a CPU.
    pub fn cpu_store(&self, pfn: Pfn, offset: usize, bytes: &[u8]) {
        self.ram.store(pfn, offset, bytes);
    }

    fn io_fails(&self) -> bool {
        let fails = count_down(&mut locked(&self.refusals).io_left);
        self.refused.fetch_or(fails, Ordering::Relaxed);
        fails
    }
}

impl<const INDEX_BITS: u32> Default for SimMachine<INDEX_BITS> {
    fn default() -> Self {
        Self::new(0)
    }
}

/// The index of a page's descriptor in a table so many levels above the last.
fn index_at(page: VirtualPage, levels: u32, index_bits: u32) -> usize {
    (page.0 >> (levels * index_bits)) as usize & ((1 << index_bits) - 1)
}

/// Where a walk ends, but for the last table's entry.
enum Last {
    Table(Pfn),
    Block(u64),
}

/// What a descriptor says of a page, of `2^order` that it is for.
fn translation(descriptor: u64, page: VirtualPage, order: u32) -> Option<(Pfn, Protection)> {
    match Entry::decode(descriptor) {
        Entry::Page(pfn, protection) => {
            let piece = page.0 & ((1 << order) - 1);
            Some((Pfn(pfn.0 + piece), protection))
        }
        _ => None,
    }
}

fn count_down(left: &mut Option<u32>) -> bool {
    match left {
        None => false,
        Some(0) => {
            *left = None;
            true
        }
        Some(more) => {
            *more -= 1;
            false
        }
    }
}

impl<const INDEX_BITS: u32> Machine for SimMachine<INDEX_BITS> {
    const INDEX_BITS: u32 = INDEX_BITS;

    fn copy_page(&self, to: &UserFrame, from: &UserFrame) -> Result<(), Poisoned> {
        self.reads(&[from.pfn()]);
        self.hold.reached(Held::Copy);
        self.last_filled.store(to.pfn().0, Ordering::Relaxed);
        self.ram.copy(to.pfn(), from.pfn())
    }

    fn read(&self, from: &UserFrame, offset: usize, into: &mut [u8]) -> Result<(), Poisoned> {
        self.reads(&[from.pfn()]);
        self.ram.load(from.pfn(), offset, into)
    }

    fn write(&self, to: &UserFrame, offset: usize, bytes: &[u8]) {
        schedule::point();
        self.ram.store(to.pfn(), offset, bytes);
    }

    fn zero(&self, frame: &UserFrame) {
        schedule::point();
        self.fill(frame, &[0; PAGE_SIZE]);
    }

    fn compare(&self, left: &UserFrame, right: &UserFrame) -> Result<bool, Poisoned> {
        self.reads(&[left.pfn(), right.pfn()]);
        self.ram.compare(left.pfn(), right.pfn())
    }

    fn is_zero(&self, frame: &UserFrame) -> Result<bool, Poisoned> {
        self.reads(&[frame.pfn()]);
        self.ram.look(frame.pfn(), |page| *page == [0; PAGE_SIZE])
    }

    fn checksum(&self, frame: &UserFrame) -> Result<u64, Poisoned> {
        self.reads(&[frame.pfn()]);
        let word = |sum: u64, word: &[u8; 8]| {
            (sum ^ u64::from_le_bytes(*word)).wrapping_mul(0x100_0000_01b3)
        };
        // So few values that different pages often have the same: nobody gets away with taking
        // that for equal contents.
        self.ram.look(frame.pfn(), |page| {
            page.as_chunks().0.iter().fold(0, word) >> 60
        })
    }

    fn zero_table(&self, table: &KernelFrame) {
        schedule::point();
        self.ram.heal(table.pfn());
        for slot in 0..1 << INDEX_BITS {
            self.store_entry(table, slot, 0);
        }
    }

    fn load_entry(&self, table: &KernelFrame, index: usize) -> u64 {
        schedule::point();
        self.descriptor(table.pfn(), index).load(Ordering::Acquire)
    }

    fn store_entry(&self, table: &KernelFrame, index: usize, descriptor: u64) {
        schedule::point();
        self.descriptor(table.pfn(), index)
            .store(descriptor, Ordering::Release);
    }

    fn invalidate(&self, space: SpaceId, pages: PageRange) {
        schedule::point();
        for cache in &self.caches {
            let mut cache = cache.lock();
            let translations = &mut cache.translations;
            translations.retain(|known| known.space != space || !pages.contains(known.page));
            let walks = &mut cache.walks;
            walks.retain(|walk| walk.space != space || pages.intersect(walk.pages).is_none());
        }
    }

    fn store_read(&self, file: &File, index: u32, into: &UserFrame) -> Result<(), Errno> {
        schedule::point();
        if self.io_fails() {
            return Err(Errno::EIO);
        }
        let page = self.stored(file.id(), index);
        self.fill(into, &page);
        self.hold.reached(Held::StoreRead);
        Ok(())
    }

    fn store_write(&self, file: &File, index: u32, from: &UserFrame) -> Result<(), StoreError> {
        schedule::point();
        if self.io_fails() {
            return Err(StoreError::Io);
        }
        let page = self
            .ram
            .look(from.pfn(), |page| *page)
            .map_err(StoreError::Poisoned)?;
        self.hold.reached(Held::StoreWrite);
        self.preset(file.id(), index, page);
        Ok(())
    }

    fn store_truncate(&self, file: &File, size: u64) -> Result<(), Errno> {
        if self.io_fails() {
            return Err(Errno::EIO);
        }
        let (page, offset) = (size / PAGE_SIZE as u64, size as usize % PAGE_SIZE);
        locked(&self.store).retain(|(of, index), contents| {
            if *of == file.id() && u64::from(*index) == page {
                contents[offset..].fill(0);
            }
            *of != file.id() || u64::from(*index) <= page
        });
        Ok(())
    }

    fn swap_read(&self, slot: SwapSlot, into: &UserFrame) -> Result<(), Errno> {
        schedule::point();
        if self.io_fails() {
            return Err(Errno::EIO);
        }
        // What was never written, or was freed, is noise.
        let page = locked(&self.swap).get(&slot).cloned();
        self.fill(into, &page.unwrap_or_else(|| Box::new(NOISE)));
        Ok(())
    }

    fn swap_write(&self, slot: SwapSlot, from: &UserFrame) -> Result<(), StoreError> {
        schedule::point();
        let written = if self.io_fails() {
            Err(StoreError::Io)
        } else {
            let page = self.ram.look(from.pfn(), |page| *page);
            page.map_err(StoreError::Poisoned)
        };
        // A failing write may have written anything.
        let page = Box::new(written.unwrap_or(NOISE));
        locked(&self.swap).insert(slot, page);
        written.map(|_| ())
    }

    fn swap_free(&self, slot: SwapSlot) {
        locked(&self.swap).remove(&slot);
    }

    fn notify(&self, victim: Victim) {
        schedule::point();
        locked(&self.victims).push(victim);
    }

    fn admit(&self, _what: Allocation) -> bool {
        schedule::point();
        self.hold.reached(Held::Allocation);
        self.allocations.fetch_add(1, Ordering::Relaxed);
        let refused = count_down(&mut locked(&self.refusals).allocations_left);
        self.refused.fetch_or(refused, Ordering::Relaxed);
        !refused
    }
}
