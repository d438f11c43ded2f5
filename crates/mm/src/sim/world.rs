//! The world that scripts run in: steps on a manager, checked against the model.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec::Vec;

use super::machine::FIRST_FRAME;
use super::model::{FileModel, Process};
use super::pins::Pin;
use super::swap::SLOTS;
use super::{CPUS, Kind, SimMachine, Step, try_access};
use crate::{
    Access, Advice, Entry, FileKind, FrameState, HugePolicy, Locking, Memory, OnFork, Outcome,
    PAGE_SHIFT, PAGE_SIZE, Pfn, Sharing, Statistics, VirtualPage,
};

/// Tables, and with them huge pages, are small here, so that programs need little memory.
pub(super) const INDEX_BITS: u32 = 4;
pub(super) const FRAMES: u32 = 320;
/// The pages processes use: all that one last-level table spans, which may be a huge page, and
/// some of its neighbours'.
pub(super) const WINDOW: u64 = (7 << INDEX_BITS) - 6;
pub(super) const WINDOW_PAGES: u32 = 28;
/// More than a huge page.
pub(super) const FILE_PAGES: u32 = 18;
pub(super) const HUGE_SIZE: u64 = (PAGE_SIZE << INDEX_BITS) as u64;
/// So many corrected errors are too many.
pub(super) const THRESHOLD: u16 = 3;
pub(super) const PROCESSES: usize = 5;
pub(super) const ATTEMPTS: usize = 8;

macro_rules! counts {
    ($($(#[$doc:meta])+ $name:ident = $title:literal,)+) => {
        /// What happened in a run.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Counts {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl core::ops::AddAssign for Counts {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }

        impl Counts {
            /// All of them, each with its name and with what a reader calls it.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), $title, self.$name)),+].into_iter()
            }
        }
    };
}

counts! {
    /// Steps.
    steps = "steps",
    /// Lines poisoned.
    injected = "lines poisoned",
    /// Frames whose poison was consumed.
    consumed = "frames consumed",
    /// Frames that are isolated in the end.
    isolated = "frames isolated",
    /// `SIGBUS` for memory errors.
    signals = "SIGBUS",
    /// Operations that failed because something was refused.
    refused = "refused operations",
    /// Scans after which pages shared frames by contents.
    merged = "merging scans",
    /// Frames so shared that failed, and that nobody lost.
    healed = "frames healed",
    /// Blocks of frames out of which pages were moved.
    emptied = "blocks emptied",
    /// Accesses through a block that maps a huge page.
    huge = "huge accesses",
    /// Huge pages that could not be split when a page of theirs failed, once for each process.
    unsplit = "huge pages unsplit",
    /// Huge pages that took the place of small ones.
    collapsed = "huge pages made",
    /// Huge pages of the pool that were mapped after a step, once for each process.
    pooled = "mappings of the pool",
    /// Huge pages that had to be given up to the process that owns them.
    taken = "huge pages taken",
    /// Huge pages of the pool that an error left in small pieces.
    dissolved = "huge pages dissolved",
    /// Pages that advice put into swap.
    swapped = "pages swapped out",
    /// Frames that failed, and whose page was read again from swap.
    reread = "frames in swap too",
}

/// A manager of so many simulated frames, with the tables of the hardware.
pub fn memory(frames: u32) -> Memory<SimMachine> {
    memory_with(frames)
}

/// A manager of so many simulated frames, with tables of `2^INDEX_BITS` entries.
pub fn memory_with<const INDEX_BITS: u32>(frames: u32) -> Memory<SimMachine<INDEX_BITS>> {
    let usable = Pfn(FIRST_FRAME)..Pfn(FIRST_FRAME + u64::from(frames));
    Memory::new(SimMachine::new(frames), &[usable]).expect("there are frames")
}

pub(super) type Checked<T = ()> = Result<T, String>;

/// Memory, processes, files, and what they must contain.
pub struct World {
    pub(super) memory: Memory<SimMachine<INDEX_BITS>>,
    pub(super) processes: Vec<Process>,
    pub(super) files: Vec<FileModel>,
    pub(super) pins: Vec<Pin>,
    /// How many corrected errors a frame has had.
    pub(super) corrected: BTreeMap<Pfn, u16>,
    /// Frames that failed while swap had their page too, as it still has.
    pub(super) latent: BTreeSet<Pfn>,
    pub(super) next_ticket: u32,
    /// Something was refused in this step.
    pub(super) refused: bool,
    pub(super) counts: Counts,
    /// The errors there were, as far as the oracle knows.
    pub(super) errors: Statistics,
}

impl World {
    /// One process with nothing mapped, two files on a store and one in memory.
    pub fn new() -> Self {
        let memory = memory_with::<INDEX_BITS>(FRAMES);
        let kinds = [
            FileKind::Stored,
            FileKind::Stored,
            FileKind::Memory,
            FileKind::Hugetlb,
        ];
        let files = kinds.iter().enumerate().map(|(number, kind)| {
            let size = match kind {
                FileKind::Hugetlb => HUGE_SIZE,
                _ => u64::from(FILE_PAGES) * PAGE_SIZE as u64,
            };
            let file = memory.create_file(*kind, size).expect("there is memory");
            let pages = (0..FILE_PAGES)
                .map(|index| {
                    let mut page = [0; PAGE_SIZE];
                    if *kind == FileKind::Stored {
                        page.fill(1 + (number as u8) * 16 + index as u8);
                        memory.machine().preset(file.id(), index, page);
                    }
                    Rc::new(page)
                })
                .collect();
            FileModel {
                file,
                size,
                pages,
                may_be_lost: Default::default(),
                dirty: match kind {
                    FileKind::Stored => Default::default(),
                    FileKind::Memory | FileKind::Hugetlb => (0..FILE_PAGES).collect(),
                },
                lost: Default::default(),
                may_report: false,
            }
        });
        let files = files.collect();
        memory.set_huge_policy(HugePolicy::Always);
        let space = memory.create().expect("there is memory");
        // Contents that more than two pages share have several frames.
        let two = memory.set_ksm_max_page_sharing(2);
        two.expect("nothing is merged yet");
        memory.set_corrected_threshold(THRESHOLD);
        memory.swap_on(SLOTS).expect("there is memory");
        let merging = memory.set_memory_merge(&space, true);
        merging.expect("it needs no memory");
        let processes = std::vec![Process {
            space,
            early_kill: false,
            merges_all: true,
            lock_later: Locking::Unlocked,
            pages: Default::default()
        }];
        Self {
            memory,
            processes,
            files,
            pins: Vec::new(),
            corrected: Default::default(),
            latent: Default::default(),
            next_ticket: 0,
            refused: false,
            counts: Counts::default(),
            errors: Statistics::default(),
        }
    }

    /// Refuses the allocation after the next `after`.
    pub fn refuse_allocation(&self, after: u32) {
        self.memory.machine().refuse_allocation(after);
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
        self.expect_shortage();
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
            Kind::MapPooled => self.map_pooled(process, c, d)?,
            Kind::Pool => self.pool(c, d)?,
            Kind::Unmap => self.unmap(process, page, c)?,
            Kind::Remap => self.remap(process, page, c, d)?,
            Kind::Lock => self.lock(process, page, c, d)?,
            Kind::Protect => self.protect(process, page, c, d)?,
            Kind::DontNeed => self.advise(process, page, c, Advice::DontNeed)?,
            Kind::Free => self.advise(process, page, c, Advice::Free)?,
            Kind::InjectFailure => self.inject_failure(process, page, c)?,
            Kind::SoftOfflineRange => self.soft_offline_range(process, page, c)?,
            Kind::OnFork => {
                let on_fork = [OnFork::Inherit, OnFork::Omit, OnFork::Wipe][d as usize % 3];
                self.advise(process, page, c, Advice::Fork(on_fork))?;
            }
            Kind::PageOut => self.page_out(process, page, c, d)?,
            Kind::SwapOff => self.swap_off()?,
            Kind::Huge => self.huge(process, page, c, d)?,
            Kind::Split => self.split(process, page)?,
            Kind::Collapse => self.collapse(process, page, c, d)?,
            Kind::Populate => self.populate(process, page, c, d)?,
            Kind::Pin => self.pin(process, page, c)?,
            Kind::Unpin => self.unpin(a),
            Kind::PinnedAccess => self.pinned_access(a, c, d)?,
            Kind::Fork => self.fork(process)?,
            Kind::Exit => self.exit(process)?,
            Kind::EarlyKill => self.early_kill(process, b & 1 == 0),
            Kind::Read => self.read(a, b, c)?,
            Kind::Write => self.write(a, b, c, d)?,
            Kind::Sync => self.sync(a)?,
            Kind::Reclaim => self.reclaim(a)?,
            Kind::Truncate => self.truncate(a, b, c)?,
            Kind::Poison => self.poison_page(process, page, c),
            Kind::PoisonFrame => self.poison_frame(Pfn(FIRST_FRAME + u64::from(b % FRAMES)), c),
            Kind::Scrub => self.scrub(a)?,
            Kind::StoreAlike => self.store_alike(process, page, c)?,
            Kind::Mergeable => self.mergeable(process, page, c, d)?,
            Kind::Scan => self.scan(c)?,
            Kind::PoisonMerged => self.poison_merged(b, c),
            Kind::Compact => self.compact(c)?,
            Kind::EmptyBlock => self.empty_block(process, page, c)?,
            Kind::TuneKsm => self.tune_ksm(c, d)?,
            Kind::CorrectedError => self.corrected_error(process, page, c)?,
            Kind::SoftOffline => self.soft_offline(process, page)?,
        }
        self.check()
    }

    fn check(&mut self) -> Checked {
        self.refused |= self.memory.machine().take_refused();
        self.note_lost_blocks()?;
        self.counts.refused += u64::from(std::mem::take(&mut self.refused));
        for pfn in self.memory.machine().take_consumed() {
            self.counts.consumed += 1;
            if !self.memory.is_poisoned(pfn) {
                return Err(format!("{pfn:?} was consumed and not isolated"));
            }
        }
        self.check_victims()?;
        self.note_blocks();
        self.check_pool()?;
        self.note_left_swap();
        self.check_pins()?;
        self.check_swap()?;
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
        self.counts.healed = self.memory.ksm_statistics().pages_healed;
        (0..self.pins.len()).for_each(|_| self.unpin(0));
        let memory = &self.memory;
        self.processes
            .drain(..)
            .for_each(|process| memory.destroy(process.space));
        self.files
            .drain(..)
            .for_each(|model| memory.close(model.file));
        memory.set_hugetlb_pages(0);
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
        let swap = memory.swap_statistics();
        if swap.free != swap.slots || memory.machine().swapped() > 0 {
            return Err("slots of swap have leaked".to_string());
        }
        self.counts.isolated = isolated as u64;
        Ok(self.counts)
    }

    pub(super) fn out_of_memory(&mut self) -> Checked {
        self.refused |= self.memory.machine().take_refused();
        // An operation that needed several gave back those it got.
        if self.refused || self.memory.free_frames() < 8 {
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
        let mut seen = [0; PAGE_SIZE];
        let seen = &mut seen[..length];
        let ended = self.access(process, page, cpu, Access::Load, |machine, pfn| {
            machine.cpu_load(pfn, offset, seen).is_ok()
        })?;
        let owner = &mut self.processes[process];
        if let (true, Some(model)) = (ended, owner.pages.get_mut(&page)) {
            model.saw_freed(offset, seen);
            let must = &model.bytes(&self.files)[offset..offset + length];
            if seen != must {
                let at = seen.iter().zip(must).position(|(seen, must)| seen != must);
                return Err(format!(
                    "process {process} {page:?}+{offset}: wrong byte at {at:?}"
                ));
            }
            if length == PAGE_SIZE {
                self.all_was_reached(process, page);
            }
        }
        Ok(())
    }

    fn store(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        let (offset, length) = span(c, d);
        let bytes = [(c >> 3) as u8; PAGE_SIZE];
        self.store_bytes(process, page, d as usize % CPUS, offset, &bytes[..length])
    }

    /// Stores those of `bytes` that belong to the page.
    pub(super) fn store_bytes(
        &mut self,
        process: usize,
        page: VirtualPage,
        cpu: usize,
        offset: usize,
        mut bytes: &[u8],
    ) -> Checked {
        if let Some(model) = self.processes[process].pages.get(&page) {
            let end = model.storable(&self.files);
            bytes = &bytes[..bytes.len().min(end.saturating_sub(offset))];
        }
        self.may_dirty(process, page);
        let mut before = [0; PAGE_SIZE];
        let ended = self.access(process, page, cpu, Access::Store, |machine, pfn| {
            before = machine.peek(pfn);
            machine.cpu_store(pfn, offset, bytes);
            true
        })?;
        if ended && let Some(model) = self.processes[process].pages.get_mut(&page) {
            model.saw_freed(0, &before);
            model.freed = false;
            if before != *model.bytes(&self.files) {
                return Err(format!(
                    "process {process} {page:?}: stored to another page"
                ));
            }
            model.bytes_mut(&mut self.files)[offset..offset + bytes.len()].copy_from_slice(bytes);
            if bytes.len() == PAGE_SIZE {
                self.all_was_reached(process, page);
            }
        }
        Ok(())
    }

    /// A process read or wrote all of a page, so that none of its memory has failed.
    fn all_was_reached(&mut self, process: usize, page: VirtualPage) {
        let Some(model) = self.processes[process].pages.get_mut(&page) else {
            return;
        };
        match model.file_page() {
            Some((file, index)) => self.files[file].is_sound(index),
            None => model.may_be_lost = false,
        }
    }

    /// A store to a shared page of a file is about to be tried.
    pub(super) fn may_dirty(&mut self, process: usize, page: VirtualPage) {
        if let Some(model) = self.processes[process].pages.get(&page)
            && model.sharing == Sharing::Shared
            && let Some((file, index)) = model.file_page()
        {
            self.files[file].dirty.insert(index);
        }
    }

    /// An access, with all its faults. Returns whether it succeeded, if it might.
    pub(super) fn access(
        &mut self,
        process: usize,
        page: VirtualPage,
        cpu: usize,
        access: Access,
        mut act: impl FnMut(&SimMachine<INDEX_BITS>, Pfn) -> bool,
    ) -> Checked<bool> {
        for _ in 0..ATTEMPTS {
            let space = &self.processes[process].space;
            match try_access(&self.memory, space, cpu, page, access, &mut act)? {
                None => {
                    let shift = self.memory.mapping_shift(space, page.address());
                    self.counts.huge += u64::from(shift > PAGE_SHIFT);
                    self.note_blocks();
                    return self.succeeded(process, page, access);
                }
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
            Some(model) if model.is_beyond_end(&self.files) => Err(format!(
                "process {process} reached {page:?} beyond the end of its file"
            )),
            Some(model) if model.taken => Err(format!(
                "process {process} reached {page:?}, which it had to give up"
            )),
            Some(model) if model.is_lost(&self.files) => Err(format!(
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
        self.note_lost_blocks()?;
        let space = &self.processes[process].space;
        let shift = match self.memory.entry(space, page.address()) {
            // What is lost is the file's.
            Entry::Reserved => PAGE_SHIFT,
            _ => self.memory.mapping_shift(space, page.address()),
        };
        let models = &self.processes[process].pages;
        let no_page = models
            .get(&page)
            .is_some_and(|model| self.may_have_no_page(process, model));
        let model = self.processes[process].pages.get_mut(&page);
        match (outcome, model) {
            (Outcome::Oom, _) => self.out_of_memory(),
            (Outcome::Sigsegv(_), None) => Ok(()),
            (Outcome::Sigsegv(_), Some(model)) if !model.protection.allows(access) => Ok(()),
            (Outcome::Sigbus(bus), Some(model))
                if !bus.code.is_memory_error()
                    && bus.address == page.address()
                    && (self.refused || model.is_beyond_end(&self.files) || no_page) =>
            {
                Ok(())
            }
            (Outcome::Sigbus(bus), Some(model))
                if bus.code.is_memory_error()
                    && bus.address == page.address()
                    && u32::from(bus.lsb) == shift
                    && model.may_fail(&self.files) =>
            {
                self.counts.signals += 1;
                model.tell(&mut self.files);
                Ok(())
            }
            _ => Err(format!(
                "process {process} {page:?} {access:?}: {outcome:?}"
            )),
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
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
