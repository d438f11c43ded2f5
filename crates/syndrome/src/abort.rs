//! Data aborts and instruction aborts.

use core::fmt;

use crate::{AbortCause, Esr, ExceptionClass, FaultStatus, SyncErrorType, Syndrome, WriteUpdate};

/// Where an exception came from, relative to the level it is taken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A less privileged exception level.
    LowerEl,
    /// The exception level the exception is taken to.
    SameEl,
}

/// The syndrome of a data abort: EC `0x24` or `0x25`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DataAbort(pub(crate) Esr);

/// The syndrome of an instruction abort: EC `0x20` or `0x21`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstructionAbort(pub(crate) Esr);

/// The access that failed, where hardware describes it: `ISS<23:14>` with ISV set.
///
/// Hardware does so for most stage 2 aborts of a single general-purpose register, and never for
/// an external abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstructionSyndrome {
    /// SAS: bytes accessed: 1, 2, 4 or 8.
    pub size: u8,
    /// SSE: whether the value loaded is sign-extended.
    pub sign_extend: bool,
    /// SRT: the register transferred, 0 to 31; 31 is the zero register.
    pub register: u8,
    /// SF: whether that register is 64 bits wide.
    pub is_64bit_register: bool,
    /// AR: whether the access has acquire or release semantics.
    pub acquire_release: bool,
}

/// Which 64-byte instruction failed, if it was one: `ISS.LST` (`FEAT_LS64`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadStoreType {
    /// Not a 64-byte instruction, as far as is known.
    Unspecified,
    /// ST64BV.
    St64bv,
    /// LD64B or ST64B.
    Ld64bOrSt64b,
    /// ST64BV0.
    St64bv0,
}

// Layout: Arm ARM (DDI 0487), ESR_EL1, "ISS encoding for an exception from a Data Abort" and
// "... from an Instruction Abort". These fields are the same in both.
macro_rules! fields_of_every_abort {
    ($view:ident, $lower:ident, $same:ident) => {
        impl $view {
            /// The syndrome of an abort with status `fault` and no other field set.
            pub const fn new(origin: Origin, fault: FaultStatus) -> Self {
                let class = match origin {
                    Origin::LowerEl => ExceptionClass::$lower,
                    Origin::SameEl => ExceptionClass::$same,
                };
                Self(Esr::of_class(class).with(5, 0, fault.code() as u64))
            }

            /// The register value.
            pub const fn esr(self) -> Esr {
                self.0
            }

            /// Where the abort came from.
            pub const fn origin(self) -> Origin {
                match self.0.class() {
                    ExceptionClass::$same => Origin::SameEl,
                    _ => Origin::LowerEl,
                }
            }

            /// DFSC or IFSC: what went wrong.
            pub const fn fault(self) -> FaultStatus {
                FaultStatus::new(self.0.small(5, 0))
            }

            /// Whose business the abort is. Ask this first.
            pub const fn cause(self) -> AbortCause {
                self.fault().cause()
            }

            /// SET: how bad the error is for this PE; only for an external abort.
            pub const fn error_type(self) -> Option<SyncErrorType> {
                if !self.fault().has_error_fields() {
                    return None;
                }
                Some(SyncErrorType::from_bits(self.0.small(12, 11)))
            }

            /// Sets SET. No effect unless the fault is an external abort.
            pub const fn with_error_type(self, error_type: SyncErrorType) -> Self {
                if !self.fault().has_error_fields() {
                    return self;
                }
                Self(self.0.with(12, 11, error_type.bits() as u64))
            }

            /// FnV: whether FAR holds nothing. The field exists only for an external abort that
            /// is not on a table walk; every other abort has a valid FAR.
            pub const fn far_not_valid(self) -> Option<bool> {
                match self.fault() {
                    FaultStatus::EXTERNAL_ABORT => Some(self.0.bit(10)),
                    _ => None,
                }
            }

            /// Sets or clears FnV. No effect unless the fault is an external abort not on a walk.
            pub const fn with_far_not_valid(self, on: bool) -> Self {
                match self.fault() {
                    FaultStatus::EXTERNAL_ABORT => Self(self.0.with_bit(10, on)),
                    _ => self,
                }
            }

            /// The virtual address at fault, given the value of `FAR_ELx`; `None` if FnV says
            /// that FAR holds nothing.
            ///
            /// The tag byte of the address may be unknown; strip it before use.
            pub const fn address(self, far: u64) -> Option<u64> {
                match self.far_not_valid() {
                    Some(true) => None,
                    _ => Some(far),
                }
            }

            /// The physical address at fault, given the value of `PFAR_ELx`; `None` unless PFV
            /// says it is valid (`FEAT_PFAR`, external aborts only).
            pub const fn physical_address(self, pfar: u64) -> Option<u64> {
                if self.fault().has_error_fields() && !self.isv() && self.0.bit(14) {
                    Some(pfar)
                } else {
                    None
                }
            }

            /// Sets or clears PFV. No effect unless the fault is an external abort.
            pub const fn with_physical_address_valid(self, on: bool) -> Self {
                if self.fault().has_error_fields() {
                    Self(self.0.with_bit(14, on))
                } else {
                    self
                }
            }

            /// EA: an implementation defined classification; only for an external abort.
            pub const fn external_abort_type(self) -> Option<bool> {
                if !self.fault().is_external_abort() {
                    return None;
                }
                Some(self.0.bit(9))
            }

            /// Sets or clears EA. No effect unless the fault is an external abort.
            pub const fn with_external_abort_type(self, on: bool) -> Self {
                if self.fault().is_external_abort() {
                    Self(self.0.with_bit(9, on))
                } else {
                    self
                }
            }

            /// S1PTW: whether stage 2 faulted on an access that a stage 1 walk made. Only ever
            /// set in `ESR_EL2`: EL1 has no stage 2 faults.
            pub const fn on_stage1_walk(self) -> bool {
                self.0.bit(7)
            }

            /// Sets or clears S1PTW.
            pub const fn with_stage1_walk(self, on: bool) -> Self {
                Self(self.0.with_bit(7, on))
            }

            /// ISV. An instruction abort has no such field, and the bit is RES0 there.
            const fn isv(self) -> bool {
                self.0.bit(24)
            }

            fn write_error_fields(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.on_stage1_walk() {
                    f.write_str(", on stage 1 walk")?;
                }
                if let Some(error_type) = self.error_type() {
                    write!(f, ", {error_type}")?;
                }
                if self.external_abort_type() == Some(true) {
                    f.write_str(", EA")?;
                }
                if self.far_not_valid() == Some(true) {
                    f.write_str(", FAR not valid")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $view {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($view), "({})"), self.0)
            }
        }

        impl From<$view> for Syndrome {
            fn from(view: $view) -> Self {
                Self::$view(view)
            }
        }
    };
}

fields_of_every_abort!(DataAbort, DATA_ABORT_LOWER, DATA_ABORT_SAME);
fields_of_every_abort!(
    InstructionAbort,
    INSTRUCTION_ABORT_LOWER,
    INSTRUCTION_ABORT_SAME
);

impl DataAbort {
    /// WnR: whether an instruction that writes caused the abort; `None` where the architecture
    /// leaves the bit unknown.
    ///
    /// Set for cache maintenance and address translation too. For a compare-and-swap or other
    /// atomic it says which half failed, and implementations differ: do not conclude from it that
    /// an instruction does not read.
    pub const fn is_write(self) -> Option<bool> {
        match self.fault() {
            FaultStatus::UNSUPPORTED_ATOMIC_UPDATE | FaultStatus::UNSUPPORTED_EXCLUSIVE => None,
            _ => Some(self.0.bit(6)),
        }
    }

    /// Sets or clears WnR.
    pub const fn with_write(self, on: bool) -> Self {
        Self(self.0.with_bit(6, on))
    }

    /// CM: whether cache maintenance (but not DC ZVA) or address translation caused the abort.
    pub const fn is_cache_maintenance(self) -> bool {
        self.0.bit(8)
    }

    /// Sets or clears CM. Hardware sets WnR along with it.
    pub const fn with_cache_maintenance(self, on: bool) -> Self {
        Self(self.0.with_bit(8, on))
    }

    /// VNCR: whether the access was to the page that nested virtualisation keeps EL2's registers
    /// in. Only in `ESR_EL2`.
    pub const fn is_nested_register_access(self) -> bool {
        self.0.bit(13)
    }

    /// `ISS2.GCS`: whether the access was to a guarded control stack (`FEAT_GCS`).
    pub const fn is_guarded_control_stack(self) -> bool {
        self.0.bit(40)
    }

    /// Sets or clears `ISS2.GCS`.
    pub const fn with_guarded_control_stack(self, on: bool) -> Self {
        Self(self.0.with_bit(40, on))
    }

    /// FnP: whether FAR is only somewhere in the fault granule, as happens for SVE contiguous and
    /// SME accesses. `false` where the field does not exist.
    pub const fn far_not_precise(self) -> bool {
        !self.isv() && self.0.bit(15)
    }

    /// The access, if ISV says that hardware describes it.
    pub const fn instruction(self) -> Option<InstructionSyndrome> {
        if !self.isv() {
            return None;
        }
        Some(InstructionSyndrome {
            size: 1 << self.0.small(23, 22),
            sign_extend: self.0.bit(21),
            register: self.0.small(20, 16),
            is_64bit_register: self.0.bit(15),
            acquire_release: self.0.bit(14),
        })
    }

    /// WU: whether memory was updated; only for an external abort (`FEAT_RASv2`).
    pub const fn write_update(self) -> Option<WriteUpdate> {
        if self.isv() || !self.fault().has_error_fields() {
            return None;
        }
        Some(WriteUpdate::from_bits(self.0.small(17, 16)))
    }

    /// LST: the kind of 64-byte access; only for translation, access flag and permission faults.
    pub const fn load_store_type(self) -> Option<LoadStoreType> {
        use crate::FaultKind as K;
        match self.fault().kind() {
            K::Translation(_) | K::AccessFlag(_) | K::Permission(_) => {}
            _ => return None,
        }
        Some(match self.0.small(12, 11) {
            0b00 => LoadStoreType::Unspecified,
            0b01 => LoadStoreType::St64bv,
            0b10 => LoadStoreType::Ld64bOrSt64b,
            _ => LoadStoreType::St64bv0,
        })
    }
}

impl fmt::Display for DataAbort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault().fmt(f)?;
        f.write_str(match (self.is_cache_maintenance(), self.is_write()) {
            (true, _) => ", cache maintenance",
            (false, Some(true)) => ", write",
            (false, Some(false)) => ", read",
            (false, None) => "",
        })?;
        if self.is_guarded_control_stack() {
            f.write_str(", guarded control stack")?;
        }
        if let Some(access) = self.instruction() {
            let width = if access.is_64bit_register { 'x' } else { 'w' };
            write!(f, ", {} bytes {width}{}", access.size, access.register)?;
        }
        self.write_error_fields(f)
    }
}

impl fmt::Display for InstructionAbort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault().fmt(f)?;
        self.write_error_fields(f)
    }
}
