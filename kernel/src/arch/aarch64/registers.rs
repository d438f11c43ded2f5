//! System registers and instructions without operands in memory.

/// Reads a system register.
macro_rules! mrs {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading a system register that EL1 may read changes nothing.
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
///
/// Callers write registers that change nothing Rust relies on: timers, debug, the thread pointers
/// of users, and TTBR0, behind which Rust has no memory.
macro_rules! msr {
    ($register:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: see the macro. Not `nomem`: accesses to tables stay on their side of it.
        unsafe {
            core::arch::asm!(
                concat!("msr ", $register, ", {}"),
                in(reg) value,
                options(nostack, preserves_flags)
            );
        }
    }};
}

/// Runs instructions without operands: barriers, hints, masks, invalidation of everything.
macro_rules! run {
    ($($instruction:literal),+) => {
        // SAFETY: none of these changes memory that Rust knows of.
        unsafe {
            core::arch::asm!($($instruction),+, options(nostack, preserves_flags));
        }
    };
}

/// Runs an instruction with one register operand, `{}` in its text: TLB invalidation, `at`.
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
