//! What a covered instruction accesses, packed in the 16 data bits of its entry.
//!
//! ```text
//! load, store   15    10 9     5 4          2 1 0
//!              | offset |  base | log2(width)|dir|    offset: signed, in units of the width
//!
//! copy          15 14       10 9      5 4   3  2    1 0
//!              | 0 |destination| source | reach |user|dir|
//! ```
//!
//! The layout is ours. It exists so that the address of a failing access can be computed from
//! the registers, where Linux has only the address that the syndrome happens to report.

/// Which way the bytes of an access go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From memory to a register.
    Load,
    /// From a register to memory.
    Store,
}

/// How far past its current position one copy instruction may already have looked when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At most this many bytes: x86 `rep movsb`, which moves whole chunks inside.
    Bytes256,
    /// Nothing is known: the Arm `CPY*` instructions (Arm ARM C6.2, "implementation defined
    /// amount of bytes").
    Unbounded,
}

/// The memory access that one table entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load or a store of `width` bytes at register `base` plus `offset`.
    Single {
        /// Load or store.
        direction: Direction,
        /// Number of the base register as instructions encode it; `None` where the compiler
        /// chose the register, and the address is not needed.
        base: Option<u8>,
        /// Bytes added to the base register; a multiple of `width`.
        offset: i16,
        /// Bytes accessed: a power of two from 1 to 64.
        width: u8,
    },
    /// One instruction that loads and stores: `rep movsb`, `CPYFP`, `CPYM`, ...
    Copy {
        /// Number of the source register.
        source: u8,
        /// Number of the destination register.
        destination: u8,
        /// Whether the user side is the destination; only [`Kind::USER_COPY`] looks at it.
        ///
        /// [`Kind::USER_COPY`]: crate::Kind::USER_COPY
        user_is_destination: bool,
        /// How far the instruction may have looked ahead.
        reach: Reach,
    },
}

const LOAD: u16 = 0;
const STORE: u16 = 1;
const COPY: u16 = 2;
const NO_BASE: u16 = 31;
const MAX_LOG2_WIDTH: u16 = 6;

impl Access {
    /// Decodes the data bits of an entry; `None` if they follow no rule.
    #[must_use]
    pub const fn decode(data: u16) -> Option<Self> {
        let direction = match data & 0b11 {
            LOAD => Direction::Load,
            STORE => Direction::Store,
            COPY => return Self::decode_copy(data),
            _ => return None,
        };
        let log2_width = (data >> 2) & 0b111;
        if log2_width > MAX_LOG2_WIDTH {
            return None;
        }
        let base = (data >> 5) & 0b1_1111;
        let units = data.cast_signed() >> 10;
        Some(Self::Single {
            direction,
            base: if base == NO_BASE {
                None
            } else {
                Some(base as u8)
            },
            offset: units << log2_width,
            width: 1 << log2_width,
        })
    }

    const fn decode_copy(data: u16) -> Option<Self> {
        let reach = match (data >> 3) & 0b11 {
            0 => Reach::Bytes256,
            1 => Reach::Unbounded,
            _ => return None,
        };
        if data >> 15 != 0 {
            return None;
        }
        Some(Self::Copy {
            source: ((data >> 5) & 0b1_1111) as u8,
            destination: ((data >> 10) & 0b1_1111) as u8,
            user_is_destination: data & 0b100 != 0,
            reach,
        })
    }

    /// Encodes the data bits of an entry; `None` if a field does not fit.
    #[must_use]
    pub const fn encode(self) -> Option<u16> {
        match self {
            Self::Single {
                direction,
                base,
                offset,
                width,
            } => {
                if !width.is_power_of_two() || width.ilog2() > MAX_LOG2_WIDTH as u32 {
                    return None;
                }
                let base = match base {
                    Some(base) if base < NO_BASE as u8 => base as u16,
                    Some(_) => return None,
                    None => NO_BASE,
                };
                let units = offset / width as i16;
                if offset % width as i16 != 0 || units < -32 || units > 31 {
                    return None;
                }
                let direction = match direction {
                    Direction::Load => LOAD,
                    Direction::Store => STORE,
                };
                let log2_width = width.ilog2() as u16;
                Some(units.cast_unsigned() << 10 | base << 5 | log2_width << 2 | direction)
            }
            Self::Copy {
                source,
                destination,
                user_is_destination,
                reach,
            } => {
                if source > 31 || destination > 31 {
                    return None;
                }
                let reach = match reach {
                    Reach::Bytes256 => 0,
                    Reach::Unbounded => 1,
                };
                let user = user_is_destination as u16;
                let registers = (destination as u16) << 10 | (source as u16) << 5;
                Some(registers | reach << 3 | user << 2 | COPY)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_decodes_to_what_encodes_it_or_is_refused() {
        let mut refused = 0;
        for data in 0..=u16::MAX {
            match Access::decode(data) {
                Some(access) => assert_eq!(access.encode(), Some(data), "{access:?}"),
                None => refused += 1,
            }
        }
        // A quarter has direction 3; an eighth of the loads and stores have width code 7; of the
        // copies those with a reach above 1 or bit 15 set are refused.
        assert_eq!(refused, 16384 + 2 * 2048 + (16384 - 4096));
    }

    #[test]
    fn fields_that_do_not_fit_are_refused() {
        let single = |base, offset, width| {
            Access::Single {
                direction: Direction::Load,
                base,
                offset,
                width,
            }
            .encode()
        };
        assert!(single(Some(30), 31 * 16, 16).is_some());
        assert!(single(Some(0), -32 * 64, 64).is_some());
        assert_eq!(single(Some(31), 0, 8), None);
        assert_eq!(single(Some(1), 32 * 16, 16), None);
        assert_eq!(single(Some(1), 3, 2), None);
        assert_eq!(single(Some(1), 0, 3), None);
        assert_eq!(single(Some(1), 0, 0), None);
        assert_eq!(single(Some(1), 0, 128), None);
    }
}
