//! Files and their page cache.
//!
//! A slot of the cache holds a frame, or a page that is on its way in, or the fact that the page
//! was *lost*: it was dirty when its memory failed, so that the store has an older version.
//! Nobody gets that older version in its place: reads and faults fail until the whole page is
//! written again.

mod blocks;
mod pages;
mod truncate;

pub use self::pages::{Halt, Halted};

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use crate::lock::{Mutex, MutexGuard};

use crate::fault::{Need, Stop};
use crate::map::OrderedMap;
use crate::memory::Inner;
use crate::users::Users;
use crate::{
    BusCode, Errno, FrameState, Machine, Memory, Outcome, PAGE_SIZE, Pfn, Sigbus, SpaceId,
    StoreError, UserFrame, VirtualAddress,
};

/// The name of a file. It is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(crate) u32);

impl FileId {
    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Where a file lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// On a store: a page that is clean can be read again.
    Stored,
    /// In memory only (tmpfs, shared anonymous memory): a page that fails is lost.
    Memory,
    /// In memory only, in huge pages of the pool (hugetlbfs, `MFD_HUGETLB`). It can be mapped and
    /// read, but not written with [`write_file`](Memory::write_file).
    Hugetlb,
}

/// A file with cached pages.
#[derive(Debug)]
pub struct File {
    id: FileId,
    kind: FileKind,
    /// Handles and areas. The last one takes the cache with it.
    users: Users,
    cache: Mutex<Cache>,
    /// The address spaces that have mapped it, and perhaps some that no longer do.
    spaces: Mutex<OrderedMap<SpaceId, ()>>,
}

#[derive(Debug)]
struct Cache {
    /// In bytes.
    size: u64,
    slots: OrderedMap<u32, Slot>,
    /// How many pages were asked of the store.
    fills: u64,
    /// An error to report at the next sync.
    error: Option<Errno>,
}

#[derive(Debug)]
enum Slot {
    /// On its way in. The number tells this attempt from one that a truncation ended.
    Filling(u64),
    Filled(UserFrame),
    Lost,
    /// Nothing yet, but a huge page of the pool is kept for this block.
    Reserved,
}

impl File {
    /// Its name.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Where it lives.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.cache.lock().size
    }

    /// Whether a page of it is in memory.
    pub(crate) fn is_cached(&self, index: u32) -> bool {
        matches!(self.cache.lock().slots.get(index), Some(Slot::Filled(_)))
    }

    pub(crate) fn add_user(&self) {
        self.users.add();
    }

    pub(crate) fn remove_user(&self) -> bool {
        self.users.remove()
    }

    /// The slots from `first` on, with the cache locked, if they hold exactly these frames.
    pub(crate) fn slots(&self, first: u32, frames: &[UserFrame]) -> Option<FilledSlots<'_>> {
        let cache = self.cache.lock();
        (first..)
            .zip(frames)
            .all(|(index, frame)| cache.holds(index, frame.pfn()))
            .then_some(FilledSlots { cache, first })
    }

    /// The slots from `first` on, with the cache locked, if they hold the pieces of a huge page.
    pub(crate) fn slots_of_block(
        &self,
        first: u32,
        head: Pfn,
        pieces: u64,
    ) -> Option<FilledSlots<'_>> {
        let cache = self.cache.lock();
        (first..)
            .zip(head.0..head.0 + pieces)
            .all(|(index, pfn)| cache.holds(index, Pfn(pfn)))
            .then_some(FilledSlots { cache, first })
    }

    /// Whether the slots from `first` on hold the pieces of a huge page.
    pub(crate) fn holds_block(&self, first: u32, head: Pfn, pieces: u64) -> bool {
        self.slots_of_block(first, head, pieces).is_some()
    }

    /// How many of these pages are not in the cache. `None` if the file does not have them all.
    pub(crate) fn missing(&self, pages: core::ops::Range<u32>) -> Option<u64> {
        let cache = self.cache.lock();
        if u64::from(pages.end) > cache.pages() {
            return None;
        }
        let here = |index| matches!(cache.slots.get(index), Some(Slot::Filled(_)));
        Some(pages.filter(|index| !here(*index)).count() as u64)
    }

    /// The frames in the cache, with their slots.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn frames(&self) -> Vec<(u32, Pfn)> {
        let cache = self.cache.lock();
        let filled = cache.slots.iter().filter_map(|(index, slot)| match slot {
            Slot::Filled(frame) => Some((index, frame.pfn())),
            Slot::Filling(_) | Slot::Lost | Slot::Reserved => None,
        });
        filled.collect()
    }

    /// How many slots hold a reservation.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn reserved_slots(&self) -> u64 {
        let cache = self.cache.lock();
        let reserved = |slot: &(u32, &Slot)| matches!(slot.1, Slot::Reserved);
        cache.slots.iter().filter(reserved).count() as u64
    }

    /// Takes a page out of the cache if, while nobody can find it there, `condition` holds.
    pub(crate) fn evict_if(
        &self,
        index: u32,
        pfn: Pfn,
        condition: impl FnOnce() -> bool,
    ) -> Option<UserFrame> {
        let mut cache = self.cache.lock();
        let slot = cache.slots.get(index)?;
        if !matches!(slot, Slot::Filled(frame) if frame.pfn() == pfn) || !condition() {
            return None;
        }
        match cache.slots.remove(index)? {
            Slot::Filled(frame) => Some(frame),
            Slot::Filling(_) | Slot::Lost | Slot::Reserved => None,
        }
    }

    /// Takes a failed page out of the cache, and remembers if that lost something.
    pub(crate) fn evict(&self, index: u32, pfn: Pfn, lost: bool) -> Option<UserFrame> {
        let mut cache = self.cache.lock();
        let slot = cache.slots.get_mut(index)?;
        if !matches!(slot, Slot::Filled(frame) if frame.pfn() == pfn) {
            return None;
        }
        let old = if lost {
            let old = core::mem::replace(slot, Slot::Lost);
            cache.error = Some(Errno::EIO);
            old
        } else {
            cache.slots.remove(index)?
        };
        match old {
            Slot::Filled(frame) => Some(frame),
            Slot::Filling(_) | Slot::Lost | Slot::Reserved => None,
        }
    }
}

/// Slots that hold frames, in a cache that is locked.
pub(crate) struct FilledSlots<'a> {
    cache: MutexGuard<'a, Cache>,
    first: u32,
}

impl FilledSlots<'_> {
    /// Puts `fresh` in the place of a frame, which is so many after the first.
    pub(crate) fn replace(&mut self, after: u32, fresh: UserFrame) -> UserFrame {
        match self.cache.slots.get_mut(self.first + after) {
            Some(Slot::Filled(frame)) => core::mem::replace(frame, fresh),
            _ => fresh,
        }
    }
}

impl Cache {
    fn holds(&self, index: u32, pfn: Pfn) -> bool {
        matches!(self.slots.get(index), Some(Slot::Filled(frame)) if frame.pfn() == pfn)
    }

    fn pages(&self) -> u64 {
        self.size.div_ceil(PAGE_SIZE as u64)
    }
}

/// One page's share of a range of bytes of a file.
struct Piece {
    index: u32,
    offset: usize,
    length: usize,
}

fn piece(position: u64, length: usize) -> Result<Piece, Errno> {
    let at = VirtualAddress(position);
    let index = u32::try_from(at.page().0).map_err(|_| Errno::EOVERFLOW)?;
    Ok(Piece {
        index,
        offset: at.offset(),
        length: length.min(PAGE_SIZE - at.offset()),
    })
}

impl<M: Machine> Memory<M> {
    /// A file of `size` bytes with an empty cache. The caller is its user, until it calls
    /// [`close`](Self::close).
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EOVERFLOW` if its pages have no number; `EINVAL` if it is to have huge pages of
    /// the pool, and its size is not a multiple of theirs.
    pub fn create_file(&self, kind: FileKind, size: u64) -> Result<Arc<File>, Errno> {
        self.check_size_of(kind, size)?;
        u32::try_from(size.div_ceil(PAGE_SIZE as u64)).map_err(|_| Errno::EOVERFLOW)?;
        let permit = self.permit();
        let id = FileId(self.next_file.fetch_add(1, Ordering::Relaxed));
        let cache = Cache {
            size,
            slots: OrderedMap::new(),
            fills: 0,
            error: None,
        };
        let file = Arc::new(File {
            id,
            kind,
            users: Users::one(),
            cache: Mutex::new(cache),
            spaces: Mutex::new(OrderedMap::new()),
        });
        self.files.lock().insert(permit, id, Arc::clone(&file))?;
        Ok(file)
    }

    /// Ends one use of a file. The last one drops its cache: dirty pages that were not written
    /// back with [`sync`](Self::sync) are gone.
    pub fn close(&self, file: Arc<File>) {
        if !file.remove_user() {
            return;
        }
        self.files.lock().remove(file.id);
        let mut cache = file.cache.lock();
        while let Some((index, _)) = cache.slots.ceiling(0) {
            self.drop_slot(cache.slots.remove(index));
        }
    }

    /// Whether a file may have a size.
    fn check_size_of(&self, kind: FileKind, size: u64) -> Result<(), Errno> {
        let whole = size.is_multiple_of(self.frames.pieces() << crate::PAGE_SHIFT);
        if kind == FileKind::Hugetlb && !whole {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    pub(crate) fn find_file(&self, id: FileId) -> Option<Arc<File>> {
        self.files.lock().get(id).cloned()
    }

    /// A reference to a cached page, for someone who uses it now, or what is in the way.
    pub(crate) fn cached(&self, file: &Arc<File>, index: u32) -> Result<UserFrame, Stop> {
        let bus = |code, lsb| {
            let address = VirtualAddress(0);
            Err(Stop::Outcome(Outcome::Sigbus(Sigbus {
                code,
                address,
                lsb,
            })))
        };
        let cache = file.cache.lock();
        if u64::from(index) >= cache.pages() {
            return bus(BusCode::NoPage, 0);
        }
        match cache.slots.get(index) {
            Some(Slot::Filled(frame)) => Ok(self.frames.get_to_use(frame.pfn())),
            Some(Slot::Filling(_)) => Err(Stop::Outcome(Outcome::Retry)),
            Some(Slot::Lost) => bus(BusCode::ActionRequired, crate::PAGE_SHIFT as u8),
            None | Some(Slot::Reserved) => Err(Stop::Need(Need::Fetch(Arc::clone(file), index))),
        }
    }

    /// Brings a page into the cache. No lock is held while the store is read.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EIO` if the store failed; `EBUSY` if another CPU is at it; `ENOSPC` if the pool
    /// has no huge page.
    pub(crate) fn fetch(&self, file: &Arc<File>, index: u32) -> Result<(), Errno> {
        if file.kind == FileKind::Hugetlb {
            return self.fetch_block(file, index);
        }
        let permit = self.permit();
        let fill = {
            let mut cache = file.cache.lock();
            let fill = cache.fills;
            match cache.slots.get(index) {
                None => cache.slots.insert(permit, index, Slot::Filling(fill))?,
                Some(Slot::Filling(_)) => return Err(Errno::EBUSY),
                Some(_) => return Ok(()),
            }
            cache.fills += 1;
            fill
        };
        let filled = self.filled_frame(file, index);
        let mut cache = file.cache.lock();
        let slot = cache.slots.get_mut(index);
        let slot = slot.filter(|slot| matches!(slot, Slot::Filling(of) if *of == fill));
        let error = match (filled, slot) {
            // An error of the frame that is found from here on finds it in its slot.
            (Ok(frame), Some(slot)) if !self.frames.lock(&frame).poisoned => {
                *slot = Slot::Filled(frame);
                return Ok(());
            }
            (Err(error), None) => return Err(error),
            (Ok(frame), None) => {
                // The page was truncated meanwhile, and what the store had is not in it.
                self.frames.put(frame);
                return Err(Errno::EBUSY);
            }
            (Ok(frame), Some(_)) => {
                self.frames.put(frame);
                Errno::EBUSY
            }
            (Err(error), Some(_)) => error,
        };
        cache.slots.remove(index);
        Err(error)
    }

    fn filled_frame(&self, file: &File, index: u32) -> Result<UserFrame, Errno> {
        let state = FrameState::File {
            file: file.id,
            index,
        };
        let frame = self.frames.allocate_user(&self.machine, state)?;
        match file.kind {
            FileKind::Memory | FileKind::Hugetlb => {
                self.machine.zero(&frame);
                self.frames.lock(&frame).dirty = true;
            }
            FileKind::Stored => {
                if let Err(error) = self.machine.store_read(file, index, &frame) {
                    self.frames.put(frame);
                    return Err(error);
                }
            }
        }
        Ok(frame)
    }

    /// As [`cached`](Self::cached), for someone who does not ask what is in the way.
    fn if_cached(&self, file: &File, index: u32) -> Option<UserFrame> {
        let cache = file.cache.lock();
        match cache.slots.get(index)? {
            Slot::Filled(frame) if u64::from(index) < cache.pages() => {
                Some(self.frames.get_to_use(frame.pfn()))
            }
            _ => None,
        }
    }

    /// As [`cached`](Self::cached) for the pages from `first` on, as many as are in the cache one
    /// after the other and fit.
    pub(crate) fn cached_run(&self, file: &File, first: u32, into: &mut [Option<UserFrame>]) {
        let cache = file.cache.lock();
        let here = u64::from(first)..cache.pages();
        let slots = cache.slots.iter_from(first);
        for ((index, place), (found, slot)) in here.zip(into).zip(slots) {
            match slot {
                Slot::Filled(frame) if u64::from(found) == index => {
                    *place = Some(self.frames.get_to_use(frame.pfn()));
                }
                _ => break,
            }
        }
    }

    pub(crate) fn cached_or_fetch(&self, file: &Arc<File>, index: u32) -> Result<UserFrame, Errno> {
        // Mostly it is there, and nothing is to be said of what is in the way.
        if let Some(frame) = self.if_cached(file, index) {
            return Ok(frame);
        }
        loop {
            match self.cached(file, index) {
                Ok(frame) => return Ok(frame),
                Err(Stop::Need(_)) => self.with_reclaim(|| self.fetch(file, index))?,
                Err(Stop::Outcome(Outcome::Retry)) => return Err(Errno::EBUSY),
                Err(Stop::Outcome(_)) => return Err(Errno::EIO),
            }
        }
    }

    /// Writes all dirty pages of a file to its store, and reports an error that happened since
    /// the last call. The caller keeps writers and syncs of one file apart.
    ///
    /// # Errors
    ///
    /// `EIO`: the store failed, and the page stays dirty; or a dirty page was lost.
    pub fn sync(&self, file: &Arc<File>) -> Result<(), Errno> {
        let mut from = 0;
        loop {
            let next = match file.cache.lock().slots.ceiling(from) {
                Some((index, Slot::Filled(frame))) => (index, Some(self.frames.get(frame.pfn()))),
                Some((index, _)) => (index, None),
                None => break,
            };
            let (index, frame) = next;
            if let Some(frame) = frame {
                if file.kind == FileKind::Stored {
                    self.write_back(file, index, &frame);
                }
                self.frames.put(frame);
            }
            let Some(after) = index.checked_add(1) else {
                break;
            };
            from = after;
        }
        match file.cache.lock().error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn write_back(&self, file: &Arc<File>, index: u32, page: &UserFrame) {
        {
            let mut frame = self.frames.lock(page);
            if !frame.dirty || frame.poisoned || frame.writeback {
                return;
            }
            // A store from here on dirties the page again. Until the store has it, a failure of
            // this memory loses it all the same: that is what `writeback` says.
            frame.dirty = false;
            frame.writeback = true;
        }
        self.write_protect(page);
        self.zero_beyond_end(file, index, page);
        let written = self.machine.store_write(file, index, page);
        {
            let mut frame = self.frames.lock(page);
            frame.writeback = false;
            // Whoever pins it may store to it at any time, without a fault that would tell.
            frame.dirty |= written.is_err() || frame.store_pins > 0;
        }
        match written {
            Ok(()) => {}
            Err(StoreError::Io) => file.cache.lock().error = Some(Errno::EIO),
            Err(StoreError::Poisoned(poisoned)) => self.isolate_consumed(poisoned.pfn),
        }
    }

    /// Makes the next store to a page fault, in every process.
    fn write_protect(&self, page: &UserFrame) {
        self.for_each_mapper(
            page,
            |_, inner: &mut Inner, mapper| {
                if let crate::Entry::Page(_, protection) =
                    inner.table.get(&self.machine, mapper.page())
                    && let Some(stale) =
                        inner
                            .table
                            .protect(&self.machine, mapper.page(), protection.read_only())
                {
                    stale.flush(&self.machine);
                }
            },
            |_, _| {},
        );
    }
}
