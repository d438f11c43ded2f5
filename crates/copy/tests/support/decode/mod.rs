//! Which instructions of a routine access memory, and how: the oracle for the exception table.
#![expect(
    unreachable_pub,
    reason = "a module of a test program has no other crate to reach"
)]

use copy::extable::{Access, Direction, Reach};

#[cfg(target_arch = "aarch64")]
pub mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "aarch64")]
pub use aarch64::accesses;
#[cfg(target_arch = "x86_64")]
pub use x86_64::accesses;

/// An instruction that accesses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accessing {
    /// Offset of the instruction in its routine.
    pub offset: usize,
    pub access: Decoded,
}

/// What the instruction itself says of its access; the user side of a copy is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    Single {
        direction: Direction,
        base: u8,
        offset: i16,
        width: u8,
    },
    Copy {
        source: u8,
        destination: u8,
        reach: Reach,
    },
}

impl Decoded {
    /// Whether an entry describes this access.
    pub fn is_described_by(self, entry: Access) -> bool {
        match (self, entry) {
            (
                Self::Single {
                    direction,
                    base,
                    offset,
                    width,
                },
                entry,
            ) => {
                entry
                    == Access::Single {
                        direction,
                        base: Some(base),
                        offset,
                        width,
                    }
            }
            (
                Self::Copy {
                    source,
                    destination,
                    reach,
                },
                Access::Copy {
                    source: s,
                    destination: d,
                    reach: r,
                    ..
                },
            ) => (source, destination, reach) == (s, d, r),
            _ => false,
        }
    }
}
