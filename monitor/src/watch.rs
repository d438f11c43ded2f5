//! Which watchpoints tell an access to a poisoned line from an access to its neighbours.
//!
//! While one instruction is stepped with a poisoned page mapped, load watchpoints stand guard.
//! **No poisoned line that the instruction could load may be without one**; that is the rule that
//! everything here keeps. There are few watchpoints (four on every model that QEMU has), so:
//!
//! * What is known of the instruction narrows down which lines matter: see [`Reach`]. A contiguous
//!   access meets the nearest line first, so two watchpoints are enough for it, whatever the page
//!   looks like.
//! * Lines that together fill an aligned power of two share a watchpoint. If the rest still does
//!   not fit, ranges are watched that have clean lines in them. A hit on one of those says that the
//!   access touches this clean line; [`Plan::refine`] then makes a plan that leaves it out, and the
//!   instruction is tried again.
//!
//! The number of ranges is the least possible: starting from the smallest aligned power of two
//! that holds all lines, a range is split, and each half shrunk to the lines it holds, while it has
//! a line in it that must be left out; then, while there are watchpoints, where it helps most.

use control::{LINE, PAGE};

/// The most watchpoints a CPU can have (`ID_AA64DFR0_EL1.WRPs`).
pub const MAX_WATCHPOINTS: usize = 16;

/// The most poisoned pages that one instruction can be stepped over with.
pub const MAX_PAGES: usize = 16;

/// The most lines known to be touched. Each costs one more try, so this bounds the tries, too.
pub const MAX_TOUCHED: usize = 16;

/// `DBGWCR<n>_EL1.MASK` can leave out this many address bits at most. Arm ARM (DDI 0487), D2.10.
const LARGEST: u32 = 31;

/// Log2 of the bytes of a line.
const SMALLEST: u32 = LINE.trailing_zeros();

/// The address bits that are not the tag of a tagged address.
const UNTAGGED: u64 = (1 << 56) - 1;

/// An aligned range of addresses to watch for loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watchpoint {
    /// Its first byte, a multiple of its size, with the tag that the access has: QEMU compares it.
    pub address: u64,
    /// Log2 of its bytes, 6 to 31: what goes into `DBGWCR<n>_EL1.MASK`.
    pub size: u32,
}

/// A page with poisoned lines, as the interrupted program sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoisonedPage {
    /// The virtual address of its first byte, with the tag that the access has.
    pub address: u64,
    /// Its poisoned lines: bit `n` is the line at `64 * n`.
    pub lines: u64,
}

/// What an instruction loads, relative to the address it aborted at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing: it is a store, or cache maintenance.
    Nothing,
    /// Every byte of one range that the address is in.
    Contiguous,
    /// Every byte of one range that begins or ends where this one does and goes no further. The
    /// address it aborted at may be that of a store.
    Copy {
        /// The first byte.
        start: u64,
        /// The number of bytes.
        length: u64,
    },
    /// Some bytes of the range of this length that starts at the address.
    Within(u64),
    /// Anything: a gather, or an instruction that could not be read.
    Anywhere,
}

/// What a watchpoint hit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The instruction loads from a poisoned line, at the address of the hit.
    Poisoned,
    /// The instruction loads from a clean line that shares a watchpoint with poisoned ones. It may
    /// or may not load from those, too.
    Clean,
}

/// The watchpoints for one try of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    watchpoints: Array<Watchpoint, MAX_WATCHPOINTS>,
    /// With those lines only that the instruction can load from.
    pages: Array<PoisonedPage, MAX_PAGES>,
    /// Addresses of clean lines that the instruction loads from.
    touched: Array<u64, MAX_TOUCHED>,
    slots: usize,
    exact: bool,
}

/// What to watch while an instruction is stepped that aborted at `around`, with `pages` mapped.
///
/// `around` is what FAR held at the first abort of this instruction, which is the first byte (for a
/// copy that runs backward, the last) that it accesses in one of the pages. `slots` is how many
/// watchpoints there are. Ask again when another page aborts while the instruction is stepped, with
/// that page added.
///
/// `None` if they are not enough, or there are more than [`MAX_PAGES`]: then nobody can say whether
/// the instruction loads from a poisoned line. Two slots are always enough, unless the instruction
/// reaches [`Within`](Reach::Within) some length or [`Anywhere`](Reach::Anywhere).
#[must_use]
pub fn plan(pages: &[PoisonedPage], around: u64, reach: Reach, slots: usize) -> Option<Plan> {
    let mut plan = Plan {
        watchpoints: Array::default(),
        pages: Array::default(),
        touched: Array::default(),
        slots: slots.min(MAX_WATCHPOINTS),
        exact: false,
    };
    for page in pages {
        plan.add(page)?;
    }
    let here = around & !(LINE - 1);
    match reach {
        Reach::Nothing => plan.keep(|_| false),
        Reach::Contiguous => {
            let above = plan.first_and_last(here, u64::MAX).map(|(first, _)| first);
            let below = here
                .checked_sub(1)
                .and_then(|end| plan.first_and_last(0, end))
                .map(|(_, last)| last);
            plan.keep(|line| Some(line) == above || Some(line) == below);
        }
        Reach::Copy { start, length } => {
            let ends = length.checked_sub(1).and_then(|rest| {
                plan.first_and_last(start & !(LINE - 1), start.saturating_add(rest))
            });
            plan.keep(|line| ends.is_some_and(|(first, last)| line == first || line == last));
        }
        Reach::Within(length) => {
            let last = around.saturating_add(length.saturating_sub(1));
            plan.keep(|line| here <= line && line <= last);
            plan.touch(here)?;
        }
        Reach::Anywhere => plan.touch(here)?,
    }
    plan.cover().then_some(plan)
}

impl Plan {
    /// What to watch, in no particular order and without overlap.
    #[must_use]
    pub fn watchpoints(&self) -> &[Watchpoint] {
        self.watchpoints.as_slice()
    }

    /// Whether every hit is one on a poisoned line.
    #[must_use]
    pub const fn exact(&self) -> bool {
        self.exact
    }

    /// What a hit means for which FAR held `far`.
    #[must_use]
    pub fn after_hit(&self, far: u64) -> Verdict {
        match self.page_of(far) {
            Some(page) if page.lines >> (far % PAGE / LINE) & 1 != 0 => Verdict::Poisoned,
            _ => Verdict::Clean,
        }
    }

    /// A plan for another try after a hit on the clean line at `far`: its watchpoints leave out that
    /// line, and those of earlier hits.
    ///
    /// `None` if there are too few watchpoints for that, or there were [`MAX_TOUCHED`] tries, or
    /// the line is poisoned.
    #[must_use]
    pub fn refine(&self, far: u64) -> Option<Self> {
        if self.after_hit(far) == Verdict::Poisoned {
            return None;
        }
        let page = (self.page_of(far)).map_or(far & !(PAGE - 1), |page| page.address);
        let line = page + (far & (PAGE - LINE));
        let mut plan = *self;
        plan.touch(line)?;
        plan.cover().then_some(plan)
    }

    /// Notes that the instruction loads from the line at `line`.
    fn touch(&mut self, line: u64) -> Option<()> {
        match self.after_hit(line) {
            Verdict::Poisoned => Some(()),
            Verdict::Clean => self.touched.push(line),
        }
    }

    /// Adds a page, or its lines to the page if it is known.
    fn add(&mut self, page: &PoisonedPage) -> Option<()> {
        let address = page.address & !(PAGE - 1);
        let known = &mut self.pages.items[..self.pages.len];
        if let Some(known) = known.iter_mut().find(|known| known.address == address) {
            known.lines |= page.lines;
            return Some(());
        }
        self.pages.push(PoisonedPage { address, ..*page })
    }

    /// Chooses the watchpoints; whether there are enough of them.
    fn cover(&mut self) -> bool {
        self.watchpoints = Array::default();
        if let Some(all) = self.smallest(0, u64::MAX)
            && self.watchpoints.push_within(all, self.slots).is_none()
        {
            return false;
        }
        loop {
            let worst = (0..self.watchpoints.len)
                .map(|index| (self.urgency(self.watchpoints.items[index]), index))
                .max();
            let Some((urgency, index)) = worst.filter(|(urgency, _)| *urgency > 0) else {
                self.exact = true;
                return true;
            };
            if self.watchpoints.len == self.slots {
                self.exact = false;
                return urgency < MUST;
            }
            let whole = self.watchpoints.items[index];
            let middle = whole.address + (1 << (whole.size - 1));
            // A smallest range has lines in both halves.
            let (Some(low), Some(high)) = (
                self.smallest(whole.address, middle - 1),
                self.smallest(middle, whole.last()),
            ) else {
                return false;
            };
            self.watchpoints.items[index] = low;
            if self.watchpoints.push_within(high, self.slots).is_none() {
                return false;
            }
        }
    }

    /// How much a range should be split: 0 if it has only poisoned lines, [`MUST`] if it may not be
    /// watched as it is.
    fn urgency(&self, range: Watchpoint) -> u64 {
        let holds = |line: &u64| (range.address..=range.last()).contains(line);
        if range.size > LARGEST || self.touched.as_slice().iter().any(holds) {
            return MUST;
        }
        let poisoned: u64 = (self.pages.as_slice().iter())
            .map(|page| u64::from(lines_in(page, range.address, range.last()).count_ones()))
            .sum();
        (1 << (range.size - SMALLEST)) - poisoned
    }

    /// The smallest aligned power of two that holds the lines from `start` to `last`.
    fn smallest(&self, start: u64, last: u64) -> Option<Watchpoint> {
        let (first, last) = self.first_and_last(start, last)?;
        let size = u64::BITS - (first ^ (last + LINE - 1)).leading_zeros();
        Some(Watchpoint {
            address: first & !low_bits(size),
            size,
        })
    }

    /// The addresses of the first and the last line from `start` to `last`.
    fn first_and_last(&self, start: u64, last: u64) -> Option<(u64, u64)> {
        (self.pages.as_slice().iter())
            .filter_map(|page| {
                let lines = lines_in(page, start, last);
                let line = |index: u32| page.address + u64::from(index) * LINE;
                (lines != 0).then(|| (line(lines.trailing_zeros()), line(lines.ilog2())))
            })
            .reduce(|(first, last), (start, end)| (first.min(start), last.max(end)))
    }

    /// Forgets the lines at whose addresses `wanted` is false.
    fn keep(&mut self, wanted: impl Fn(u64) -> bool) {
        for page in &mut self.pages.items[..self.pages.len] {
            for index in 0..PAGE / LINE {
                if !wanted(page.address + index * LINE) {
                    page.lines &= !(1 << index);
                }
            }
        }
    }

    /// The page that `far` is in. Its tag may differ: the architecture does not say which FAR has.
    fn page_of(&self, far: u64) -> Option<&PoisonedPage> {
        (self.pages.as_slice().iter()).find(|page| (page.address ^ far) & UNTAGGED < PAGE)
    }
}

impl Watchpoint {
    /// Its last byte.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.address | low_bits(self.size)
    }
}

/// More urgent than any number of clean lines.
const MUST: u64 = u64::MAX;

/// A mask of this many low bits, up to 64.
const fn low_bits(bits: u32) -> u64 {
    match u64::MAX.checked_shr(u64::BITS - bits) {
        Some(mask) => mask,
        None => 0,
    }
}

/// The lines of the page that start at `start` to `last`.
fn lines_in(page: &PoisonedPage, start: u64, last: u64) -> u64 {
    let end = page.address + (PAGE - 1);
    if last < page.address || end < start {
        return 0;
    }
    let first = (start.max(page.address) - page.address).div_ceil(LINE);
    let last = (last.min(end) - page.address) / LINE;
    if first > last {
        return 0;
    }
    page.lines & (low_bits(last as u32 + 1) & !low_bits(first as u32))
}

/// A vector with room for `N`.
#[derive(Clone, Copy, Debug)]
struct Array<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy + Default, const N: usize> Default for Array<T, N> {
    fn default() -> Self {
        Self {
            items: [T::default(); N],
            len: 0,
        }
    }
}

impl<T, const N: usize> Array<T, N> {
    fn as_slice(&self) -> &[T] {
        &self.items[..self.len]
    }

    /// `None` if there is no room.
    fn push(&mut self, item: T) -> Option<()> {
        self.push_within(item, N)
    }

    /// `None` if there are `limit` of them.
    fn push_within(&mut self, item: T, limit: usize) -> Option<()> {
        if self.len >= limit {
            return None;
        }
        *self.items.get_mut(self.len)? = item;
        self.len += 1;
        Some(())
    }
}
