//! System registers by name.
//!
//! The macros are safe to use although they are assembly: a read has no effect, and the writes of
//! this program change what the *guest* sees. What changes the monitor's own view of memory
//! (its tables, SCTLR_EL2) is written once, in `boot`, before Rust relies on it.

/// Reads a system register.
macro_rules! mrs {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading a system register that exists has no effect on memory.
        unsafe {
            core::arch::asm!(
                concat!("mrs {}, ", $register),
                out(reg) value,
                options(nomem, nostack, preserves_flags)
            );
        }
        value
    }};
}

/// Writes a system register.
macro_rules! msr {
    ($register:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: it is a register of EL1, EL0 or of EL2's control over them; see the module. Not
        // `nomem`: accesses to tables stay on their side of it.
        unsafe {
            core::arch::asm!(
                concat!("msr ", $register, ", {}"),
                in(reg) value,
                options(nostack, preserves_flags)
            );
        }
    }};
}

/// Runs instructions without operands: barriers, hints, invalidation of everything.
macro_rules! run {
    ($($instruction:literal),+) => {
        // SAFETY: barriers and TLB invalidation change no memory that Rust knows of.
        unsafe {
            core::arch::asm!($($instruction),+, options(nostack, preserves_flags));
        }
    };
}

/// Runs an instruction with one register operand, `{}` in its text.
macro_rules! run_with {
    ($instruction:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: as for `run!`.
        unsafe {
            core::arch::asm!($instruction, in(reg) value, options(nostack, preserves_flags));
        }
    }};
}

pub(crate) use {mrs, msr, run, run_with};
