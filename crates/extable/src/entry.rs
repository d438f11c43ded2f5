//! One entry: 12 bytes, self-relative, so that a table needs no relocation.

use core::fmt;

/// What an entry excuses. Open: a number nobody knows prints, and excuses nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Kind(pub u16);

impl Kind {
    /// An access to user memory: a fault and a memory error are both excused.
    pub const USER_ACCESS: Self = Self(1);
    /// An access to memory that the kernel maps: a memory error is excused, a fault is not.
    pub const KERNEL_ACCESS: Self = Self(2);
    /// One instruction that reads one side and writes the other, with user memory on one of
    /// them: a fault is excused only if its direction is that of the user side.
    pub const USER_COPY: Self = Self(3);
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::USER_ACCESS => f.write_str("UserAccess"),
            Self::KERNEL_ACCESS => f.write_str("KernelAccess"),
            Self::USER_COPY => f.write_str("UserCopy"),
            Self(number) => write!(f, "Kind({number})"),
        }
    }
}

/// One exception-table entry as it lies in its section: little-endian, 4-byte aligned.
///
/// | offset | field | meaning |
/// |---|---|---|
/// | 0 | `i32` | address of the covered instruction, less the address of this field |
/// | 4 | `i32` | address of the landing pad, less the address of this field |
/// | 8 | `u16` | [`Kind`] |
/// | 10 | `u16` | [`Access`](crate::Access) |
///
/// An entry means something only where it lies, so it is neither `Clone` nor `Copy`; whoever
/// moves a whole table says by how much ([`Table::moved`](crate::Table::moved)).
#[repr(C)]
pub struct Entry {
    pub(crate) instruction: i32,
    pub(crate) fixup: i32,
    pub(crate) kind: Kind,
    pub(crate) data: u16,
}

const _: () = assert!(size_of::<Entry>() == 12 && align_of::<Entry>() == 4);

/// A target lies more than 2 GiB from the entry that should name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfReach;

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an exception-table entry cannot name an address more than 2 GiB away: \
             place the table in the image whose code it covers",
        )
    }
}

impl core::error::Error for OutOfReach {}

impl Entry {
    /// Size of an entry in its section, in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// Address of the covered instruction, for an entry that lies where it was linked.
    #[inline]
    #[must_use]
    pub fn instruction(&self) -> usize {
        target(&self.instruction)
    }

    /// Address of the landing pad, for an entry that lies where it was linked.
    #[inline]
    #[must_use]
    pub fn fixup(&self) -> usize {
        target(&self.fixup)
    }

    /// What the entry excuses.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The data bits, see [`Access`](crate::Access).
    #[must_use]
    pub fn data(&self) -> u16 {
        self.data
    }

    /// Makes this entry, where it lies now, name `instruction` and `fixup` (addresses).
    ///
    /// For code that is generated at run time, and for tests; compiled code uses
    /// [`entry!`](macro@crate::entry).
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] if either lies more than 2 GiB away; the entry is then unchanged.
    pub fn point(
        &mut self,
        instruction: usize,
        fixup: usize,
        kind: Kind,
        data: u16,
    ) -> Result<(), OutOfReach> {
        let to_instruction = distance(&self.instruction, instruction)?;
        let to_fixup = distance(&self.fixup, fixup)?;
        *self = Self {
            instruction: to_instruction,
            fixup: to_fixup,
            kind,
            data,
        };
        Ok(())
    }

    /// An entry from the bytes of a section, e.g. in an ELF file on a build host.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self {
            instruction: i32::from_le_bytes([a, b, c, d]),
            fixup: i32::from_le_bytes([e, f, g, h]),
            kind: Kind(u16::from_le_bytes([i, j])),
            data: u16::from_le_bytes([k, l]),
        }
    }

    /// The bytes of this entry in a section.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let [a, b, c, d] = self.instruction.to_le_bytes();
        let [e, f, g, h] = self.fixup.to_le_bytes();
        let [i, j] = self.kind.0.to_le_bytes();
        let [k, l] = self.data.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:#x} -> {:#x} {:?} {:?}",
            self.instruction(),
            self.fixup(),
            self.kind,
            crate::Access::decode(self.data)
        )
    }
}

fn target(field: &i32) -> usize {
    (&raw const *field)
        .addr()
        .wrapping_add_signed(*field as isize)
}

fn distance(field: &i32, target: usize) -> Result<i32, OutOfReach> {
    let distance = target
        .wrapping_sub((&raw const *field).addr())
        .cast_signed();
    i32::try_from(distance).map_err(|_| OutOfReach)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn an_entry_names_what_it_was_pointed_at() {
        let mut entry = Entry::from_bytes([0; Entry::SIZE]);
        let here = (&raw const entry).addr();
        entry
            .point(here + 0x1000, here - 0x2000, Kind::USER_ACCESS, 7)
            .unwrap();
        assert_eq!(entry.instruction(), here + 0x1000);
        assert_eq!(entry.fixup(), here - 0x2000);
        assert_eq!((entry.kind(), entry.data()), (Kind::USER_ACCESS, 7));
        let same = Entry::from_bytes(entry.to_bytes());
        assert_eq!(same.instruction, entry.instruction);
        assert_eq!(same.to_bytes(), entry.to_bytes());
    }

    #[test]
    fn a_target_out_of_reach_is_an_error_and_changes_nothing() {
        let mut entry = Entry::from_bytes([1; Entry::SIZE]);
        let far = (&raw const entry).addr().wrapping_add(1 << 40);
        let near = (&raw const entry).addr();
        assert_eq!(
            entry.point(far, near, Kind::USER_ACCESS, 0),
            Err(OutOfReach)
        );
        assert_eq!(
            entry.point(near, far, Kind::USER_ACCESS, 0),
            Err(OutOfReach)
        );
        assert_eq!(entry.to_bytes(), [1; Entry::SIZE]);
    }

    #[test]
    fn an_unknown_kind_prints() {
        assert_eq!(
            format!("{:?} {:?}", Kind::USER_COPY, Kind(99)),
            "UserCopy Kind(99)"
        );
    }
}
