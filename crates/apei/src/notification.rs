//! How an error source calls for attention: ACPI 18.3.2.9, "Hardware Error Notification".

use core::fmt;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How an error source calls for attention: 28 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Notification {
    /// By which means.
    pub kind: NotificationKind,
    /// Length of this structure: 28. Nothing here depends on it.
    pub length: u8,
    /// Which of the fields below software may change, one bit each.
    pub configuration_write_enable: U16,
    /// How often to poll, in milliseconds.
    pub poll_interval: U32,
    /// The interrupt: GSIV or SDEI event number.
    pub vector: U32,
    /// After how many interrupts in a window to poll instead; 0 for never.
    pub polling_threshold: U32,
    /// That window, in milliseconds.
    pub polling_threshold_window: U32,
    /// After how many corrected errors in a window to report at all; 0 for at once.
    pub error_threshold: U32,
    /// That window, in milliseconds.
    pub error_threshold_window: U32,
}

const _: () = assert!(size_of::<Notification>() == 28);

/// By which means an error source calls for attention; an open enumeration.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct NotificationKind(pub u8);

impl NotificationKind {
    /// Software asks.
    pub const POLLED: Self = Self(0);
    /// An external interrupt.
    pub const EXTERNAL_INTERRUPT: Self = Self(1);
    /// A local interrupt.
    pub const LOCAL_INTERRUPT: Self = Self(2);
    /// The system control interrupt.
    pub const SCI: Self = Self(3);
    /// A non-maskable interrupt.
    pub const NMI: Self = Self(4);
    /// x86: the corrected machine check interrupt.
    pub const CMCI: Self = Self(5);
    /// x86: a machine check exception.
    pub const MCE: Self = Self(6);
    /// A GPIO signal, through an event handler in AML.
    pub const GPIO: Self = Self(7);
    /// A synchronous external abort. The only kind whose error belongs to the very instruction
    /// that was interrupted.
    pub const SEA: Self = Self(8);
    /// An SError interrupt.
    pub const SEI: Self = Self(9);
    /// An interrupt that `vector` names.
    pub const GSIV: Self = Self(10);
    /// A software delegated exception (Arm DEN 0054).
    pub const SDEI: Self = Self(11);
}

impl Notification {
    /// A notification of this kind; everything else is 0.
    pub fn new(kind: NotificationKind) -> Self {
        Self {
            kind,
            length: size_of::<Self>() as u8,
            ..Self::new_zeroed()
        }
    }
}

impl fmt::Display for NotificationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::POLLED => "polled",
            Self::EXTERNAL_INTERRUPT => "external interrupt",
            Self::LOCAL_INTERRUPT => "local interrupt",
            Self::SCI => "SCI",
            Self::NMI => "NMI",
            Self::CMCI => "CMCI",
            Self::MCE => "MCE",
            Self::GPIO => "GPIO",
            Self::SEA => "SEA",
            Self::SEI => "SEI",
            Self::GSIV => "GSIV",
            Self::SDEI => "SDEI",
            Self(other) => return write!(f, "notification {other}"),
        })
    }
}

impl fmt::Debug for NotificationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NotificationKind({}: {self})", self.0)
    }
}
