//! Steps in which memory fails.

use std::format;

use super::World;
use super::world::{Checked, WINDOW, WINDOW_PAGES};
use crate::{AddressSpace, Context, Entry, Errno, FrameState, Pfn, VirtualPage};

impl World {
    pub(super) fn frame_of(&self, space: &AddressSpace, page: VirtualPage) -> Option<Pfn> {
        match self.memory.entry(space, page.address()) {
            Entry::Page(pfn, _) => Some(pfn),
            _ => None,
        }
    }

    pub(super) fn poison_page(&mut self, process: usize, page: VirtualPage, line: u32) {
        if let Some(pfn) = self.frame_of(&self.processes[process].space, page) {
            self.poison_frame(pfn, line);
        }
    }

    pub(super) fn poison_frame(&mut self, pfn: Pfn, line: u32) {
        match self.memory.frame_state(pfn) {
            None | Some(FrameState::Kernel | FrameState::Isolated | FrameState::Reserved) => return,
            Some(FrameState::Free) => {}
            Some(FrameState::File { file, index }) => {
                if let Some(model) = self.files.iter_mut().find(|model| model.file.id() == file) {
                    model.may_be_lost.insert(index);
                }
            }
            Some(FrameState::Anonymous) => self.mark_lost(pfn),
        }
        self.counts.injected += 1;
        self.memory.machine().poison(pfn, line as usize);
    }

    pub(super) fn mark_lost(&mut self, pfn: Pfn) {
        for number in 0..self.processes.len() {
            for page in (WINDOW..WINDOW + u64::from(WINDOW_PAGES) + 8).map(VirtualPage) {
                let owner = &self.processes[number];
                if self.frame_of(&owner.space, page) == Some(pfn)
                    && let Some(model) = self.processes[number].pages.get_mut(&page)
                {
                    model.may_be_lost = true;
                }
            }
        }
    }

    pub(super) fn scrub(&mut self, a: u32) {
        if let Some(pfn) = self.memory.machine().any_poisoned(a as usize) {
            // Known errors are found again and again.
            let _ = self.memory.memory_failure(pfn, Context::default());
        }
    }

    pub(super) fn soft_offline(&mut self, process: usize, page: VirtualPage) -> Checked {
        let Some(pfn) = self.frame_of(&self.processes[process].space, page) else {
            return Ok(());
        };
        match self.memory.soft_offline(pfn) {
            Ok(()) if self.memory.frame_state(pfn) == Some(FrameState::Isolated) => Ok(()),
            Ok(()) => Err(format!("{pfn:?} is still in use after soft offline")),
            Err(Errno::ENOMEM) => self.out_of_memory(),
            Err(Errno::EHWPOISON) if self.memory.is_poisoned(pfn) => Ok(()),
            Err(error) => Err(format!("soft offline: {error:?}")),
        }
    }
}
