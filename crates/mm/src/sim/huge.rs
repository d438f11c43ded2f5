//! Steps on huge pages. To processes they are pages like others, but for what an error takes.

use std::format;
use std::vec::Vec;

use super::World;
use super::model::Shows;
use super::world::{Checked, INDEX_BITS};
use crate::{Advice, Entry, Errno, HugeAdvice, HugePolicy, PAGE_SHIFT, VirtualPage};

impl World {
    pub(super) fn huge(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        match d % 8 {
            0 => self.memory.set_huge_policy(HugePolicy::Never),
            1 => self.memory.set_huge_policy(HugePolicy::Madvise),
            2 => self.memory.set_huge_policy(HugePolicy::Always),
            3 => return self.advise(process, page, c, Advice::Huge(HugeAdvice::Against)),
            _ => return self.advise(process, page, c, Advice::Huge(HugeAdvice::For)),
        }
        Ok(())
    }

    pub(super) fn split(&mut self, process: usize, page: VirtualPage) -> Checked {
        let space = &self.processes[process].space;
        let Some(pfn) = self.frame_of(space, page) else {
            return Ok(());
        };
        let huge = self.memory.mapping_shift(space, page.address()) > PAGE_SHIFT;
        let pooled = huge && self.is_pooled(process, page);
        match self.memory.split(pfn) {
            Err(Errno::EINVAL) if pooled => Ok(()),
            Ok(()) if pooled => Err(format!("{pfn:?} is of the pool and was split")),
            Ok(()) if self.memory.mapping_shift(space, page.address()) == PAGE_SHIFT => Ok(()),
            Err(Errno::ENOMEM) => self.out_of_memory(),
            other => Err(format!("split of {pfn:?}: {other:?}")),
        }
    }

    /// Makes a huge page of the block that a page is in, or of any.
    pub(super) fn collapse(
        &mut self,
        process: usize,
        page: VirtualPage,
        c: u32,
        d: u32,
    ) -> Checked {
        let before = self.memory.khugepaged_statistics().pages_collapsed;
        if c & 1 == 0 {
            let pieces = 1 << INDEX_BITS;
            let limits = [(pieces - 1, pieces / 2), (3, 3), (0, 0)][d as usize % 3];
            let set = self.memory.set_khugepaged_limits(limits.0, limits.1);
            set.map_err(|error| format!("limits: {error:?}"))?;
            self.memory.khugepaged_scan(2 * self.processes.len());
        } else {
            let block = VirtualPage(page.0 >> INDEX_BITS << INDEX_BITS);
            let expected = self.covered(process, block, 1 << INDEX_BITS);
            let space = &self.processes[process].space;
            let length = 1 << (INDEX_BITS + PAGE_SHIFT);
            let got = self
                .memory
                .madvise(space, block.address(), length, Advice::Collapse);
            match got {
                Ok(()) if expected.is_ok() => {
                    let made = self.memory.khugepaged_statistics().pages_collapsed > before;
                    let small = self.memory.mapping_shift(space, block.address()) == PAGE_SHIFT;
                    // What is a file's is mapped when it is touched.
                    let model = &self.processes[process].pages[&block];
                    if made && small && matches!(model.shows, Shows::Anonymous) {
                        return Err(format!("{block:?} was collapsed and is not huge"));
                    }
                }
                // Something in it is lost, shared with a file, pinned, or not there.
                Err(Errno::EINVAL | Errno::EAGAIN | Errno::EIO) if expected.is_ok() => {}
                Err(Errno::ENOMEM) if expected.is_err() => {}
                // There may be no block that is free.
                Err(Errno::ENOMEM) => {}
                other => return Err(format!("collapse of {block:?}: {other:?}")),
            }
        }
        let after = self.memory.khugepaged_statistics().pages_collapsed;
        self.counts.collapsed += after - before;
        Ok(())
    }

    /// Where a huge page could not be split, what was in all of it is lost with the page that
    /// failed.
    pub(super) fn note_lost_blocks(&mut self) -> Checked {
        let statistics = self.memory.failure_statistics();
        let before = std::mem::replace(&mut self.errors, statistics);
        if before.total == statistics.total {
            return Ok(());
        }
        let mut found = false;
        for process in &mut self.processes {
            let lost: Vec<u64> = process
                .pages
                .keys()
                .filter(|page| {
                    let at = page.address();
                    matches!(self.memory.entry(&process.space, at), Entry::HwPoison(_))
                        && self.memory.mapping_shift(&process.space, at) > PAGE_SHIFT
                })
                .map(|page| page.0 >> INDEX_BITS)
                .collect();
            for block in lost {
                let pages =
                    VirtualPage(block << INDEX_BITS)..VirtualPage((block + 1) << INDEX_BITS);
                let mut models = process.pages.range_mut(pages);
                if !models.any(|(_, model)| model.may_be_lost) {
                    return Err(format!("block {block} is lost, and nothing in it failed"));
                }
                let pages =
                    VirtualPage(block << INDEX_BITS)..VirtualPage((block + 1) << INDEX_BITS);
                let mut new = false;
                for (_, model) in process.pages.range_mut(pages) {
                    new |= !std::mem::replace(&mut model.may_be_lost, true);
                }
                self.counts.unsplit += u64::from(new);
                found |= new;
            }
        }
        if found { self.out_of_memory() } else { Ok(()) }
    }
}
