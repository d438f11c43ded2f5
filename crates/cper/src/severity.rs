//! How bad an error is.

use core::fmt;

/// Severity of a section, or of a block or record as a whole.
///
/// UEFI, appendix N, table "Error Record Header"; ACPI 18.3.2.7.1 uses the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Uncorrected, but contained: software can carry on once it has given up what was lost.
    Recoverable,
    /// Uncorrected, and the system cannot carry on.
    Fatal,
    /// Hardware or firmware has put it right.
    Corrected,
    /// Not an error: information about one.
    Informational,
    /// A number nobody has defined yet.
    Reserved(u32),
}

impl Severity {
    /// Decodes the number that firmware uses.
    pub const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Recoverable,
            1 => Self::Fatal,
            2 => Self::Corrected,
            3 => Self::Informational,
            reserved => Self::Reserved(reserved),
        }
    }

    /// The number that firmware uses.
    pub const fn code(self) -> u32 {
        match self {
            Self::Recoverable => 0,
            Self::Fatal => 1,
            Self::Corrected => 2,
            Self::Informational => 3,
            Self::Reserved(code) => code,
        }
    }

    /// Whether data was lost: recoverable or fatal.
    pub const fn is_uncorrected(self) -> bool {
        matches!(self, Self::Recoverable | Self::Fatal)
    }

    /// The worse of two. The numbers are not in order of badness: recoverable is 0. A reserved
    /// severity counts as less than any other, because nothing is known of it.
    #[must_use]
    pub const fn worst(self, other: Self) -> Self {
        if other.badness() > self.badness() {
            other
        } else {
            self
        }
    }

    const fn badness(self) -> u8 {
        match self {
            Self::Reserved(_) => 0,
            Self::Informational => 1,
            Self::Corrected => 2,
            Self::Recoverable => 3,
            Self::Fatal => 4,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recoverable => f.write_str("recoverable"),
            Self::Fatal => f.write_str("fatal"),
            Self::Corrected => f.write_str("corrected"),
            Self::Informational => f.write_str("informational"),
            Self::Reserved(code) => write!(f, "reserved severity {code}"),
        }
    }
}
