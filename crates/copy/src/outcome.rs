//! What a copy reports.

use core::fmt;

use extable::{Cause, Report, Side};

/// A copy that stopped early. All bytes before the unit that failed are in the destination;
/// none after them were written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Incomplete {
    /// Bytes copied, compared, filled: exact, from the start of the range.
    pub copied: usize,
    /// What the abort handler said of the access that failed.
    pub report: Report,
}

impl Incomplete {
    /// Why the access failed.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.report.cause()
    }

    /// Which side failed, where that is known.
    #[must_use]
    pub fn side(&self) -> Option<Side> {
        self.report.side()
    }
}

impl fmt::Debug for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incomplete")
            .field("copied", &self.copied)
            .field("cause", &self.cause())
            .field("side", &self.side())
            .field("code", &self.report.code())
            .finish()
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self.cause() {
            Cause::Fault => "a fault",
            Cause::MemoryError => "a memory error",
        };
        let side = match self.side() {
            Some(Side::Source) => " in its source",
            Some(Side::Destination) => " in its destination",
            None => "",
        };
        write!(
            f,
            "memory access stopped by {cause}{side} after {} bytes",
            self.copied
        )
    }
}

impl core::error::Error for Incomplete {}

/// The two result registers of every routine.
///
/// `rest` is 0 when the routine went through its whole range. Copies and fills then leave
/// whatever was in the register of `report`, so that the fault-free path spends nothing on it;
/// searches set it to 0 when they stopped because they found something.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) rest: usize,
    pub(crate) report: usize,
}

impl Outcome {
    /// The result of a copy or fill of `length` bytes.
    #[inline(always)]
    pub(crate) fn of(self, length: usize) -> Result<(), Incomplete> {
        if self.rest == 0 {
            Ok(())
        } else {
            Err(self.incomplete(length))
        }
    }

    /// The result of a search through `length` bytes: where it found something.
    #[inline(always)]
    pub(crate) fn found(self, length: usize) -> Result<Option<usize>, Incomplete> {
        match self.rest {
            0 => Ok(None),
            rest if self.report == 0 => Ok(Some(length - rest)),
            _ => Err(self.incomplete(length)),
        }
    }

    #[cold]
    fn incomplete(self, length: usize) -> Incomplete {
        let report = Report::from_word(self.report).expect("a routine that fails has a report");
        Incomplete {
            copied: length - self.rest,
            report,
        }
    }
}
