//! Where the reported address lies in what the interrupted instruction accesses.

use extable::{Access, Direction, Reach, Registers};

use super::Cause;
use crate::error::Extent;

/// Answers that question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the memory that it reads.
    Source,
    /// In the memory that it writes.
    Destination,
    /// In neither: this is not the instruction that failed.
    Elsewhere,
    /// In both, or nobody knows.
    Unknown,
}

impl Place {
    /// The address may be that of the page or huge page, so whole extents are compared.
    pub(super) fn of<R: Registers>(access: Access, cause: Cause, registers: &R) -> Self {
        if cause.address == 0 {
            return Self::Unknown;
        }
        let lost = Extent::around(cause.address, cause.log2_extent);
        let end = lost.start.saturating_add(lost.length);
        let touches =
            |first: usize, length: usize| first < end && lost.start < first.saturating_add(length);
        match access {
            Access::Single { base: None, .. }
            | Access::Copy {
                reach: Reach::Unbounded,
                ..
            } => Self::Unknown,
            Access::Single {
                direction,
                base: Some(base),
                offset,
                width,
            } => {
                let first = registers.general(base).wrapping_add_signed(offset.into());
                match direction {
                    _ if !touches(first, width.into()) => Self::Elsewhere,
                    Direction::Load => Self::Source,
                    Direction::Store => Self::Destination,
                }
            }
            Access::Copy {
                source,
                destination,
                reach: Reach::Bytes256,
                ..
            } => {
                let touches = |register| touches(registers.general(register), 256);
                match (touches(source), touches(destination)) {
                    (true, false) => Self::Source,
                    (false, true) => Self::Destination,
                    (false, false) => Self::Elsewhere,
                    (true, true) => Self::Unknown,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x1` is the source, `x2` the destination.
    struct Frame([usize; 3]);

    impl Registers for Frame {
        const LIMIT: u8 = 16;
        const REPORT: u8 = 17;
        fn general(&self, number: u8) -> usize {
            self.0[usize::from(number)]
        }
        fn set_general(&mut self, _number: u8, _value: usize) {}
        fn set_program_counter(&mut self, _value: usize) {}
    }

    fn place(access: Access, address: usize, log2_extent: u8) -> Place {
        let cause = Cause {
            code: libc::BUS_MCEERR_AR,
            address,
            log2_extent,
        };
        Place::of(access, cause, &Frame([0, 0x10_2ff0, 0x20_5000]))
    }

    #[test]
    fn a_load_or_store_is_where_its_register_says() {
        let single = |direction, base, offset| Access::Single {
            direction,
            base,
            offset,
            width: 8,
        };
        let load = single(Direction::Load, Some(1), 8);
        assert_eq!(place(load, 0x10_2000, 12), Place::Source);
        assert_eq!(place(load, 0x10_2ffc, 0), Place::Source);
        assert_eq!(place(load, 0x10_3000, 12), Place::Elsewhere);
        assert_eq!(place(load, 0x10_1fff, 12), Place::Elsewhere);
        assert_eq!(place(load, 0x1f_0000, 21), Place::Source);
        assert_eq!(place(load, 0x20_0000, 21), Place::Elsewhere);
        assert_eq!(place(load, 0, 0), Place::Unknown);
        // It reaches into the next page.
        let load = single(Direction::Load, Some(1), 12);
        assert_eq!(place(load, 0x10_2000, 12), Place::Source);
        assert_eq!(place(load, 0x10_3000, 12), Place::Source);
        let store = single(Direction::Store, Some(2), 0);
        assert_eq!(place(store, 0x20_5000, 12), Place::Destination);
        let anywhere = single(Direction::Store, None, 0);
        assert_eq!(place(anywhere, 0x20_5000, 12), Place::Unknown);
    }

    #[test]
    fn a_copy_is_on_the_side_that_its_registers_say() {
        let copy = |reach| Access::Copy {
            source: 1,
            destination: 2,
            user_is_destination: false,
            reach,
        };
        let near = copy(Reach::Bytes256);
        assert_eq!(place(near, 0x10_2000, 12), Place::Source);
        assert_eq!(place(near, 0x10_3000, 12), Place::Source);
        assert_eq!(place(near, 0x20_5000, 12), Place::Destination);
        assert_eq!(place(near, 0x20_6000, 12), Place::Elsewhere);
        assert_eq!(place(near, 0x10_0000, 22), Place::Unknown);
        assert_eq!(place(copy(Reach::Unbounded), 0x10_2000, 12), Place::Unknown);
    }
}
