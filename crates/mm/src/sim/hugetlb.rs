//! Steps on the pool of huge pages. There is one block where a process can map one.

use std::format;

use super::World;
use super::model::{PageModel, Shows};
use super::world::{Checked, HUGE_SIZE, INDEX_BITS, WINDOW};
use crate::{
    Destination, Entry, Errno, HugeAdvice, Locking, OnFork, PAGE_SIZE, Pfn, Placement, Protection,
    Sharing, Source, VirtualPage,
};

const PIECES: u64 = 1 << INDEX_BITS;
const BLOCK: VirtualPage = VirtualPage((WINDOW / PIECES + 1) * PIECES);
/// Where a mapping goes on its way back to where it was.
const ELSEWHERE: VirtualPage = VirtualPage(BLOCK.0 - 2 * PIECES);

impl World {
    /// Sets the size of the pool and its limit.
    pub(super) fn pool(&mut self, c: u32, d: u32) -> Checked {
        self.memory.set_hugetlb_overcommit(u64::from(d % 4) / 2);
        let wanted = u64::from(c % 4);
        let got = self.memory.set_hugetlb_pages(wanted);
        self.refused |= self.memory.machine().take_refused();
        let statistics = self.memory.hugetlb_statistics();
        if got != statistics.total - statistics.surplus || got > wanted {
            return Err(format!(
                "the pool was set to {wanted}, {got}: {statistics:?}"
            ));
        }
        if got < wanted && !self.refused && self.can_compact(INDEX_BITS as usize) {
            return Err(format!("the pool has {got} pages instead of {wanted}"));
        }
        Ok(())
    }

    /// Maps memory of the pool.
    pub(super) fn map_pooled(&mut self, process: usize, c: u32, d: u32) -> Checked {
        let last = self.files.len() - 1;
        let (sharing, shows) = match d % 4 {
            0 => (Sharing::Shared, Shows::File(last, 0)),
            1 => (Sharing::Private, Shows::File(last, 0)),
            _ => (Sharing::Private, Shows::Anonymous),
        };
        let file = &self.files[last].file;
        let source = match shows {
            Shows::File(..) => Source::File(file, 0),
            Shows::Anonymous => Source::Hugetlb,
        };
        let page = match c & 15 {
            0 => BLOCK.next(),
            _ => BLOCK,
        };
        let replace = c & 64 == 0;
        let placement = match replace {
            true => Placement::Fixed(page.address()),
            false => Placement::FixedNoReplace(page.address()),
        };
        let protection = match d >> 4 & 7 {
            0 => Protection::READ,
            _ => Protection::READ_WRITE,
        };
        let owner = &self.processes[process];
        let mut pages = (BLOCK.0..BLOCK.0 + PIECES).map(VirtualPage);
        let taken = pages.any(|page| owner.pages.contains_key(&page));
        let before = self.memory.hugetlb_statistics();
        let needed = match sharing {
            Sharing::Shared => file.absent_blocks(0, 1, INDEX_BITS),
            Sharing::Private => 1,
        };
        let got = self.memory.mmap(
            &owner.space,
            placement,
            HUGE_SIZE,
            protection,
            sharing,
            source,
        );
        self.refused |= self.memory.machine().take_refused();
        let expected = match (page == BLOCK, taken && !replace) {
            (false, _) => Err(Errno::EINVAL),
            (_, true) => Err(Errno::EEXIST),
            _ => Ok(()),
        };
        // What is unmapped to make room is given back only after the reservation.
        let short = before.free.saturating_sub(before.reserved) < needed;
        if got == Err(Errno::ENOMEM) && expected.is_ok() && short {
            return Ok(());
        }
        if self.call(got.map(|_| ()), expected, "mmap of the pool")? {
            let model = PageModel {
                protection,
                sharing,
                shows,
                own: None,
                may_be_lost: false,
                told: false,
                freed: false,
                pin: None,
                huge: HugeAdvice::None,
                locking: Locking::Unlocked,
                mergeable: false,
                on_fork: OnFork::Inherit,
                pooled: true,
                owner: sharing == Sharing::Private,
                taken: false,
            };
            for piece in 0..PIECES {
                let mut model = model.clone();
                if let Shows::File(_, index) = &mut model.shows {
                    *index += piece as u32;
                }
                let page = VirtualPage(BLOCK.0 + piece);
                self.processes[process].pages.insert(page, model);
            }
        }
        Ok(())
    }

    /// Moves a whole mapping away and back.
    pub(super) fn remap_block(&mut self, process: usize) -> Checked {
        let to = |page: VirtualPage| Destination::Fixed(page.address());
        let there = to(ELSEWHERE);
        let moved = self.mremap(process, BLOCK, PIECES, PIECES, there, false)?;
        if moved.is_none() {
            return Ok(());
        }
        let back = self.mremap(process, ELSEWHERE, PIECES, PIECES, to(BLOCK), false)?;
        if back.is_none() {
            let space = &self.processes[process].space;
            let got = self.memory.munmap(space, ELSEWHERE.address(), HUGE_SIZE);
            if self.call(got, Ok(()), "munmap")? {
                self.take(process, ELSEWHERE, PIECES);
            }
        }
        Ok(())
    }

    pub(super) fn is_pooled(&self, process: usize, page: VirtualPage) -> bool {
        let model = self.processes[process].pages.get(&page);
        model.is_some_and(|model| model.pooled)
    }

    pub(super) fn is_huge(&self, pfn: Pfn) -> bool {
        self.memory.frames.lock_known(pfn).huge
    }

    /// Whether a range ends within a block that must not be split.
    pub(super) fn crosses_block(&self, process: usize, page: VirtualPage, pages: u64) -> bool {
        [page, VirtualPage(page.0 + pages)]
            .into_iter()
            .any(|page| !page.0.is_multiple_of(PIECES) && self.is_pooled(process, page))
    }

    pub(super) fn whole(&self, process: usize, page: VirtualPage, pages: u64) -> Result<(), Errno> {
        match self.crosses_block(process, page, pages) {
            true => Err(Errno::EINVAL),
            false => Ok(()),
        }
    }

    /// A range, or often all of the block that it starts in, if that must not be split.
    pub(super) fn range(
        &self,
        process: usize,
        page: VirtualPage,
        pages: u64,
        c: u32,
    ) -> (VirtualPage, u64) {
        match self.is_pooled(process, page) && c >> 20 & 3 > 0 {
            true => (VirtualPage(page.0 / PIECES * PIECES), PIECES),
            false => (page, pages),
        }
    }

    /// How many pages of a range there are without a part of a block at its end.
    pub(super) fn without_part(&self, process: usize, page: VirtualPage, pages: u64) -> u64 {
        let end = page.0 + pages;
        match self.is_pooled(process, VirtualPage(end)) {
            true => (end / PIECES * PIECES).saturating_sub(page.0),
            false => pages,
        }
    }

    /// Whether a fork must copy a huge page, for which the pool may have none.
    pub(super) fn copies_pooled(&self, process: usize) -> bool {
        let statistics = self.memory.hugetlb_statistics();
        let mut pages = self.processes[process].pages.values();
        statistics.free <= statistics.reserved
            && pages.any(|model| model.pooled && model.pin.is_some())
    }

    /// Whether an access may find no huge page in the pool. Who has reserved one does find it,
    /// unless memory failed; and who owns a page may store to it, whoever else has it.
    pub(super) fn may_have_no_page(&self, process: usize, model: &PageModel) -> bool {
        if !model.pooled {
            return false;
        }
        let statistics = self.memory.hugetlb_statistics();
        let space = &self.processes[process].space;
        match self.memory.entry(space, BLOCK.address()) {
            Entry::Taken => true,
            Entry::Reserved => statistics.free == 0,
            Entry::Page(..) if model.owner && model.own.is_some() => false,
            _ => statistics.free <= statistics.reserved,
        }
    }

    /// Takes note of what came to whole blocks: private copies, and that they had to be given up.
    pub(super) fn note_blocks(&mut self) {
        for process in 0..self.processes.len() {
            let owner = &mut self.processes[process];
            let entry = self.memory.entry(&owner.space, BLOCK.address());
            let Some(model) = owner.pages.get(&BLOCK).filter(|model| model.pooled) else {
                continue;
            };
            let (sharing, was_taken) = (model.sharing, model.taken);
            if entry == Entry::Taken && !was_taken {
                self.counts.taken += 1;
                for piece in 0..PIECES {
                    if let Some(model) = owner.pages.get_mut(&VirtualPage(BLOCK.0 + piece)) {
                        model.taken = true;
                    }
                }
            }
            if sharing == Sharing::Private {
                for page in (BLOCK.0..BLOCK.0 + PIECES).map(VirtualPage) {
                    self.note_copy(process, page);
                    let owner = &mut self.processes[process];
                    let entry = self.memory.entry(&owner.space, page.address());
                    // Only a private copy leaves such an entry when it fails.
                    if let (Entry::HwPoison(_), Some(model)) = (entry, owner.pages.get_mut(&page)) {
                        model.detach(&self.files);
                    }
                }
            }
        }
    }

    pub(super) fn check_pool(&mut self) -> Checked {
        let statistics = self.memory.hugetlb_statistics();
        let errors = self.memory.failure_statistics().total;
        if statistics.reserved > statistics.free && errors == 0 {
            return Err(format!("more is reserved than there is: {statistics:?}"));
        }
        for owner in &self.processes {
            let Some(model) = owner.pages.get(&BLOCK).filter(|model| model.pooled) else {
                continue;
            };
            let entry = self.memory.entry(&owner.space, BLOCK.address());
            let shift = self.memory.mapping_shift(&owner.space, BLOCK.address());
            let mapped = matches!(entry, Entry::Page(..));
            self.counts.pooled += u64::from(mapped);
            let small = shift == crate::PAGE_SHIFT;
            self.counts.dissolved += u64::from(mapped && small);
            if model.owner && entry == Entry::Taken {
                return Err(format!(
                    "{:?} owns what was taken from it",
                    owner.space.id()
                ));
            }
            if model.taken && entry != Entry::Taken {
                return Err(format!("{:?} has again what it gave up", owner.space.id()));
            }
        }
        Ok(())
    }
}

const _: () = assert!(HUGE_SIZE == PIECES * PAGE_SIZE as u64);
