//! The exception class, `ESR_ELx.EC`.

use core::fmt;

/// Why an exception was taken: `ESR_ELx.EC`, six bits.
///
/// An open enumeration: every value is representable, known ones have a name, and one that is
/// reserved today still compares, copies and prints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExceptionClass(u8);

macro_rules! exception_classes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        impl ExceptionClass {
            $(#[doc = concat!("`", stringify!($code), "`: ", $text, ".")]
            pub const $name: Self = Self($code);)*

            /// The name of the class, or `None` for a value the Arm ARM reserves.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

// Arm ARM (DDI 0487), the EC tables of ESR_EL1, ESR_EL2 and ESR_EL3.
exception_classes! {
    UNKNOWN = 0x00, "unknown reason";
    WFX = 0x01, "trapped WFE or WFI";
    CP15_MCR = 0x03, "trapped MCR or MRC, coproc 15";
    CP15_MCRR = 0x04, "trapped MCRR or MRRC, coproc 15";
    CP14_MCR = 0x05, "trapped MCR or MRC, coproc 14";
    CP14_LDC = 0x06, "trapped LDC or STC";
    FP_SIMD = 0x07, "trapped SVE, SIMD or floating point";
    FPID = 0x08, "trapped VMRS, from ID group traps";
    POINTER_AUTHENTICATION = 0x09, "trapped pointer authentication";
    OTHER_INSTRUCTION = 0x0a, "trapped instruction";
    CP14_MRRC = 0x0c, "trapped MRRC, coproc 14";
    BRANCH_TARGET = 0x0d, "branch target exception";
    ILLEGAL_STATE = 0x0e, "illegal execution state";
    SVC32 = 0x11, "SVC from AArch32";
    HVC32 = 0x12, "HVC from AArch32";
    SMC32 = 0x13, "SMC from AArch32";
    SYSTEM_REGISTER_128 = 0x14, "trapped MSRR, MRRS or 128-bit system instruction";
    SVC64 = 0x15, "SVC from AArch64";
    HVC64 = 0x16, "HVC from AArch64";
    SMC64 = 0x17, "SMC from AArch64";
    SYSTEM_REGISTER = 0x18, "trapped MSR, MRS or system instruction";
    SVE = 0x19, "trapped SVE";
    ERET = 0x1a, "trapped ERET";
    PAC_FAIL = 0x1c, "pointer authentication failure";
    SME = 0x1d, "trapped SME";
    GRANULE_PROTECTION_CHECK = 0x1e, "granule protection check";
    IMPLEMENTATION_DEFINED = 0x1f, "implementation defined, to EL3";
    INSTRUCTION_ABORT_LOWER = 0x20, "instruction abort, lower EL";
    INSTRUCTION_ABORT_SAME = 0x21, "instruction abort, same EL";
    PC_ALIGNMENT = 0x22, "PC alignment fault";
    DATA_ABORT_LOWER = 0x24, "data abort, lower EL";
    DATA_ABORT_SAME = 0x25, "data abort, same EL";
    SP_ALIGNMENT = 0x26, "SP alignment fault";
    MEMORY_OPERATION = 0x27, "memory operation exception";
    FP_EXCEPTION_32 = 0x28, "floating-point exception, AArch32";
    FP_EXCEPTION_64 = 0x2c, "floating-point exception, AArch64";
    GUARDED_CONTROL_STACK = 0x2d, "guarded control stack exception";
    SERROR = 0x2f, "SError";
    BREAKPOINT_LOWER = 0x30, "breakpoint, lower EL";
    BREAKPOINT_SAME = 0x31, "breakpoint, same EL";
    SOFTWARE_STEP_LOWER = 0x32, "software step, lower EL";
    SOFTWARE_STEP_SAME = 0x33, "software step, same EL";
    WATCHPOINT_LOWER = 0x34, "watchpoint, lower EL";
    WATCHPOINT_SAME = 0x35, "watchpoint, same EL";
    BKPT = 0x38, "BKPT from AArch32";
    VECTOR_CATCH = 0x3a, "vector catch from AArch32";
    BRK = 0x3c, "BRK from AArch64";
    PROFILING = 0x3d, "profiling exception";
}

impl ExceptionClass {
    /// Makes a class from its code; only the low six bits count.
    pub const fn new(code: u8) -> Self {
        Self(code & 0x3f)
    }

    /// The six-bit code.
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for ExceptionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "reserved exception class {:#04x}", self.0),
        }
    }
}

impl fmt::Debug for ExceptionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExceptionClass({:#04x}: {self})", self.0)
    }
}
