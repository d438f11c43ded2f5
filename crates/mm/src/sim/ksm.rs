//! Steps of merging. What a process sees must not change by any of them.

use std::format;
use std::vec::Vec;

use super::World;
use super::world::{Checked, WINDOW_PAGES};
use crate::{Advice, Errno, FrameState, PAGE_SIZE, Pfn, Sharing, VirtualPage};

impl World {
    /// Fills a page with one of a few patterns, so that there is something to merge.
    pub(super) fn store_alike(&mut self, process: usize, page: VirtualPage, c: u32) -> Checked {
        let bytes = [[0, 0x11, 0x22][c as usize % 3]; PAGE_SIZE];
        self.store_bytes(process, page, 0, 0, &bytes)
    }

    /// Lets pages take part, or not any more.
    pub(super) fn mergeable(
        &mut self,
        process: usize,
        page: VirtualPage,
        c: u32,
        d: u32,
    ) -> Checked {
        match d % 8 {
            0 => self.advise(process, page, c, Advice::Unmergeable),
            1..4 => {
                let all = d % 8 != 1;
                let space = &self.processes[process].space;
                let got = self.memory.set_memory_merge(space, all);
                if self.call(got, Ok(()), "set_memory_merge")? {
                    let owner = &mut self.processes[process];
                    owner.merges_all = all;
                    for model in owner.pages.values_mut() {
                        model.mergeable = all && model.sharing == Sharing::Private && !model.pooled;
                    }
                }
                Ok(())
            }
            _ => self.advise(process, page, c, Advice::Mergeable),
        }
    }

    /// Scans part of the pages, all of them, or all of them twice: then all that are equal merge.
    pub(super) fn scan(&mut self, c: u32) -> Checked {
        let most = WINDOW_PAGES as usize * self.processes.len() * 2;
        let pages = [most / 8, most, most][c as usize % 3];
        for _ in 0..1 + c % 3 / 2 {
            self.memory.ksm_scan(pages);
        }
        let statistics = self.memory.ksm_statistics();
        self.counts.merged += u64::from(statistics.pages_sharing + statistics.zero_pages > 0);
        let merging: u64 = self
            .processes
            .iter()
            .map(|process| self.memory.ksm_merging_pages(&process.space))
            .sum();
        let counted = statistics.pages_shared + statistics.pages_sharing + statistics.zero_pages;
        if merging == counted {
            return Ok(());
        }
        Err(format!(
            "processes have {merging} merged pages, and the statistics {counted}"
        ))
    }

    /// Poisons a line of a frame that is shared by contents.
    pub(super) fn poison_merged(&mut self, b: u32, c: u32) {
        let mut merged: Vec<Pfn> = self
            .processes
            .iter()
            .flat_map(|owner| owner.pages.keys().map(|page| (&owner.space, *page)))
            .filter_map(|(space, page)| self.frame_of(space, page))
            .filter(|pfn| self.memory.frame_state(*pfn) == Some(FrameState::Ksm))
            .collect();
        merged.sort_unstable();
        merged.dedup();
        if !merged.is_empty() {
            self.poison_frame(merged[b as usize % merged.len()], c);
        }
    }

    /// Changes a setting, or unmerges everything.
    pub(super) fn tune_ksm(&mut self, c: u32, d: u32) -> Checked {
        match c % 8 {
            0 => {
                let got = self.memory.ksm_unmerge_all();
                if self.call(got, Ok(()), "unmerge all")? {
                    let left = self.memory.ksm_statistics();
                    if left.pages_shared + left.zero_pages > 0 {
                        return Err(format!("{left:?} after everything was unmerged"));
                    }
                }
                Ok(())
            }
            1..4 => {
                self.memory.set_ksm_use_zero_pages(d & 1 == 0);
                Ok(())
            }
            _ => match self.memory.set_ksm_max_page_sharing(2 + d as usize % 3) {
                Ok(()) | Err(Errno::EBUSY) => Ok(()),
                Err(error) => Err(format!("max_page_sharing: {error:?}")),
            },
        }
    }
}
