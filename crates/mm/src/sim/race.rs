//! Several CPUs, each with a process of its own, interleaved inside their operations, while
//! another one makes memory fail, moves pages and writes them back.
//!
//! Every process knows its own bytes: nobody else writes its private pages, or its part of the
//! shared ones.

use std::collections::BTreeSet;
use std::format;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex};
use std::thread;
use std::vec::Vec;

use super::machine::{CPUS, FIRST_FRAME, locked};
use super::racer::{Page, Racer};
use super::run::words;
use super::schedule::{Schedule, ended_operation};
use super::swap::SLOTS;
use super::world::{Checked, INDEX_BITS};
use super::{Random, SimMachine, memory_with};
use crate::compact::Obstacle;
use crate::{
    AddressSpace, Context, Entry, Errno, File, FileKind, FrameState, HugePolicy, Memory,
    PAGE_SHIFT, PAGE_SIZE, Pfn, Placement, Protection, Sharing, Source, VirtualPage,
};

const FRAMES: u32 = 960;
/// Pages of each sort, one sort after the other: as many as a huge page has.
pub(super) const EACH: usize = 1 << INDEX_BITS;
/// Where a huge page may start.
const FIRST_PAGE: u64 = 7 << INDEX_BITS;
/// What the read-only file holds.
pub(super) const STORED: u8 = 0x11;
/// How much of a shared page each process writes.
pub(super) const PART: usize = PAGE_SIZE / CPUS;

/// What a page of a process shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Private,
    /// Private, of a file that nobody writes: until it is copied it cannot be lost.
    Copied,
    /// Private, in a huge page of the pool.
    Pooled,
    /// Shared, of a file in memory.
    Memory,
    /// Shared, of a file in huge pages of the pool.
    PooledFile,
    /// Shared, of a file on a store.
    Disk,
}

/// First those that are private.
pub(super) const SORTS: [Sort; 6] = [
    Sort::Private,
    Sort::Copied,
    Sort::Pooled,
    Sort::Memory,
    Sort::PooledFile,
    Sort::Disk,
];
/// How many of them are.
pub(super) const PRIVATE: usize = 3;
/// What the pool should have: a page for each process, another while one maps its own again, one
/// for a child, and the file's.
const POOL: u64 = 3 * CPUS as u64 + 1;

/// CPUs that make things hard.
const SPOILERS: usize = 2;

/// What happened in races.
#[derive(Clone, Copy, Debug, Default)]
pub struct RaceCounts {
    /// Operations of the processes.
    pub operations: u64,
    /// `SIGBUS` for memory errors.
    pub signals: u64,
    /// Lines poisoned and errors reported.
    pub injected: u64,
    /// Pages moved.
    pub moved: u64,
    /// Huge pages split for no reason.
    pub split: u64,
    /// Pages reclaimed.
    pub reclaimed: u64,
    /// How often swap was emptied.
    pub swaps_ended: u64,
    /// Pages written back.
    pub synced: u64,
    /// Blocks of frames that were emptied.
    pub emptied: u64,
    /// Frames shared by contents that failed, and that nobody lost.
    pub healed: u64,
}

impl core::ops::AddAssign for RaceCounts {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.signals += other.signals;
        self.injected += other.injected;
        self.moved += other.moved;
        self.split += other.split;
        self.reclaimed += other.reclaimed;
        self.swaps_ended += other.swaps_ended;
        self.synced += other.synced;
        self.emptied += other.emptied;
        self.healed += other.healed;
    }
}

/// What all CPUs share.
pub(super) struct Track {
    pub(super) memory: Memory<SimMachine<INDEX_BITS>>,
    pub(super) spaces: Vec<AddressSpace>,
    /// Of those sorts that have one.
    files: Vec<Arc<File>>,
    /// The frames that were made to fail.
    pub(super) failed: Mutex<BTreeSet<Pfn>>,
}

/// Runs a race of so many operations of each process.
///
/// # Errors
///
/// What is wrong.
pub fn race(seed: u64, operations: u32) -> Result<RaceCounts, String> {
    let track = Track::new();
    let schedule = Schedule::new(seed, CPUS + SPOILERS);
    let (track_ref, schedule) = (&track, &schedule);
    let ends = thread::scope(|scope| {
        let mut threads = Vec::new();
        for cpu in 0..CPUS {
            let racer = Racer::new(track_ref, cpu, Random(seed.wrapping_mul(31) + cpu as u64));
            threads.push(scope.spawn(move || schedule.run(cpu, || racer.run(operations))));
        }
        for spoiler in 0..SPOILERS {
            let random = Random(!seed.wrapping_mul(33) - spoiler as u64);
            let spoil = move || track_ref.spoil(spoiler, random, operations);
            threads.push(scope.spawn(move || schedule.run(CPUS + spoiler, spoil)));
        }
        let ends = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ends.collect::<Vec<_>>()
    });
    let mut counts = RaceCounts::default();
    let mut racers = Vec::new();
    for end in ends {
        let (more, pages) = end.map_err(|payload| words(&*payload))??;
        counts += more;
        racers.push(pages);
    }
    counts.healed = track.memory.ksm_statistics().pages_healed;
    track.finish(&racers)?;
    Ok(counts)
}

impl Track {
    fn new() -> Self {
        let memory = memory_with::<INDEX_BITS>(FRAMES);
        memory.set_huge_policy(HugePolicy::Always);
        memory.swap_on(SLOTS).expect("there is memory");
        memory.set_hugetlb_pages(POOL);
        let kinds = [
            FileKind::Stored,
            FileKind::Memory,
            FileKind::Stored,
            FileKind::Hugetlb,
        ];
        let size = (EACH * PAGE_SIZE) as u64;
        let files = kinds.map(|kind| memory.create_file(kind, size).expect("there is memory"));
        for index in 0..EACH as u32 {
            let page = [STORED; PAGE_SIZE];
            memory.machine().preset(files[0].id(), index, page);
        }
        let two = memory.set_ksm_max_page_sharing(2);
        two.expect("nothing is merged yet");
        let spaces = (0..CPUS).map(|_| memory.create().expect("there is memory"));
        let spaces = spaces.collect();
        let track = Self {
            memory,
            spaces,
            files: files.into(),
            failed: Mutex::default(),
        };
        for space in &track.spaces {
            let mapped = (0..SORTS.len()).try_for_each(|sort| track.map(space, sort));
            mapped.expect("there is memory");
            let merging = track.memory.set_memory_merge(space, true);
            merging.expect("it needs no memory");
        }
        track
    }

    /// Maps the pages of a sort, in place of what is there.
    pub(super) fn map(&self, space: &AddressSpace, sort: usize) -> Result<(), Errno> {
        let (sharing, source) = match SORTS[sort] {
            Sort::Private => (Sharing::Private, Source::Anonymous),
            Sort::Copied => (Sharing::Private, Source::File(&self.files[0], 0)),
            Sort::Pooled => (Sharing::Private, Source::Hugetlb),
            Sort::PooledFile => (Sharing::Shared, Source::File(&self.files[3], 0)),
            Sort::Memory => (Sharing::Shared, Source::File(&self.files[1], 0)),
            Sort::Disk => (Sharing::Shared, Source::File(&self.files[2], 0)),
        };
        let placement = Placement::Fixed(page(sort * EACH).address());
        let length = (EACH * PAGE_SIZE) as u64;
        let protection = Protection::READ_WRITE;
        self.memory
            .mmap(space, placement, length, protection, sharing, source)
            .map(|_| ())?;
        // Those without an equal are scanned in vain.
        if SORTS[sort] == Sort::Private {
            return self.memory.set_memory_merge(space, true);
        }
        Ok(())
    }

    /// Makes memory fail, moves pages and writes them back.
    fn spoil(
        &self,
        spoiler: usize,
        mut random: Random,
        operations: u32,
    ) -> Checked<(RaceCounts, Vec<Page>)> {
        let mut counts = RaceCounts::default();
        let memory = &self.memory;
        for _ in 0..operations {
            let space = &self.spaces[random.below(CPUS as u32) as usize];
            let number = random.below((SORTS.len() * EACH) as u32) as usize;
            let pfn = match memory.entry(space, page(number).address()) {
                Entry::Page(pfn, _) => pfn,
                _ => Pfn(FIRST_FRAME + u64::from(random.below(FRAMES))),
            };
            match random.below(30) {
                0 => counts.injected += u64::from(self.poison(pfn, random.below(64))),
                1 => counts.injected += u64::from(self.fail(pfn)),
                // It may be on its way to a process or a cache; the next one, to be allocated.
                22 | 23 => {
                    let filled = memory.machine().last_filled().0 + u64::from(random.below(2));
                    counts.injected += u64::from(self.fail(Pfn(filled)));
                }
                2 | 3 => counts.moved += u64::from(memory.soft_offline(pfn).is_ok()),
                // Callers keep writers and syncs of one file apart.
                4..8 if spoiler == 0 => {
                    counts.synced += u64::from(memory.sync(&self.files[2]).is_ok());
                }
                8..12 => self.read(&mut random)?,
                12 => memory.machine().refuse_allocation(random.below(6)),
                13..18 => drop(memory.ksm_scan(1 + random.below(40) as usize)),
                18 => drop(memory.ksm_unmerge_all()),
                19..22 => {
                    counts.emptied += u64::from(self.empty_block(pfn, random.below(4)));
                }
                25 | 26 => {
                    counts.reclaimed += memory.reclaim(1 + random.below(6) as usize) as u64;
                }
                27 => {
                    memory.set_hugetlb_pages(POOL - u64::from(random.below(5)));
                }
                28 => {
                    memory.set_hugetlb_pages(POOL);
                }
                29 => self.swap_off(&mut counts)?,
                24 => counts.split += u64::from(self.split(space, number)),
                _ => drop(memory.reclaim(2)),
            }
            ended_operation();
        }
        Ok((counts, Vec::new()))
    }

    /// Brings everything back from swap, if there is room for it.
    fn swap_off(&self, counts: &mut RaceCounts) -> Checked {
        match self.memory.swap_off() {
            Ok(()) => counts.swaps_ended += 1,
            // The other CPU does the same, or it was refused memory for swap.
            Err(Errno::EINVAL | Errno::ENOMEM) => {}
            Err(error) => return Err(format!("swapoff: {error:?}")),
        }
        match self.memory.swap_on(SLOTS) {
            Ok(()) | Err(Errno::EBUSY | Errno::ENOMEM) => Ok(()),
            Err(error) => Err(format!("swapon: {error:?}")),
        }
    }

    /// Whether a huge page was there, and is split.
    fn split(&self, space: &AddressSpace, number: usize) -> bool {
        let at = page(number).address();
        let Entry::Page(pfn, _) = self.memory.entry(space, at) else {
            return false;
        };
        self.memory.mapping_shift(space, at) > PAGE_SHIFT && self.memory.split(pfn).is_ok()
    }

    /// Poisons a line of a frame, unless it is the kernel's at this moment.
    fn poison(&self, pfn: Pfn, line: u32) -> bool {
        let state = self.memory.frame_state(pfn);
        if matches!(state, Some(FrameState::Table | FrameState::Isolated)) {
            return false;
        }
        locked(&self.failed).insert(pfn);
        self.memory.machine().poison(pfn, line as usize);
        true
    }

    /// Reports an error in a frame. Returns whether it was news.
    fn fail(&self, pfn: Pfn) -> bool {
        locked(&self.failed).insert(pfn);
        let report = self.memory.memory_failure(pfn, Context::default());
        report.is_ok()
    }

    /// Moves everything out of the block that a frame is in.
    fn empty_block(&self, pfn: Pfn, order: u32) -> bool {
        let start = pfn.0 >> order << order;
        match self.memory.empty(Pfn(start)..Pfn(start + (1 << order))) {
            Ok(()) => true,
            Err(Obstacle::Poisoned(pfn)) => {
                self.memory.isolate_consumed(pfn);
                false
            }
            Err(_) => false,
        }
    }

    /// Reads the file that nobody writes.
    fn read(&self, random: &mut Random) -> Checked {
        let mut seen = [0; 600];
        let position = u64::from(random.below((EACH * PAGE_SIZE) as u32 - 600));
        match self.memory.read_file(&self.files[0], position, &mut seen) {
            Ok(done) if seen[..done].iter().all(|byte| *byte == STORED) => Ok(()),
            // Another CPU brings the page in, or something was refused.
            Err(Errno::EBUSY | Errno::ENOMEM) => Ok(()),
            other => Err(format!("read: {other:?}")),
        }
    }

    /// Writes the file on the store back, and checks it there, but for pages that are lost.
    fn check_disk(&self, racers: &[Vec<Page>]) -> Checked {
        let file = &self.files[2];
        // An error may be one of those that a process has not met.
        let _ = self.memory.sync(file);
        for index in 0..EACH {
            let mut seen = [0; PAGE_SIZE];
            let position = (index * PAGE_SIZE) as u64;
            if self.memory.read_file(file, position, &mut seen) != Ok(PAGE_SIZE) {
                continue;
            }
            let stored = self.memory.machine().stored(file.id(), index as u32);
            for (cpu, pages) in racers.iter().enumerate().take(CPUS) {
                let part = cpu * PART..(cpu + 1) * PART;
                let must = &pages[(SORTS.len() - 1) * EACH + index].bytes[part.clone()];
                if seen[part.clone()] != *must || stored[part] != *must {
                    return Err(format!("page {index} is not in the store after a sync"));
                }
            }
        }
        Ok(())
    }

    /// Looks at what is left when nobody runs.
    fn finish(mut self, racers: &[Vec<Page>]) -> Checked {
        let memory = &self.memory;
        let violation = |violation| format!("{violation:?}");
        memory.machine().relent();
        memory.check().map_err(violation)?;
        for pfn in memory.machine().take_consumed() {
            if !memory.is_poisoned(pfn) {
                return Err(format!("{pfn:?} was consumed and not isolated"));
            }
        }
        self.check_disk(racers)?;
        self.spaces
            .drain(..)
            .for_each(|space| memory.destroy(space));
        self.files.drain(..).for_each(|file| memory.close(file));
        memory.set_hugetlb_pages(0);
        memory.check().map_err(violation)?;
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
        Ok(())
    }
}

/// The page of that number in every process.
pub(super) fn page(number: usize) -> VirtualPage {
    VirtualPage(FIRST_PAGE + number as u64)
}
