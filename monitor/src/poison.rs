//! Which lines are poisoned.
//!
//! Every CPU asks on every abort, so asking takes no lock. The set is a hash table of pages
//! with open addressing; one slot has all of a page's lines.
//!
//! # What keeps it right
//!
//! * **A line is one word.** Its *state* has whether it is poisoned, its policy, and a count of how
//!   often it was poisoned. Each change is one compare-and-swap, so whoever makes a line good is
//!   one caller, and one that saw an earlier poisoning cannot undo a later one. The count has 20
//!   bits: to be fooled, a CPU would have to be asleep between two loads while one line is poisoned
//!   exactly a multiple of 2^20 times.
//! * **A search never breaks.** A slot that was used stays used: it is passed on from page to page,
//!   never emptied, so no other page's chain of probes gets a hole. A page has at most one slot,
//!   because [`insert`](PoisonSet::insert) is serialised.
//! * **A slot is not passed on under a reader.** A reader takes a *lease*: it adds itself to the
//!   slot's users and looks at the page again. A slot is passed on only by swapping its users from
//!   none to a mark, after which no lease can be had until the new page stands. Nobody waits:
//!   a reader that comes too late goes on (the old page has no lines), an `insert` that finds a
//!   lease takes another slot.
//!
//! # Memory order
//!
//! The tables of stage 2 and this set are written by different CPUs in opposite orders:
//!
//! | injector | CPU that steps | CPU that maps a page again |
//! |---|---|---|
//! | `insert` | map the page for itself | map the page for all |
//! | unmap the page for all | `lines`, arm watchpoints | `lines`: unmap if not 0 |
//!
//! Either the second column's `lines` sees the new line, or the injector's unmapping comes after the
//! mapping, and its TLB invalidation after that. `insert` ends with a sequentially consistent
//! fence and `lines` begins with one; that makes it so, whatever the stores to the tables are,
//! as long as they are atomic.

use core::fmt;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

use control::{LINE, PAGE, Policy};

use crate::atomic::{AtomicU32, AtomicU64, fence};

/// Lines of a page.
const LINES: usize = (PAGE / LINE) as usize;

/// In `pages`: the slot belongs to the page whose address the other bits are.
const USED: u64 = 1;

/// In [`Slot::users`]: the slot is being passed on to another page.
const PASSING: u32 = 1 << 31;

/// In a state: the line is poisoned.
const POISONED: u32 = Policy::POISONED.bits();

/// In a state: the policy it was poisoned with.
const POLICY: u32 = (1 << 11) - 1;

/// In a state: one more poisoning.
const ONCE_MORE: u32 = POLICY + 1;

const _: () = assert!(Policy::all().bits() & !POISONED & !POLICY == 0);

/// Poisoned lines in up to `PAGES` pages.
///
/// All bytes zero is an empty set, too.
#[repr(C)]
pub struct PoisonSet<const PAGES: usize = 4096> {
    /// Whose each slot is, apart from the slots so that a search touches little memory.
    pages: [AtomicU64; PAGES],
    slots: [Slot; PAGES],
}

/// What is known about the lines of a page.
#[repr(C)]
struct Slot {
    /// The number of leases, and [`PASSING`].
    users: AtomicU32,
    /// The state of each line: [`POISONED`], a count, and the [`POLICY`].
    states: [AtomicU32; LINES],
    /// Lines that were poisoned since the slot is this page's: those whose state need be read.
    ever: AtomicU64,
    /// Which bytes of each line were overwritten since it was poisoned.
    written: [AtomicU64; LINES],
}

/// The right to use a slot as that of a certain page.
struct Lease<'a>(&'a Slot);

/// The set has lines in as many pages as it can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for more poisoned pages; clear some")
    }
}

impl core::error::Error for Full {}

impl<const PAGES: usize> Default for PoisonSet<PAGES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const PAGES: usize> PoisonSet<PAGES> {
    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pages: [const { AtomicU64::new(0) }; PAGES],
            slots: [const { Slot::new() }; PAGES],
        }
    }

    /// Which lines of the page at `page` are poisoned: bit `n` is the line at `64 * n`. Only the
    /// page number of `page` counts.
    ///
    /// Sees every line whose `insert` was done before, in the sense of the table above.
    #[must_use]
    pub fn lines(&self, page: u64) -> u64 {
        fence(SeqCst);
        self.lease(page_of(page)).map_or(0, |slot| slot.lines())
    }

    /// The policy that the line at `line` was poisoned with, or `None` if it is good.
    #[must_use]
    pub fn policy(&self, line: u64) -> Option<Policy> {
        fence(SeqCst);
        let slot = self.lease(page_of(line))?;
        let state = slot.0.states[index_of(line)].load(Acquire);
        (state & POISONED != 0).then(|| policy_of(state))
    }

    /// Poisons the line at `line`, and forgets which of its bytes were overwritten; `true` if it was
    /// good before. If it was not, it has the new policy from now on.
    ///
    /// An overwrite that is under way on another CPU counts as one that comes after.
    ///
    /// Callers must take turns: two that insert at the same time might give one page two slots.
    ///
    /// # Errors
    ///
    /// [`Full`] if the page is new and there is no slot that nobody needs. Nothing has changed.
    pub fn insert(&self, line: u64, policy: Policy) -> Result<bool, Full> {
        let (page, line) = (page_of(line), index_of(line));
        let new = if let Some(slot) = self.lease(page) {
            slot.0.poison(line, policy)
        } else {
            let (index, slot) = self
                .probe(page)
                .map(|index| (index, &self.slots[index]))
                .find(|(_, slot)| slot.begin_passing())
                .ok_or(Full)?;
            slot.ever.store(0, Relaxed);
            let new = slot.poison(line, policy);
            self.pages[index].store(page | USED, Release);
            slot.users.fetch_sub(PASSING, Release);
            new
        };
        fence(SeqCst);
        Ok(new)
    }

    /// Makes the line at `line` good; `true` for the one caller whose doing it was. Any CPU may
    /// call it at any time.
    pub fn remove(&self, line: u64) -> bool {
        self.lease(page_of(line)).is_some_and(|slot| {
            slot.0.states[index_of(line)]
                .fetch_update(AcqRel, Acquire, |state| {
                    (state & POISONED != 0).then_some(state & !POISONED)
                })
                .is_ok()
        })
    }

    /// Notes that bytes of the line at `line` were overwritten: bit `n` of `bytes` is its byte `n`.
    /// When all of them have been since the line was poisoned, makes it good, unless its policy is
    /// [`Policy::PERMANENT`]; `true` for the one caller whose doing it was. Any CPU may call it at
    /// any time.
    pub fn written(&self, line: u64, bytes: u64) -> bool {
        self.lease(page_of(line))
            .is_some_and(|slot| slot.0.overwrite(index_of(line), bytes))
    }

    /// The address of the first poisoned line at or above `at_or_above`, or of the line that this is
    /// in.
    #[must_use]
    pub fn next(&self, at_or_above: u64) -> Option<u64> {
        fence(SeqCst);
        let first = page_of(at_or_above);
        let below = (1u64 << index_of(at_or_above)) - 1;
        (self.pages.iter().zip(&self.slots))
            .filter_map(|(owner, slot)| {
                let page = owner.load(Acquire).checked_sub(USED)?;
                if page < first {
                    return None;
                }
                let lines = slot.lease(owner, page)?.lines();
                let lines = if page == first { lines & !below } else { lines };
                (lines != 0).then(|| page + u64::from(lines.trailing_zeros()) * LINE)
            })
            .min()
    }

    /// The slot of the page at `page`, if it has one.
    fn lease(&self, page: u64) -> Option<Lease<'_>> {
        for index in self.probe(page) {
            match self.pages[index].load(Acquire) {
                0 => return None,
                owner if owner == page | USED => {
                    if let Some(lease) = self.slots[index].lease(&self.pages[index], page) {
                        return Some(lease);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Where to look for a page: every slot once.
    fn probe(&self, page: u64) -> impl Iterator<Item = usize> + use<PAGES> {
        // Fibonacci hashing: neighbouring pages end up far apart.
        let hash = (page / PAGE).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let start = if PAGES == 0 { 0 } else { hash as usize % PAGES };
        (start..PAGES).chain(0..start)
    }
}

impl Slot {
    const fn new() -> Self {
        Self {
            users: AtomicU32::new(0),
            states: [const { AtomicU32::new(0) }; LINES],
            ever: AtomicU64::new(0),
            written: [const { AtomicU64::new(0) }; LINES],
        }
    }

    /// A lease, if the slot is `page`'s and not being passed on.
    fn lease(&self, owner: &AtomicU64, page: u64) -> Option<Lease<'_>> {
        let users = self.users.fetch_add(1, Acquire);
        let lease = Lease(self);
        // The swap that starts passing on fails from now on, so what holds here goes on to hold.
        (users & PASSING == 0 && owner.load(Relaxed) == page | USED).then_some(lease)
    }

    /// Keeps leases from being had, if nobody has one and no line is poisoned. Only `insert`
    /// poisons, so that stays true.
    fn begin_passing(&self) -> bool {
        if self.lines() != 0 {
            return false;
        }
        self.users
            .compare_exchange(0, PASSING, Acquire, Relaxed)
            .is_ok()
    }

    fn lines(&self) -> u64 {
        let mut candidates = self.ever.load(Acquire);
        let mut lines = 0;
        while candidates != 0 {
            let line = candidates.trailing_zeros();
            candidates &= candidates - 1;
            if self.states[line as usize].load(Acquire) & POISONED != 0 {
                lines |= 1 << line;
            }
        }
        lines
    }

    /// Whether the line was good.
    fn poison(&self, line: usize, policy: Policy) -> bool {
        let mut old = self.states[line].load(Acquire);
        loop {
            // Before the new state, and again whenever the old one turns out to have changed: who
            // sees the new state finds no byte that was written under an earlier one.
            self.written[line].swap(0, Relaxed);
            let count = (old & !POISONED).wrapping_add(ONCE_MORE) & !POISONED & !POLICY;
            let new = POISONED | count | policy.bits() & POLICY;
            match self.states[line].compare_exchange(old, new, AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        self.ever.fetch_or(1 << line, AcqRel);
        old & POISONED == 0
    }

    /// Whether this made the line good.
    fn overwrite(&self, line: usize, bytes: u64) -> bool {
        let mut state = self.states[line].load(Acquire);
        loop {
            if state & POISONED == 0 || policy_of(state).contains(Policy::PERMANENT) {
                return false;
            }
            if self.written[line].fetch_or(bytes, AcqRel) | bytes != u64::MAX {
                return false;
            }
            match self.states[line].compare_exchange(state, state & !POISONED, AcqRel, Acquire) {
                Ok(_) => return true,
                // Poisoned again meanwhile: these bytes count for that, the earlier ones do not.
                Err(now) => state = now,
            }
        }
    }
}

impl Lease<'_> {
    fn lines(&self) -> u64 {
        self.0.lines()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Release);
    }
}

fn page_of(address: u64) -> u64 {
    address & !(PAGE - 1)
}

fn index_of(address: u64) -> usize {
    (address % PAGE / LINE) as usize
}

fn policy_of(state: u32) -> Policy {
    Policy::from_bits_truncate(state & POLICY)
}
