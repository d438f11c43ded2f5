//! Steps in which memory fails.

use std::format;

use super::World;
use super::world::{Checked, WINDOW, WINDOW_PAGES};
use crate::{
    Action, AddressSpace, BusCode, Context, Entry, Errno, FrameState, Pfn, Victim, VirtualPage,
};

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
            Some(FrameState::Anonymous | FrameState::Ksm) => self.mark_lost(pfn),
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

    pub(super) fn scrub(&mut self, a: u32) -> Checked {
        let Some(pfn) = self.memory.machine().any_poisoned(a as usize) else {
            return Ok(());
        };
        match self.memory.memory_failure(pfn, Context::default()) {
            // Known errors are found again and again.
            Err(Errno::EHWPOISON) => Ok(()),
            // Nobody else is in the middle of anything, so nothing is in the way.
            Ok(report) if report.action == Action::Recovered && report.signal.is_none() => Ok(()),
            other => Err(format!("{pfn:?} was scrubbed: {other:?}")),
        }
    }

    /// Whoever was told asked for it, and did lose what it was told of.
    pub(super) fn check_victims(&mut self) -> Checked {
        for Victim { space, signal } in self.memory.machine().take_victims() {
            let owner = self
                .processes
                .iter_mut()
                .find(|process| process.space.id() == space && process.early_kill);
            let page = signal.address.page();
            let model = owner.and_then(|owner| owner.pages.get_mut(&page));
            match model {
                Some(model)
                    if signal.code == BusCode::ActionOptional && model.may_fail(&self.files) =>
                {
                    match model.file_page() {
                        Some((file, index)) => drop(self.files[file].lost.insert(index)),
                        None => model.told = true,
                    }
                }
                _ => return Err(format!("{space:?} was told {signal:?}")),
            }
        }
        Ok(())
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
