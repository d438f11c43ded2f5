//! Entries of translation tables: Arm ARM DDI 0487, D8.3 (VMSAv8-64, stage 1, 4 KiB granule).
//! MAIR attribute 0 must be normal write-back memory.
//!
//! An entry of the last level stands for one page, and one of the level above for a block of
//! them. The two differ in one bit.

use crate::{Pfn, SwapSlot};

const VALID: u64 = 1;
const TABLE_OR_PAGE: u64 = 1 << 1;
/// `AP[1]`: EL0 may access.
const EL0: u64 = 1 << 6;
/// `AP[2]`: nobody may write.
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 0b11 << 8;
const ACCESSED: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const PRIVILEGED_NO_EXECUTE: u64 = 1 << 53;
const USER_NO_EXECUTE: u64 = 1 << 54;
const ADDRESS: u64 = ((1 << 48) - 1) & !((1 << 12) - 1);

/// What an invalid entry that is not empty stands for, in bits 5:2; hardware ignores them.
const HWPOISON: u64 = 1 << 2;
const MIGRATION: u64 = 2 << 2;
const RESERVED: u64 = 6 << 2;
const TAKEN: u64 = 7 << 2;
const SWAP: u64 = 3 << 2;
const KIND: u64 = 0b1111 << 2;

/// What user space may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Loads.
    pub read: bool,
    /// Stores. Arm has no memory that can be written but not read, so this implies `read`.
    pub write: bool,
    /// Fetches.
    pub execute: bool,
}

impl Protection {
    /// Nothing.
    pub const NONE: Self = Self {
        read: false,
        write: false,
        execute: false,
    };
    /// Loads.
    pub const READ: Self = Self {
        read: true,
        write: false,
        execute: false,
    };
    /// Loads and stores.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
        execute: false,
    };
    /// Loads and fetches.
    pub const READ_EXECUTE: Self = Self {
        read: true,
        write: false,
        execute: true,
    };

    /// The same, without stores.
    pub(crate) fn read_only(self) -> Self {
        Self {
            read: self.read || self.write,
            write: false,
            ..self
        }
    }

    /// Whether it allows `access`.
    pub const fn allows(self, access: Access) -> bool {
        match access {
            Access::Load => self.read || self.write,
            Access::Store => self.write,
            Access::Fetch => self.execute,
        }
    }
}

/// What a process does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Load,
    /// A store, or an atomic that may store.
    Store,
    /// An instruction fetch.
    Fetch,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Empty,
    /// A page. The entry holds one reference to the frame.
    Page(Pfn, Protection),
    /// The page was lost to a memory error: an access gets `SIGBUS`. No reference is held.
    HwPoison(Pfn),
    /// The page is being moved: an access must wait. The entry holds one reference to the frame.
    Migration(Pfn),
    /// Nothing yet, but a huge page of the pool is kept for this block.
    Reserved,
    /// The huge page that a process shared with its parent went back to the parent, for the pool
    /// had no other: an access gets `SIGBUS`.
    Taken,
    /// The page is in swap: an access brings it back. The entry counts as one of the slot's.
    Swap(SwapSlot),
}

impl Entry {
    /// The descriptor of a block. The frame of a mapping is the first of the block's.
    pub const fn encode_block(self) -> u64 {
        match self {
            Self::Page(..) => self.encode() & !TABLE_OR_PAGE,
            _ => self.encode(),
        }
    }

    /// The descriptor of a page.
    pub const fn encode(self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Page(pfn, protection) => {
                let mut descriptor = VALID
                    | TABLE_OR_PAGE
                    | INNER_SHAREABLE
                    | ACCESSED
                    | NOT_GLOBAL
                    | PRIVILEGED_NO_EXECUTE
                    | pfn.0 << crate::PAGE_SHIFT;
                if protection.read || protection.write {
                    descriptor |= EL0;
                }
                if !protection.write {
                    descriptor |= READ_ONLY;
                }
                if !protection.execute {
                    descriptor |= USER_NO_EXECUTE;
                }
                descriptor
            }
            Self::HwPoison(pfn) => HWPOISON | pfn.0 << crate::PAGE_SHIFT,
            Self::Migration(pfn) => MIGRATION | pfn.0 << crate::PAGE_SHIFT,
            Self::Reserved => RESERVED,
            Self::Taken => TAKEN,
            Self::Swap(slot) => SWAP | (slot.number() as u64) << crate::PAGE_SHIFT,
        }
    }

    /// The entry that a descriptor of ours for a page or a block stands for.
    pub const fn decode(descriptor: u64) -> Self {
        let pfn = Pfn((descriptor & ADDRESS) >> crate::PAGE_SHIFT);
        if descriptor & VALID != 0 {
            let read = descriptor & EL0 != 0;
            return Self::Page(
                pfn,
                Protection {
                    read,
                    write: read && descriptor & READ_ONLY == 0,
                    execute: descriptor & USER_NO_EXECUTE == 0,
                },
            );
        }
        match descriptor & KIND {
            HWPOISON => Self::HwPoison(pfn),
            MIGRATION => Self::Migration(pfn),
            RESERVED => Self::Reserved,
            TAKEN => Self::Taken,
            SWAP => match SwapSlot::new(pfn.0 as u32) {
                Some(slot) => Self::Swap(slot),
                None => Self::Empty,
            },
            _ => Self::Empty,
        }
    }
}

/// The descriptor of a next-level table.
pub(crate) const fn encode_table(pfn: Pfn) -> u64 {
    VALID | TABLE_OR_PAGE | pfn.0 << crate::PAGE_SHIFT
}

/// The next-level table a descriptor points to.
pub(crate) const fn decode_table(descriptor: u64) -> Option<Pfn> {
    if descriptor & (VALID | TABLE_OR_PAGE) == VALID | TABLE_OR_PAGE {
        Some(Pfn((descriptor & ADDRESS) >> crate::PAGE_SHIFT))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Protection};
    use crate::{Pfn, SwapSlot};

    #[test]
    fn entries_survive_encoding() {
        let bits = [false, true];
        for read in bits {
            for write in bits.into_iter().filter(|write| read || !write) {
                for execute in bits {
                    let entry = Entry::Page(
                        Pfn(0xf_1234_5678),
                        Protection {
                            read,
                            write,
                            execute,
                        },
                    );
                    assert_eq!(Entry::decode(entry.encode()), entry);
                    assert_eq!(Entry::decode(entry.encode_block()), entry);
                    assert_eq!(entry.encode_block() & 0b11, 0b01, "a block");
                    assert_eq!(super::decode_table(entry.encode_block()), None);
                }
            }
        }
        for entry in [
            Entry::Empty,
            Entry::HwPoison(Pfn(9)),
            Entry::Migration(Pfn(1 << 35)),
            Entry::Reserved,
            Entry::Taken,
            Entry::Swap(SwapSlot::new(u32::MAX).unwrap()),
        ] {
            assert_eq!(Entry::decode(entry.encode()), entry);
            assert_eq!(entry.encode() & 1, 0, "hardware must not use it");
        }
    }

    #[test]
    fn a_user_page_has_the_bits_of_the_manual() {
        // Valid page, AP 0b01, inner shareable, AF, nG, PXN, UXN.
        let entry = Entry::Page(Pfn(0x40000), Protection::READ_WRITE);
        assert_eq!(entry.encode(), 0x0060_0000_4000_0f43);
    }
}
