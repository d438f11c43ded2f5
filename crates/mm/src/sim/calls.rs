//! Steps that change address spaces.

use std::format;

use super::World;
use super::model::{PageModel, Process, Shows};
use super::world::{Checked, FILE_PAGES, INDEX_BITS, PROCESSES, WINDOW, WINDOW_PAGES};
use crate::{
    Access, Advice, Entry, Errno, FrameState, HugeAdvice, KillPolicy, Locking, OnFork, PAGE_SIZE,
    Placement, Protection, Sharing, Source, VirtualPage,
};

impl World {
    pub(super) fn call(
        &mut self,
        got: Result<(), Errno>,
        expected: Result<(), Errno>,
        what: &str,
    ) -> Checked<bool> {
        match (got, expected) {
            (Ok(()), Ok(())) => Ok(true),
            (Err(Errno::ENOMEM), Ok(())) => self.out_of_memory().map(|()| false),
            (Err(got), Err(expected)) if got == expected => Ok(false),
            (Err(Errno::ENOMEM), Err(_)) => Ok(false),
            _ => Err(format!("{what}: got {got:?}, expected {expected:?}")),
        }
    }

    pub(super) fn map(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        // Sometimes all of the window, so that a huge page has room.
        let whole = c & 128 == 0;
        let of_file = whole && d & 32 == 0;
        let (page, pages) = if of_file {
            let block = (WINDOW >> INDEX_BITS) + 1;
            (VirtualPage(block << INDEX_BITS), 1 << INDEX_BITS)
        } else if whole {
            (VirtualPage(WINDOW), u64::from(WINDOW_PAGES))
        } else {
            (page, 1 + u64::from(c % 8))
        };
        let pages = pages.min(WINDOW + u64::from(WINDOW_PAGES) - page.0);
        let protection = protection(d);
        let sharing = if d & 8 == 0 {
            Sharing::Private
        } else {
            Sharing::Shared
        };
        let number = match whole {
            true if !of_file => self.files.len(),
            // The last is of the pool.
            _ => match (d >> 4) as usize % self.files.len() {
                number if number == self.files.len() - 1 => self.files.len(),
                number => number,
            },
        };
        let model = self.files.get(number);
        let first = match of_file {
            true => 0,
            false => (d >> 8) % FILE_PAGES,
        };
        let pages = if model.is_some() {
            pages.min(u64::from(FILE_PAGES - first))
        } else {
            pages
        };
        // Shared anonymous memory is a file that has no name; only its mappers' bytes matter, and
        // the files above cover that.
        let sharing = if model.is_some() {
            sharing
        } else {
            Sharing::Private
        };
        let source = match model {
            Some(model) => Source::File(&model.file, u64::from(first) * PAGE_SIZE as u64),
            None => Source::Anonymous,
        };
        let replace = c & 64 == 0;
        let placement = if replace {
            Placement::Fixed(page.address())
        } else {
            Placement::FixedNoReplace(page.address())
        };
        let range = (page.0..page.0 + pages).map(VirtualPage);
        let owner = &self.processes[process];
        let taken = range.clone().any(|page| owner.pages.contains_key(&page));
        let length = pages * PAGE_SIZE as u64;
        let got = self
            .memory
            .mmap(&owner.space, placement, length, protection, sharing, source);
        let expected = if replace && self.crosses_block(process, page, pages) {
            Err(Errno::EINVAL)
        } else if taken && !replace {
            Err(Errno::EEXIST)
        } else {
            Ok(())
        };
        if self.call(got.map(|_| ()), expected, "mmap")? {
            let merges_all = self.processes[process].merges_all;
            let lock_later = self.processes[process].lock_later;
            for (count, page) in range.enumerate() {
                let shows = match number < self.files.len() {
                    true => Shows::File(number, first + count as u32),
                    false => Shows::Anonymous,
                };
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
                    locking: lock_later,
                    mergeable: merges_all && sharing == Sharing::Private,
                    on_fork: OnFork::Inherit,
                    pooled: false,
                    owner: false,
                    taken: false,
                };
                self.processes[process].pages.insert(page, model);
                self.note_copy(process, page);
            }
        }
        Ok(())
    }

    pub(super) fn unmap(&mut self, process: usize, page: VirtualPage, c: u32) -> Checked {
        let (page, pages) = self.range(process, page, 1 + u64::from(c % 8), c);
        let expected = self.whole(process, page, pages);
        let owner = &self.processes[process];
        let got = self
            .memory
            .munmap(&owner.space, page.address(), pages * PAGE_SIZE as u64);
        if self.call(got, expected, "munmap")? {
            let range = page..VirtualPage(page.0 + pages);
            self.processes[process]
                .pages
                .retain(|page, _| !range.contains(page));
        }
        Ok(())
    }

    /// What a call on a range must return, if it needs all of it to be mapped.
    pub(super) fn covered(
        &self,
        process: usize,
        page: VirtualPage,
        pages: u64,
    ) -> Result<(), Errno> {
        let owner = &self.processes[process];
        let all = (page.0..page.0 + pages).all(|page| owner.pages.contains_key(&VirtualPage(page)));
        if all { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    pub(super) fn change(
        &mut self,
        process: usize,
        page: VirtualPage,
        pages: u64,
        mut change: impl FnMut(&mut PageModel),
    ) {
        let range = page..VirtualPage(page.0 + pages);
        self.processes[process]
            .pages
            .range_mut(range)
            .for_each(|(_, model)| change(model));
    }

    pub(super) fn protect(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        let (page, pages) = self.range(process, page, 1 + u64::from(c % 5), c);
        let protection = protection(d);
        let whole = self.whole(process, page, pages);
        let expected = whole.and_then(|()| self.covered(process, page, pages));
        let space = &self.processes[process].space;
        let length = pages * PAGE_SIZE as u64;
        let got = self
            .memory
            .mprotect(space, page.address(), length, protection);
        if self.call(got, expected, "mprotect")? {
            self.change(process, page, pages, |model| model.protection = protection);
        }
        Ok(())
    }

    pub(super) fn advise(
        &mut self,
        process: usize,
        page: VirtualPage,
        c: u32,
        advice: Advice,
    ) -> Checked {
        let (page, mut pages) = self.range(process, page, 1 + u64::from(c % 5), c);
        let asked = pages;
        if advice == Advice::DontNeed {
            pages = self.without_part(process, page, pages);
            if pages == 0 {
                let space = &self.processes[process].space;
                let length = asked * PAGE_SIZE as u64;
                let got = self.memory.madvise(space, page.address(), length, advice);
                return self.call(got, Ok(()), "madvise").map(drop);
            }
        }
        let mut expected = match self.whole(process, page, pages) {
            Ok(()) => self.covered(process, page, pages),
            refused => refused,
        };
        let private = [Advice::Fork(OnFork::Wipe), Advice::Free];
        if expected.is_ok() && private.contains(&advice) {
            let owner = &self.processes[process];
            let range = page..VirtualPage(page.0 + pages);
            if owner
                .pages
                .range(range)
                .any(|(_, model)| model.pooled || matches!(model.shows, Shows::File(..)))
            {
                expected = Err(Errno::EINVAL);
            }
        }
        let range = page..VirtualPage(page.0 + pages);
        let mut models = self.processes[process].pages.range(range.clone());
        if expected.is_ok()
            && matches!(advice, Advice::Huge(_) | Advice::Cold | Advice::PageOut)
            && models.any(|(_, model)| model.pooled)
        {
            expected = Err(Errno::EINVAL);
        }
        let mut models = self.processes[process].pages.range(range);
        if expected.is_ok()
            && [
                Advice::DontNeed,
                Advice::Free,
                Advice::Cold,
                Advice::PageOut,
            ]
            .contains(&advice)
            && models.any(|(_, model)| model.locking != Locking::Unlocked)
        {
            expected = Err(Errno::EINVAL);
        }
        let space = &self.processes[process].space;
        let length = asked * PAGE_SIZE as u64;
        // Giving up a page that is lost gives up the loss too, whether its process knew or not.
        let lost = |page: &VirtualPage| {
            let entry = self.memory.entry(space, page.address());
            advice == Advice::Free && matches!(entry, Entry::HwPoison(_))
        };
        let range = page.0..page.0 + pages;
        let lost: Vec<_> = range.map(VirtualPage).filter(lost).collect();
        let got = self.memory.madvise(space, page.address(), length, advice);
        if self.call(got, expected, "madvise")? {
            let models = &mut self.processes[process].pages;
            for page in lost {
                models
                    .get_mut(&page)
                    .into_iter()
                    .for_each(PageModel::forget);
            }
            self.change(process, page, pages, |model| match advice {
                Advice::Fork(on_fork) => model.on_fork = on_fork,
                Advice::Mergeable => {
                    model.mergeable = model.sharing == Sharing::Private && !model.pooled;
                }
                Advice::Unmergeable => model.mergeable = false,
                Advice::Huge(huge) => model.huge = huge,
                Advice::Cold | Advice::PageOut => {}
                Advice::Free if model.told => model.forget(),
                Advice::Free => model.freed = model.own.is_some(),
                _ => model.forget(),
            });
        }
        Ok(())
    }

    pub(super) fn populate(
        &mut self,
        process: usize,
        page: VirtualPage,
        c: u32,
        d: u32,
    ) -> Checked {
        let access = if d & 1 == 0 {
            Access::Load
        } else {
            Access::Store
        };
        let advice = if d & 1 == 0 {
            Advice::PopulateRead
        } else {
            Advice::PopulateWrite
        };
        let expected = self.covered(process, page, 1 + u64::from(c % 5));
        if access == Access::Store {
            (0..1 + u64::from(c % 5))
                .for_each(|count| self.may_dirty(process, VirtualPage(page.0 + count)));
        }
        let space = &self.processes[process].space;
        let length = (1 + u64::from(c % 5)) * PAGE_SIZE as u64;
        let got = self.memory.madvise(space, page.address(), length, advice);
        self.refused |= self.memory.machine().take_refused();
        self.note_lost_blocks()?;
        let owner = &self.processes[process];
        let range = page..VirtualPage(page.0 + 1 + u64::from(c % 5));
        let mut models = owner.pages.range(range).map(|(_, model)| model);
        match got {
            Err(Errno::EHWPOISON) if models.any(|model| model.may_fail(&self.files)) => Ok(()),
            Err(Errno::EFAULT)
                if self.refused
                    || models.any(|model| {
                        !model.protection.allows(access)
                            || model.is_beyond_end(&self.files)
                            || self.may_have_no_page(process, model)
                    }) =>
            {
                Ok(())
            }
            got => self.call(got, expected, "populate").map(|_| ()),
        }?;
        // A private page of a file that was populated for stores has its own copy from now on.
        if access == Access::Store {
            for page in page.0..page.0 + 1 + u64::from(c % 5) {
                self.note_copy(process, VirtualPage(page));
            }
        }
        Ok(())
    }

    /// If a page has a private frame, it no longer follows its file.
    pub(super) fn note_copy(&mut self, process: usize, page: VirtualPage) {
        let owner = &mut self.processes[process];
        let entry = self.memory.entry(&owner.space, page.address());
        let private = match entry {
            Entry::Page(pfn, _) => self.memory.frame_use(pfn) == Some(FrameState::Anonymous),
            entry => matches!(entry, Entry::Swap(_)),
        };
        if private && let Some(model) = owner.pages.get_mut(&page) {
            model.detach(&self.files);
        }
    }

    pub(super) fn fork(&mut self, process: usize) -> Checked {
        if self.processes.len() == PROCESSES {
            return Ok(());
        }
        match self.memory.fork(&self.processes[process].space) {
            Ok(space) => {
                let inherit = |(page, model): (&VirtualPage, &PageModel)| {
                    let mut model = model.inherited();
                    if model.on_fork == OnFork::Wipe {
                        model.forget();
                    }
                    (model.on_fork != OnFork::Omit).then_some((*page, model))
                };
                let pages = self.processes[process]
                    .pages
                    .iter()
                    .filter_map(inherit)
                    .collect();
                let parent = &self.processes[process];
                let (early_kill, merges_all) = (parent.early_kill, parent.merges_all);
                self.processes.push(Process {
                    space,
                    early_kill,
                    merges_all,
                    lock_later: Locking::Unlocked,
                    pages,
                });
                Ok(())
            }
            Err(Errno::ENOMEM) if self.copies_pooled(process) => Ok(()),
            Err(Errno::ENOMEM) => self.out_of_memory(),
            Err(Errno::EHWPOISON) if self.may_lose_pinned(process) => Ok(()),
            Err(error) => Err(format!("fork: {error:?}")),
        }
    }

    pub(super) fn early_kill(&mut self, process: usize, early: bool) {
        let process = &mut self.processes[process];
        process.early_kill = early;
        let policy = if early {
            KillPolicy::Early
        } else {
            KillPolicy::Late
        };
        process.space.set_kill_policy(policy);
    }

    pub(super) fn exit(&mut self, process: usize) -> Checked {
        if self.processes.len() > 1 {
            let Process { space, .. } = self.processes.swap_remove(process);
            let id = space.id();
            self.memory.destroy(space);
            if self.memory.machine().remembers(id) {
                return Err(format!("a CPU can still use the tables of {id:?}"));
            }
        }
        Ok(())
    }
}

fn protection(number: u32) -> Protection {
    match number >> 12 & 15 {
        0 => Protection::NONE,
        1..4 => Protection::READ,
        _ => Protection::READ_WRITE,
    }
}
