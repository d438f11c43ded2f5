//! Collapsing pages of a file: nobody can map them while they move, and with the cache locked
//! nobody reads or writes them. They are unmapped, copied into a huge page, and its pieces take
//! their slots; processes find it when they touch it.
//!
//! A huge page of a file on a store is clean: whoever stores to it splits it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Limits;
use crate::migrate::Stays;
use crate::{Errno, File, FileKind, FrameState, Machine, Memory, Pfn, UserFrame};

impl<M: Machine> Memory<M> {
    /// Makes a huge page of the pages of a file from `index` on. No lock is held.
    pub(super) fn collapse_file(
        &self,
        file: &Arc<File>,
        index: u32,
        limits: Limits,
    ) -> Result<(), Stays> {
        self.fill_slots(file, index, limits).map_err(Stays::Error)?;
        // No frame is found to be poisoned meanwhile, and none moves.
        let _one = self.failures.lock();
        let state = FrameState::File {
            file: file.id(),
            index,
        };
        let fresh = self
            .frames
            .allocate_huge(&self.machine, state)
            .map_err(Stays::Error)?;
        let collapsed = match self.hold_pages(file, index) {
            Ok(pages) => {
                let collapsed = self.replace_pages(file, index, &pages, &fresh);
                self.let_go(pages);
                collapsed
            }
            Err(error) => Err(Stays::Error(error)),
        };
        self.frames.lock(&fresh).migrating = false;
        self.frames.put(fresh);
        collapsed
    }

    /// Brings in what is missing of the pages.
    fn fill_slots(&self, file: &Arc<File>, index: u32, limits: Limits) -> Result<(), Errno> {
        let pages = index..index + self.frames.pieces() as u32;
        let missing = file.missing(pages.clone()).ok_or(Errno::EINVAL)?;
        if missing > limits.empty {
            return Err(Errno::EINVAL);
        }
        for index in pages {
            let page = self.cached_or_fetch(file, index)?;
            self.frames.put(page);
        }
        Ok(())
    }

    /// Holds the pages, and keeps them from gaining mappings.
    fn hold_pages(&self, file: &Arc<File>, index: u32) -> Result<Vec<UserFrame>, Errno> {
        let mut pages = Vec::new();
        self.permit().redeem()?;
        pages
            .try_reserve_exact(self.frames.pieces() as usize)
            .map_err(|_| Errno::ENOMEM)?;
        for piece in 0..self.frames.pieces() as u32 {
            let Ok(page) = self.cached(file, index + piece) else {
                self.let_go(pages);
                return Err(Errno::EAGAIN);
            };
            let mut frame = self.frames.lock(&page);
            // A pinned page stays mapped.
            let pinned = frame.pins > 0;
            let stays = frame.huge || frame.has_failed() || frame.migrating || pinned;
            frame.migrating |= !stays;
            drop(frame);
            if stays {
                self.frames.put(page);
                self.let_go(pages);
                return Err(Errno::EAGAIN);
            }
            pages.push(page);
        }
        Ok(pages)
    }

    fn let_go(&self, pages: Vec<UserFrame>) {
        for page in pages {
            self.frames.lock(&page).migrating = false;
            self.frames.put(page);
        }
    }

    /// Unmaps the pages, and puts copies of them in their slots.
    fn replace_pages(
        &self,
        file: &File,
        index: u32,
        pages: &[UserFrame],
        fresh: &UserFrame,
    ) -> Result<(), Stays> {
        pages.iter().for_each(|page| self.unmap_clean(page));
        let mut slots = file
            .slots(index, pages)
            .ok_or(Stays::Error(Errno::EAGAIN))?;
        for page in pages {
            let frame = self.frames.lock(page);
            let unsaved = file.kind() == FileKind::Stored && frame.dirty;
            // The cache's reference, and ours.
            if unsaved || frame.writeback || frame.references != 2 {
                return Err(Stays::Error(Errno::EAGAIN));
            }
        }
        for (piece, page) in (0..).zip(pages) {
            fresh
                .with_piece(piece, |to| self.machine.copy_page(to, page))
                .map_err(Stays::Poisoned)?;
        }
        self.frames.lock(fresh).dirty = file.kind() == FileKind::Memory;
        for piece in 0..pages.len() as u32 {
            let copy = self.frames.get(Pfn(fresh.pfn().0 + u64::from(piece)));
            let old = slots.replace(piece, copy);
            self.frames.put(old);
        }
        Ok(())
    }
}
