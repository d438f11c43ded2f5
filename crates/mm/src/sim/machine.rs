//! Simulated RAM with poison, translation caches that forget nothing by themselves, and a store.

use std::boxed::Box;
use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::vec::Vec;

use crate::{
    Access, Allocation, Entry, Errno, File, FileId, KernelFrame, Machine, PAGE_SIZE, PageRange,
    Pfn, Poisoned, Protection, SpaceId, StoreError, UserFrame, Victim, VirtualPage,
};

/// Bytes that are lost together.
pub const LINE: usize = 64;
/// Where simulated RAM starts: 1 GiB.
pub const FIRST_FRAME: u64 = 0x40000;
/// How many CPUs have a translation cache.
pub const CPUS: usize = 3;

type Page = Box<[u8; PAGE_SIZE]>;

/// What the next countdown refuses.
#[derive(Debug, Default)]
struct Refusals {
    allocations_left: Option<u32>,
    io_left: Option<u32>,
}

#[derive(Debug, Default)]
struct Ram {
    /// From frame zero of the simulation, [`FIRST_FRAME`].
    pages: Vec<Option<Page>>,
    poison: BTreeSet<(Pfn, usize)>,
    /// Frames of which a poisoned line was loaded, by anyone.
    consumed: BTreeSet<Pfn>,
}

impl Ram {
    /// What never was written: noise, so that nobody gets away with using it.
    fn page(&mut self, pfn: Pfn) -> &mut Page {
        let index = (pfn.0 - FIRST_FRAME) as usize;
        if index >= self.pages.len() {
            self.pages.resize_with(index + 1, || None);
        }
        self.pages[index].get_or_insert_with(|| Box::new([0xa5 ^ pfn.0 as u8; PAGE_SIZE]))
    }

    fn load(&mut self, pfn: Pfn, offset: usize, into: &mut [u8]) -> Result<(), Poisoned> {
        let end = offset + into.len();
        let lost = self
            .poison
            .range((pfn, offset / LINE)..(pfn, end.div_ceil(LINE)))
            .next()
            .map(|(_, line)| (line * LINE).saturating_sub(offset));
        let readable = lost.unwrap_or(into.len());
        into[..readable].copy_from_slice(&self.page(pfn)[offset..offset + readable]);
        match lost {
            None => Ok(()),
            Some(done) => {
                self.consumed.insert(pfn);
                Err(Poisoned { pfn, done })
            }
        }
    }

    /// A line that is written as a whole heals.
    fn store(&mut self, pfn: Pfn, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.page(pfn)[offset..end].copy_from_slice(bytes);
        for line in offset.div_ceil(LINE)..end / LINE {
            self.poison.remove(&(pfn, line));
        }
    }
}

type Cache = HashMap<(SpaceId, VirtualPage), (Pfn, Protection)>;

/// The machine, with translation tables of `2^INDEX_BITS` entries.
#[derive(Debug, Default)]
pub struct SimMachine<const INDEX_BITS: u32 = 9> {
    ram: Mutex<Ram>,
    caches: Mutex<[Cache; CPUS]>,
    store: Mutex<HashMap<(FileId, u32), Page>>,
    refusals: Mutex<Refusals>,
    /// Something was refused since the last [`take_refused`](Self::take_refused).
    refused: AtomicBool,
    victims: Mutex<Vec<Victim>>,
    allocations: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("a test has panicked")
}

impl<const INDEX_BITS: u32> SimMachine<INDEX_BITS> {
    /// Poisons a line of a frame.
    pub fn poison(&self, pfn: Pfn, line: usize) {
        locked(&self.ram)
            .poison
            .insert((pfn, line % (PAGE_SIZE / LINE)));
    }

    /// A frame with a poisoned line.
    pub fn any_poisoned(&self, number: usize) -> Option<Pfn> {
        let ram = locked(&self.ram);
        ram.poison
            .iter()
            .nth(number % ram.poison.len().max(1))
            .map(|(pfn, _)| *pfn)
    }

    /// The frames that were consumed since the last call.
    pub fn take_consumed(&self) -> BTreeSet<Pfn> {
        std::mem::take(&mut locked(&self.ram).consumed)
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
        let mut caches = locked(&self.caches);
        let cached = caches[cpu].get(&(space, page)).copied();
        let (pfn, protection) = match cached {
            Some(found) => found,
            None => {
                let found = self.walk(root, page)?;
                caches[cpu].insert((space, page), found);
                found
            }
        };
        protection.allows(access).then(|| act(pfn))
    }

    fn walk(&self, root: Pfn, page: VirtualPage) -> Option<(Pfn, Protection)> {
        let mut table = root;
        let mut ram = locked(&self.ram);
        for shift in [3, 2, 1, 0].map(|level| level * INDEX_BITS) {
            let slot = (page.0 >> shift & ((1 << INDEX_BITS) - 1)) as usize * 8;
            let bytes = ram.page(table)[slot..slot + 8].try_into().ok()?;
            let descriptor = u64::from_le_bytes(bytes);
            if descriptor & 0b11 != 0b11 {
                return None;
            }
            if shift == 0 {
                match Entry::decode(descriptor) {
                    Entry::Page(pfn, protection) => return Some((pfn, protection)),
                    _ => return None,
                }
            }
            table = Pfn((descriptor & 0x0000_ffff_ffff_f000) >> 12);
        }
        None
    }

    /// A load by a CPU.
    ///
    /// # Errors
    ///
    /// A synchronous external abort.
    pub fn cpu_load(&self, pfn: Pfn, offset: usize, into: &mut [u8]) -> Result<(), Poisoned> {
        locked(&self.ram).load(pfn, offset, into)
    }

    /// A store by a CPU.
    pub fn cpu_store(&self, pfn: Pfn, offset: usize, bytes: &[u8]) {
        locked(&self.ram).store(pfn, offset, bytes);
    }

    fn load_page(&self, frame: &UserFrame) -> Result<[u8; PAGE_SIZE], Poisoned> {
        let mut page = [0; PAGE_SIZE];
        locked(&self.ram).load(frame.pfn(), 0, &mut page)?;
        Ok(page)
    }

    fn io_fails(&self) -> bool {
        let fails = count_down(&mut locked(&self.refusals).io_left);
        self.refused.fetch_or(fails, Ordering::Relaxed);
        fails
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
        let mut page = [0; PAGE_SIZE];
        let mut ram = locked(&self.ram);
        let result = ram.load(from.pfn(), 0, &mut page);
        let copied = result.map_or_else(|poisoned| poisoned.done, |()| PAGE_SIZE);
        ram.store(to.pfn(), 0, &page[..copied]);
        result
    }

    fn read(&self, from: &UserFrame, offset: usize, into: &mut [u8]) -> Result<(), Poisoned> {
        locked(&self.ram).load(from.pfn(), offset, into)
    }

    fn write(&self, to: &UserFrame, offset: usize, bytes: &[u8]) {
        locked(&self.ram).store(to.pfn(), offset, bytes);
    }

    fn zero(&self, frame: &UserFrame) {
        locked(&self.ram).store(frame.pfn(), 0, &[0; PAGE_SIZE]);
    }

    fn compare(&self, left: &UserFrame, right: &UserFrame) -> Result<bool, Poisoned> {
        Ok(self.load_page(left)? == self.load_page(right)?)
    }

    fn is_zero(&self, frame: &UserFrame) -> Result<bool, Poisoned> {
        Ok(self.load_page(frame)? == [0; PAGE_SIZE])
    }

    fn checksum(&self, frame: &UserFrame) -> Result<u64, Poisoned> {
        let page = self.load_page(frame)?;
        Ok(page.iter().fold(0, |sum: u64, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        }))
    }

    fn zero_table(&self, table: &KernelFrame) {
        locked(&self.ram).store(table.pfn(), 0, &[0; PAGE_SIZE]);
    }

    fn load_entry(&self, table: &KernelFrame, index: usize) -> u64 {
        let mut ram = locked(&self.ram);
        let bytes = &ram.page(table.pfn())[index * 8..index * 8 + 8];
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }

    fn store_entry(&self, table: &KernelFrame, index: usize, descriptor: u64) {
        locked(&self.ram).store(table.pfn(), index * 8, &descriptor.to_le_bytes());
    }

    fn invalidate(&self, space: SpaceId, pages: PageRange) {
        for cache in locked(&self.caches).iter_mut() {
            cache.retain(|(owner, page), _| *owner != space || !pages.contains(*page));
        }
    }

    fn store_read(&self, file: &File, index: u32, into: &UserFrame) -> Result<(), Errno> {
        if self.io_fails() {
            return Err(Errno::EIO);
        }
        let page = self.stored(file.id(), index);
        locked(&self.ram).store(into.pfn(), 0, &page);
        Ok(())
    }

    fn store_write(&self, file: &File, index: u32, from: &UserFrame) -> Result<(), StoreError> {
        if self.io_fails() {
            return Err(StoreError::Io);
        }
        let page = self.load_page(from).map_err(StoreError::Poisoned)?;
        self.preset(file.id(), index, page);
        Ok(())
    }

    fn notify(&self, victim: Victim) {
        locked(&self.victims).push(victim);
    }

    fn admit(&self, _what: Allocation) -> bool {
        self.allocations.fetch_add(1, Ordering::Relaxed);
        let refused = count_down(&mut locked(&self.refusals).allocations_left);
        self.refused.fetch_or(refused, Ordering::Relaxed);
        !refused
    }
}
