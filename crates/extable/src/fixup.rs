//! From an abort and its entry to the registers with which execution resumes.

use crate::{Access, Direction, Kind, Reach};

/// Why an access failed. Decided from the fault status code *before* any table is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Translation, permission, alignment: the address was wrong.
    Fault,
    /// A synchronous external abort, or the SIGBUS that stands for one: the memory was.
    MemoryError,
}

/// Which operand of the failing instruction was at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The memory that is read.
    Source,
    /// The memory that is written.
    Destination,
}

/// What the trap says of a failed access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Why it failed.
    pub cause: Cause,
    /// Whether it was a write, where the syndrome tells (`ESR_ELx.WnR`; bit 1 of x86's page
    /// fault code). Only consulted for instructions that both read and write.
    pub write: Option<bool>,
    /// Address of the first byte that failed, where the syndrome has it exactly. `None` with
    /// FnV=1, and for every signal: its address may be that of the page.
    pub address: Option<usize>,
    /// Base-2 logarithm of the unit in which memory fails here: 6 for a poisoned line, 12 or
    /// more for a page. If any byte of a unit is unreadable, all of it is taken to be.
    pub log2_unit: u8,
    /// A number to hand to the caller of the copy: a DFSC, or a signal's `si_code`.
    pub code: i16,
    /// Base-2 logarithm of the extent that is lost, for the caller (`si_addr_lsb`); 0: unknown.
    pub log2_extent: u8,
}

impl Abort {
    /// An abort of which nothing is known but its cause and the unit in which memory fails.
    #[must_use]
    pub const fn new(cause: Cause, log2_unit: u8) -> Self {
        Self {
            cause,
            write: None,
            address: None,
            log2_unit,
            code: 0,
            log2_extent: 0,
        }
    }
}

/// A view of the interrupted registers: an EL1 frame, a `ucontext`, an array in a test.
pub trait Registers {
    /// Number of the register in which a landing pad expects the limit.
    const LIMIT: u8;
    /// Number of the register in which a landing pad expects the [`Report`].
    const REPORT: u8;
    /// General register `number`, numbered as instructions encode it.
    fn general(&self, number: u8) -> usize;
    /// Sets general register `number`.
    fn set_general(&mut self, number: u8, value: usize);
    /// Sets the program counter.
    fn set_program_counter(&mut self, value: usize);
}

/// Register numbers that fixups use on each architecture; code with entries keeps nothing in
/// them across a covered instruction.
pub mod registers {
    /// AArch64: the intra-procedure-call registers, which no code can expect to survive.
    pub mod aarch64 {
        /// X16 receives the limit.
        pub const LIMIT: u8 = 16;
        /// X17 receives the report.
        pub const REPORT: u8 = 17;
    }
    /// x86-64: two registers that the System V calling convention lets a callee clobber.
    pub mod x86_64 {
        /// R10 receives the limit.
        pub const LIMIT: u8 = 10;
        /// R11 receives the report.
        pub const REPORT: u8 = 11;
    }
}

/// What a landing pad is told, in one word that is never 0.
///
/// ```text
/// 31      16 15         8 7   5   4      3     2..1  0
/// |  code   | log2 extent | 0 |second| cause | side | 1 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report(usize);

impl Report {
    /// Set by a landing pad when the failing source was the second of two (`compare_mc`).
    pub const SECOND_SOURCE: usize = 1 << 4;

    const PRESENT: usize = 1;
    const SOURCE: usize = 1 << 1;
    const DESTINATION: usize = 2 << 1;
    const MEMORY_ERROR: usize = 1 << 3;

    fn new(side: Option<Side>, abort: &Abort) -> Self {
        let side = match side {
            Some(Side::Source) => Self::SOURCE,
            Some(Side::Destination) => Self::DESTINATION,
            None => 0,
        };
        let cause = match abort.cause {
            Cause::Fault => 0,
            Cause::MemoryError => Self::MEMORY_ERROR,
        };
        let extent = usize::from(abort.log2_extent) << 8;
        let code = usize::from(abort.code.cast_unsigned()) << 16;
        Self(Self::PRESENT | side | cause | extent | code)
    }

    /// Reads a word that a landing pad returned; `None` for 0, the value where nothing failed.
    #[must_use]
    pub fn from_word(word: usize) -> Option<Self> {
        (word & Self::PRESENT != 0).then_some(Self(word))
    }

    /// The word as a landing pad receives it.
    #[must_use]
    pub fn word(self) -> usize {
        self.0
    }

    /// Which side failed, where that is known.
    #[must_use]
    pub fn side(self) -> Option<Side> {
        match self.0 & (Self::SOURCE | Self::DESTINATION) {
            Self::SOURCE => Some(Side::Source),
            Self::DESTINATION => Some(Side::Destination),
            _ => None,
        }
    }

    /// Whether the failing source was the second of two.
    #[must_use]
    pub fn second_source(self) -> bool {
        self.0 & Self::SECOND_SOURCE != 0
    }

    /// Why the access failed.
    #[must_use]
    pub fn cause(self) -> Cause {
        if self.0 & Self::MEMORY_ERROR == 0 {
            Cause::Fault
        } else {
            Cause::MemoryError
        }
    }

    /// The number from [`Abort::code`].
    #[must_use]
    pub fn code(self) -> i16 {
        (self.0 >> 16) as i16
    }

    /// Base-2 logarithm of the lost extent from [`Abort::log2_extent`]; 0: unknown.
    #[must_use]
    pub fn log2_extent(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

/// An entry that was found, with its addresses resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixup {
    /// Address of the covered instruction.
    pub instruction: usize,
    /// Address at which execution resumes.
    pub landing_pad: usize,
    /// What the entry excuses.
    pub kind: Kind,
    pub(crate) data: u16,
}

impl Fixup {
    /// The access that the entry covers; `None` only for data no [`Table`](crate::Table) accepts.
    #[inline]
    #[must_use]
    pub fn access(&self) -> Option<Access> {
        Access::decode(self.data)
    }

    /// Whether the entry excuses `abort`.
    ///
    /// A `USER_COPY` whose direction the syndrome does not tell is not excused for a fault: it
    /// may be the kernel side that is wrong, and that must not be hidden.
    #[inline]
    #[must_use]
    pub fn excuses(&self, abort: &Abort) -> bool {
        match (self.kind, abort.cause) {
            (Kind::USER_ACCESS, _) => true,
            (Kind::KERNEL_ACCESS | Kind::USER_COPY, Cause::MemoryError) => true,
            (Kind::USER_COPY, Cause::Fault) => match self.access() {
                Some(Access::Copy {
                    user_is_destination,
                    ..
                }) => abort.write == Some(user_is_destination),
                _ => false,
            },
            _ => false,
        }
    }

    /// Redirects `registers` to the landing pad and hands it the limit and the report.
    ///
    /// The limit is an address on the failing side. Everything below it may be accessed without
    /// touching the unit that failed, except in one case: where an access straddles two units and
    /// the syndrome has no address, the limit is the boundary between them, and the part below it
    /// may be what failed. A landing pad therefore covers its own accesses too.
    /// `usize::MAX` means that nothing is known.
    pub fn apply<R: Registers>(&self, abort: &Abort, registers: &mut R) {
        let access = self.access();
        let side = access.and_then(|access| failing_side(access, abort));
        let limit = access.and_then(|access| limit(access, side, abort, registers));
        registers.set_general(R::LIMIT, limit.unwrap_or(usize::MAX));
        registers.set_general(R::REPORT, Report::new(side, abort).word());
        registers.set_program_counter(self.landing_pad);
    }
}

fn failing_side(access: Access, abort: &Abort) -> Option<Side> {
    let writes = match access {
        Access::Single { direction, .. } => Some(direction == Direction::Store),
        Access::Copy { .. } => abort.write,
    };
    writes.map(|writes| {
        if writes {
            Side::Destination
        } else {
            Side::Source
        }
    })
}

/// Start of the last unit that the failing access may have touched.
fn limit<R: Registers>(
    access: Access,
    side: Option<Side>,
    abort: &Abort,
    registers: &R,
) -> Option<usize> {
    let (first, last) = match access {
        Access::Single {
            base,
            offset,
            width,
            ..
        } => {
            let first = registers
                .general(base?)
                .wrapping_add_signed(offset as isize);
            (first, Some(first.saturating_add(usize::from(width) - 1)))
        }
        Access::Copy {
            source,
            destination,
            reach,
            ..
        } => {
            let first = match side? {
                Side::Source => registers.general(source),
                Side::Destination => registers.general(destination),
            };
            match reach {
                Reach::Bytes256 => (first, Some(first.saturating_add(255))),
                // `CPY*` may keep its pointers at either end, so they bound nothing.
                Reach::Unbounded => (0, None),
            }
        }
    };
    // An address that lies outside the access is not that of this access.
    let exact = abort
        .address
        .filter(|&address| first <= address && last.is_none_or(|last| address <= last));
    let unit = 1_usize.checked_shl(abort.log2_unit.into())?;
    Some(exact.or(last)? & !(unit - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Frame {
        general: [usize; 31],
        pc: usize,
    }

    impl Registers for Frame {
        const LIMIT: u8 = registers::aarch64::LIMIT;
        const REPORT: u8 = registers::aarch64::REPORT;
        fn general(&self, number: u8) -> usize {
            self.general[usize::from(number)]
        }
        fn set_general(&mut self, number: u8, value: usize) {
            self.general[usize::from(number)] = value;
        }
        fn set_program_counter(&mut self, value: usize) {
            self.pc = value;
        }
    }

    const LINE: u8 = 6;
    const PAGE: u8 = 12;

    fn load(base: u8, offset: i16, width: u8) -> Access {
        Access::Single {
            direction: Direction::Load,
            base: Some(base),
            offset,
            width,
        }
    }

    /// Applies a fixup with `x1` = `address` and returns the limit.
    fn limit_of(access: Access, abort: Abort, address: usize) -> usize {
        let mut frame = Frame {
            general: [0; 31],
            pc: 0,
        };
        frame.general[1] = address;
        frame.general[0] = address + 0x10_0000;
        let data = access.encode().unwrap();
        let fixup = Fixup {
            instruction: 4,
            landing_pad: 0x1234,
            kind: Kind::KERNEL_ACCESS,
            data,
        };
        fixup.apply(&abort, &mut frame);
        assert_eq!(frame.pc, 0x1234);
        assert_eq!(
            Report::from_word(frame.general[17]).unwrap().cause(),
            abort.cause
        );
        frame.general[16]
    }

    #[test]
    fn the_limit_is_the_unit_of_the_failing_access() {
        let error = Abort::new(Cause::MemoryError, LINE);
        // (access, x1, limit): inside a line, at its start, at its end, across two.
        for (access, address, limit) in [
            (load(1, 0, 8), 0x1010, 0x1000),
            (load(1, 48, 16), 0x1000, 0x1000),
            (load(1, -16, 16), 0x1040, 0x1000),
            (load(1, -16, 16), 0x1041, 0x1040),
            (load(1, 0, 16), 0x1038, 0x1040),
            (load(1, 64, 64), 0x1000, 0x1040),
        ] {
            assert_eq!(
                limit_of(access, error, address),
                limit,
                "{access:?} at {address:#x}"
            );
        }
        let page = Abort::new(Cause::Fault, PAGE);
        assert_eq!(limit_of(load(1, 0, 16), page, 0x1ff8), 0x2000);
        assert_eq!(limit_of(load(1, 0, 8), page, 0x1ff8), 0x1000);
    }

    #[test]
    fn an_exact_address_settles_a_straddling_access() {
        let at = |address| Abort {
            address: Some(address),
            ..Abort::new(Cause::MemoryError, LINE)
        };
        assert_eq!(limit_of(load(1, 0, 16), at(0x1038), 0x1038), 0x1000);
        assert_eq!(limit_of(load(1, 0, 16), at(0x1040), 0x1038), 0x1040);
        // Addresses that cannot be of this access are not believed.
        assert_eq!(limit_of(load(1, 0, 16), at(0x1037), 0x1038), 0x1040);
        assert_eq!(limit_of(load(1, 0, 16), at(0x9000), 0x1038), 0x1040);
    }

    #[test]
    fn copies_have_a_limit_only_when_the_side_is_known() {
        let copy = |reach| Access::Copy {
            source: 1,
            destination: 0,
            user_is_destination: false,
            reach,
        };
        let error = Abort::new(Cause::MemoryError, PAGE);
        let side = |write| Abort {
            write: Some(write),
            ..error
        };
        assert_eq!(limit_of(copy(Reach::Bytes256), error, 0x5010), usize::MAX);
        assert_eq!(limit_of(copy(Reach::Bytes256), side(false), 0x5010), 0x5000);
        assert_eq!(limit_of(copy(Reach::Bytes256), side(false), 0x5f10), 0x6000);
        assert_eq!(
            limit_of(copy(Reach::Bytes256), side(true), 0x5010),
            0x10_5000
        );
        assert_eq!(
            limit_of(copy(Reach::Unbounded), side(false), 0x5010),
            usize::MAX
        );
        let exact = Abort {
            address: Some(0x7123),
            ..side(false)
        };
        assert_eq!(limit_of(copy(Reach::Unbounded), exact, 0x5010), 0x7000);
    }

    #[test]
    fn an_entry_without_a_base_has_no_limit() {
        let access = Access::Single {
            direction: Direction::Load,
            base: None,
            offset: 0,
            width: 8,
        };
        assert_eq!(
            limit_of(access, Abort::new(Cause::Fault, PAGE), 0x5010),
            usize::MAX
        );
    }

    #[test]
    fn what_each_kind_excuses() {
        let copy_to_user = Access::Copy {
            source: 1,
            destination: 0,
            user_is_destination: true,
            reach: Reach::Unbounded,
        };
        let excused = |kind, access: Access, cause, write| {
            let data = access.encode().unwrap();
            Fixup {
                instruction: 0,
                landing_pad: 0,
                kind,
                data,
            }
            .excuses(&Abort {
                write,
                ..Abort::new(cause, PAGE)
            })
        };
        let single = load(1, 0, 8);
        use Cause::{Fault, MemoryError};
        assert!(excused(Kind::USER_ACCESS, single, Fault, None));
        assert!(excused(Kind::USER_ACCESS, single, MemoryError, None));
        assert!(!excused(Kind::KERNEL_ACCESS, single, Fault, None));
        assert!(!excused(Kind::KERNEL_ACCESS, single, Fault, Some(false)));
        assert!(excused(Kind::KERNEL_ACCESS, single, MemoryError, None));
        assert!(excused(Kind::USER_COPY, copy_to_user, Fault, Some(true)));
        assert!(!excused(Kind::USER_COPY, copy_to_user, Fault, Some(false)));
        assert!(!excused(Kind::USER_COPY, copy_to_user, Fault, None));
        for write in [None, Some(false), Some(true)] {
            assert!(excused(Kind::USER_COPY, copy_to_user, MemoryError, write));
        }
        assert!(!excused(Kind::USER_COPY, single, Fault, Some(false)));
        assert!(!excused(Kind(9), single, MemoryError, None));
    }

    #[test]
    fn a_report_keeps_what_it_was_given() {
        let abort = Abort {
            cause: Cause::MemoryError,
            write: None,
            address: None,
            log2_unit: PAGE,
            code: -6,
            log2_extent: 21,
        };
        let report = Report::new(Some(Side::Destination), &abort);
        let report = Report::from_word(report.word()).unwrap();
        assert_eq!(report.side(), Some(Side::Destination));
        assert_eq!(report.cause(), Cause::MemoryError);
        assert_eq!((report.code(), report.log2_extent()), (-6, 21));
        assert!(!report.second_source());
        assert!(
            Report::from_word(report.word() | Report::SECOND_SOURCE)
                .unwrap()
                .second_source()
        );
        assert_eq!(Report::from_word(0), None);
        assert_eq!(Report::new(None, &abort).side(), None);
    }
}
