//! The size of a file, and what becomes of the pages beyond it.
//!
//! What a page holds beyond the end of its file is nobody's: a process can store there by a
//! mapping, but it must read as zeros once the file grows over it. So it is filled with zeros
//! whenever the size changes and before the page goes to its store.

use alloc::sync::Arc;

use super::{File, FileKind, Slot};
use crate::machine::Permit;
use crate::memory::Inner;
use crate::{
    Errno, Machine, Memory, PAGE_SIZE, PageRange, SpaceId, UserFrame, VirtualAddress, VirtualPage,
};

const ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

impl File {
    /// Remembers that a space, which is locked, is about to map the file.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add_space(&self, permit: Permit, space: SpaceId) -> Result<(), Errno> {
        let mut spaces = self.spaces.lock();
        match spaces.get(space) {
            Some(()) => Ok(()),
            None => spaces.insert(permit, space, ()),
        }
    }
}

impl<M: Machine> Memory<M> {
    /// Sets the size of a file. Pages beyond it are gone, in processes too, even the private
    /// copies: an access gets `SIGBUS` with `BUS_ADRERR`. The caller keeps writers, syncs and
    /// truncations of one file apart.
    ///
    /// # Errors
    ///
    /// `EFBIG` if the pages have no number; `EINVAL` if the file has huge pages of the pool, and
    /// the size is not a multiple of theirs; `EIO` if the store failed. Nothing changed.
    pub fn truncate(&self, file: &Arc<File>, size: u64) -> Result<(), Errno> {
        u32::try_from(size.div_ceil(PAGE_SIZE as u64)).map_err(|_| Errno::EFBIG)?;
        self.check_size_of(file.kind, size)?;
        if size < file.size() && file.kind == FileKind::Stored {
            self.machine.store_truncate(file, size)?;
        }
        self.set_size(file, size);
        Ok(())
    }

    /// Sets the size, and takes the pages beyond it away from everyone.
    pub(super) fn set_size(&self, file: &Arc<File>, size: u64) {
        let shrinks = size < file.size();
        self.resize_cache(file, size);
        if shrinks {
            // A fault that found a page before the size changed is over when its space is
            // visited.
            self.unmap_file(file, size.div_ceil(PAGE_SIZE as u64));
        }
    }

    fn resize_cache(&self, file: &File, size: u64) {
        let mut cache = file.cache.lock();
        let end = VirtualAddress(size.min(cache.size));
        cache.size = size;
        let first_beyond = u32::try_from(cache.pages()).unwrap_or(u32::MAX);
        while let Some((index, _)) = cache.slots.ceiling(first_beyond) {
            self.drop_slot(cache.slots.remove(index));
        }
        if !end.is_aligned()
            && let Some(Slot::Filled(frame)) = cache.slots.get(end.page().0 as u32)
        {
            let offset = end.offset();
            self.machine.write(frame, offset, &ZEROS[offset..]);
        }
    }

    /// Fills what a page of the cache holds beyond the end of its file.
    pub(super) fn zero_beyond_end(&self, file: &File, index: u32, page: &UserFrame) {
        let end = VirtualAddress(file.size());
        if !end.is_aligned() && end.page().0 == u64::from(index) {
            let offset = end.offset();
            self.machine.write(page, offset, &ZEROS[offset..]);
        }
    }

    /// Empties every process's entries for the pages of a file from `first` on.
    fn unmap_file(&self, file: &Arc<File>, first: u64) {
        let mut from = SpaceId(0);
        loop {
            let Some(id) = file.spaces.lock().ceiling(from).map(|(id, ())| id) else {
                return;
            };
            from = SpaceId(id.number() + 1);
            let Some(space) = self.find_space(id) else {
                file.spaces.lock().remove(id);
                continue;
            };
            let inner = space.inner.lock();
            if !self.unmap_file_in(id, &inner, file, first) {
                file.spaces.lock().remove(id);
            }
        }
    }

    /// The same in one space. Returns whether it maps the file at all.
    fn unmap_file_in(&self, space: SpaceId, inner: &Inner, file: &Arc<File>, first: u64) -> bool {
        let mut maps = false;
        for vma in inner.vmas.iter() {
            let Some((of, index)) = vma.file_page(vma.pages.start()) else {
                continue;
            };
            if !Arc::ptr_eq(of, file) {
                continue;
            }
            maps = true;
            let skipped = first.saturating_sub(u64::from(index));
            let start = VirtualPage(vma.pages.start().0 + skipped);
            // What a huge page shows before the end comes back by a fault.
            let across = inner.table.block_across(&self.machine, start);
            let start = across.map_or(start, |(block, _)| block.start());
            if let Some(beyond) = PageRange::new(start, vma.pages.end()) {
                self.zap(space, inner, beyond);
            }
        }
        maps
    }
}
