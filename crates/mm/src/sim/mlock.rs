//! Locking. Nothing that a process sees changes, but what is locked stays.

use std::format;
use std::vec::Vec;

use super::World;
use super::world::Checked;
use crate::{Access, Errno, Locking, PAGE_SIZE, Pfn, VirtualPage};

const LOCKING: [Locking; 4] = [
    Locking::Unlocked,
    Locking::Locked,
    Locking::OnFault,
    Locking::Unlocked,
];

impl World {
    pub(super) fn lock(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        let locking = LOCKING[d as usize % 4];
        if d >> 8 & 7 == 0 {
            self.lock_all(process, d);
        } else {
            self.lock_range(process, page, 1 + u64::from(c % 5), locking)?;
        }
        let owner = &self.processes[process];
        let locked = owner.pages.values();
        let locked = locked.filter(|model| model.locking != Locking::Unlocked);
        let (counted, expected) = (
            self.memory.locked_pages(&owner.space),
            locked.count() as u64,
        );
        if counted == expected {
            return Ok(());
        }
        Err(format!("{counted} pages are locked, not {expected}"))
    }

    fn lock_all(&mut self, process: usize, d: u32) {
        let current = (d >> 12 & 1 == 0).then_some(LOCKING[d as usize % 4]);
        let owner = &mut self.processes[process];
        owner.lock_later = LOCKING[(d >> 4) as usize % 4];
        self.memory
            .mlockall(&owner.space, current, owner.lock_later);
        if let Some(locking) = current {
            for model in owner.pages.values_mut().filter(|model| !model.pooled) {
                model.locking = locking;
            }
        }
        let pages: Vec<_> = owner.pages.keys().copied().collect();
        for page in pages {
            self.note_copy(process, page);
        }
    }

    fn lock_range(
        &mut self,
        process: usize,
        page: VirtualPage,
        pages: u64,
        locking: Locking,
    ) -> Checked {
        let expected = self.covered(process, page, pages);
        let space = &self.processes[process].space;
        // The range is extended to whole pages.
        let (start, length) = (page.address().0 + 1, pages * PAGE_SIZE as u64 - 1);
        let start = crate::VirtualAddress(start);
        // A refusal may hit the split or the population: the second time it is none of them.
        let mut refused = true;
        let mut got = Ok(());
        while refused {
            got = self.memory.mlock(space, start, length, locking);
            refused = self.memory.machine().take_refused();
            self.refused |= refused;
        }
        if let Err(hole) = expected {
            return if got == Err(hole) {
                Ok(())
            } else {
                Err(format!("mlock of a hole: {got:?}"))
            };
        }
        self.change(process, page, pages, |model| {
            if !model.pooled {
                model.locking = locking;
            }
        });
        let range = page..VirtualPage(page.0 + pages);
        (page.0..page.0 + pages).for_each(|page| self.note_copy(process, VirtualPage(page)));
        let owner = &self.processes[process];
        let mut models = owner.pages.range(range).map(|(_, model)| model);
        match got {
            Ok(()) => Ok(()),
            Err(Errno::EAGAIN) => self.out_of_memory(),
            Err(Errno::ENOMEM)
                if models.any(|model| {
                    !model.protection.allows(Access::Load)
                        || model.is_beyond_end(&self.files)
                        || model.may_fail(&self.files)
                }) =>
            {
                Ok(())
            }
            Err(error) => Err(format!("mlock: {error:?}")),
        }
    }

    /// The frames that must stay where they are, as long as nothing fails or moves.
    pub(super) fn locked_frames(&self) -> Vec<Pfn> {
        let locked = self.processes.iter().flat_map(|owner| {
            let pages = owner.pages.iter();
            pages
                .filter(|(_, model)| model.locking != Locking::Unlocked)
                .map(|(page, _)| (&owner.space, *page))
        });
        locked
            .filter_map(|(space, page)| self.frame_of(space, page))
            .collect()
    }
}
