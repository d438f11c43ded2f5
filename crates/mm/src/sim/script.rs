//! Scripts: steps whose numbers choose among what there is, so that any part of a script means
//! something too.

use core::fmt;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::Random;

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
    /// `mmap(MAP_HUGETLB)`, or of a file of the pool.
    MapPooled 4,
    /// `vm.nr_hugepages` and `vm.nr_overcommit_hugepages`.
    Pool 2,
    /// `munmap`.
    Unmap 2,
    /// `mremap`.
    Remap 4,
    /// `mlock`, `munlock`, `mlockall`, `munlockall`.
    Lock 3,
    /// `mprotect`.
    Protect 4,
    /// `madvise(MADV_DONTNEED)`.
    DontNeed 2,
    /// `madvise(MADV_FREE)`.
    Free 2,
    /// `madvise(MADV_HWPOISON)`.
    InjectFailure 1,
    /// `madvise(MADV_SOFT_OFFLINE)`.
    SoftOfflineRange 1,
    /// `madvise(MADV_DONTFORK, ...)`.
    OnFork 2,
    /// `madvise(MADV_HUGEPAGE)`, `MADV_NOHUGEPAGE`, or another policy.
    Huge 2,
    /// Splits a huge page.
    Split 1,
    /// `madvise(MADV_COLLAPSE)`, or khugepaged.
    Collapse 3,
    /// `madvise(MADV_POPULATE_*)`.
    Populate 2,
    /// `get_user_pages`.
    Pin 3,
    /// Gives a pin back.
    Unpin 2,
    /// A load or store by a pin.
    PinnedAccess 4,
    /// `fork`.
    Fork 3,
    /// `exit`.
    Exit 2,
    /// `prctl(PR_MCE_KILL)`.
    EarlyKill 1,
    /// `read` of a file.
    Read 6,
    /// `write` to a file.
    Write 4,
    /// `fsync`.
    Sync 3,
    /// `ftruncate`, to less or more.
    Truncate 3,
    /// Reclaim under memory pressure.
    Reclaim 3,
    /// `madvise(MADV_PAGEOUT)`, `MADV_COLD`.
    PageOut 6,
    /// `swapoff`, and `swapon` again.
    SwapOff 1,
    /// Poisons a line of a page of a process.
    Poison 6,
    /// Poisons a line of any frame that is not the kernel's.
    PoisonFrame 2,
    /// A patrol scrubber finds a poisoned line.
    Scrub 1,
    /// A corrected error.
    CorrectedError 3,
    /// Soft offline.
    SoftOffline 2,
    /// A store of one of a few patterns to a whole page.
    StoreAlike 12,
    /// `madvise(MADV_MERGEABLE, ...)` and `prctl(PR_SET_MEMORY_MERGE)`.
    Mergeable 4,
    /// The scanner of merging at work.
    Scan 6,
    /// Poisons a line of a frame that pages share by contents.
    PoisonMerged 2,
    /// Settings of merging.
    TuneKsm 1,
    /// Compaction.
    Compact 1,
    /// Moves everything out of a block of frames.
    EmptyBlock 4,
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
    pub(super) fn random(random: &mut Random) -> Self {
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
