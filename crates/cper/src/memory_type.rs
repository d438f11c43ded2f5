//! Kinds of memory errors.

use core::fmt;

/// The kind of a memory error: UEFI, appendix N, table "Memory Error Record", "Memory Error Type".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what they are")]
pub enum MemoryErrorType {
    Unknown,
    NoError,
    SingleBitEcc,
    MultiBitEcc,
    SingleSymbolChipkillEcc,
    MultiSymbolChipkillEcc,
    MasterAbort,
    TargetAbort,
    Parity,
    WatchdogTimeout,
    InvalidAddress,
    MirrorBroken,
    Sparing,
    ScrubCorrected,
    ScrubUncorrected,
    MapOut,
    /// A number nobody has defined yet.
    Reserved(u8),
}

impl MemoryErrorType {
    /// Decodes the number that records use.
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Unknown,
            1 => Self::NoError,
            2 => Self::SingleBitEcc,
            3 => Self::MultiBitEcc,
            4 => Self::SingleSymbolChipkillEcc,
            5 => Self::MultiSymbolChipkillEcc,
            6 => Self::MasterAbort,
            7 => Self::TargetAbort,
            8 => Self::Parity,
            9 => Self::WatchdogTimeout,
            10 => Self::InvalidAddress,
            11 => Self::MirrorBroken,
            12 => Self::Sparing,
            13 => Self::ScrubCorrected,
            14 => Self::ScrubUncorrected,
            15 => Self::MapOut,
            reserved => Self::Reserved(reserved),
        }
    }

    /// The number that records use.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::NoError => 1,
            Self::SingleBitEcc => 2,
            Self::MultiBitEcc => 3,
            Self::SingleSymbolChipkillEcc => 4,
            Self::MultiSymbolChipkillEcc => 5,
            Self::MasterAbort => 6,
            Self::TargetAbort => 7,
            Self::Parity => 8,
            Self::WatchdogTimeout => 9,
            Self::InvalidAddress => 10,
            Self::MirrorBroken => 11,
            Self::Sparing => 12,
            Self::ScrubCorrected => 13,
            Self::ScrubUncorrected => 14,
            Self::MapOut => 15,
            Self::Reserved(code) => code,
        }
    }
}

impl fmt::Display for MemoryErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "of unknown kind",
            Self::NoError => "no error",
            Self::SingleBitEcc => "single-bit ECC",
            Self::MultiBitEcc => "multi-bit ECC",
            Self::SingleSymbolChipkillEcc => "single-symbol chipkill ECC",
            Self::MultiSymbolChipkillEcc => "multi-symbol chipkill ECC",
            Self::MasterAbort => "master abort",
            Self::TargetAbort => "target abort",
            Self::Parity => "parity",
            Self::WatchdogTimeout => "watchdog timeout",
            Self::InvalidAddress => "invalid address",
            Self::MirrorBroken => "mirror broken",
            Self::Sparing => "memory sparing",
            Self::ScrubCorrected => "corrected while scrubbing",
            Self::ScrubUncorrected => "uncorrected, found while scrubbing",
            Self::MapOut => "physical memory mapped out",
            Self::Reserved(code) => return write!(f, "reserved kind {code}"),
        })
    }
}
