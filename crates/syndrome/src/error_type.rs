//! How bad an error is for the PE that met it: SET, AET and WU.
//!
//! Arm ARM (DDI 0487), "PE error state classification" in the RAS extension.

use core::fmt;

/// State of the PE after a synchronous external abort: `ISS.SET`.
///
/// Without `FEAT_RAS` the field is RES0 and reads as [`Recoverable`](Self::Recoverable).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncErrorType {
    /// UER: the PE can resume once software has dealt with the error.
    Recoverable,
    /// UC: the error may have spread anywhere.
    Uncontainable,
    /// UEO: the PE can resume as it is.
    Restartable,
    /// A value the architecture reserves.
    Reserved(u8),
}

/// State of the PE after an SError: `ISS.AET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsyncErrorType {
    /// UC: the error may have spread anywhere.
    Uncontainable,
    /// UEU: the interrupted program cannot be resumed.
    Unrecoverable,
    /// UEO: the PE can resume as it is.
    Restartable,
    /// UER: the PE can resume once software has dealt with the error.
    Recoverable,
    /// CE: hardware has put the error right.
    Corrected,
    /// A value the architecture reserves.
    Reserved(u8),
}

/// Whether the store that met an error updated memory: `ISS.WU` (`FEAT_RASv2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteUpdate {
    /// Not a store, or it is not known whether memory was updated. Also without `FEAT_RASv2`.
    Unknown,
    /// The store did not update memory.
    NotUpdated,
    /// The store updated memory.
    Updated,
    /// A value the architecture reserves.
    Reserved(u8),
}

impl SyncErrorType {
    /// Decodes the two-bit field; higher bits are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::Recoverable,
            0b10 => Self::Uncontainable,
            0b11 => Self::Restartable,
            reserved => Self::Reserved(reserved),
        }
    }

    /// The value of the field.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Recoverable => 0b00,
            Self::Uncontainable => 0b10,
            Self::Restartable => 0b11,
            Self::Reserved(bits) => bits & 0b11,
        }
    }
}

impl AsyncErrorType {
    /// Decodes the three-bit field; higher bits are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b111 {
            0b000 => Self::Uncontainable,
            0b001 => Self::Unrecoverable,
            0b010 => Self::Restartable,
            0b011 => Self::Recoverable,
            0b110 => Self::Corrected,
            reserved => Self::Reserved(reserved),
        }
    }

    /// The value of the field.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Uncontainable => 0b000,
            Self::Unrecoverable => 0b001,
            Self::Restartable => 0b010,
            Self::Recoverable => 0b011,
            Self::Corrected => 0b110,
            Self::Reserved(bits) => bits & 0b111,
        }
    }
}

impl WriteUpdate {
    /// Decodes the two-bit field; higher bits are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::Unknown,
            0b10 => Self::NotUpdated,
            0b11 => Self::Updated,
            reserved => Self::Reserved(reserved),
        }
    }
}

impl fmt::Display for SyncErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recoverable => f.write_str("recoverable (UER)"),
            Self::Uncontainable => f.write_str("uncontainable (UC)"),
            Self::Restartable => f.write_str("restartable (UEO)"),
            Self::Reserved(bits) => write!(f, "reserved error type {bits:#04b}"),
        }
    }
}

impl fmt::Display for AsyncErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uncontainable => f.write_str("uncontainable (UC)"),
            Self::Unrecoverable => f.write_str("unrecoverable (UEU)"),
            Self::Restartable => f.write_str("restartable (UEO)"),
            Self::Recoverable => f.write_str("recoverable (UER)"),
            Self::Corrected => f.write_str("corrected (CE)"),
            Self::Reserved(bits) => write!(f, "reserved error type {bits:#05b}"),
        }
    }
}
