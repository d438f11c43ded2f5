//! Small pages become huge ones: a scanner (khugepaged) that looks for them, and
//! `MADV_COLLAPSE`.
//!
//! A huge page takes the place of small ones that nobody can store to meanwhile. If one of them
//! cannot be read, they stay as they were, and that one is isolated afterwards.

mod anonymous;
mod file;

use alloc::sync::Arc;

use crate::memory::{Inner, Space};
use crate::migrate::Stays;
use crate::rmap::Mapper;
use crate::table::pages_end;
use crate::{
    AddressSpace, Entry, Errno, File, HugeAdvice, Machine, Memory, PageRange, SpaceId, VirtualPage,
};

/// The scanner and its settings.
#[derive(Debug)]
pub(crate) struct Khugepaged {
    /// The next page to visit.
    cursor: Mapper,
    limits: Limits,
    statistics: KhugepagedStatistics,
}

const START: Mapper = Mapper::new(SpaceId(0), VirtualPage(0));

impl Khugepaged {
    /// With Linux's limits for huge pages of so many pieces.
    pub(crate) const fn new(pieces: u64) -> Self {
        Self {
            cursor: START,
            limits: Limits {
                empty: pieces - 1,
                shared: pieces / 2,
                swapped: pieces / 8,
            },
            statistics: KhugepagedStatistics {
                pages_collapsed: 0,
                full_scans: 0,
            },
        }
    }
}

/// What the scanner takes upon it for a huge page. `MADV_COLLAPSE` takes anything.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// How many pages may be missing (`max_ptes_none`).
    empty: u64,
    /// How many pages may be shared with others (`max_ptes_shared`).
    shared: u64,
    /// How many pages may have to come from swap (`max_ptes_swap`).
    swapped: u64,
}

impl Limits {
    const NONE: Self = Self {
        empty: u64::MAX,
        shared: u64::MAX,
        swapped: u64::MAX,
    };
}

/// What was achieved, under the names of the files in
/// `/sys/kernel/mm/transparent_hugepage/khugepaged`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KhugepagedStatistics {
    /// Huge pages made, by the scanner and on demand.
    pub pages_collapsed: u64,
    /// How often the scanner has visited everything.
    pub full_scans: u64,
}

/// What is to be collapsed.
enum Target {
    /// Nothing: it is huge, or not all of one area.
    None,
    Anonymous,
    /// The pages of a file from this one on. The target counts as a user of the file.
    File(Arc<File>, u32),
}

impl<M: Machine> Memory<M> {
    /// Sets how many pages of a huge page that the scanner makes may be missing
    /// (`max_ptes_none`) and how many shared with other processes (`max_ptes_shared`).
    ///
    /// # Errors
    ///
    /// `EINVAL`: more than all but one.
    pub fn set_khugepaged_limits(&self, empty: u64, shared: u64) -> Result<(), Errno> {
        if empty.max(shared) >= self.frames.pieces() {
            return Err(Errno::EINVAL);
        }
        let limits = &mut self.khugepaged.lock().limits;
        (limits.empty, limits.shared) = (empty, shared);
        Ok(())
    }

    /// What was achieved so far.
    pub fn khugepaged_statistics(&self) -> KhugepagedStatistics {
        self.khugepaged.lock().statistics
    }

    /// Visits up to `blocks` blocks of small pages, in areas that may have huge ones, and returns
    /// how many: fewer if that was the last of them.
    pub fn khugepaged_scan(&self, blocks: usize) -> usize {
        for visited in 0..blocks {
            let (cursor, limits) = {
                let scanner = self.khugepaged.lock();
                (scanner.cursor, scanner.limits)
            };
            let Some((space, block)) = self.next_block(cursor) else {
                let mut scanner = self.khugepaged.lock();
                scanner.cursor = START;
                scanner.statistics.full_scans += 1;
                return visited;
            };
            let last = VirtualPage(block.end().0 - 1);
            self.khugepaged.lock().cursor = Mapper::new(space.id, last).following();
            // What cannot be collapsed now is visited again.
            let _ = self.collapse(&space, block, limits);
        }
        blocks
    }

    /// The first block of small pages, not before a page of a space, that may become a huge page.
    fn next_block(&self, from: Mapper) -> Option<(Arc<Space>, PageRange)> {
        let (mut id, mut page) = (from.space(), from.page());
        loop {
            let (next, space) = {
                let spaces = self.spaces.lock();
                let (next, space) = spaces.ceiling(id)?;
                (next, Arc::clone(space))
            };
            if next > id {
                page = VirtualPage(0);
            }
            let found = self.next_block_of(&space.inner.lock(), page);
            if let Some(block) = found {
                return Some((space, block));
            }
            (id, page) = (SpaceId(next.0 + 1), VirtualPage(0));
        }
    }

    fn next_block_of(&self, inner: &Inner, mut page: VirtualPage) -> Option<PageRange> {
        loop {
            let area = inner.vmas.find_from(page)?;
            if self.huge_policy.allows(area.huge)
                && !area.is_pooled()
                && let Some(rest) = PageRange::new(page.max(area.pages.start()), area.pages.end())
                && let Some(block) = inner.table.next_table(&self.machine, rest)
            {
                return Some(block);
            }
            page = area.pages.end();
        }
    }

    /// Acts on `MADV_COLLAPSE`: makes huge pages of all blocks that lie within `pages` and one
    /// area, whatever the policy.
    pub(crate) fn advise_collapse(
        &self,
        space: &AddressSpace,
        pages: PageRange,
    ) -> Result<(), Errno> {
        let mut result = Ok(());
        let mut rest = Some(pages);
        while let Some(range) = rest {
            let block = PageRange::block(range.start(), M::INDEX_BITS);
            rest = PageRange::new(block.end(), pages.end());
            if block.end() > pages_end::<M>() || !pages.covers(block) {
                continue;
            }
            match self.collapse(&space.0, block, Limits::NONE) {
                Ok(()) => {}
                Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// What there is to collapse in a block.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the area may not have huge pages, or the block is lost.
    fn target(&self, inner: &Inner, block: PageRange) -> Result<Target, Errno> {
        let area = inner.vmas.find(block.start());
        let Some(area) = area.filter(|area| area.pages.covers(block)) else {
            return Ok(Target::None);
        };
        if area.huge == HugeAdvice::Against || area.is_pooled() {
            return Err(Errno::EINVAL);
        }
        match inner.table.lookup(&self.machine, block.start()) {
            (pages, Entry::Page(..)) if pages == block => return Ok(Target::None),
            (pages, _) if pages == block => return Err(Errno::EINVAL),
            _ => {}
        }
        match area.file_page(block.start()) {
            None => Ok(Target::Anonymous),
            Some((file, index)) if u64::from(index).is_multiple_of(self.frames.pieces()) => {
                file.add_user();
                Ok(Target::File(Arc::clone(file), index))
            }
            Some(_) => Err(Errno::EINVAL),
        }
    }

    /// Makes a huge page of the pages in a block. On an error they are as they were.
    fn collapse(&self, space: &Space, block: PageRange, limits: Limits) -> Result<(), Errno> {
        let order = M::INDEX_BITS as usize;
        self.bring_block_in(space, block, limits)?;
        match self.try_collapse(space, block, limits) {
            // There may be enough memory, but not in one piece.
            Err(Errno::ENOMEM) if !self.frames.has_free_block(order) => {
                self.compact(order)?;
                self.try_collapse(space, block, limits)
            }
            result => result,
        }
    }

    /// Brings the pages of a block into memory that are in swap.
    ///
    /// # Errors
    ///
    /// `EINVAL`: they are too many. `EIO`: one could not be read. `ENOMEM`.
    fn bring_block_in(&self, space: &Space, block: PageRange, limits: Limits) -> Result<(), Errno> {
        let swapped = self.swapped_pages(&space.inner.lock(), block);
        if swapped > limits.swapped {
            return Err(Errno::EINVAL);
        }
        self.bring_in(space, block, |_, _| Err(Errno::EIO))
    }

    fn try_collapse(&self, space: &Space, block: PageRange, limits: Limits) -> Result<(), Errno> {
        // No frame is found to be poisoned meanwhile, and none moves.
        let one = self.failures.lock();
        let inner = space.inner.lock();
        let collapsed = match self.target(&inner, block)? {
            Target::None => return Ok(()),
            Target::Anonymous => {
                let collapsed = self.collapse_anonymous(space.id, &inner, block, limits);
                drop((inner, one));
                collapsed
            }
            Target::File(file, index) => {
                drop((inner, one));
                let collapsed = self.collapse_file(&file, index, limits);
                self.close(file);
                collapsed
            }
        };
        match collapsed {
            Ok(()) => {
                self.khugepaged.lock().statistics.pages_collapsed += 1;
                Ok(())
            }
            Err(Stays::Error(error)) => Err(error),
            Err(Stays::Poisoned(poisoned)) => {
                self.isolate_consumed(poisoned.pfn);
                Err(Errno::EINVAL)
            }
        }
    }
}
