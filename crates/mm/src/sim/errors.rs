//! Steps in which memory fails.

use std::format;
use std::vec::Vec;

use super::World;
use super::machine::FIRST_FRAME;
use super::world::{Checked, THRESHOLD, WINDOW, WINDOW_PAGES};
use crate::{
    Access, Action, AddressSpace, BusCode, Context, Corrected, Entry, Errno, FrameState, PAGE_SIZE,
    PageType, Pfn, Sharing, Victim, VirtualPage,
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
        if self.may_lose(pfn) {
            self.counts.injected += 1;
            self.memory.machine().poison(pfn, line as usize);
        }
    }

    /// The frame is about to fail. Returns whether the simulation may do that.
    fn may_lose(&mut self, pfn: Pfn) -> bool {
        match self.memory.frame_use(pfn) {
            None
            | Some(
                FrameState::Kernel
                | FrameState::Table
                | FrameState::Claimed
                | FrameState::Isolated
                | FrameState::Reserved
                | FrameState::Tail,
            ) => return false,
            Some(FrameState::Free | FrameState::Hugetlb) => {}
            Some(FrameState::File { file, index }) => {
                if let Some(model) = self.files.iter_mut().find(|model| model.file.id() == file) {
                    model.may_be_lost.insert(index);
                }
            }
            Some(FrameState::Anonymous) if self.is_in_swap(pfn) => self.poison_in_swap(pfn),
            Some(FrameState::Anonymous | FrameState::Ksm) => self.mark_lost(pfn),
        }
        true
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
            Ok(report) if report.signal.is_none() && self.is_pinned(pfn) => Ok(()),
            // Another piece is pinned, and keeps a huge page that was lost as a whole before.
            Ok(report)
                if report.page == PageType::UnsplitThp
                    && report.signal.is_none()
                    && self.is_block_pinned(pfn) =>
            {
                Ok(())
            }
            // But a huge page cannot be split without memory.
            Ok(report)
                if matches!(report.page, PageType::UnsplitThp | PageType::HugePage)
                    && report.signal.is_none() =>
            {
                self.out_of_memory()
            }
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
                    model.tell(&mut self.files);
                }
                _ => return Err(format!("{space:?} was told {signal:?}")),
            }
        }
        Ok(())
    }

    /// Whether a test of the memory of a page may be refused: nothing can be loaded from it.
    fn may_fault(&self, process: usize, page: VirtualPage) -> bool {
        let model = self.processes[process].pages.get(&page);
        model.is_none_or(|model| {
            self.may_have_no_page(process, model)
                || !model.protection.allows(Access::Load)
                || model.is_beyond_end(&self.files)
                || model.may_fail(&self.files)
        })
    }

    pub(super) fn inject_failure(&mut self, process: usize, page: VirtualPage, c: u32) -> Checked {
        let pages = (page.0..page.0 + 1 + u64::from(c % 3)).map(VirtualPage);
        let mut refused = pages.clone().any(|page| self.may_fault(process, page));
        let mut frames = Vec::new();
        for page in pages.clone() {
            let owner = &mut self.processes[process];
            let _ = self
                .memory
                .fault(&owner.space, page.address(), Access::Load);
            self.note_blocks();
            // If the range has a frame twice, the second page fails with the first.
            let frame = self.frame_of(&self.processes[process].space, page);
            refused |= frame.is_none() || frames.contains(&frame);
            frames.push(frame);
            if let Some(pfn) = frame {
                self.may_lose(pfn);
            }
        }
        for page in pages.clone() {
            // It may be faulted in only by the call itself, and be a copy from then on.
            let mut model = self.processes[process].pages.get_mut(&page);
            if let Some(model) = &mut model {
                model.may_be_lost |= model.pooled && model.sharing == Sharing::Private;
            }
            match model.map(|model| (model.file_page(), model)) {
                Some((Some((file, index)), _)) => {
                    self.files[file].may_be_lost.insert(index);
                }
                Some((None, model)) => model.may_be_lost = true,
                None => {}
            }
        }
        let mut told = Vec::new();
        let length = (1 + u64::from(c % 3)) * PAGE_SIZE as u64;
        let space = &self.processes[process].space;
        let tell = |signal| told.push(signal);
        let got = self
            .memory
            .inject_failure(space, page.address(), length, tell);
        self.note_blocks();
        for signal in told {
            let page = signal.address.page();
            let model = self.processes[process].pages.get_mut(&page);
            match model.filter(|model| model.may_fail(&self.files)) {
                Some(model) if pages.clone().any(|of| of == page) => model.tell(&mut self.files),
                _ => return Err(format!("process {process} was told {signal:?}")),
            }
        }
        self.range_result(got, refused)
    }

    pub(super) fn soft_offline_range(
        &mut self,
        process: usize,
        page: VirtualPage,
        c: u32,
    ) -> Checked {
        let count = 1 + u64::from(c % 3);
        let mut pages = (page.0..page.0 + count).map(VirtualPage);
        let refused = pages.clone().any(|page| self.may_fault(process, page));
        let space = &self.processes[process].space;
        let length = count * PAGE_SIZE as u64;
        match self
            .memory
            .soft_offline_range(space, page.address(), length)
        {
            // A frame could not be read: its loss was announced when it was poisoned.
            Err(Errno::EHWPOISON) => Ok(()),
            Err(Errno::EBUSY) if !self.pins.is_empty() => Ok(()),
            Err(Errno::ENOMEM) if pages.any(|page| self.is_pooled(process, page)) => Ok(()),
            got => self.range_result(got, refused),
        }
    }

    fn range_result(&mut self, got: Result<(), Errno>, may_be_refused: bool) -> Checked {
        self.refused |= self.memory.machine().take_refused();
        match got {
            Ok(()) => Ok(()),
            Err(Errno::EFAULT) if may_be_refused || self.refused => Ok(()),
            Err(Errno::ENOMEM) => self.out_of_memory(),
            Err(error) => Err(format!("a range: {error:?}")),
        }
    }

    pub(super) fn corrected_error(&mut self, process: usize, page: VirtualPage, c: u32) -> Checked {
        // The same few frames again and again, or nothing would come of it.
        let pfn = match self.frame_of(&self.processes[process].space, page) {
            Some(pfn) if c & 3 == 0 => pfn,
            _ => Pfn(FIRST_FRAME + u64::from(c >> 8) % 40),
        };
        let count = self.corrected.entry(pfn).or_default();
        *count += 1;
        let expected = *count;
        match self.memory.corrected_error(pfn) {
            Ok(Corrected::Counted(count)) if count == expected && count < THRESHOLD => Ok(()),
            got if expected < THRESHOLD => Err(format!("{pfn:?}, corrected: {got:?}")),
            Ok(Corrected::Counted(_)) => Err(format!("{pfn:?} had {expected} corrected errors")),
            Ok(Corrected::Offlined) => self.soft_offlined(pfn, Ok(())),
            // A piece of a huge page of the pool, which cannot move.
            Err(Errno::ENOMEM | Errno::EBUSY) if self.is_huge(pfn) => Ok(()),
            Err(error) => self.soft_offlined(pfn, Err(error)),
        }
    }

    pub(super) fn soft_offline(&mut self, process: usize, page: VirtualPage) -> Checked {
        let Some(pfn) = self.frame_of(&self.processes[process].space, page) else {
            return Ok(());
        };
        let pooled = self.is_pooled(process, page);
        match self.memory.soft_offline(pfn) {
            // All of it must move, and there is no room; or somebody pinned another piece.
            Err(Errno::ENOMEM) if pooled => Ok(()),
            Err(Errno::EBUSY) if pooled && !self.pins.is_empty() => Ok(()),
            got => self.soft_offlined(pfn, got),
        }
    }

    fn soft_offlined(&mut self, pfn: Pfn, got: Result<(), Errno>) -> Checked {
        let state = self.memory.frame_state(pfn);
        match got {
            // It was known to have an error, and is the kernel's, or pinned still.
            Ok(())
                if (state == Some(FrameState::Table) || self.is_pinned(pfn))
                    && self.memory.is_poisoned(pfn) =>
            {
                Ok(())
            }
            Err(Errno::EBUSY) if state == Some(FrameState::Table) => Ok(()),
            Ok(()) if self.memory.frame_state(pfn) == Some(FrameState::Isolated) => Ok(()),
            Ok(()) => Err(format!("{pfn:?} is still in use after soft offline")),
            Err(Errno::ENOMEM) => self.out_of_memory(),
            Err(Errno::EHWPOISON) if self.memory.is_poisoned(pfn) => Ok(()),
            Err(Errno::EBUSY) if self.is_pinned(pfn) => Ok(()),
            Err(error) => Err(format!("soft offline: {error:?}")),
        }
    }
}
