//! Scripts, and the world they run in.

use core::fmt;
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::machine::FIRST_FRAME;
use super::model::{FileModel, PageModel, Process, Shows};
use super::{CPUS, Random, SimMachine};
use crate::{
    Access, AddressSpace, Advice, Consumer, Context, Errno, FileKind, FrameState, Memory, OnFork,
    Outcome, PAGE_SIZE, Pfn, Placement, Protection, Sharing, Source, VirtualPage,
};

const FRAMES: u32 = 600;
/// The pages processes use: they cross the end of a last-level table.
const WINDOW: u64 = 512 * 7 - 6;
const WINDOW_PAGES: u32 = 16;
const FILE_PAGES: u32 = 6;
const PROCESSES: usize = 5;
const ATTEMPTS: usize = 8;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $weight:literal),* $(,)?) => {
        /// What a step does. Its four numbers choose among what there is at that moment, so that
        /// every script means something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name),* }
        const KINDS: &[(Kind, &str, u32)] = &[$((Kind::$name, stringify!($name), $weight)),*];
    };
}

kinds! {
    /// A load by a process.
    Load 40,
    /// A store by a process.
    Store 30,
    /// `mmap`.
    Map 8,
    /// `munmap`.
    Unmap 2,
    /// `mprotect`.
    Protect 4,
    /// `madvise(MADV_DONTNEED)`.
    DontNeed 2,
    /// `madvise(MADV_DONTFORK, ...)`.
    OnFork 2,
    /// `madvise(MADV_POPULATE_*)`.
    Populate 2,
    /// `fork`.
    Fork 3,
    /// `exit`.
    Exit 2,
    /// `read` of a file.
    Read 6,
    /// `write` to a file.
    Write 4,
    /// `fsync`.
    Sync 3,
    /// Poisons a line of a page of a process.
    Poison 6,
    /// Poisons a line of any frame that is not the kernel's.
    PoisonFrame 2,
    /// A patrol scrubber finds a poisoned line.
    Scrub 1,
    /// Soft offline.
    SoftOffline 2,
    /// Refuses one of the next allocations.
    RefuseAllocation 4,
    /// Fails one of the next store operations.
    RefuseIo 2,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub kind: Kind,
    /// With what.
    pub numbers: [u32; 4],
}

impl Step {
    fn random(random: &mut Random) -> Self {
        let total = KINDS.iter().map(|kind| kind.2).sum();
        let mut ticket = random.below(total);
        let (kind, ..) = *KINDS
            .iter()
            .find(|kind| {
                let found = ticket < kind.2;
                ticket = ticket.wrapping_sub(kind.2);
                found
            })
            .expect("the ticket is below the total");
        Self {
            kind,
            numbers: [(); 4].map(|()| random.number() as u32),
        }
    }
}

/// Steps, as text one per line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub Vec<Step>);

impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step {
            kind,
            numbers: [a, b, c, d],
        } in &self.0
        {
            writeln!(formatter, "{kind:?} {a} {b} {c} {d}")?;
        }
        Ok(())
    }
}

impl core::str::FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |(number, line): (usize, &str)| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            let kind = KINDS.iter().find(|kind| kind.1 == name).map(|kind| kind.0);
            let numbers: Result<Vec<u32>, _> = words.map(str::parse).collect();
            match (
                kind,
                numbers.ok().and_then(|numbers| numbers.try_into().ok()),
            ) {
                (Some(kind), Some(numbers)) => Ok(Step { kind, numbers }),
                _ => Err(format!(
                    "line {}: expected a step and four numbers",
                    number + 1
                )),
            }
        };
        text.lines()
            .enumerate()
            .filter(|line| !line.1.trim().is_empty())
            .map(parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A run that broke its promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The step at which it showed.
    pub step: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "step {}: {}", self.step, self.what)
    }
}

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Steps.
    pub steps: u64,
    /// Lines poisoned.
    pub injected: u64,
    /// Frames whose poison was consumed.
    pub consumed: u64,
    /// `SIGBUS` for memory errors.
    pub signals: u64,
    /// Operations that failed because something was refused.
    pub refused: u64,
}

impl core::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.injected += other.injected;
        self.consumed += other.consumed;
        self.signals += other.signals;
        self.refused += other.refused;
    }
}

/// A manager of so many simulated frames.
pub fn memory(frames: u32) -> Memory<SimMachine> {
    let usable = Pfn(FIRST_FRAME)..Pfn(FIRST_FRAME + u64::from(frames));
    Memory::new(SimMachine::default(), &[usable]).expect("there are frames")
}

type Checked<T = ()> = Result<T, String>;

/// Memory, processes, files, and what they must contain.
pub struct World {
    memory: Memory<SimMachine>,
    processes: Vec<Process>,
    files: Vec<FileModel>,
    /// Something was refused in this step.
    refused: bool,
    counts: Counts,
}

impl World {
    /// One process with nothing mapped, two files on a store and one in memory.
    pub fn new() -> Self {
        let memory = memory(FRAMES);
        let kinds = [FileKind::Stored, FileKind::Stored, FileKind::Memory];
        let files = kinds.iter().enumerate().map(|(number, kind)| {
            let size = u64::from(FILE_PAGES) * PAGE_SIZE as u64;
            let file = memory.create_file(*kind, size).expect("there is memory");
            let pages = (0..FILE_PAGES)
                .map(|index| {
                    let mut page = [0; PAGE_SIZE];
                    if *kind == FileKind::Stored {
                        page.fill(1 + (number as u8) * 16 + index as u8);
                        memory.machine().preset(file.id(), index, page);
                    }
                    Box::new(page)
                })
                .collect();
            FileModel {
                file,
                pages,
                may_be_lost: Default::default(),
            }
        });
        let files = files.collect();
        let space = memory.create().expect("there is memory");
        let processes = std::vec![Process {
            space,
            pages: Default::default()
        }];
        Self {
            memory,
            processes,
            files,
            refused: false,
            counts: Counts::default(),
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Runs a step, and checks everything.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn step(&mut self, step: Step) -> Checked {
        self.counts.steps += 1;
        let [a, b, c, d] = step.numbers;
        let process = a as usize % self.processes.len();
        let page = VirtualPage(WINDOW + u64::from(b % WINDOW_PAGES));
        match step.kind {
            Kind::RefuseAllocation => {
                self.memory.machine().refuse_allocation(a % 6);
                return Ok(());
            }
            Kind::RefuseIo => {
                self.memory.machine().refuse_io(a % 2);
                return Ok(());
            }
            Kind::Load => self.load(process, page, c, d)?,
            Kind::Store => self.store(process, page, c, d)?,
            Kind::Map => self.map(process, page, c, d)?,
            Kind::Unmap => self.unmap(process, page, c)?,
            Kind::Protect => self.protect(process, page, c, d)?,
            Kind::DontNeed => self.advise(process, page, c, Advice::DontNeed)?,
            Kind::OnFork => {
                let on_fork = [OnFork::Inherit, OnFork::Omit, OnFork::Wipe][d as usize % 3];
                self.advise(process, page, c, Advice::Fork(on_fork))?;
            }
            Kind::Populate => self.populate(process, page, c, d)?,
            Kind::Fork => self.fork(process)?,
            Kind::Exit => self.exit(process),
            Kind::Read => self.read(a, b, c)?,
            Kind::Write => self.write(a, b, c, d)?,
            Kind::Sync => self.sync(a)?,
            Kind::Poison => self.poison_page(process, page, c),
            Kind::PoisonFrame => self.poison_frame(Pfn(FIRST_FRAME + u64::from(b % FRAMES)), c),
            Kind::Scrub => self.scrub(a),
            Kind::SoftOffline => self.soft_offline(process, page)?,
        }
        self.check()
    }

    fn check(&mut self) -> Checked {
        self.refused |= self.memory.machine().take_refused();
        self.counts.refused += u64::from(std::mem::take(&mut self.refused));
        for pfn in self.memory.machine().take_consumed() {
            self.counts.consumed += 1;
            if !self.memory.is_poisoned(pfn) {
                return Err(format!("{pfn:?} was consumed and not isolated"));
            }
        }
        self.memory
            .check()
            .map_err(|violation| format!("{violation:?}"))
    }

    /// Reads everything, ends everything, and looks for frames that nobody gave back.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn finish(mut self) -> Checked<Counts> {
        self.memory.machine().relent();
        for process in 0..self.processes.len() {
            for page in 0..u64::from(WINDOW_PAGES) {
                self.load_bytes(process, VirtualPage(WINDOW + page), 0, 0, PAGE_SIZE)?;
            }
        }
        self.check()?;
        for number in 0..self.files.len() as u32 {
            for index in 0..FILE_PAGES {
                self.read(number, index * PAGE_SIZE as u32, PAGE_SIZE as u32 - 1)?;
            }
        }
        self.check()?;
        let memory = &self.memory;
        self.processes
            .drain(..)
            .for_each(|process| memory.destroy(process.space));
        self.files
            .drain(..)
            .for_each(|model| memory.close(model.file));
        memory
            .check()
            .map_err(|violation| format!("{violation:?}"))?;
        let isolated = (0..u64::from(FRAMES))
            .filter(|frame| {
                memory.frame_state(Pfn(FIRST_FRAME + frame)) == Some(FrameState::Isolated)
            })
            .count();
        if memory.free_frames() + isolated != FRAMES as usize {
            return Err("frames have leaked".to_string());
        }
        Ok(self.counts)
    }

    fn out_of_memory(&mut self) -> Checked {
        self.refused |= self.memory.machine().take_refused();
        if self.refused || self.memory.free_frames() == 0 {
            return Ok(());
        }
        Err("out of memory, with memory left and nothing refused".to_string())
    }

    // Accesses.

    fn load(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        let (offset, length) = span(c, d);
        self.load_bytes(process, page, c as usize % CPUS, offset, length)
    }

    fn load_bytes(
        &mut self,
        process: usize,
        page: VirtualPage,
        cpu: usize,
        offset: usize,
        length: usize,
    ) -> Checked {
        let mut seen = std::vec![0; length];
        let ended = self.access(process, page, cpu, Access::Load, |machine, pfn| {
            machine.cpu_load(pfn, offset, &mut seen).is_ok()
        })?;
        let owner = &self.processes[process];
        if let (true, Some(model)) = (ended, owner.pages.get(&page)) {
            let must = &model.bytes(&self.files)[offset..offset + length];
            if seen != must {
                let at = seen.iter().zip(must).position(|(seen, must)| seen != must);
                return Err(format!(
                    "process {process} {page:?}+{offset}: wrong byte at {at:?}"
                ));
            }
        }
        Ok(())
    }

    fn store(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        let (offset, length) = span(c, d);
        let bytes = std::vec![(c >> 3) as u8; length];
        let cpu = d as usize % CPUS;
        let ended = self.access(process, page, cpu, Access::Store, |machine, pfn| {
            machine.cpu_store(pfn, offset, &bytes);
            true
        })?;
        if ended && let Some(model) = self.processes[process].pages.get_mut(&page) {
            model.bytes_mut(&mut self.files)[offset..offset + length].copy_from_slice(&bytes);
        }
        Ok(())
    }

    /// An access, with all its faults. Returns whether it succeeded, if it might.
    fn access(
        &mut self,
        process: usize,
        page: VirtualPage,
        cpu: usize,
        access: Access,
        mut act: impl FnMut(&SimMachine, Pfn) -> bool,
    ) -> Checked<bool> {
        for _ in 0..ATTEMPTS {
            let space = &self.processes[process].space;
            match try_access(&self.memory, space, cpu, page, access, &mut act)? {
                None => return self.succeeded(process, page, access),
                Some(Outcome::Resolved) => {}
                Some(outcome) => {
                    return self.told(process, page, access, outcome).map(|()| false);
                }
            }
        }
        Err(format!(
            "process {process} {page:?}: {access:?} does not end"
        ))
    }

    fn succeeded(&self, process: usize, page: VirtualPage, access: Access) -> Checked<bool> {
        match self.processes[process].pages.get(&page) {
            None => Err(format!(
                "process {process} reached {page:?}, which is not mapped"
            )),
            Some(model) if !model.protection.allows(access) => Err(format!(
                "process {process} did {access:?} at {page:?} against its protection"
            )),
            Some(model) if model.told => Err(format!(
                "process {process} reached {page:?}, which it was told is lost"
            )),
            Some(_) => Ok(true),
        }
    }

    fn told(
        &mut self,
        process: usize,
        page: VirtualPage,
        access: Access,
        outcome: Outcome,
    ) -> Checked {
        self.refused |= self.memory.machine().take_refused();
        let model = self.processes[process].pages.get_mut(&page);
        match (outcome, model) {
            (Outcome::Oom, _) => self.out_of_memory(),
            (Outcome::Sigsegv(_), None) => Ok(()),
            (Outcome::Sigsegv(_), Some(model)) if !model.protection.allows(access) => Ok(()),
            (Outcome::Sigbus(bus), Some(_)) if !bus.code.is_memory_error() && self.refused => {
                Ok(())
            }
            (Outcome::Sigbus(bus), Some(model))
                if bus.code.is_memory_error()
                    && bus.address == page.address()
                    && bus.lsb == 12
                    && model.may_fail(&self.files) =>
            {
                self.counts.signals += 1;
                model.told |= model.may_be_lost;
                Ok(())
            }
            _ => Err(format!(
                "process {process} {page:?} {access:?}: {outcome:?}"
            )),
        }
    }

    // Calls.

    fn call(
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

    fn map(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        let pages = 1 + u64::from(c % 8);
        let pages = pages.min(WINDOW + u64::from(WINDOW_PAGES) - page.0);
        let protection = protection(d);
        let sharing = if d & 8 == 0 {
            Sharing::Private
        } else {
            Sharing::Shared
        };
        let number = (d >> 4) as usize % (self.files.len() + 1);
        let model = self.files.get(number);
        let first = (d >> 8) % FILE_PAGES;
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
        let expected = if taken && !replace {
            Err(Errno::EEXIST)
        } else {
            Ok(())
        };
        if self.call(got.map(|_| ()), expected, "mmap")? {
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
                    on_fork: OnFork::Inherit,
                };
                self.processes[process].pages.insert(page, model);
            }
        }
        Ok(())
    }

    fn unmap(&mut self, process: usize, page: VirtualPage, c: u32) -> Checked {
        let pages = 1 + u64::from(c % 8);
        let owner = &self.processes[process];
        let got = self
            .memory
            .munmap(&owner.space, page.address(), pages * PAGE_SIZE as u64);
        if self.call(got, Ok(()), "munmap")? {
            let range = page..VirtualPage(page.0 + pages);
            self.processes[process]
                .pages
                .retain(|page, _| !range.contains(page));
        }
        Ok(())
    }

    /// What a call on a range must return, if it needs all of it to be mapped.
    fn covered(&self, process: usize, page: VirtualPage, pages: u64) -> Result<(), Errno> {
        let owner = &self.processes[process];
        let all = (page.0..page.0 + pages).all(|page| owner.pages.contains_key(&VirtualPage(page)));
        if all { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    fn change(
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

    fn protect(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        let (pages, protection) = (1 + u64::from(c % 5), protection(d));
        let expected = self.covered(process, page, pages);
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

    fn advise(&mut self, process: usize, page: VirtualPage, c: u32, advice: Advice) -> Checked {
        let pages = 1 + u64::from(c % 5);
        let mut expected = self.covered(process, page, pages);
        if expected.is_ok() && advice == Advice::Fork(OnFork::Wipe) {
            let owner = &self.processes[process];
            let range = page..VirtualPage(page.0 + pages);
            if owner
                .pages
                .range(range)
                .any(|(_, model)| matches!(model.shows, Shows::File(..)))
            {
                expected = Err(Errno::EINVAL);
            }
        }
        let space = &self.processes[process].space;
        let length = pages * PAGE_SIZE as u64;
        let got = self.memory.madvise(space, page.address(), length, advice);
        if self.call(got, expected, "madvise")? {
            self.change(process, page, pages, |model| match advice {
                Advice::Fork(on_fork) => model.on_fork = on_fork,
                _ => model.forget(),
            });
        }
        Ok(())
    }

    fn populate(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
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
        let space = &self.processes[process].space;
        let length = (1 + u64::from(c % 5)) * PAGE_SIZE as u64;
        let got = self.memory.madvise(space, page.address(), length, advice);
        self.refused |= self.memory.machine().take_refused();
        let owner = &self.processes[process];
        let range = page..VirtualPage(page.0 + 1 + u64::from(c % 5));
        let mut models = owner.pages.range(range).map(|(_, model)| model);
        match got {
            Err(Errno::EHWPOISON) if models.any(|model| model.may_fail(&self.files)) => Ok(()),
            Err(Errno::EFAULT)
                if self.refused || models.any(|model| !model.protection.allows(access)) =>
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
    fn note_copy(&mut self, process: usize, page: VirtualPage) {
        let owner = &mut self.processes[process];
        let entry = self.memory.entry(&owner.space, page.address());
        if let (crate::Entry::Page(pfn, _), Some(model)) = (entry, owner.pages.get_mut(&page))
            && self.memory.frame_state(pfn) == Some(FrameState::Anonymous)
            && model.own.is_none()
        {
            model.own = Some(Box::new(*model.bytes(&self.files)));
        }
    }

    fn fork(&mut self, process: usize) -> Checked {
        if self.processes.len() == PROCESSES {
            return Ok(());
        }
        match self.memory.fork(&self.processes[process].space) {
            Ok(space) => {
                let inherit = |(page, model): (&VirtualPage, &PageModel)| {
                    let mut model = model.clone();
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
                self.processes.push(Process { space, pages });
                Ok(())
            }
            Err(Errno::ENOMEM) => self.out_of_memory(),
            Err(error) => Err(format!("fork: {error:?}")),
        }
    }

    fn exit(&mut self, process: usize) {
        if self.processes.len() > 1 {
            let Process { space, .. } = self.processes.swap_remove(process);
            self.memory.destroy(space);
        }
    }

    // Files.

    fn read(&mut self, a: u32, b: u32, c: u32) -> Checked {
        let number = a as usize % self.files.len();
        let size = FILE_PAGES * PAGE_SIZE as u32;
        let position = b % size;
        let length = (1 + c % (2 * PAGE_SIZE as u32)).min(size - position) as usize;
        let mut seen = std::vec![0; length];
        let got = self
            .memory
            .read_file(&self.files[number].file, u64::from(position), &mut seen);
        self.refused |= self.memory.machine().take_refused();
        let model = &self.files[number];
        let contents: Vec<u8> = model
            .pages
            .iter()
            .flat_map(|page| page.iter().copied())
            .collect();
        let done = got.unwrap_or(0);
        if seen[..done] != contents[position as usize..position as usize + done] {
            return Err(format!("file {number}: wrong bytes at {position}"));
        }
        let failed = (position as usize + done) / PAGE_SIZE;
        let may_fail = self.refused || model.may_be_lost.contains(&(failed as u32));
        match got {
            Ok(done) if done == length || (may_fail && done > 0) => Ok(()),
            Err(Errno::EIO) if may_fail => Ok(()),
            Err(Errno::ENOMEM) => self.out_of_memory(),
            got => Err(format!(
                "file {number}: read of {length} at {position}: {got:?}"
            )),
        }
    }

    fn write(&mut self, a: u32, b: u32, c: u32, d: u32) -> Checked {
        let number = a as usize % self.files.len();
        let size = FILE_PAGES * PAGE_SIZE as u32;
        // Whole pages often: they bring lost ones back.
        let position = if d & 1 == 0 {
            b % size
        } else {
            b % FILE_PAGES * PAGE_SIZE as u32
        };
        let length = if d & 1 == 0 {
            1 + c % 300
        } else {
            PAGE_SIZE as u32
        };
        let length = length.min(size - position) as usize;
        let bytes = std::vec![(d >> 1) as u8; length];
        let got = self
            .memory
            .write_file(&self.files[number].file, u64::from(position), &bytes);
        self.refused |= self.memory.machine().take_refused();
        let done = got.unwrap_or(0);
        let model = &mut self.files[number];
        for at in position as usize..position as usize + done {
            model.pages[at / PAGE_SIZE][at % PAGE_SIZE] = (d >> 1) as u8;
        }
        let failed = ((position as usize + done) / PAGE_SIZE) as u32;
        let may_fail = self.refused || model.may_be_lost.contains(&failed);
        match got {
            Ok(done) if done == length || (may_fail && done > 0) => Ok(()),
            Err(Errno::EIO) if may_fail => Ok(()),
            Err(Errno::ENOMEM) => self.out_of_memory(),
            got => Err(format!(
                "file {number}: write of {length} at {position}: {got:?}"
            )),
        }
    }

    fn sync(&mut self, a: u32) -> Checked {
        let number = a as usize % self.files.len();
        let model = &self.files[number];
        let got = self.memory.sync(&model.file);
        self.refused |= self.memory.machine().take_refused();
        match got {
            Ok(()) if model.file.kind() == FileKind::Stored && !self.refused => {
                let wrong = (0..FILE_PAGES).find(|index| {
                    let stored = self.memory.machine().stored(model.file.id(), *index);
                    stored != *model.pages[*index as usize] && !model.may_be_lost.contains(index)
                });
                wrong.map_or(Ok(()), |index| {
                    Err(format!(
                        "file {number}: page {index} is not in the store after a sync"
                    ))
                })
            }
            Ok(()) => Ok(()),
            Err(Errno::EIO) if self.refused || !model.may_be_lost.is_empty() => Ok(()),
            Err(error) => Err(format!("file {number}: sync: {error:?}")),
        }
    }

    // Errors.

    fn frame_of(&self, space: &AddressSpace, page: VirtualPage) -> Option<Pfn> {
        match self.memory.entry(space, page.address()) {
            crate::Entry::Page(pfn, _) => Some(pfn),
            _ => None,
        }
    }

    fn poison_page(&mut self, process: usize, page: VirtualPage, line: u32) {
        if let Some(pfn) = self.frame_of(&self.processes[process].space, page) {
            self.poison_frame(pfn, line);
        }
    }

    fn poison_frame(&mut self, pfn: Pfn, line: u32) {
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

    fn mark_lost(&mut self, pfn: Pfn) {
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

    fn scrub(&mut self, a: u32) {
        if let Some(pfn) = self.memory.machine().any_poisoned(a as usize) {
            // Known errors are found again and again.
            let _ = self.memory.memory_failure(pfn, Context::default());
        }
    }

    fn soft_offline(&mut self, process: usize, page: VirtualPage) -> Checked {
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

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Tries an access on a CPU, and resolves the fault or memory error that it ends in. `None`: it
/// succeeded.
///
/// # Errors
///
/// The CPU reached a frame that it must not reach.
pub fn try_access(
    memory: &Memory<SimMachine>,
    space: &AddressSpace,
    cpu: usize,
    page: VirtualPage,
    access: Access,
    mut act: impl FnMut(&SimMachine, Pfn) -> bool,
) -> Result<Option<Outcome>, String> {
    let machine = memory.machine();
    let root = memory.root(space);
    let done = machine.translated(cpu, space.id(), root, page, access, |pfn| {
        let state = memory.frame_state(pfn);
        if matches!(state, Some(FrameState::Anonymous | FrameState::File { .. })) {
            return Ok((pfn, act(machine, pfn)));
        }
        Err(format!("a CPU reached {pfn:?}, which is {state:?}"))
    });
    match done {
        None => Ok(Some(memory.fault(space, page.address(), access))),
        Some(Err(what)) => Err(what),
        Some(Ok((_, true))) => Ok(None),
        Some(Ok((pfn, false))) => {
            let consumer = Consumer {
                space: space.id(),
                address: page.address(),
            };
            let context = Context {
                consumer: Some(consumer),
                simulated: false,
            };
            match memory.memory_failure(pfn, context) {
                Ok(report) => Ok(Some(
                    report.signal.map_or(Outcome::Resolved, Outcome::Sigbus),
                )),
                Err(Errno::EHWPOISON) => Ok(Some(Outcome::Resolved)),
                Err(error) => Err(format!("memory_failure: {error:?}")),
            }
        }
    }
}

fn span(c: u32, d: u32) -> (usize, usize) {
    let offset = if d >> 20 & 3 == 0 {
        0
    } else {
        (c >> 8) as usize % PAGE_SIZE
    };
    let length = match d >> 16 & 7 {
        0..3 => PAGE_SIZE,
        _ => 1 + (d >> 4) as usize % 200,
    };
    (offset, length.min(PAGE_SIZE - offset))
}

fn protection(number: u32) -> Protection {
    match number >> 12 & 15 {
        0 => Protection::NONE,
        1..4 => Protection::READ,
        _ => Protection::READ_WRITE,
    }
}

fn replay(script: &[Step]) -> Result<Counts, Failure> {
    replay_in(World::new(), script)
}

/// Runs a script whose allocation number `refuse` is refused, and returns whether it has so many.
///
/// # Errors
///
/// The first broken promise.
pub fn run_refusing(script: &Script, refuse: u32) -> Result<bool, Failure> {
    let world = World::new();
    world.memory.machine().refuse_allocation(refuse);
    replay_in(world, &script.0).map(|counts| counts.refused > 0)
}

/// The steps that `seed` stands for.
pub fn script(seed: u64, steps: usize) -> Script {
    let mut random = Random(seed);
    Script((0..steps).map(|_| Step::random(&mut random)).collect())
}

fn replay_in(mut world: World, script: &[Step]) -> Result<Counts, Failure> {
    for (number, step) in script.iter().enumerate() {
        world
            .step(*step)
            .map_err(|what| Failure { step: number, what })?;
    }
    world.finish().map_err(|what| Failure {
        step: script.len(),
        what,
    })
}

/// Runs a script.
///
/// # Errors
///
/// The first broken promise.
pub fn run_script(script: &Script) -> Result<Counts, Failure> {
    replay(&script.0)
}

/// Runs `steps` random steps from `seed`.
///
/// # Errors
///
/// A script that breaks a promise, and how; see [`shrink`].
pub fn run(seed: u64, steps: usize) -> Result<Counts, (Script, Failure)> {
    let script = script(seed, steps);
    replay(&script.0).map_err(|failure| (script, failure))
}

/// The shortest failing script that removing steps leads to.
pub fn shrink(script: &Script) -> Script {
    let mut steps = script.0.clone();
    if let Err(failure) = replay(&steps) {
        steps.truncate(failure.step + 1);
    }
    let mut size = steps.len().next_power_of_two();
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut shorter = steps.clone();
            shorter.drain(at..(at + size).min(steps.len()));
            if replay(&shorter).is_err() {
                steps = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    Script(steps)
}
