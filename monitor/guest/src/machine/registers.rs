//! System registers.

/// The value of the system register with this name.
macro_rules! read {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading a system register that EL1 may read has no effect on memory.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack));
        }
        value
    }};
}

/// Writes the system register with this name, and waits until it has taken effect.
///
/// Callers only write registers that change nothing Rust relies on: debug, timer, interrupt
/// controller, vector length.
macro_rules! write {
    ($name:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: see the macro: no register that is written here affects what Rust code does.
        unsafe {
            core::arch::asm!(concat!("msr ", $name, ", {}"), "isb", in(reg) value, options(nostack));
        }
    }};
}

pub(crate) use {read, write};

/// Waits until all memory accesses so far are seen by all CPUs.
pub(crate) fn barrier() {
    // SAFETY: a barrier.
    unsafe { core::arch::asm!("dsb sy", "isb", options(nostack)) }
}
