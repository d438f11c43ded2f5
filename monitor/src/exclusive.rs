//! How to run a load-exclusive and its store-exclusive in one go.
//!
//! An exception between the two makes the store fail, so stepping over them one by one never gets
//! anywhere. Instead the guest runs on from the load with its page mapped and interrupts masked, and
//! breakpoints stand at every way out. They must be few, and the run must end whatever happens:
//!
//! * The way through ends after the store-exclusive.
//! * A branch that leaves the window between the two ends at its target. So does a branch to before
//!   the load, such as that of a lock that is waited for with WFE.
//! * An exception ends at its vector, where the caller has a breakpoint of its own.
//! * What cannot be followed is refused: indirect branches, exception returns, instructions that wait
//!   or change how exceptions are taken.
//! * A branch back to the load itself, or to something between the two, has no place for a
//!   breakpoint: the first pass goes through there, too. [`RunThrough::repeats`] says so, and the
//!   caller has to bound the time; or it steps while the loop is not expected to end.

use crate::instruction::{Class, classify};
use crate::pattern::{Pattern, pattern, signed_field};
use crate::watch::Reach;

/// The most instructions that are looked at, the load-exclusive included.
pub const WINDOW: usize = 24;

/// The most breakpoints a CPU can have (`ID_AA64DFR0_EL1.BRPs`).
pub const MAX_STOPS: usize = 16;

/// Where a run has to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunThrough {
    stops: [u64; MAX_STOPS],
    count: usize,
    repeats: bool,
    reach: Reach,
}

// Branches, exception generation and system instructions: op0 101.
const BRANCH: Pattern = pattern(".00101 ..........................");
const BRANCH_CONDITIONAL: Pattern = pattern("0101010 0 ................... . ....");
const COMPARE_AND_BRANCH: Pattern = pattern(".011010 . ................... .....");
const TEST_AND_BRANCH: Pattern = pattern(".011011 . ..... .............. .....");
/// `CB<cc>`, `CBB<cc>`, `CBH<cc>` (`FEAT_CMPBR`).
const COMPARE_REGISTERS_AND_BRANCH: Pattern = pattern(".1110100 ... ..... .. ......... .....");
const COMPARE_IMMEDIATE_AND_BRANCH: Pattern = pattern(".1110101 ... ...... . ......... .....");
const EXCEPTION: Pattern = pattern("11010100 ........................");
const BRANCH_REGISTER: Pattern = pattern("1101011 .........................");
const SYSTEM: Pattern = pattern("1101010100 ......................");
const SYSTEM_PAIR: Pattern = pattern("1101010101 ......................");
const HINT: Pattern = pattern("1101010100 0 00 011 0010 .... ... .....");
const BARRIER: Pattern = pattern("1101010100 0 00 011 0011 .... ... 11111");
/// MRS, which changes nothing.
const SYSTEM_READ: Pattern = pattern("1101010100 1 1. ... .... .... ... .....");
/// All that access memory: loads and stores, SVE, SME.
const MEMORY: [Pattern; 3] = [
    pattern("....1.0. ........................"),
    pattern("...0010. ........................"),
    pattern("...0000. ........................"),
];
const WFE: u32 = 0xd503_205f;
const WFI: u32 = 0xd503_207f;

/// Where to stop a run that starts at `pc`, whose code is `code`: it begins with the load-exclusive.
///
/// `None` if `code` does not begin with one, if there is no store-exclusive in the first
/// [`WINDOW`] instructions, if one before it cannot be followed, or if more than `breakpoints` would
/// be needed.
#[must_use]
pub fn scan(code: &[u32], pc: u64, breakpoints: usize) -> Option<RunThrough> {
    let code = &code[..code.len().min(WINDOW)];
    let is_load = matches!(classify(*code.first()?), Class::LoadExclusive(_));
    if !is_load {
        return None;
    }
    let store =
        (code.iter()).position(|word| matches!(classify(*word), Class::StoreExclusive(_)))?;
    let at = |index: usize| pc.wrapping_add(4 * index as u64);
    let mut run = RunThrough {
        stops: [0; MAX_STOPS],
        count: 0,
        repeats: false,
        reach: Reach::Contiguous,
    };
    run.stop(at(store + 1), breakpoints)?;
    for (index, &word) in code.iter().enumerate().take(store).skip(1) {
        if MEMORY.iter().any(|group| group.matches(word)) {
            run.reach = Reach::Anywhere;
        }
        match flow(word) {
            Flow::On => {}
            Flow::Branch(offset) => {
                let target = at(index).wrapping_add_signed(offset);
                let from_load = target.wrapping_sub(pc);
                if from_load > 4 * store as u64 {
                    run.stop(target, breakpoints)?;
                } else if from_load <= 4 * index as u64 {
                    run.repeats = true;
                }
            }
            Flow::Unknown => return None,
        }
    }
    Some(run)
}

impl RunThrough {
    /// The addresses to stop at.
    #[must_use]
    pub fn stops(&self) -> &[u64] {
        &self.stops[..self.count]
    }

    /// Whether the code can branch back without passing a stop: then nothing but the caller bounds
    /// the run.
    #[must_use]
    pub const fn repeats(&self) -> bool {
        self.repeats
    }

    /// What is loaded on the way: by the load-exclusive alone, or by who knows what else.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        self.reach
    }

    fn stop(&mut self, address: u64, limit: usize) -> Option<()> {
        if self.stops().contains(&address) {
            return Some(());
        }
        if self.count >= limit {
            return None;
        }
        *self.stops.get_mut(self.count)? = address;
        self.count += 1;
        Some(())
    }
}

/// Where an instruction goes.
enum Flow {
    /// To the next one, or to a vector.
    On,
    /// To the next one or to one this many bytes away.
    Branch(i64),
    /// Who knows.
    Unknown,
}

fn flow(word: u32) -> Flow {
    let is = |pattern: Pattern| pattern.matches(word);
    let branch = |high, low| Flow::Branch(4 * signed_field(word, high, low));
    if is(BRANCH) {
        branch(25, 0)
    } else if is(BRANCH_CONDITIONAL) || is(COMPARE_AND_BRANCH) {
        branch(23, 5)
    } else if is(TEST_AND_BRANCH) {
        branch(18, 5)
    } else if is(COMPARE_REGISTERS_AND_BRANCH) || is(COMPARE_IMMEDIATE_AND_BRANCH) {
        branch(13, 5)
    } else if is(EXCEPTION) || is(BRANCH_REGISTER) || is(SYSTEM_PAIR) {
        Flow::Unknown
    } else if is(SYSTEM) {
        let harmless = (is(HINT) && word != WFE && word != WFI) || is(BARRIER) || is(SYSTEM_READ);
        if harmless { Flow::On } else { Flow::Unknown }
    } else {
        Flow::On
    }
}
