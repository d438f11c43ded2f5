//! One failing operation, checked against what the contract says, byte for byte.

use std::collections::HashSet;

use copy::Incomplete;
use copy::Routines;
use copy::extable::{Cause, Side};

use super::pages::{Pages, State};
use super::{PAGE, Session};

/// The page that fails, in ranges that begin at most four pages before it, or inside it.
const BAD: usize = 4;
const PAGES: usize = 8;

/// What surrounds a destination, and must still be there afterwards.
const UNTOUCHED: u8 = 0xee;
static UNTOUCHED_PAGE: [u8; PAGE] = [UNTOUCHED; PAGE];

/// A copy routine under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    Mc,
    FromUser,
    ToUser,
}

impl Copy {
    pub const ALL: [Self; 3] = [Self::Mc, Self::FromUser, Self::ToUser];

    pub fn name(self) -> &'static str {
        match self {
            Self::Mc => "memcpy_mc",
            Self::FromUser => "copy_from_user",
            Self::ToUser => "copy_to_user",
        }
    }

    pub fn run(
        self,
        routines: &Routines,
        destination: *mut u8,
        source: *const u8,
        length: usize,
    ) -> Result<(), Incomplete> {
        let run = match self {
            Self::Mc => Routines::memcpy_mc,
            Self::FromUser => Routines::copy_from_user,
            Self::ToUser => Routines::copy_to_user,
        };
        // SAFETY: the grid hands over ranges inside its two mappings, which nothing else uses.
        unsafe { run(routines, destination, source, length) }
    }

    /// What a failure of this side may be caused by without killing the process.
    fn causes(self, side: Side) -> &'static [State] {
        match (self, side) {
            (Self::FromUser, Side::Source) | (Self::ToUser, Side::Destination) => {
                &[State::Failing, State::Forbidden]
            }
            _ => &[State::Failing],
        }
    }
}

/// Sizes, and for each the positions of the first unreadable byte and the misalignments of the
/// other side (that of the failing side follows from the position).
pub struct Grid {
    sizes: Vec<usize>,
    /// How far around both ends and the middle of sizes above 300 positions are taken.
    reach: usize,
    /// Every how many positions one is taken, of sizes above 64.
    stride: usize,
    /// How many misalignments are taken at each position of sizes to 64, and of those above.
    misalignments: [usize; 2],
}

impl Grid {
    /// All sizes to 300, then primes, powers of two and their neighbours to 4200, then a few
    /// beyond. All positions for sizes to 300, then those near both ends and the middle; all
    /// misalignments for sizes to 64, then one at each position.
    ///
    /// An unoptimised build, which is slow, takes a quarter of these misalignments, and every fifth
    /// position above 64 bytes. `SEAWORTHY_EXHAUSTIVE=1` takes all misalignments everywhere, and more positions.
    pub fn new() -> Self {
        let prime = |n: &usize| {
            (2..)
                .take_while(|d| d * d <= *n)
                .all(|d| !n.is_multiple_of(d))
        };
        let mut sizes: Vec<usize> = (0..=300).chain((301..=4200).filter(prime)).collect();
        sizes.extend(
            [512, 1024, 2048, 4096, 8192]
                .iter()
                .flat_map(|&power| power - 1..=power + 1),
        );
        sizes.push(10_007);
        let exhaustive = std::env::var_os("SEAWORTHY_EXHAUSTIVE").is_some();
        let (reach, stride, misalignments) = match (exhaustive, cfg!(debug_assertions)) {
            (true, _) => (300, 1, [16, 16]),
            (false, false) => (20, 1, [16, 1]),
            (false, true) => (20, 5, [4, 1]),
        };
        Self {
            sizes,
            reach,
            stride,
            misalignments,
        }
    }

    /// A few sizes around every threshold, but positions all over, for tests that look for
    /// something else.
    pub fn sparse() -> Self {
        let sizes = (0..=70).chain([96, 127, 128, 129, 200, 256, 257, 300, 511, 512, 513, 700]);
        let sizes = sizes
            .chain([1000, 1500, 2047, 2048, 2500, 4096, 4200, 8192, 10_007])
            .collect();
        Self {
            sizes,
            reach: 20_000,
            stride: 7,
            misalignments: [2, 2],
        }
    }

    /// Where the failing page begins, counted from the start of the range; negative if the range
    /// begins inside it.
    fn positions(&self, size: usize) -> Vec<isize> {
        let stride = if size <= 64 { 1 } else { self.stride };
        let near = |at: usize| {
            // Another start for each size, so that the stride leaves no alignment out.
            let first = at.saturating_sub(self.reach) + size % stride;
            (first..=(at + self.reach).min(size)).step_by(stride)
        };
        let mut positions: Vec<usize> = if size <= 300 {
            (size % stride..=size).step_by(stride).collect()
        } else {
            near(0).chain(near(size)).chain(near(size / 2)).collect()
        };
        positions.sort_unstable();
        positions.dedup();
        let inside = [-1, -3, -8, -13, -100, -4090];
        positions
            .into_iter()
            .map(usize::cast_signed)
            .chain(inside)
            .collect()
    }

    fn misalignments(&self, size: usize, position: isize) -> impl Iterator<Item = usize> + use<> {
        let count = self.misalignments[usize::from(size > 64)];
        // All sixteen in some order, beginning with another one everywhere.
        let first = size * 7 + position.unsigned_abs() * 3;
        (0..count).map(move |index| (first + index * 9) % 16)
    }
}

/// The two sides of operations, and what was seen.
pub struct Bench {
    pub session: Session,
    pub source: Pages,
    pub destination: Pages,
    /// Instructions whose entries fired, if somebody wants to know: it takes a quarter of the time.
    pub fired: Option<HashSet<usize>>,
    pub failures: usize,
    /// Failing operations that took more than one signal.
    pub repeated: usize,
}

impl Bench {
    pub fn new() -> Self {
        let session = Session::start();
        let mut source = Pages::new(PAGES);
        source.fill(|offset| (offset as u8).wrapping_mul(31) ^ (offset >> 8) as u8);
        let destination = Pages::new(PAGES);
        session.writes_go_to(destination.at(0).addr()..destination.at(PAGES * PAGE).addr());
        Self {
            session,
            source,
            destination,
            fired: None,
            failures: 0,
            repeated: 0,
        }
    }

    /// All copies of `grid` by one routine, with one side failing.
    pub fn copies(&mut self, grid: &Grid, routines: &Routines, copy: Copy, failing: Side) {
        let sparse = Grid::sparse();
        for &state in copy.causes(failing) {
            // What the cause is makes a difference to the handler alone.
            let grid = if state == State::Forbidden {
                &sparse
            } else {
                grid
            };
            // What lies behind the bad page is good or not by turns: an access at the end of a
            // long range meets either.
            for behind in [State::Good, state] {
                let pages = self.side(failing);
                pages.set(BAD, state);
                pages.set(BAD + 1, behind);
                for &size in &grid.sizes {
                    for position in grid.positions(size) {
                        if behind == State::Good && position >= 0 && size <= PAGE {
                            continue;
                        }
                        for misaligned in grid.misalignments(size, position) {
                            self.copy(routines, copy, failing, size, position, misaligned);
                        }
                    }
                }
            }
            self.side(failing).restore();
        }
    }

    fn side(&mut self, side: Side) -> &mut Pages {
        match side {
            Side::Source => &mut self.source,
            Side::Destination => &mut self.destination,
        }
    }

    fn copy(
        &mut self,
        routines: &Routines,
        copy: Copy,
        failing: Side,
        size: usize,
        position: isize,
        misaligned: usize,
    ) {
        let at_edge = (BAD * PAGE).wrapping_add_signed(-position);
        let free = PAGE + misaligned;
        let (from, to) = match failing {
            Side::Source => (at_edge, free),
            Side::Destination => (free, at_edge),
        };
        let around = to - 32..to + size + 32;
        self.wipe(around.clone());
        self.session.begin();
        let result = copy.run(
            routines,
            self.destination.at(to),
            self.source.at(from),
            size,
        );
        let context = || {
            format!(
                "{copy:?} of {}: {failing:?} fails at {position} of {size}, the other side is \
                 misaligned by {misaligned}",
                routines.name()
            )
        };
        let readable = position.max(0).unsigned_abs();
        let expected = readable.min(size);
        match result {
            Ok(()) => assert!(readable >= size, "{}: not noticed", context()),
            Err(incomplete) => {
                assert!(readable < size, "{}: failed", context());
                assert_eq!(incomplete.copied, expected, "{}", context());
                assert_eq!(incomplete.side(), Some(failing), "{}", context());
            }
        }
        self.count(size > readable, &context);
        self.assert_arrived(to, from, expected, around, &context);
    }

    /// Books the signals of one operation.
    fn count(&mut self, failed: bool, context: &dyn Fn() -> String) {
        let signals = self.session.signals();
        assert_eq!(signals > 0, failed, "{}: {signals} signals", context());
        assert!(signals <= 2, "{}: {signals} signals", context());
        self.failures += usize::from(failed);
        self.repeated += usize::from(signals > 1);
        self.note_fired();
    }

    /// Books the entries that fired since the session began.
    pub fn note_fired(&mut self) {
        if let Some(fired) = &mut self.fired {
            fired.extend(self.session.fired());
        }
    }

    /// Resets the accessible bytes of a range of the destination.
    fn wipe(&mut self, range: std::ops::Range<usize>) {
        for part in self.destination.accessible(range) {
            let place = self.destination.at(part.start);
            // SAFETY: the range is accessible, and no reference to it is alive.
            unsafe { place.write_bytes(UNTOUCHED, part.len()) };
        }
    }

    /// The first `length` bytes are the source's, and nothing else in `around` has changed.
    fn assert_arrived(
        &self,
        to: usize,
        from: usize,
        length: usize,
        around: std::ops::Range<usize>,
        context: &dyn Fn() -> String,
    ) {
        for part in self.destination.accessible(around) {
            let bytes = self.destination.bytes(part.start, part.len());
            let begin = to.clamp(part.start, part.end);
            let end = (to + length).clamp(part.start, part.end);
            let arrived = &bytes[begin - part.start..end - part.start];
            if !arrived.is_empty() {
                let sent = self.source.bytes(from + begin - to, arrived.len());
                assert!(arrived == sent, "{}: wrong bytes", context());
            }
            for outside in [&bytes[..begin - part.start], &bytes[end - part.start..]] {
                assert!(
                    outside == &UNTOUCHED_PAGE[..outside.len()],
                    "{}: stray write",
                    context()
                );
            }
        }
    }

    /// All fills of `grid`, by `fill_mc` and by `clear_user`.
    pub fn fills(&mut self, grid: &Grid, routines: &Routines) {
        for state in [State::Failing, State::Forbidden] {
            self.destination.set(BAD, state);
            for &size in &grid.sizes {
                for position in grid.positions(size) {
                    if state == State::Failing {
                        self.fill(routines, 0xa5, size, position);
                    }
                    self.fill(routines, 0, size, position);
                }
            }
            self.destination.restore();
        }
    }

    /// By `clear_user` if `value` is 0, else by `fill_mc`.
    fn fill(&mut self, routines: &Routines, value: u8, size: usize, position: isize) {
        let to = (BAD * PAGE).wrapping_add_signed(-position);
        let around = to - 32..to + size + 32;
        self.wipe(around.clone());
        self.session.begin();
        let place = self.destination.at(to);
        let result = if value == 0 {
            // SAFETY: the range lies in the mapping, which nothing else uses.
            unsafe { routines.clear_user(place, size) }
        } else {
            // SAFETY: as above.
            unsafe { routines.fill_mc(place, value, size) }
        };
        let context = || {
            format!(
                "fill {value} of {} fails at {position} of {size}",
                routines.name()
            )
        };
        let readable = position.max(0).unsigned_abs();
        let expected = readable.min(size);
        let copied = result.map_or_else(|incomplete| incomplete.copied, |()| size);
        assert_eq!(copied, expected, "{}", context());
        self.count(size > readable, &context);
        for part in self.destination.accessible(around) {
            let mut wanted = [UNTOUCHED; PAGE];
            let begin = to.clamp(part.start, part.end);
            let end = (to + expected).clamp(part.start, part.end);
            wanted[begin - part.start..end - part.start].fill(value);
            let bytes = self.destination.bytes(part.start, part.len());
            assert!(bytes == &wanted[..part.len()], "{}: wrong bytes", context());
        }
    }

    /// Comparisons of `grid` with either side failing, and searches for a byte that is not zero;
    /// each with nothing to find, and with something before and behind the failure.
    pub fn searches(&mut self, grid: &Grid, routines: &Routines) {
        self.source.fill(|_| 0);
        self.destination.fill(|_| 0);
        for failing in [Side::Source, Side::Destination] {
            self.side(failing).set(BAD, State::Failing);
            for &size in &grid.sizes {
                for position in grid.positions(size) {
                    let readable = position.max(0).unsigned_abs();
                    let misaligned = (size * 5 + readable) % 16;
                    for find in [
                        None,
                        readable.checked_sub(1),
                        Some(readable / 2),
                        Some(readable),
                    ] {
                        self.search(routines, failing, size, position, misaligned, find);
                    }
                }
            }
            self.side(failing).restore();
        }
    }

    fn search(
        &mut self,
        routines: &Routines,
        failing: Side,
        size: usize,
        position: isize,
        misaligned: usize,
        find: Option<usize>,
    ) {
        let (edge, free) = (
            (BAD * PAGE).wrapping_add_signed(-position),
            PAGE + misaligned,
        );
        let readable = position.max(0).unsigned_abs();
        let (other, offset) = match failing {
            Side::Source => (&self.destination, free),
            Side::Destination => (&self.source, free),
        };
        let marked = find
            .filter(|&find| find < size)
            .map(|find| other.at(offset + find));
        if let Some(place) = marked {
            // SAFETY: the byte is in a good page of ours.
            unsafe { place.write(1) };
        }
        let context = || {
            format!(
                "compare of {}: {failing:?} fails at {position} of {size}, differs at {find:?}, \
                 misaligned by {misaligned}",
                routines.name()
            )
        };
        let (first, second) = match failing {
            Side::Source => (self.source.at(edge), self.destination.at(free)),
            Side::Destination => (self.source.at(free), self.destination.at(edge)),
        };
        self.session.begin();
        // SAFETY: both ranges are in mappings of ours.
        let result = unsafe { routines.compare_mc(first, second, size) };
        let found = find.filter(|&find| find < size.min(readable));
        match result {
            Ok(place) => {
                assert!(
                    found.is_some() || readable >= size,
                    "{}: not noticed",
                    context()
                );
                assert_eq!(
                    place,
                    found.or(find.filter(|&find| find < size)),
                    "{}",
                    context()
                );
            }
            Err(incomplete) => {
                assert_eq!(
                    (found, incomplete.copied),
                    (None, readable),
                    "{}",
                    context()
                );
                let second = failing == Side::Destination;
                assert_eq!(incomplete.report.second_source(), second, "{}", context());
                assert_eq!(incomplete.cause(), Cause::MemoryError);
                self.count(true, &context);
            }
        }
        if let Some(place) = marked {
            // SAFETY: as above.
            unsafe { place.write(0) };
        }
        if failing == Side::Source {
            self.zero_search(routines, size, position, find);
        }
    }

    fn zero_search(
        &mut self,
        routines: &Routines,
        size: usize,
        position: isize,
        find: Option<usize>,
    ) {
        let edge = (BAD * PAGE).wrapping_add_signed(-position);
        let readable = position.max(0).unsigned_abs();
        let found = find.filter(|&find| find < size.min(readable));
        if let Some(find) = found {
            // SAFETY: the byte is before the failing page.
            unsafe { self.source.at(edge + find).write(0x80) };
        }
        let context = || {
            format!(
                "is_zero of {}: {find:?}, fails at {position} of {size}",
                routines.name()
            )
        };
        self.session.begin();
        // SAFETY: the range is in a mapping of ours.
        match unsafe { routines.is_zero_mc(self.source.at(edge), size) } {
            Ok(place) => {
                assert!(
                    found.is_some() || readable >= size,
                    "{}: not noticed",
                    context()
                );
                assert_eq!(place, found, "{}", context());
            }
            Err(incomplete) => {
                assert_eq!(
                    (found, incomplete.copied),
                    (None, readable),
                    "{}",
                    context()
                );
                self.count(true, &context);
            }
        }
        if let Some(find) = found {
            // SAFETY: as above.
            unsafe { self.source.at(edge + find).write(0) };
        }
    }

    /// Page copies: a page that fails as a whole, as in a kernel with the unit of a page; and
    /// ranges that only partly lie in one, which stand for a line that fails in mid-page.
    pub fn page_copies(&mut self, routines: &Routines) {
        for failing in [Side::Source, Side::Destination] {
            for position in (0..PAGE).step_by(7) {
                for spoil in [None, Some(Side::Source), Some(Side::Destination)] {
                    self.page_copy(routines, failing, position, spoil);
                    // Where the syndrome tells no direction, the landing pad must find the place.
                    self.session.hide_direction(true);
                    self.page_copy(routines, failing, position, spoil);
                    self.session.hide_direction(false);
                }
            }
        }
    }

    fn page_copy(
        &mut self,
        routines: &Routines,
        failing: Side,
        position: usize,
        spoil: Option<Side>,
    ) {
        self.side(failing).set(BAD, State::Failing);
        let (edge, free) = (BAD * PAGE - position, PAGE);
        let (from, to) = match failing {
            Side::Source => (edge, free),
            Side::Destination => (free, edge),
        };
        self.session.begin();
        if let Some(spoil) = spoil {
            let spoiled = self.side(spoil).at(0).addr();
            self.session.at_first_signal(spoiled, PAGES);
        }
        let (destination, source) = (self.destination.at(to), self.source.at(from));
        // SAFETY: both ranges are in mappings of ours; alignment only matters to speed.
        let incomplete = unsafe { routines.copy_mc_page(destination, source) }.unwrap_err();
        let context = || format!("copy_mc_page of {} at {position}", routines.name());
        self.count(true, &context);
        self.source.restore();
        self.destination.restore();
        match spoil {
            None => assert_eq!(incomplete.copied, position, "{}", context()),
            Some(_) => assert!(incomplete.copied <= position, "{}", context()),
        }
        let arrived = self.destination.bytes(to, incomplete.copied);
        assert!(
            arrived == self.source.bytes(from, incomplete.copied),
            "{}",
            context()
        );
    }

    /// A copy during which more memory fails at the first signal. The oracle is weaker: what is
    /// reported has arrived, and it is no more than what could.
    pub fn spoiled_copy(
        &mut self,
        routines: &Routines,
        copy: Copy,
        (size, position, misaligned): (usize, isize, usize),
        failing: Side,
        spoil: Side,
    ) {
        self.side(failing).set(BAD, State::Failing);
        let (edge, free) = (
            (BAD * PAGE).wrapping_add_signed(-position),
            PAGE + misaligned,
        );
        let (from, to) = match failing {
            Side::Source => (edge, free),
            Side::Destination => (free, edge),
        };
        self.session.begin();
        let spoiled = self.side(spoil).at(0).addr();
        self.session.at_first_signal(spoiled, PAGES);
        let result = copy.run(
            routines,
            self.destination.at(to),
            self.source.at(from),
            size,
        );
        self.note_fired();
        self.source.restore();
        self.destination.restore();
        let copied = result.map_or_else(|incomplete| incomplete.copied, |()| size);
        assert!(
            copied <= size.min(position.max(0).unsigned_abs()),
            "{copy:?} of {}",
            routines.name()
        );
        assert!(self.destination.bytes(to, copied) == self.source.bytes(from, copied));
    }
}
