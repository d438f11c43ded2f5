//! Debug exceptions: hardware breakpoints, single step, watchpoints and BRK.

use core::fmt;

use crate::{Esr, ExceptionClass, Origin};

/// The syndrome of a hardware breakpoint: EC `0x30` or `0x31`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Breakpoint(pub(crate) Esr);

/// The syndrome of a completed single step: EC `0x32` or `0x33`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SoftwareStep(pub(crate) Esr);

/// The syndrome of a watchpoint: EC `0x34` or `0x35`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watchpoint(pub(crate) Esr);

/// The syndrome of a BRK instruction: EC `0x3c`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BreakpointInstruction(pub(crate) Esr);

// Layouts: Arm ARM (DDI 0487), ESR_EL1, the ISS encoding of each exception.

impl Breakpoint {
    /// The register value.
    pub const fn esr(self) -> Esr {
        self.0
    }
}

impl SoftwareStep {
    /// The register value.
    pub const fn esr(self) -> Esr {
        self.0
    }

    /// EX: whether the instruction stepped was a load-exclusive; `None` if ISV says that no
    /// instruction was stepped, because another exception came first.
    pub const fn stepped_exclusive(self) -> Option<bool> {
        if self.0.bit(24) {
            Some(self.0.bit(6))
        } else {
            None
        }
    }
}

impl Watchpoint {
    /// The register value.
    pub const fn esr(self) -> Esr {
        self.0
    }

    /// The same syndrome, as the level it is taken to reports it.
    pub const fn taken_from(self, origin: Origin) -> Self {
        let class = match origin {
            Origin::LowerEl => ExceptionClass::WATCHPOINT_LOWER,
            Origin::SameEl => ExceptionClass::WATCHPOINT_SAME,
        };
        const CLASS: u64 = 0x3f << 26;
        Self(Esr::new(
            self.0.bits() & !CLASS | (class.code() as u64) << 26,
        ))
    }

    /// WnR: whether a write matched. An atomic that would have matched on its read counts as a
    /// read; cache maintenance counts as a write.
    pub const fn is_write(self) -> bool {
        self.0.bit(6)
    }

    /// CM: whether cache maintenance, but not DC ZVA, matched.
    pub const fn is_cache_maintenance(self) -> bool {
        self.0.bit(8)
    }

    /// The address that matched, given the value of `FAR_ELx`; `None` if FnV is set (SVE and SME
    /// only).
    pub const fn address(self, far: u64) -> Option<u64> {
        if self.0.bit(10) { None } else { Some(far) }
    }

    /// FnP: whether FAR is only somewhere in the same translation granule (SVE and SME only).
    pub const fn far_not_precise(self) -> bool {
        self.0.bit(15)
    }

    /// WPF: whether the bytes that matched may not have been accessed (SVE and SME only).
    pub const fn maybe_false_positive(self) -> bool {
        self.0.bit(16)
    }

    /// WPT: which watchpoint matched, if WPTV says it is known (`FEAT_Debugv8p2`).
    pub const fn number(self) -> Option<u8> {
        if self.0.bit(17) {
            Some(self.0.small(23, 18))
        } else {
            None
        }
    }
}

impl BreakpointInstruction {
    /// The register value.
    pub const fn esr(self) -> Esr {
        self.0
    }

    /// The immediate of the instruction.
    pub const fn immediate(self) -> u16 {
        self.0.iss() as u16
    }
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("matched")
    }
}

impl fmt::Display for SoftwareStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stepped_exclusive() {
            None => "nothing stepped",
            Some(false) => "stepped",
            Some(true) => "stepped a load-exclusive",
        })
    }
}

impl fmt::Display for Watchpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.is_cache_maintenance(), self.is_write()) {
            (true, _) => "cache maintenance",
            (false, true) => "write",
            (false, false) => "read",
        })?;
        if let Some(number) = self.number() {
            write!(f, ", watchpoint {number}")?;
        }
        if self.address(0).is_none() {
            f.write_str(", FAR not valid")?;
        }
        Ok(())
    }
}

impl fmt::Display for BreakpointInstruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "immediate {:#06x}", self.immediate())
    }
}

macro_rules! debug_as_esr {
    ($($view:ident),*) => {
        $(impl fmt::Debug for $view {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($view), "({})"), self.0)
            }
        })*
    };
}

debug_as_esr!(Breakpoint, SoftwareStep, Watchpoint, BreakpointInstruction);
