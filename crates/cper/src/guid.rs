//! GUIDs, and the ones that name sections and notifications.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GUID in its binary form: the first three fields are little-endian (UEFI, appendix A).
///
/// [`Display`](fmt::Display) prints the usual text form, in lower case.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct Guid([u8; 16]);

// UEFI, appendix N: section types, table "Section Descriptor"; notification types, table "Error
// Record Header".
impl Guid {
    /// No GUID.
    pub const ZERO: Self = Self([0; 16]);
    /// Section: memory error.
    pub const MEMORY: Self = Self::new(0xa5bc_1114, 0x6f64, 0x4ede, 0xb863, 0x3e83_ed7c_83b1);
    /// Section: memory error, second format.
    pub const MEMORY_2: Self = Self::new(0x61ec_04fc, 0x48e6, 0xd813, 0x25c9, 0x8daa_4475_0b12);
    /// Section: ARM processor error.
    pub const ARM_PROCESSOR: Self =
        Self::new(0xe19e_3d16, 0xbc11, 0x11e4, 0x9caa, 0xc205_1d5d_46b0);
    /// Section: processor error of no particular architecture.
    pub const GENERIC_PROCESSOR: Self =
        Self::new(0x9876_ccad, 0x47b4, 0x4bdb, 0xb65e, 0x16f1_93c4_f3db);
    /// Section: x86 processor error.
    pub const X86_PROCESSOR: Self =
        Self::new(0xdc3e_a0b0, 0xa144, 0x4797, 0xb95b, 0x53fa_242b_6e1d);
    /// Section: PCI Express error.
    pub const PCIE: Self = Self::new(0xd995_e954, 0xbbc1, 0x430f, 0xad91, 0xb44d_cb3c_6f35);
    /// Section: firmware error record.
    pub const FIRMWARE: Self = Self::new(0x8121_2a96, 0x09ed, 0x4996, 0x9471, 0x8d72_9c8e_69ed);

    /// Notification: synchronous external abort.
    pub const NOTIFY_SEA: Self = Self::new(0x9a78_788a, 0xbbe8, 0x11e4, 0x809e, 0x6761_1e5d_46b0);
    /// Notification: SError interrupt.
    pub const NOTIFY_SEI: Self = Self::new(0x5c28_4c81, 0xb0ae, 0x4e87, 0xa322, 0xb04c_8562_4323);
    /// Notification: an error of the previous boot.
    pub const NOTIFY_BOOT: Self = Self::new(0x3d61_a466, 0xab40, 0x409a, 0xa698, 0xf362_d464_b38f);

    /// Makes a GUID from the five groups of its text form; only the low 48 bits of the last count.
    pub const fn new(first: u32, second: u16, third: u16, fourth: u16, fifth: u64) -> Self {
        let [a, b, c, d] = first.to_le_bytes();
        let [e, f] = second.to_le_bytes();
        let [g, h] = third.to_le_bytes();
        let [i, j] = fourth.to_be_bytes();
        let [_, _, k, l, m, n, o, p] = fifth.to_be_bytes();
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// Takes a GUID from its binary form.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The binary form.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// What a section of this type describes, if the type is one of those above.
    pub const fn section_name(self) -> Option<&'static str> {
        Some(match self {
            Self::MEMORY => "memory error",
            Self::MEMORY_2 => "memory error (second format)",
            Self::ARM_PROCESSOR => "ARM processor error",
            Self::GENERIC_PROCESSOR => "processor error",
            Self::X86_PROCESSOR => "x86 processor error",
            Self::PCIE => "PCI Express error",
            Self::FIRMWARE => "firmware error record",
            _ => return None,
        })
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i, rest @ ..] = self.0;
        let first = u32::from_le_bytes([a, b, c, d]);
        let second = u16::from_le_bytes([e, g]);
        let third = u16::from_le_bytes([h, i]);
        write!(f, "{first:08x}-{second:04x}-{third:04x}-")?;
        for (index, byte) in rest.iter().enumerate() {
            if index == 2 {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}
