//! SError: asynchronous errors.

use core::fmt;

use crate::{AsyncErrorType, Esr, ExceptionClass, Syndrome, WriteUpdate};

/// The syndrome of an SError: EC `0x2f`.
///
/// `VSESR_EL2`, `DISR_EL1` and `VDISR_EL2` hold the same 25 bits; see [`SError::from_iss`].
/// Without `FEAT_RAS` a syndrome is either implementation defined or all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SError(pub(crate) Esr);

const ASYNCHRONOUS: u8 = 0x11;

// Layout: Arm ARM (DDI 0487), ESR_EL1, "ISS encoding for an SError exception".
impl SError {
    /// An asynchronous SError (DFSC `0x11`) of the given severity (AET).
    pub const fn asynchronous(error_type: AsyncErrorType) -> Self {
        Self(
            Esr::of_class(ExceptionClass::SERROR)
                .with(12, 10, error_type.bits() as u64)
                .with(5, 0, ASYNCHRONOUS as u64),
        )
    }

    /// Takes IDS and ISS from bits 24 to 0 of `VSESR_EL2`, `DISR_EL1` or `VDISR_EL2`, which lay
    /// them out as an ESR does; the other bits, such as DISR_EL1.A, are ignored.
    pub const fn from_iss(register: u64) -> Self {
        Self(Esr::of_class(ExceptionClass::SERROR).with(24, 0, register))
    }

    /// The register value.
    pub const fn esr(self) -> Esr {
        self.0
    }

    /// The rest of the syndrome, 24 bits, if IDS says that its meaning is the implementation's.
    pub const fn implementation_defined(self) -> Option<u32> {
        if self.0.bit(24) {
            Some(self.0.iss() & 0x00ff_ffff)
        } else {
            None
        }
    }

    /// DFSC: `0` for an uncategorised error, `0x11` for an asynchronous one; other values are
    /// reserved. `None` if the syndrome is implementation defined.
    pub const fn fault_code(self) -> Option<u8> {
        match self.implementation_defined() {
            Some(_) => None,
            None => Some(self.0.small(5, 0)),
        }
    }

    /// AET: how bad the error is for this PE; only for DFSC `0x11`.
    pub const fn error_type(self) -> Option<AsyncErrorType> {
        if !self.is_asynchronous() {
            return None;
        }
        Some(AsyncErrorType::from_bits(self.0.small(12, 10)))
    }

    /// EA: an implementation defined classification; only for DFSC `0x11`.
    pub const fn external_abort_type(self) -> Option<bool> {
        if !self.is_asynchronous() {
            return None;
        }
        Some(self.0.bit(9))
    }

    /// Sets or clears EA. No effect unless DFSC is `0x11`.
    pub const fn with_external_abort_type(self, on: bool) -> Self {
        if self.is_asynchronous() {
            Self(self.0.with_bit(9, on))
        } else {
            self
        }
    }

    /// IESB: whether the error barrier implied by taking another exception brought this one in;
    /// only for DFSC `0x11` (`FEAT_IESB`).
    pub const fn by_implicit_barrier(self) -> Option<bool> {
        if !self.is_asynchronous() {
            return None;
        }
        Some(self.0.bit(13))
    }

    /// ELS: whether the instruction at ELR triggered the error; only for DFSC `0x11`
    /// (`FEAT_RASv2`).
    pub const fn triggered_by_elr(self) -> Option<bool> {
        if !self.is_asynchronous() {
            return None;
        }
        Some(self.0.bit(18))
    }

    /// WU: whether memory was updated; only for DFSC `0x11` (`FEAT_RASv2`).
    pub const fn write_update(self) -> Option<WriteUpdate> {
        if !self.is_asynchronous() {
            return None;
        }
        Some(WriteUpdate::from_bits(self.0.small(17, 16)))
    }

    /// WnR: whether a write caused the error; only if WnRV says so (`FEAT_RASv2`).
    pub const fn is_write(self) -> Option<bool> {
        if self.is_asynchronous() && self.0.bit(7) {
            Some(self.0.bit(6))
        } else {
            None
        }
    }

    /// The virtual address, given the value of `FAR_ELx`; `None` unless VFV says it is valid
    /// (`FEAT_RASv2`). The opposite sense to the FnV of an abort.
    pub const fn address(self, far: u64) -> Option<u64> {
        if self.is_asynchronous() && self.0.bit(15) {
            Some(far)
        } else {
            None
        }
    }

    /// The physical address, given the value of `PFAR_ELx`; `None` unless PFV says it is valid
    /// (`FEAT_PFAR`).
    pub const fn physical_address(self, pfar: u64) -> Option<u64> {
        if self.is_asynchronous() && self.0.bit(14) {
            Some(pfar)
        } else {
            None
        }
    }

    const fn is_asynchronous(self) -> bool {
        matches!(self.fault_code(), Some(ASYNCHRONOUS))
    }
}

impl fmt::Display for SError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(iss) = self.implementation_defined() {
            return write!(f, "implementation defined {iss:#08x}");
        }
        match (self.error_type(), self.fault_code()) {
            (Some(error_type), _) => write!(f, "asynchronous, {error_type}")?,
            (None, Some(0)) => f.write_str("uncategorised")?,
            (None, code) => write!(f, "reserved fault code {:#04x}", code.unwrap_or(0))?,
        }
        if self.external_abort_type() == Some(true) {
            f.write_str(", EA")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SError({})", self.0)
    }
}

impl From<SError> for Syndrome {
    fn from(view: SError) -> Self {
        Self::SError(view)
    }
}
