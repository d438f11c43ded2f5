//! One process in a race, and what it must find in its memory.

use std::format;
use std::ops::Range;
use std::vec::Vec;

use super::machine::locked;
use super::race::{EACH, PART, PRIVATE, RaceCounts, SORTS, STORED, Sort, Track, page};
use super::schedule::{ended_operation, wait};
use super::world::{Checked, INDEX_BITS};
use super::{Random, SimMachine, try_access};
use crate::{
    Access, AddressSpace, Advice, Destination, Entry, Errno, Locking, Outcome, PAGE_SIZE, Pfn,
    Protection, VirtualAddress,
};

/// How often a call is repeated that something was refused to.
const PATIENCE: usize = 50;

/// What a process must find in a page.
#[derive(Clone)]
pub(super) struct Page {
    sort: Sort,
    pub(super) bytes: [u8; PAGE_SIZE],
    /// The process was told that it is lost.
    pub(super) lost: bool,
    /// It may have left its file for a private copy.
    copied: bool,
}

impl Page {
    fn new(number: usize) -> Self {
        let sort = SORTS[number / EACH];
        let byte = if sort == Sort::Copied { STORED } else { 0 };
        Self {
            sort,
            bytes: [byte; PAGE_SIZE],
            lost: false,
            copied: false,
        }
    }

    fn is_private(&self) -> bool {
        matches!(self.sort, Sort::Private | Sort::Copied | Sort::Pooled)
    }

    fn is_pooled(&self) -> bool {
        matches!(self.sort, Sort::Pooled | Sort::PooledFile)
    }
}

pub(super) struct Racer<'t> {
    track: &'t Track,
    space: &'t AddressSpace,
    cpu: usize,
    random: Random,
    pages: Vec<Page>,
    counts: RaceCounts,
}

impl<'t> Racer<'t> {
    pub(super) fn new(track: &'t Track, cpu: usize, random: Random) -> Self {
        Self {
            track,
            space: &track.spaces[cpu],
            cpu,
            random,
            pages: (0..SORTS.len() * EACH).map(Page::new).collect(),
            counts: RaceCounts::default(),
        }
    }

    /// Runs the process, and returns what its pages must hold.
    pub(super) fn run(mut self, operations: u32) -> Checked<(RaceCounts, Vec<Page>)> {
        for _ in 0..operations {
            let number = self.random.below(self.pages.len() as u32) as usize;
            match self.random.below(28) {
                0..7 => self.load(number)?,
                7..14 => self.store(number)?,
                14 => self.forget(number)?,
                15 => self.map_again(number / EACH)?,
                16 => self.protect(number)?,
                17 => self.populate(number)?,
                18 => self.insist(|| self.advise(number, Advice::Unmergeable))?,
                19 => self.insist(|| self.advise(number, Advice::Mergeable))?,
                22 => self.pin(number)?,
                23 => self.move_away_and_back(number)?,
                24 => self.lock(number)?,
                25 => self.page_out(number)?,
                26 => self.collapse(number)?,
                27 => self.give_up(number)?,
                _ => self.fork(number)?,
            }
            self.counts.operations += 1;
            ended_operation();
        }
        for number in 0..self.pages.len() {
            self.load(number)?;
        }
        Ok((self.counts, self.pages))
    }

    /// Bytes of a page that only this process writes.
    fn span(&mut self, number: usize) -> Range<usize> {
        let (start, length) = match self.pages[number].is_private() {
            true => (0, PAGE_SIZE),
            false => (self.cpu * PART, PART),
        };
        let offset = self.random.below(length as u32) as usize;
        match self.random.below(3) {
            0 | 1 => start..start + length,
            _ => start + offset..start + length.min(offset + 100),
        }
    }

    fn load(&mut self, number: usize) -> Checked {
        let span = self.span(number);
        let mut seen = [0; PAGE_SIZE];
        let (seen, offset) = (&mut seen[span.clone()], span.start);
        let ended = self.access(number, Access::Load, |machine, pfn| {
            machine.cpu_load(pfn, offset, seen).is_ok()
        })?;
        if ended && *seen != self.pages[number].bytes[span] {
            return Err(format!(
                "process {}: wrong bytes in page {number}",
                self.cpu
            ));
        }
        Ok(())
    }

    fn store(&mut self, number: usize) -> Checked {
        let span = self.span(number);
        // Often one of few values, so that pages are equal.
        let bound = [3, 256][self.random.below(2) as usize];
        let bytes = [self.random.below(bound) as u8; PAGE_SIZE];
        let (bytes, offset) = (&bytes[span.clone()], span.start);
        self.pages[number].copied = true;
        let ended = self.access(number, Access::Store, |machine, pfn| {
            machine.cpu_store(pfn, offset, bytes);
            true
        })?;
        if ended {
            self.pages[number].bytes[span].copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Whether an access succeeded. If not, that is nobody's fault.
    fn access(
        &mut self,
        number: usize,
        access: Access,
        mut act: impl FnMut(&SimMachine<INDEX_BITS>, Pfn) -> bool,
    ) -> Checked<bool> {
        loop {
            let (memory, at) = (&self.track.memory, page(number));
            let outcome = try_access(memory, self.space, self.cpu, at, access, &mut act)?;
            match outcome {
                None if self.pages[number].lost => {
                    return Err(format!("process {} reached lost page {number}", self.cpu));
                }
                None => return Ok(true),
                Some(Outcome::Resolved) => {}
                Some(Outcome::Retry) => wait(),
                // Allocations are refused at any time.
                Some(Outcome::Oom) => return Ok(false),
                // Errors take pages from the pool, and parents theirs from children.
                Some(Outcome::Sigbus(bus))
                    if !bus.code.is_memory_error() && self.pages[number].is_pooled() =>
                {
                    return Ok(false);
                }
                Some(Outcome::Sigbus(bus)) if bus.code.is_memory_error() => {
                    self.counts.signals += 1;
                    let told = bus.address.page().0.wrapping_sub(page(0).0) as usize;
                    if told >= self.pages.len() || !bus.address.is_aligned() {
                        return Err(format!("process {} page {number}: {bus:?}", self.cpu));
                    }
                    self.was_lost(told)?;
                    if told == number {
                        return Ok(false);
                    }
                    // Its frame was that of another page of the process too, as merging does; and
                    // this page has left it meanwhile.
                }
                Some(other) => {
                    return Err(format!("process {} page {number}: {other:?}", self.cpu));
                }
            }
        }
    }

    /// The process was told that a page is lost: it must have been possible.
    fn was_lost(&mut self, number: usize) -> Checked {
        let entry = self.track.memory.entry(self.space, page(number).address());
        let failed = locked(&self.track.failed);
        let model = &mut self.pages[number];
        let possible = match (model.sort, entry) {
            (Sort::Copied, _) if !model.copied => false,
            (Sort::Private | Sort::Copied | Sort::Pooled, Entry::HwPoison(pfn)) => {
                failed.contains(&pfn)
            }
            (Sort::Private | Sort::Copied | Sort::Pooled, _) => false,
            (Sort::Memory | Sort::PooledFile | Sort::Disk, _) => !failed.is_empty(),
        };
        model.lost = true;
        if possible {
            return Ok(());
        }
        Err(format!(
            "process {}: page {number} cannot be lost, with {entry:?}",
            self.cpu
        ))
    }

    /// Repeats a call that something was refused to.
    fn insist(&self, call: impl Fn() -> Result<(), Errno>) -> Checked {
        for _ in 0..PATIENCE {
            match call() {
                Ok(()) => return Ok(()),
                Err(Errno::ENOMEM) => wait(),
                Err(error) => return Err(format!("process {}: {error:?}", self.cpu)),
            }
        }
        Err(format!("process {} gets no memory", self.cpu))
    }

    /// The first page and the number of pages that a call on a page must be about.
    fn whole(&self, number: usize) -> (usize, usize) {
        match self.pages[number].is_pooled() {
            true => (number / EACH * EACH, EACH),
            false => (number, 1),
        }
    }

    fn range(&self, number: usize) -> (VirtualAddress, u64) {
        let (first, count) = self.whole(number);
        (page(first).address(), (count * PAGE_SIZE) as u64)
    }

    fn advise(&self, number: usize, advice: Advice) -> Result<(), Errno> {
        let (start, length) = self.range(number);
        self.track.memory.madvise(self.space, start, length, advice)
    }

    fn forget(&mut self, number: usize) -> Checked {
        self.insist(|| self.advise(number, Advice::DontNeed))?;
        let (first, count) = self.whole(number);
        for number in first..first + count {
            if self.pages[number].is_private() {
                self.pages[number] = Page::new(number);
            }
        }
        Ok(())
    }

    fn map_again(&mut self, sort: usize) -> Checked {
        if self.pages[sort * EACH].is_pooled() {
            // The pool may have too few for a long time: then nothing has changed.
            match self.track.map(self.space, sort) {
                Ok(()) => {}
                Err(Errno::ENOMEM) => return Ok(()),
                Err(error) => return Err(format!("process {}: {error:?}", self.cpu)),
            }
        } else {
            self.insist(|| self.track.map(self.space, sort))?;
        }
        for number in sort * EACH..(sort + 1) * EACH {
            if self.pages[number].is_private() {
                self.pages[number] = Page::new(number);
            }
        }
        Ok(())
    }

    /// Forbids stores for the time of a load.
    fn protect(&mut self, number: usize) -> Checked {
        for protection in [Protection::READ, Protection::READ_WRITE] {
            let (start, length) = self.range(number);
            let memory = &self.track.memory;
            self.insist(|| memory.mprotect(self.space, start, length, protection))?;
            self.load(number)?;
        }
        Ok(())
    }

    fn populate(&mut self, number: usize) -> Checked {
        self.pages[number].copied = true;
        let (start, length) = (page(number).address(), PAGE_SIZE as u64);
        let memory = &self.track.memory;
        match memory.madvise(self.space, start, length, Advice::PopulateWrite) {
            Ok(()) | Err(Errno::ENOMEM) => Ok(()),
            Err(Errno::EFAULT) if self.pages[number].is_pooled() => Ok(()),
            Err(Errno::EHWPOISON) => self.was_lost(number),
            Err(error) => Err(format!("process {}: populate: {error:?}", self.cpu)),
        }
    }

    /// Reads a page by a pin.
    fn pin(&mut self, number: usize) -> Checked {
        let (memory, at) = (&self.track.memory, page(number).address());
        let pin = match memory.pin_user_page(self.space, at, Access::Load) {
            Ok(pin) => pin,
            Err(Errno::ENOMEM) => return Ok(()),
            Err(Errno::EFAULT) if self.pages[number].is_pooled() => return Ok(()),
            Err(Errno::EHWPOISON) => return self.was_lost(number),
            Err(error) => return Err(format!("process {}: pin: {error:?}", self.cpu)),
        };
        let span = self.span(number);
        let mut seen = [0; PAGE_SIZE];
        let seen = &mut seen[span.clone()];
        let read = memory.read_pinned(&pin, span.start, seen);
        memory.unpin_user_page(pin);
        if read.is_ok() && *seen != self.pages[number].bytes[span] {
            return Err(format!(
                "process {}: a pin sees wrong bytes in page {number}",
                self.cpu
            ));
        }
        Ok(())
    }

    /// Moves a page to another address, and back.
    fn move_away_and_back(&mut self, number: usize) -> Checked {
        let memory = &self.track.memory;
        let (home, length) = self.range(number);
        let go = |from, to| memory.mremap(self.space, from, length, length, to, false);
        // Without a new length it would stay.
        let away = Destination::Fixed(page(self.pages.len() + EACH).address());
        let there = match go(home, away) {
            Ok(there) => there,
            Err(Errno::ENOMEM) => return Ok(()),
            Err(error) => return Err(format!("process {}: mremap: {error:?}", self.cpu)),
        };
        self.insist(|| go(there, Destination::Fixed(home)).map(|_| ()))?;
        self.load(number)
    }

    /// Locks a page for the time of a load.
    fn lock(&mut self, number: usize) -> Checked {
        let (memory, at) = (&self.track.memory, page(number).address());
        let lock = |locking| memory.mlock(self.space, at, PAGE_SIZE as u64, locking);
        self.pages[number].copied = true;
        // It may be lost, or something refused.
        match lock(Locking::Locked) {
            Ok(()) | Err(Errno::ENOMEM | Errno::EAGAIN) => {}
            Err(error) => return Err(format!("process {}: mlock: {error:?}", self.cpu)),
        }
        self.load(number)?;
        self.insist(|| lock(Locking::Unlocked))
    }

    /// Puts a page into swap, and reads it.
    fn page_out(&mut self, number: usize) -> Checked {
        // What is in the pool stays.
        if !self.pages[number].is_pooled() {
            self.insist(|| self.advise(number, Advice::PageOut))?;
        }
        self.load(number)
    }

    /// Makes a huge page of all pages of a sort, if that can be done, and reads one.
    fn collapse(&mut self, number: usize) -> Checked {
        let start = page(number / EACH * EACH).address();
        let length = (EACH * PAGE_SIZE) as u64;
        let memory = &self.track.memory;
        match memory.madvise(self.space, start, length, Advice::Collapse) {
            // There is no block, somebody holds a page, or one is lost.
            Ok(()) | Err(Errno::ENOMEM | Errno::EAGAIN | Errno::EINVAL | Errno::EIO) => {}
            Err(Errno::EBUSY) => {}
            Err(error) => return Err(format!("process {}: collapse: {error:?}", self.cpu)),
        }
        self.load(number)
    }

    /// Gives a private page up, and then stores to all of it: until then it may turn into zeros.
    fn give_up(&mut self, number: usize) -> Checked {
        if self.pages[number].sort != Sort::Private {
            return Ok(());
        }
        self.insist(|| self.advise(number, Advice::Free))?;
        // What was lost was given up too.
        self.pages[number].lost = false;
        let bytes = [self.random.below(256) as u8; PAGE_SIZE];
        for _ in 0..PATIENCE {
            let ended = self.access(number, Access::Store, |machine, pfn| {
                machine.cpu_store(pfn, 0, &bytes);
                true
            })?;
            if ended {
                self.pages[number].bytes = bytes;
            }
            if ended || self.pages[number].lost {
                return Ok(());
            }
            wait();
        }
        Err(format!("process {} gets no memory", self.cpu))
    }

    /// Lets a child read and write what it got, and ends it.
    fn fork(&mut self, number: usize) -> Checked {
        let memory = &self.track.memory;
        let space = match memory.fork(self.space) {
            Ok(space) => space,
            Err(Errno::ENOMEM) => return Ok(()),
            Err(error) => return Err(format!("process {}: fork: {error:?}", self.cpu)),
        };
        let mut child = Racer {
            space: &space,
            pages: self.pages.clone(),
            random: self.random.clone(),
            counts: RaceCounts::default(),
            ..*self
        };
        let ran = child.live(number);
        let mut stored = child.pages.split_off(PRIVATE * EACH);
        for (number, model) in (PRIVATE * EACH..).zip(&mut stored) {
            // The child may be told of an error before the page is unmapped from everyone.
            let entry = memory.entry(self.space, page(number).address());
            model.lost &= self.pages[number].lost || !matches!(entry, Entry::Page(..));
        }
        memory.destroy(space);
        // What the child wrote to shared pages is there.
        self.pages.splice(PRIVATE * EACH.., stored);
        self.random.number();
        ran
    }

    fn live(&mut self, number: usize) -> Checked {
        self.load(number)?;
        self.store(number)?;
        let other = self.random.below(self.pages.len() as u32) as usize;
        self.load(other)
    }
}
