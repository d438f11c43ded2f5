//! How long a copy takes that fails at its first byte: fault, signal, fixup, landing pad.
//!
//! The floor is such a copy of a page that may not be accessed (`PROT_NONE`), with a bare handler
//! that does nothing but move the program counter: no file system is asked for the page, no table
//! is searched.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use copy::PAGE_SIZE;
use libc::{SIGBUS, SIGSEGV};
use seaworthy::Memory;

use crate::guard::{self, Mask};
use crate::memory::{Mapping, Place};
use crate::poison;
use crate::race::turns;
use crate::rivals;
use crate::signals::{self, Action, Restore};
use crate::statistics::{Sorted, ratio_median};

/// Bytes of the copy.
pub(crate) const BYTES: usize = 16;

pub(crate) const FLOOR: &str = "PROT_NONE floor";
pub(crate) const BARE_HANDLER: &str = "bare handler";

/// Why the source cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    PoisonedPage,
    TruncatedFile,
}

impl Failure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PoisonedPage => "poisoned page",
            Self::TruncatedFile => "truncated file",
        }
    }

    /// The rival that the target is about. The kernel asks the file system for a page of a file
    /// before it sends the signal, which no handler can avoid: so there it counts for both.
    pub(crate) fn floor(self) -> &'static str {
        match self {
            Self::PoisonedPage => FLOOR,
            Self::TruncatedFile => BARE_HANDLER,
        }
    }

    /// A mapping, and the offset of its bad page.
    fn make(self) -> Result<(Mapping, usize)> {
        match self {
            Self::PoisonedPage => Ok((poison::poisoned_page()?, 0)),
            Self::TruncatedFile => Ok((Mapping::truncated()?, PAGE_SIZE)),
        }
    }
}

/// One way to fail and go on.
struct Contestant {
    name: &'static str,
    action: Option<Action>,
    source: *const u8,
    /// Says whether it failed, as it should.
    fails: Box<dyn Fn(Place) -> bool>,
}

/// How long a contestant took, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) name: &'static str,
    pub(crate) p10: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Median of the ratios of our time to this contestant's.
    pub(crate) ratio_median: f64,
}

/// Lets the copy of the library, which comes first in the result, and its rivals fail in turns.
///
/// # Errors
///
/// If the memory cannot be made to fail here, or a copy that must fail does not.
pub(crate) fn measure(memory: Memory, failure: Failure, rounds: usize) -> Result<Vec<Latency>> {
    let (mapping, offset) = failure.make()?;
    let inaccessible = Mapping::inaccessible(PAGE_SIZE)?;
    let destination = Mapping::anonymous(PAGE_SIZE)?;
    let bad = mapping.start().wrapping_add(offset);
    let contestants = contestants(memory, bad, inaccessible.start())?;

    let actions: Vec<Action> = contestants.iter().filter_map(|c| c.action).collect();
    let _restore = Restore::these(&actions)?;
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..rounds {
        for index in turns(round, contestants.len()) {
            times[index].push(contestants[index].time(destination.start())?);
        }
    }
    let latency = |(contestant, theirs): (&Contestant, &Vec<f64>)| {
        let sorted = Sorted::new(theirs.clone());
        Latency {
            name: contestant.name,
            p10: sorted.quantile(0.1),
            p50: sorted.median(),
            p99: sorted.quantile(0.99),
            ratio_median: ratio_median(&times[0], theirs),
        }
    };
    Ok(contestants.iter().zip(&times).map(latency).collect())
}

fn contestants(memory: Memory, bad: *const u8, inaccessible: *const u8) -> Result<Vec<Contestant>> {
    let bus_error = |name, handler, fails| Contestant {
        name,
        action: Some(Action::handle(SIGBUS, handler)),
        source: bad,
        fails,
    };
    let ours = move |place: Place| {
        // SAFETY: both sides are mapped, and failures are what the library is for.
        unsafe { memory.copy(place.destination, place.source, place.length) }
            .is_err_and(|error| error.copied == 0)
    };
    let mut contestants = vec![
        Contestant {
            name: "ours",
            // Which `seaworthy::install` put there.
            action: Some(Action::in_force(SIGBUS)?),
            source: bad,
            fails: Box::new(ours),
        },
        Contestant {
            name: FLOOR,
            action: Some(Action::handle(SIGSEGV, signals::move_program_counter)),
            source: inaccessible,
            fails: fails(signals::floor_copy),
        },
        bus_error(
            BARE_HANDLER,
            signals::move_program_counter,
            fails(signals::floor_copy),
        ),
        bus_error(
            "siglongjmp(0)",
            guard::leave,
            fails(guard::copy(Mask::Kept)),
        ),
        bus_error(
            "siglongjmp(1)",
            guard::leave,
            fails(guard::copy(Mask::Saved)),
        ),
    ];
    if rivals::kernel_copies() {
        contestants.push(Contestant {
            name: rivals::PROCESS_VM_READV,
            action: None,
            source: bad,
            fails: fails(rivals::kernel_copy),
        });
    }
    Ok(contestants)
}

/// The failure of a copy that returns 1 then.
fn fails(copy: guard::GuardedCopy) -> Box<dyn Fn(Place) -> bool> {
    let copy = black_box(copy);
    Box::new(move |place| {
        // SAFETY: the destination is mapped, and a handler recovers from failures of the source.
        let failed = unsafe { copy(place.destination, place.source, place.length) };
        failed == 1
    })
}

impl Contestant {
    /// Nanoseconds of one failure. Its handler is put in force before, outside that time.
    fn time(&self, destination: *mut u8) -> Result<f64> {
        if let Some(action) = &self.action {
            action.install()?;
        }
        let place = Place {
            destination,
            source: self.source,
            length: BYTES,
        };
        let start = Instant::now();
        let failed = (self.fails)(place);
        let elapsed = start.elapsed();
        ensure!(failed, "{}: a copy that must fail did not", self.name);
        Ok(elapsed.as_secs_f64() * 1e9)
    }
}
